"""Injected mistakes from right solutions: draw by type, even out the surface, filter, judge, count."""

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mtjax.data.answers import extract_answer, parse_number, same_number
from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.mistakes.error_types import Shares
from mtjax.mistakes.filters import EDIT_TELL_TALES, TELL_TALES, box_on_one_side, identical, tell_tale, unboxed_pair
from mtjax.mistakes.injectors.base import compared, draw, edited, whole_solution
from mtjax.mistakes.injectors.solution import Draft, ParsedSolution, parse_solution
from mtjax.mistakes.leakage import Balance, difference
from mtjax.mistakes.verification import with_verdict


class Rules(NamedTuple):
    """How edits are drawn and which are kept.

    Attributes:
        seed: of all draws.
        per_problem: step mistakes to keep of each problem, of different wording; fewer where no more are found.
        shares: odds of the types.
        proposals: edits of a type to draw at a time; the one that evens out the surface is judged first.
        alpha: keep only edit distances below this; None keeps all.
        keep_unproved: keep what no checker can judge, too.
        carry_forward: beside each step mistake whose solution ends wrong, keep the pair of whole solutions.
    """

    seed: int = 0
    per_problem: int = 1
    shares: Shares = Shares()
    proposals: int = 6
    alpha: int | None = None
    keep_unproved: bool = False
    carry_forward: bool = False


OUTCOMES = (
    "made",
    "unparsed",
    "identical",
    "too_far",
    "tell_tale",
    "refuted",
    "unproved",
    "proved",
    "kept",
    "solutions",
)
"""What is counted per type: edits made; of these, how many each filter took, how many stayed right, could not be judged
and were proved wrong; and how many step mistakes and pairs of solutions were kept."""

Yields = dict[str, Counter]
"""Counts by type of error."""


def usable_solutions(problem: Problem) -> list[tuple[str, str]]:
    """The right solutions to edit, each with the final answer that counts as right.

    The problem's right solutions, and the chosen sides of its pairs of whole solutions. Left out are those that state
    another number than the problem's answer, and those that admit to errors.
    """
    texts = [*problem.right, *(pair.chosen for pair in problem.pairs if pair.kind == "full" and not pair.context)]
    out = []
    for text in dict.fromkeys(texts):
        said = extract_answer(text) or ""
        a, b = parse_number(said), parse_number(problem.answer)
        agree = not problem.answer or a is None or b is None or same_number(a, b)
        if agree and not tell_tale(problem.question, text):
            out.append((text, problem.answer or said))
    return out


def solvable(problems: Sequence[Problem]) -> list[str]:
    """Notes on problems without a right solution to edit.

    Raises:
        InputError: no problem has one.
    """
    without = sum(not usable_solutions(problem) for problem in problems)
    if without == len(problems):
        raise InputError(f"none of {len(problems)} problems has a right solution to edit: check the source")
    return [f"{without:,} of {len(problems):,} problems have no right solution to edit"] if without else []


def outcome(mistake: Mistake, alpha: int | None) -> tuple[str, Mistake]:
    """What becomes of an edit: the filter that takes it, or its verdict; and the mistake with the verdict in it.

    A `\\boxed` that only one side has is unwrapped; one that never closes is no text to learn from ("unparsed").
    """
    right, wrong = mistake.right_step, mistake.wrong_step
    if identical(right, wrong):
        return "identical", mistake
    if alpha is not None and (mistake.edit_distance or 0) >= alpha:
        return "too_far", mistake
    if tell_tale(mistake.question, wrong, (*TELL_TALES, *EDIT_TELL_TALES)):
        return "tell_tale", mistake
    if box_on_one_side(right, wrong):
        right, wrong = unboxed_pair(right, wrong)
        if box_on_one_side(right, wrong):
            return "unparsed", mistake
        mistake = dataclasses.replace(mistake, right_step=right, wrong_step=wrong, **compared(right, wrong))
    mistake = with_verdict(mistake)
    return mistake.verdict, mistake


