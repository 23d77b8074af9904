"""The policy edits its own right steps: RISE's self-editing (Xu et al., 2025, arXiv 2410.06638; `kaishxu/RISE`).

The structure is that of the released code: three fenced blocks, one instruction drawn by what the text holds, at most
the last four sentences offered, the answer prefilled up to an opening fence and read up to the closing one, greedy
decoding. The wording is ours, because the paper's is not in our sources.
"""

import dataclasses
import json
import pathlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mtjax.data.messages import context_text
from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import Problem
from mtjax.io.hashing import digest
from mtjax.io.journal import Journal
from mtjax.mistakes.injection import InjectConfig, Rules, Yields, conversation, judged, usable_solutions
from mtjax.mistakes.injectors.base import edited
from mtjax.mistakes.injectors.solution import Draft, Solution, follow_edit, parse_solution

Generate = Callable[[list[str]], list[str]]  # Prompts to continuations, with the closing fence if any.
FENCE = "```"
SENTENCES = 4  # The most sentences of a step, the last ones, that are offered for editing.

INSTRUCTIONS = {
    "value_series": "Edit the current step by changing one value, or a series of related values, in it.",
    "value": "Edit the current step by changing the one value in it.",
    "substitution": "Edit the current step by making a wrong substitution in its calculation.",
    "dropped_term": "Edit the current step by deleting one term of its calculation.",
    "operator": "Edit the current step by changing one operator symbol of its calculation.",
    "swap": "Edit the current step by swapping two terms of its calculation.",
    "misread": "Edit the current step by changing related words, so that the question is misread.",
}
"""What asks for an edit of each error type."""

QUIET = "Change as little as you can, and do not mention anywhere that an error was made."
PREFILL = f"Edited step:\n{FENCE}\n"  # How the answer begins: a label and an opening fence.


def types_for(text: str) -> tuple[str, ...]:
    """The error types that fit a text, of which one is drawn uniformly.

    More than one group of digits: change values. Exactly one: change the value. An `=`: also substitution, deletion,
    operator and swap. Neither digits nor `=`: change words. So an equation's values are changed in one case of five,
    which is not the share of such slips among natural errors.

    >>> types_for("x = 4")
    ('value', 'substitution', 'dropped_term', 'operator', 'swap')
    """
    groups = len(re.findall(r"[0-9]+", text))
    numeric = ("value_series",) if groups > 1 else ("value",) if groups == 1 else ()
    equation = ("substitution", "dropped_term", "operator", "swap") if "=" in text else ()
    return (*numeric, *equation) or ("misread",)


def offered(step: str) -> tuple[int, int]:
    """Which part of a step is offered for editing: its last four sentences at most, without white space around them.

    Sentences end at a line break, or at a full stop and a space.

    >>> step = "One. Two. Three.\\nFour. Five is 5."
    >>> step[slice(*offered(step))]
    'Two. Three.\\nFour. Five is 5.'
    """
    starts = [0, *(match.end() for match in re.finditer(r"\n|(?<=\.) ", step))]
    starts = [start for start, end in zip(starts, [*starts[1:], len(step)], strict=True) if step[start:end].strip()]
    start = starts[-SENTENCES:][0] if starts else 0
    start += len(step[start:]) - len(step[start:].lstrip())
    return start, max(start, len(step.rstrip()))


class EditRequest(NamedTuple):
    """A request to edit one step."""

    solution: Solution  # The right solution.
    answer: str  # The final answer that counts as right.
    step: int  # Number of the step, from 0.
    start: int  # Start of the offered part in the step.
    end: int  # One after its last character.
    type: str  # The error type asked for.

    @property
    def user(self) -> str:
        """The user's turn: question, solution so far, offered part and instruction."""
        prefix = self.solution.text[: self.solution.steps[self.step].start]
        offer = self.solution.step_text(self.step)[self.start : self.end]
        blocks = (("Question", self.solution.question), ("Initial answer", prefix), ("Current step", offer))
        shown = "\n\n".join(f"{label}:\n{FENCE}\n{text.strip()}\n{FENCE}" for label, text in blocks)
        return f"{shown}\n\n{INSTRUCTIONS[self.type]} {QUIET}"

    def put_in_place(self, edit: str) -> str:
        """The step with its offered part replaced, by position: RISE's code replaces every copy of the text."""
        step = self.solution.step_text(self.step)
        return step[: self.start] + edit + step[self.end :]


def requests_of(problem: Problem, seed: int, steps: int | None = None) -> list[EditRequest]:
    """The requests about one problem: one edit of each step of one right solution, without answer lines.

    Solution, error types and (with `steps`, the most to ask about) steps depend only on the seed and the problem.
    """
    rng = random.Random(int(digest("self_edit", seed, problem.id, problem.question), 16))
    solutions = usable_solutions(problem)
    if not solutions:
        return []
    text, answer = rng.choice(solutions)
    solution = parse_solution(context_text(problem.question, problem.messages), text, answer)
    numbers = [k for k, step in enumerate(solution.steps) if not step.answer and step.end > step.start]
    if steps is not None and steps < len(numbers):
        numbers = sorted(rng.sample(numbers, steps))
    requests = []
    for k in numbers:
        start, end = offered(solution.step_text(k))
        type = rng.choice(types_for(solution.step_text(k)[start:end]))
        requests.append(EditRequest(solution, answer, k, start, end, type))
    return requests


def parse_edit(output: str) -> str | None:
    """The edited text: what is before the closing fence, without white space around it.

    None if there is no closing fence (the model was cut off), or nothing before it.

    >>> parse_edit("48 / 2 = 26 clips\\n```\\nI changed ..."), parse_edit("48 / 2 =")
    ('48 / 2 = 26 clips', None)
    """
    edit, fence, _ = output.partition(FENCE)
    return edit.strip() or None if fence else None


