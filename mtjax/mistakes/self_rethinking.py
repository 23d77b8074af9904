"""Self-rethinking: the model looks at kinds of mistakes and is asked whether it made one (Tong et al., ACL 2024, 4.1).

    solve ──▶ ask ──no──▶ answer ──▶ done
               ▲ │ yes
               │ ▼      counter == k ──▶ answer
               redo

The loop is the paper's: zero-shot chain of thought; a block of mistakes (error type, demonstration, wrong and right
examples, drawn at random) with the question and the rationale, and the question whether such a mistake was made; a new
rationale for each yes; the last prompt asks only for the final answer. The wording of all prompts is ours, and so is
one choice: whether and how to do better are two calls.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from mtjax.data.mistake_record import Mistake
from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.validation import PositiveInt, check_types

Generate = Callable[[list[str]], list[str]]  # From prompts, as users' turns, to replies, one each.

Stage = Literal["solve", "ask", "redo", "answer"]  # First rationale, yes or no, new rationale, final answer.
Ended = Literal["", "no", "limit", "unparsable"]  # It saw no mistake, redid it k times, or said neither yes nor no.

NAMES: Mapping[str, tuple[str, str]] = {
    "value": ("wrong value", "A calculation is set up right and gives a wrong number."),
    "value_series": ("wrong values", "Several numbers that belong together are wrong in the same way."),
    "operator": ("wrong operation", "Two numbers are put together by another operation than the question asks for."),
    "swap": ("swapped operands", "The two sides of a calculation are in the wrong order."),
    "dropped_term": ("dropped term", "A part of a sum or product is left out."),
    "substitution": ("wrong substitution", "Something else is put in place of a number or a quantity."),
    "carry": ("carry slip", "A carry or a borrow between two digits is forgotten."),
    "unit": ("wrong unit", "A number is taken in another unit than it was given in."),
    "copied_number": ("number copied wrong", "A number differs from the one that was given or worked out before."),
    "skipped_step": ("skipped step", "A step that the result needs is missing."),
    "early_stop": ("early stop", "The solution ends before the question is answered."),
    "misread": ("misread question", "The question is taken to say something that it does not say."),
    "other": ("other mistake", "The reasoning does not lead to a right answer."),
}
"""Name and description of each error type in prompts; a type that is not listed is called by its own name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """Which mistakes the model is shown, and what of them."""

    types: PositiveInt = 3  # Error types to show, drawn at random among those of the records.
    per_type: PositiveInt = 1  # Records to show of each, drawn at random.
    demonstration: bool = True  # State what was written and what would have been right.
    wrong: bool = True  # Show the question and the complete wrong solution.
    right: bool = True  # Show the question and the complete right solution.
    longest: PositiveInt = 1000  # Leave out records with a longer question or solution, in characters.
    seed: int = 0  # Random seed of the draw; equal records and seed give the same block.

    def __post_init__(self) -> None:
        check_types(self, "block")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
    """What the model is told, with `{question}`, `{rationale}` and `{mistakes}` for what goes there."""

    solve: str = "{question}\n\nWork this out step by step, and end with the answer.\n"  # Asks for the first rationale.
    ask: str = (
        "{mistakes}\n\nNow look at this question and a solution of it.\n\nQuestion: {question}\n\nSolution:\n"
        "{rationale}\n\nIs one of the kinds of mistakes shown above in this solution? Begin with the word Yes or the "
        "word No.\n"
    )
    """Asks whether a mistake was made."""
    redo: str = (
        "{mistakes}\n\nThe following solution has a mistake of one of these kinds.\n\nQuestion: {question}\n\n"
        "Solution:\n{rationale}\n\nWork the question out anew, step by step and without that mistake, and end with the "
        "answer.\n"
    )
    """Asks for another rationale."""
    answer: str = (
        "Question: {question}\n\nSolution:\n{rationale}\n\nWhich final answer does this solution give? Write the "
        "answer and nothing else.\n"
    )
    """Asks for the final answer."""


class Thinking(NamedTuple):
    """One question after the loop."""

    question: str  # Its text.
    rationales: tuple[
        str, ...
    ] = ()  # The first one, and one more per yes; without the first, the paper's ErrorCounter.
    replies: tuple[str, ...] = ()  # The replies to the question whether a mistake was made.
    answer: str = ""  # The reply to the last prompt.
    ended: Ended = ""  # Why the loop ended.

    @property
    def rounds(self) -> int:
        """How many new rationales followed the first."""
        return len(self.rationales) - 1

    @property
    def calls(self) -> int:
        """Calls of the model: `2 + 2 rounds` if the limit was reached, otherwise `3 + 2 rounds`; at most `2 + 2 k`."""
        return len(self.rationales) + len(self.replies) + 1


