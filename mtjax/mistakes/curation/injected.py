"""Pairs of steps with a planted error in the policy's own right solutions, by rules or by the policy: RISE."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.mistakes import pair_of
from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Helpers
from mtjax.mistakes.curation.pairs import Pairs
from mtjax.mistakes.injection import Rules, Yields, inject
from mtjax.mistakes.self_edit import Editor, mistakes_of, requests_of
from mtjax.validation import PositiveInt


@CURATIONS.register("injected")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Injected(Pairs):
    """Pairs of steps with an error planted in the policy's own right solutions, beside pairs of complete solutions.

    The error is planted by seeded rules (`editor="rules"`), or the policy edits its own step (`"self_edit"`, RISE), and
    kept where a checker proves the step wrong. Iterative RISE is this with the objective `rise` and a reference that is
    renewed each round. Set `full_per_problem=None` and `step_per_problem=None` in the task `pair`.

    Source: Xu et al., "Subtle Errors in Reasoning: Preference Learning via Error-injected Self-editing", ACL 2025
    (arXiv 2410.06638), which does one round.
    """

    tasks: ClassVar[tuple[str, ...]] = ("pair", "mistake")

    editor: Literal["rules", "self_edit"] = "rules"  # Who plants the errors: seeded rules, or the policy itself.
    steps: PositiveInt = 1  # Step pairs of a problem.
    asked_steps: PositiveInt | None = 4  # Self-editing: steps of a solution to ask about; None: all.
    full: bool = True  # Also pairs of complete solutions (`per_problem` of a problem).
    mixed_only: bool = True  # Only problems with both a right and a wrong solution, as in RISE.
    keep_unproved: bool = False  # Keep wrong steps that no checker can judge.

    def __call__(self, attempts: Sequence[Attempted], before: Any, helpers: Helpers) -> Curated:
        chosen = []
        for one in attempts:
            right, wrong = self.sides(one)
            if right and (wrong or not self.mixed_only):
                chosen.append((one, self.asked(one, right=tuple(map(self.text, right)))))
        steps = self.step_pairs([problem for _, problem in chosen], helpers)
        problems, counts = [], Counter({"step pairs": 0, "pairs": 0})
        for one, problem in chosen:
            own = steps.get(problem.id, ())
            full = self.pairs_of(one, helpers.seed) if self.full else ()
            counts.update({"step pairs": len(own), "pairs": len(full)})
            if own or full:
                problems.append(dataclasses.replace(problem, right=(), pairs=(*own, *full)))
        return Curated(problems, counts=dict(counts))

    def step_pairs(self, problems: Sequence[Problem], helpers: Helpers) -> dict[str, tuple[Pair, ...]]:
        """The pairs of steps, by the id of their problem."""
        rules = Rules(seed=helpers.seed, per_problem=self.steps, keep_unproved=self.keep_unproved)
        yields: Yields = {}
        if self.editor == "rules":
            mistakes = list(inject(problems, rules, yields))
        else:
            requests = [requests_of(problem, helpers.seed, self.asked_steps) for problem in problems]
            editor = Editor(lambda prompts: helpers.ask(prompts), {})
            texts = iter(editor.edits([request for asked in requests for request in asked]))
            mistakes = []
            for problem, asked in zip(problems, requests, strict=True):
                mistakes += mistakes_of(problem, asked, [next(texts) for _ in asked], rules, yields, {})
        found: dict[str, list[Pair]] = {}
        for mistake in mistakes:
            if (pair := pair_of(mistake)) is not None:
                found.setdefault(mistake.problem_id, []).append(pair)
        return {name: tuple(pairs) for name, pairs in found.items()}