def plain_chat(user: str) -> str:
    """The prompt with a user's turn as plain text, for models without a chat template."""
    return f"{user}\n\n{PREFILL}"


class Editor(NamedTuple):
    """The model that edits."""

    generate: Generate  # Greedy decoding.
    about: dict[str, Any]  # What the edits depend on, such as the model's fingerprint and the decoding settings.
    render: Callable[[str], str] = plain_chat  # From the user's turn to the prompt, with the prefilled answer.

    def edits(self, requests: Sequence[EditRequest]) -> list[str | None]:
        """The edited parts, one per request; None if the output could not be read."""
        outputs = self.generate([self.render(request.user) for request in requests])
        if len(outputs) != len(requests):
            raise ValueError(f"generate gave {len(outputs)} texts for {len(requests)} prompts; expected one each")
        return [parse_edit(output) for output in outputs]


def local_editor(loaded: Any, fingerprint: str, settings: InjectConfig) -> Editor:
    """A loaded model (`mtjax.runs.loading.load_any`) as an editor; `fingerprint` identifies its parameters.

    A training run is asked as it was trained (`Loaded.decoding`), another model in its chat template if it has one.
    """
    from mtjax.sampling.config import SamplingConfig
    from mtjax.sampling.texts import sample_texts

    model, params, tokenizer = loaded[:3]
    # The prompt has its own fences before the answer, so the first fence of the answer closes the edit.
    sampling = SamplingConfig(temperature=0.0, max_new_tokens=settings.max_new_tokens, stop=(FENCE,))

    def generate(prompts: list[str]) -> list[str]:
        if not prompts:
            return []
        drawn = sample_texts(model, params, tokenizer, prompts, sampling, 0, rows=settings.rows)
        return [tokenizer.decode(list(samples[0].tokens)) for samples in drawn]

    def render(user: str) -> str:
        if decoding.task is None and tokenizer.chat_template is None:
            return plain_chat(user)
        return decoding.prompt(user) + PREFILL

    decoding = loaded.decoding
    decode = {"temperature": 0.0, "max_new_tokens": settings.max_new_tokens, "prefill": PREFILL}
    decode |= {} if decoding.task is None else {"read": decoding.reads()}
    about = {"model": settings.model or "", "fingerprint": fingerprint, "tokenizer": tokenizer.fingerprint}
    return Editor(generate, {**about, "decode": decode}, render)


def mistakes_of(
    problem: Problem, requests: Sequence[EditRequest], edits: Sequence[str | None], rules: Rules, yields: Yields,
    known: Mapping[str, Any],
) -> Iterator[Mistake]:  # fmt: skip
    """The mistakes of one problem that are kept: `rules.per_problem` of those that pass, drawn by the seed.

    `edits` are what the model wrote for each request, None if it could not be read. Counts are added to `yields`, by
    the type that was asked for. `known` are fields that all records share, such as `model` and `decode`.
    """
    passed = []
    for request, edit in zip(requests, edits, strict=True):
        counts, solution, k = yields.setdefault(request.type, Counter()), request.solution, request.step
        if edit is None:
            counts.update(("made", "unparsed"))
            continue
        wrong = request.put_in_place(edit)
        step = solution.steps[k]
        draft = Draft(request.type, step.start, step.end, wrong, follow_edit(solution, k, wrong))
        record = edited(
            solution, draft, id=f"{problem.id}/step/{k}", problem_id=problem.id, answer=request.answer,
            generator="self_edit", seed=rules.seed,
        )  # fmt: skip
        found = judged(dataclasses.replace(record, **known, **conversation(problem)), rules, counts)
        passed += [found] if found else []
    rng = random.Random(int(digest("keep", rules.seed, problem.id, problem.question), 16))
    for number in sorted(rng.sample(range(len(passed)), min(rules.per_problem, len(passed)))):
        yields[passed[number].error_type]["kept"] += 1
        yield passed[number]


def edit_problems(
    settings: InjectConfig, problems: Sequence[Problem], folder: pathlib.Path, depends: dict[str, Any], editor: Editor,
    yields: Yields, log: Callable[[str], None],
) -> Iterator[Mistake]:  # fmt: skip
    """Ask the model about every problem, chunk by chunk, with the answers kept in `folder`; then the mistakes."""
    requests = [requests_of(problem, settings.seed, settings.steps_per_problem) for problem in problems]
    journal = Journal(folder, "edits.jsonl", len(problems), depends, {}, overwrite=settings.overwrite)
    try:
        missing = set(journal.missing())
        if missing and len(missing) < len(problems):
            log(f"{len(problems) - len(missing):,} of {len(problems):,} problems are there already")
        for first in range(0, len(problems), settings.chunk):
            numbers = range(first, min(first + settings.chunk, len(problems)))
            if missing & set(numbers):  # the chunk is decoded again as a whole: another batch may round differently
                texts = iter(editor.edits([request for n in numbers for request in requests[n]]))
                edits = {n: [next(texts) for _ in requests[n]] for n in numbers}
                journal.append((n, {"schema": 1, "number": n, "edits": edits[n]}) for n in numbers)
        journal.finish()
        about = editor.about
        known = {"model": about.get("fingerprint", about["model"]), "decode": about.get("decode", {})}
        with journal.file.open(encoding="utf-8") as lines:
            for problem, asked, line in zip(problems, requests, lines, strict=True):
                yield from mistakes_of(problem, asked, json.loads(line)["edits"], settings, yields, known)
    finally:
        journal.close()
