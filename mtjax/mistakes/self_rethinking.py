"""Self-rethinking: the model looks at kinds of mistakes and is asked whether it made one (Tong et al., ACL 2024, 4.1).

    solve ──▶ ask ──no──▶ answer ──▶ done
               ▲ │ yes
               │ ▼      counter == k ──▶ answer
               redo

The loop is the paper's: zero-shot chain of thought; a block of mistakes (error type, demonstration, wrong and right
examples, drawn at random) with the question and the rationale, and the question whether such a mistake was made; a new
rationale for each yes; the last prompt asks for the final answer only. The wording of all prompts is ours: the paper's
is not copied. One choice is ours too: whether and how to do better are two calls.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from mtjax.data.mistake_record import Mistake
from mtjax.errors import InputError
from mtjax.io.hashing import unit

Generate = Callable[[list[str]], list[str]]
"""From prompts, as users' turns, to replies, one each."""

Stage = Literal["solve", "ask", "redo", "answer", "done"]
"""What a question waits for: the first rationale, yes or no, another rationale, the final answer, nothing."""

Ended = Literal["", "no", "limit", "unparsable"]
"""Why the loop ended: the model saw no mistake, it was asked to do better k times, it said neither yes nor no."""

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

    types: int = 3  # Error types to show, drawn at random among those of the records.
    per_type: int = 1  # Records to show of each, drawn at random.
    demonstration: bool = True  # Say what was written and what would have been right.
    wrong: bool = True  # Show the question and the whole wrong solution.
    right: bool = True  # Show the question and the whole right solution.
    longest: int = 1000  # Records with a longer question or solution, in characters, are passed over.
    seed: int = 0  # Of the draw; equal records and seed give the same block.

    def __post_init__(self) -> None:
        for name in ("types", "per_type", "longest"):
            if getattr(self, name) < 1:
                raise InputError(f"block.{name}={getattr(self, name)}: expected at least 1")


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
    """One question on its way through the loop.

    Attributes:
        question: its text.
        stage: what it waits for.
        rationales: the first one, and one more per yes; their number less one is the paper's ErrorCounter.
        replies: what was said when asked for a mistake.
        answer: what the last prompt gave.
        ended: why the loop ended.
    """

    question: str
    stage: Stage = "solve"
    rationales: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    answer: str = ""
    ended: Ended = ""

    @property
    def rounds(self) -> int:
        """How often the rationale was worked out anew."""
        return max(len(self.rationales) - 1, 0)

    @property
    def calls(self) -> int:
        """Calls of the model so far: one per rationale and reply, and one for the final answer.

        In the end `1 + 2 rounds + 1` where the limit was reached, and `1 + 2 rounds + 1 + 1` where the last reply was
        no (or none): at least 3 for k >= 1, at most `2 + 2 k`.
        """
        return len(self.rationales) + len(self.replies) + (self.stage == "done")


def mistake_block(records: Iterable[Mistake], config: BlockConfig = BlockConfig()) -> str:
    """The text that shows kinds of mistakes; depends on the records (in any order), the settings and the seed alone.

    Records that were refuted, are too long or lack what is to be shown are passed over. Raises InputError where none is
    left.
    """
    drawn: dict[str, list[Mistake]] = {}
    for record in sorted(records, key=lambda one: (unit(config.seed, one.problem_id, one.id), one.problem_id, one.id)):
        texts = [
            record.question,
            record.wrong_solution if config.wrong else "",
            record.right_solution if config.right else "",
        ]
        whole = bool(record.wrong_solution or not config.wrong) and bool(record.right_solution or not config.right)
        if record.verdict != "refuted" and whole and max(map(len, texts)) <= config.longest:
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
        lines += [f"Example: {_demonstration(record)}"] if config.demonstration and _demonstration(record) else []
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
    """Whether a reply begins with yes or no, in any case and behind any marks; None where it begins otherwise.

    >>> says_yes("**Yes**, in the first step"), says_yes("no."), says_yes("Nothing is wrong"), says_yes("")
    (True, False, None, None)
    """
    match = re.match(r"[\W_]*(yes|no)(?![^\W_])", reply, re.IGNORECASE)
    return None if match is None else match[1].lower() == "yes"


def prompt_of(state: Thinking, block: str, wording: Wording = Wording()) -> str:
    """What to ask next; InputError for a question that is done."""
    if state.stage == "done":
        raise InputError("the question is done; there is nothing more to ask")
    rationale = state.rationales[-1].strip() if state.rationales else ""
    values = {"question": state.question.strip(), "rationale": rationale, "mistakes": block.strip()}
    # In one pass, so that braces in what goes in are left as they are.
    return re.sub(r"\{(question|rationale|mistakes)\}", lambda match: values[match[1]], getattr(wording, state.stage))


def advance(state: Thinking, reply: str, *, k: int, unparsable: Literal["no", "yes"] = "no") -> Thinking:
    """The state after the reply to `prompt_of(state)`.

    Args:
        k: how often a rationale may be worked out anew; 0 asks for no mistakes at all.
        unparsable: what a reply counts as that begins with neither yes nor no. "no" keeps the answer there is, and says
            so in `ended`; "yes" has the rationale worked out anew. Either way the calls stay bounded.
    """
    limit = lambda state: state._replace(stage="answer", ended="limit") if state.rounds >= k else state
    if state.stage in ("solve", "redo"):
        return limit(state._replace(stage="ask", rationales=(*state.rationales, reply)))
    if state.stage == "ask":
        said = says_yes(reply)
        state = state._replace(replies=(*state.replies, reply))
        if said or (said is None and unparsable == "yes"):
            return state._replace(stage="redo")
        return state._replace(stage="answer", ended="no" if said is False else "unparsable")
    if state.stage == "answer":
        return state._replace(stage="done", answer=reply)
    raise InputError("the question is done; there is no reply to take")


def rethink(
    questions: Sequence[str],
    block: str,
    generate: Generate,
    *,
    k: int = 1,
    wording: Wording = Wording(),
    unparsable: Literal["no", "yes"] = "no",
) -> list[Thinking]:
    """Take all questions through the loop in lock step, so that `generate` gets as many prompts at a time as there are.

    It is called at most `2 + 2 k` times: once for all first rationales, twice a round, and once for all final answers.
    The paper's main tables use k = 1. Raises InputError for k < 0, ValueError where `generate` gives another number of
    replies than it got prompts.
    """
    if k < 0:
        raise InputError(f"k={k}: expected 0 or more; 0 is plain chain of thought")
    states = [Thinking(question) for question in questions]
    for stage in ("solve", *("ask", "redo") * k, "answer"):
        waiting = [number for number, state in enumerate(states) if state.stage == stage]
        if not waiting:
            continue
        replies = generate([prompt_of(states[number], block, wording) for number in waiting])
        if len(replies) != len(waiting):
            raise ValueError(f"generate gave {len(replies)} replies for {len(waiting)} prompts; expected one each")
        for number, reply in zip(waiting, replies, strict=True):
            states[number] = advance(states[number], reply, k=k, unparsable=unparsable)
    return states