def inject(problems: Iterable[Problem], rules: Rules, yields: Yields) -> Iterator[Mistake]:
    """The mistakes of some problems, in order; the counts go into `yields`.

    What is drawn for a problem depends on the seed, its id and its question; which of the draws is taken also on the
    mistakes before it, through the balance of surface counts. So the same problems in the same order give the same
    mistakes, and the first n problems give the first of them.
    """
    balance, names = Balance(), Counter[str]()
    for problem in problems:
        names[problem.id] += 1
        name = problem.id if names[problem.id] == 1 else f"{problem.id}~{names[problem.id]}"
        yield from _of_problem(dataclasses.replace(problem, id=name), rules, balance, yields)


def _of_problem(problem: Problem, rules: Rules, balance: Balance, yields: Yields) -> Iterator[Mistake]:
    rng = random.Random(int(digest("inject", rules.seed, problem.id, problem.question), 16))
    solutions = usable_solutions(problem)
    taken: set[tuple[str, str]] = set()
    for number in range(rules.per_problem if solutions else 0):
        text, answer = rng.choice(solutions)
        solution = parse_solution(problem.question, text)
        found = _one(solution, problem, answer, number, rules, rng, balance, yields, taken)
        if found is None:
            return
        taken.add((found.prefix, found.wrong_step))
        yield found
        if rules.carry_forward and found.wrong_answer:  # without one, nobody could say how the solution ends
            whole = with_verdict(whole_solution(found, id=f"{problem.id}/solution/{number}"))
            if whole.verdict == "proved":
                yields[found.error_type]["solutions"] += 1
                yield whole


def _one(
    solution: ParsedSolution, problem: Problem, answer: str, number: int, rules: Rules, rng: random.Random,
    balance: Balance, yields: Yields, taken: set[tuple[str, str]],
) -> Mistake | None:  # fmt: skip
    """One mistake of a solution that is kept; None where no type of error finds one.

    A type whose every edit would tip the balance too far is passed over, unless there is nothing else.
    """
    for strict in (True, False) if rules.proposals > 1 else (False,):
        for type in rules.shares.order(rng):
            drafts = draw(solution, type, rng, rules.proposals)
            ranked = sorted(
                ((_change(solution, draft, rules.carry_forward), draft) for draft in drafts),
                key=lambda pair: balance.burden(pair[0]),
            )
            for change, draft in ranked:
                known = (solution.text[: draft.start], draft.wrong) in taken
                if known or (strict and not balance.allows(change)):
                    continue
                name = f"{problem.id}/step/{number}"
                record = edited(solution, draft, id=name, problem_id=problem.id, answer=answer, seed=rules.seed)
                verdict, record = outcome(record, rules.alpha)
                yields.setdefault(type, Counter())["made"] += 1
                yields[type][verdict] += 1
                if verdict == "proved" or (verdict == "unproved" and rules.keep_unproved):
                    yields[type]["kept"] += 1
                    balance.add(change)
                    return record
    return None


def _change(solution: ParsedSolution, draft: Draft, solutions: bool) -> dict[str, float]:
    """What an edit adds to the balance: its step, and its whole solution where that will make a pair."""
    change = difference(solution.text[draft.start : draft.end], draft.wrong)
    if solutions and draft.rest is not None:
        wrong = solution.text[: draft.start] + draft.wrong + draft.rest
        if wrong.split()[-1:] != solution.text.split()[-1:]:  # it ends otherwise
            change |= {f"solution {key}": n for key, n in difference(solution.text, wrong).items()}
    return change


def yield_rows(yields: Yields) -> list[list[str | int]]:
    """The counts as rows `[type, *OUTCOMES]`, with a last row of sums."""
    rows: list[list[str | int]] = [[name, *(yields[name][key] for key in OUTCOMES)] for name in yields]
    return [*rows, ["all", *(sum(counts[key] for counts in yields.values()) for key in OUTCOMES)]]
