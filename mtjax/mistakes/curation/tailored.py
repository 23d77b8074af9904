"""Tailored learning: a teacher's solutions written in answer to the student's own mistakes, round after round."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from mtjax.data.answers import Verdict, check_answer
from mtjax.data.messages import context_text
from mtjax.data.sources.mined import Solution
from mtjax.errors import InputError
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers, drawn
from mtjax.sampling.teacher import Teacher
from mtjax.validation import PositiveInt

WORDING = (
    "Question:\n{question}\n\nThe right answer is {answer}. A student wrote this, which is wrong:\n{wrong}\n\nWrite a "
    "correct solution for this student, step by step, that shows how to avoid the mistake. Do not mention the student. "
    'End with a line "Answer: " and the final answer alone.'
)
"""What asks the teacher. The wording of the paper's prompt is not in our sources."""

SLOTS = ("{question}", "{wrong}", "{answer}")


@CURATIONS.register("tailored")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Tailored(Curation):
    """The problems that the policy failed in this round, with solutions that a teacher wrote in answer to its mistakes.

    The teacher sees the question and a wrong solution; an answer of it that is not right is dropped. A problem without
    a wrong sample is left out of the round. Of earlier rounds, and of the source, right solutions stay in a pool behind
    the new ones, and so do wrong ones: the task `triplet` draws another right and a wrong solution from these, for
    `objective:self_reflection`; `task.anchors=first` trains the newest solution alone. Without `teacher`, the source's
    own solutions stand for it. What the teacher says is kept in the run folder, where a resumed run reads it.

    Source: Wang et al., "Democratizing Reasoning Ability: Tailored Learning from Large Language Model", EMNLP 2023
    (arXiv 2310.13332); `Raibows/Learn-to-Reason`.
    """

    tasks: ClassVar[tuple[str, ...]] = ("triplet", "completion", "chat")
    stateful: ClassVar[bool] = True

    teacher: Teacher | None = None  # Who is asked: a server, or recorded answers; None takes the source's solutions.
    ask_about: PositiveInt = 1  # Wrong solutions of a problem that the teacher is asked about, each on its own.
    wording: str = WORDING  # What asks the teacher, with {question}, {wrong} and, if wanted, {answer}.
    with_source: bool = True  # Begin the pools with the right solutions that the source gives.
    pool_right: PositiveInt = 10  # Right solutions of a problem that are kept, the newest first.
    pool_wrong: PositiveInt = 4  # Wrong solutions of a problem that are kept, the newest first.

    def __post_init__(self) -> None:
        super().__post_init__()
        if lacking := [slot for slot in SLOTS[:2] if slot not in self.wording]:
            raise InputError(f"curation.wording has no {lacking[0]}: the teacher sees the question and a mistake")

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        pools: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = dict(before or {})
        failed = [(one, wrong) for one in attempts if (wrong := self.sides(one)[1])]
        requests = [
            (one, self.request(one, solution))
            for one, wrong in failed
            for solution in drawn(wrong, self.ask_about, helpers.seed, one.problem.id)
        ]
        said = self._said([request for _, request in requests], helpers)
        new: dict[str, list[str]] = {}
        for (one, _), text in zip(requests, said, strict=False):
            options = one.problem.options
            if check_answer(text, one.mined.answer, question=one.problem.question, options=options) is Verdict.RIGHT:
                new.setdefault(one.problem.id, []).append(text.strip() if self.strip else text)
        problems = []
        for one, wrong in failed:
            name = one.problem.id
            right, earlier = pools.get(name, (one.problem.right if self.with_source else (), ()))
            right = tuple(dict.fromkeys((*new.get(name, ()), *right)))[: self.pool_right]
            mine = tuple(dict.fromkeys((*map(self.text, wrong), *earlier)))[: self.pool_wrong]
            pools[name] = (right, mine)
            if right:
                problems.append(self.asked(one, right=right, wrong=mine))
        counts = {"failed problems": len(failed), "asked of the teacher": len(said)}
        counts |= {"tailored texts": sum(map(len, new.values()))}
        return Curated(problems, pools, counts)

    def request(self, one: Attempted, wrong: Solution) -> str:
        """What the teacher is asked about one wrong solution."""
        question = context_text(one.problem.question, one.problem.messages)
        found = dict(zip(SLOTS, (question, self.text(wrong), one.mined.answer), strict=True))
        parts, rest = [], self.wording
        while rest:  # what is filled in may hold a slot's name itself
            place, slot = min(((rest.find(slot), slot) for slot in SLOTS if slot in rest), default=(len(rest), ""))
            parts += [rest[:place], found.get(slot, "")]
            rest = rest[place + len(slot) :]
        return "".join(parts)

    def _said(self, requests: list[str], helpers: Helpers) -> list[str]:
        if self.teacher is None or not requests:
            return []
        if helpers.teach is None:
            raise InputError("curation:tailored with a teacher works in mtjax.rounds, which asks the teacher")
        return helpers.teach(self.teacher, requests)