def mistake_block(records: Iterable[Mistake], config: BlockConfig = BlockConfig()) -> str:
    """The text that shows kinds of mistakes; depends only on the records (in any order), the settings and the seed.

    Records that were refuted, are too long or lack a side to be shown are left out. InputError if none remains.
    """
    drawn: dict[str, list[Mistake]] = {}
    for record in sorted(records, key=lambda one: (unit(config.seed, one.problem_id, one.id), one.problem_id, one.id)):
        sides = [record.wrong_solution] * config.wrong + [record.right_solution] * config.right
        short = max(map(len, [record.question, *sides])) <= config.longest
        if record.verdict != "refuted" and all(sides) and short:
            drawn.setdefault(record.error_type, []).append(record)
    types = sorted(drawn, key=lambda name: unit(config.seed, "type", name))
    if not types:
        raise InputError(
            f"no mistake record can be shown: each is refuted, lacks a side, or is longer than {config.longest} "
            "characters (block.longest)"
        )
    shown = [_shown(name, drawn[name][: config.per_type], config) for name in types[: config.types]]
    numbered = "\n\n".join(f"{number}. {text}" for number, text in enumerate(shown, 1))
    return f"Kinds of mistakes that solutions of such questions have:\n\n{numbered}"


def _shown(error_type: str, records: Sequence[Mistake], config: BlockConfig) -> str:
    """One kind of mistake with its records."""
    name, description = NAMES.get(error_type) or (error_type.replace("_", " "), NAMES["other"][1])
    lines = [f"{name.capitalize()}. {description}"]
    for record in records:
        example = _demonstration(record) if config.demonstration else ""
        lines += [f"Example: {example}"] if example else []
        lines += [f"Question: {record.question.strip()}"] if config.wrong or config.right else []
        lines += [f"Wrong solution:\n{record.wrong_solution.strip()}"] if config.wrong else []
        lines += [f"Right solution:\n{record.right_solution.strip()}"] if config.right else []
    return "\n".join(lines)


def _demonstration(record: Mistake) -> str:
    """What was written, and what would have been right, as far as the record says."""
    step = (record.wrong_step, record.right_step) if record.kind == "step" else ("", "")
    for wrong, right in ((record.after, record.before), step, (record.wrong_answer, record.answer)):
        if wrong.strip() and right.strip():
            return f'"{wrong.strip()}" was written where "{right.strip()}" is right.'
    return ""


def says_yes(reply: str) -> bool | None:
    """Whether a reply begins with yes or no, in any case and after any marks; None if it begins otherwise.

    >>> says_yes("**Yes**, in the first step"), says_yes("no."), says_yes("Nothing is wrong"), says_yes("")
    (True, False, None, None)
    """
    match = re.match(r"[\W_]*(yes|no)(?![^\W_])", reply, re.IGNORECASE)
    return None if match is None else match[1].lower() == "yes"


def prompt_of(stage: Stage, question: str, rationale: str, block: str, wording: Wording = Wording()) -> str:
    """The prompt of a stage, with `question`, latest `rationale` and `block` of mistakes in the places for them."""
    values = {"question": question.strip(), "rationale": rationale.strip(), "mistakes": block.strip()}
    # In one pass, so that braces in what is inserted are left as they are.
    return re.sub(r"\{(question|rationale|mistakes)\}", lambda match: values[match[1]], getattr(wording, stage))


def rethink(
    questions: Sequence[str], block: str, generate: Generate, *, k: int = 1, wording: Wording = Wording(),
    unparsable: Literal["no", "yes"] = "no",
) -> list[Thinking]:  # fmt: skip
    """Take all questions through the loop in lock step, so that `generate` gets many prompts at a time.

    It is called at most `2 + 2 k` times: once for all first rationales, twice a round, and once for all final answers.
    The paper's main tables use k = 1. A reply that begins with neither yes nor no counts as `unparsable`: "no" keeps
    the answer there is, which `ended` records, and "yes" asks for a new rationale. InputError for k < 0, ValueError if
    `generate` gives another number of replies than it got prompts.
    """
    if k < 0:
        raise InputError(f"k={k}: expected 0 or more; 0 is plain chain of thought")
    states = [Thinking(question) for question in questions]

    def ask(stage: Stage, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        """The replies to the prompts of a stage, each with the number of its question."""
        latest = {n: states[n].rationales[-1] if states[n].rationales else "" for n in numbers}
        prompts = [prompt_of(stage, states[n].question, latest[n], block, wording) for n in numbers]
        replies = generate(prompts) if prompts else []
        if len(replies) != len(prompts):
            raise ValueError(f"generate gave {len(replies)} replies for {len(prompts)} prompts; expected one each")
        return zip(numbers, replies, strict=True)

    def reason(stage: Stage, numbers: Sequence[int]) -> None:
        for n, reply in ask(stage, numbers):
            states[n] = states[n]._replace(rationales=(*states[n].rationales, reply))

    going = list(range(len(states)))
    reason("solve", going)
    for _ in range(k):
        for n, reply in ask("ask", going):
            yes = says_yes(reply)
            again = yes or (yes is None and unparsable == "yes")
            ended: Ended = "" if again else "no" if yes is False else "unparsable"
            states[n] = states[n]._replace(replies=(*states[n].replies, reply), ended=ended)
        going = [n for n in going if not states[n].ended]
        reason("redo", going)
    for n, reply in ask("answer", range(len(states))):
        states[n] = states[n]._replace(answer=reply, ended=states[n].ended or "limit")
    return states
