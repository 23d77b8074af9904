"""Injected mistakes from right solutions: draw by type, balance the surface, filter, judge, count."""

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Ge, Le

from mtjax.data.answers import extract_answer, parse_number, stated_answer
from mtjax.data.messages import context_text
from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.io.hashing import digest
from mtjax.io.progress import track
from mtjax.mistakes import filters
from mtjax.mistakes.injectors.base import ERROR_TYPES, compared, draw, edited, in_order, whole_solution
from mtjax.mistakes.injectors.solution import Draft, Solution, parse_solution
from mtjax.mistakes.leakage import FALSE, Balance, difference
from mtjax.mistakes.text.equations import holds
from mtjax.mistakes.verification import same_answer, with_verdict
from mtjax.registry import summary
from mtjax.validation import PositiveInt


class _Shares:
    """How often each error type is tried first, in any unit; 0 leaves a type out.

    There is one field for each registered error type. Wrong results and numbers have the largest shares, as among
    natural errors (RISE finds mostly errors of calculation, substitution and omission). Edits that can only shorten a
    text are rare, so that length says little.
    """

    def __post_init__(self) -> None:
        shares = vars(self)
        bad = {name: share for name, share in shares.items() if not 0 <= share < float("inf")}
        if bad or not any(shares.values()):
            raise InputError(f"shares {bad or 'are all 0'}: expected numbers >= 0, at least one above 0")

    def order(self, rng: random.Random) -> list[str]:
        """The types in an order drawn without replacement, each time with odds in proportion to the shares."""
        shares = {name: share for name, share in vars(self).items() if share > 0}
        return sorted(shares, key=lambda name: rng.random() ** (1 / shares[name]), reverse=True)


_help = lambda entry: Annotated[float, tyro.conf.arg(help=summary(entry))]
Shares: Any = dataclasses.make_dataclass(
    "Shares",
    [(name, _help(ERROR_TYPES[name]), ERROR_TYPES[name].share) for name in in_order()],
    bases=(_Shares,),
    namespace={"__doc__": _Shares.__doc__, "__module__": __name__},
    frozen=True,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """How edits are drawn and which of them are kept."""

    seed: int = 0  # Random seed for all draws.
    per_problem: PositiveInt = 1  # Wrong steps to keep of each problem, of different wording, if there are as many.
    shares: Shares = Shares()  # Rules: odds of the error types.
    proposals: PositiveInt = 6  # Rules: edits per draw, tried in the order that balances the surface (1: no balance).
    false_equations: Annotated[float, Ge(0), Le(1)] = 0.15
    """Rules: largest share of wrong steps with a false equation (48/2 = 25), where others can be proved wrong: these
    carry their error on (50/2 = 25). 1: no limit."""
    carry_forward: bool = False  # Rules: also keep pairs of complete solutions, with the error carried through.
    keep_unproved: bool = False  # Keep wrong steps that no checker can judge.
    alpha: PositiveInt | None = None  # Keep only edits with a Levenshtein distance below this (RISE); None keeps all.


@dataclasses.dataclass(frozen=True, kw_only=True)
class InjectConfig(Rules):
    """What to inject errors into, and how."""

    source: AnySource  # Where the right solutions come from.
    output: str = "runs/inject"  # Folder for mistakes.jsonl and manifest.json.
    format: Literal["mistakes", "trl"] = "mistakes"  # With trl, also write trl.jsonl: prompt, chosen, rejected.
    editor: Literal["rules", "self_edit"] = "rules"  # Seeded rules, or a model that edits its steps (RISE).
    limit: PositiveInt | None = None  # Use only this many problems, the first ones; None takes all.
    on_error: OnError = "raise"  # A record that cannot be read: raise, or skip and count it.
    leak: bool = True  # Measure how well the surface tells wrong from right, and print it.
    overwrite: bool = False  # Delete the results of another injection in the folder.
    model: str | None = None  # Self-editing: a run folder, a Hugging Face folder, a hub id or `smollm2`.
    steps_per_problem: PositiveInt | None = None  # Self-editing: steps to ask about, by the seed; None: all.
    max_new_tokens: PositiveInt = 256  # Self-editing: longest edit, in tokens.
    rows: PositiveInt = 16  # Self-editing: edits that are decoded side by side.
    chunk: PositiveInt = 32  # Self-editing: problems that are asked about at a time, and saved.
    tokenizer: str | None = None  # Self-editing: tokenizer to use; None takes the model's own.
    dtype: Literal["float32", "bfloat16"] | None = None  # Self-editing: computation; None is float32, or the run's.
    step: int | None = None  # Self-editing: which checkpoint of a run folder; None takes the newest.
    weights: Literal["auto", "raw", "average"] = "auto"
    """Self-editing: parameters of a run as trained (raw), or their average; auto: of a schedule-free optimizer the
    average."""

    def __post_init__(self) -> None:
        if self.editor == "self_edit" and self.model is None:
            raise InputError("editor=self_edit needs a model: give --model=FOLDER, or use --editor=rules")
        if self.editor == "rules" and self.model is not None:
            raise InputError(f"model={self.model!r} is given, but editor=rules asks none; add --editor=self_edit")
        if self.editor == "self_edit" and self.carry_forward:
            raise InputError("carry_forward is a setting of editor=rules; leave it out with --editor=self_edit")

    @property
    def decides(self) -> dict[str, object]:
        """The settings that the mistakes depend on, for the manifest, without the source (its content counts)."""
        names = ["editor", "seed", "per_problem", "keep_unproved", "alpha", "limit", "on_error"]
        if self.editor == "rules":
            names += ["shares", "proposals", "carry_forward"]
            # A folder of an earlier version, which did not have this setting, is read with the default.
            names += ["false_equations"] if self.false_equations != Rules.false_equations else []
        else:
            names += ["max_new_tokens", "rows", "chunk", "steps_per_problem", "dtype"]
        values = {name: getattr(self, name) for name in names}
        return values | ({"shares": dataclasses.asdict(self.shares)} if "shares" in values else {})


FATES = ("unparsed", "identical", "too_far", "tell_tale", "refuted", "unproved", "proved")  # What becomes of an edit.
OUTCOMES = ("made", *FATES, "kept", "solutions")  # What is counted; the last two are step mistakes and pairs kept.
Yields = dict[str, Counter]  # Counts of outcomes by error type.


def usable_solutions(problem: Problem) -> list[tuple[str, str]]:
    """The right solutions to edit, each with its final answer; "" if the question asks for none.

    They are the problem's right solutions and the chosen sides of its pairs of complete solutions, without those that
    state another number than the problem's answer, admit errors, or have a false equation. The answer is the problem's,
    or else the number that the solution states as its answer (`#### 18`): the last number of a text is none.
    """
    texts = [*problem.right, *(pair.chosen for pair in problem.pairs if pair.kind == "full" and not pair.context)]
    out, question = [], context_text(problem.question, problem.messages)
    for text in dict.fromkeys(texts):
        stated = stated_answer(text) or ""
        answer = problem.answer or (stated if parse_number(stated) else "")
        agrees = same_answer(extract_answer(text), problem.answer, question) is not False
        if agrees and holds(text) and not filters.tell_tale(question, text):
            out.append((text, answer))
    return out


def conversation(problem: Problem) -> dict[str, Any]:
    """The fields of a record that hold a context of several messages, or tools; {} for a question alone."""
    talks = len(problem.messages) > 1 or problem.tools
    return {"messages": problem.messages, "tools": problem.tools} if talks else {}


def solvable(problems: Sequence[Problem]) -> list[str]:
    """Notes on problems without a right solution to edit; InputError if no problem has one."""
    without = sum(not usable_solutions(problem) for problem in problems)
    if not any(problem.right or problem.pairs for problem in problems):
        raise InputError(
            f"none of {len(problems)} problems has a solution, only an answer at most; choose a source with solutions, "
            "or for svamp add --source.solutions=equations"
        )
    if without == len(problems):
        raise InputError(
            f"none of {len(problems)} problems has a right solution to edit (one that states another answer, admits an "
            "error or has a false equation is not edited); check the source"
        )
    return [f"{without:,} of {len(problems):,} problems have no right solution to edit"] if without else []


def outcome(mistake: Mistake, alpha: int | None) -> tuple[str, Mistake]:
    """The filter that takes an edit, or its verdict; and the mistake with that verdict.

    A `\\boxed` that only one side has is unwrapped; one that is never closed cannot be read ("unparsed").
    """
    right, wrong = mistake.right_step, mistake.wrong_step
    if filters.identical(right, wrong):
        return "identical", mistake
    if filters.too_far(mistake.edit_distance, alpha):
        return "too_far", mistake
    if filters.tell_tale(mistake.question, wrong, (*filters.TELL_TALES, *filters.EDIT_TELL_TALES)):
        return "tell_tale", mistake
    if filters.box_on_one_side(right, wrong):
        right, wrong = filters.unboxed_pair(right, wrong)
        if filters.box_on_one_side(right, wrong):
            return "unparsed", mistake
        mistake = dataclasses.replace(mistake, right_step=right, wrong_step=wrong, **compared(right, wrong))
    mistake = with_verdict(mistake)
    return mistake.verdict, mistake


def judged(mistake: Mistake, rules: Rules, counts: Counter) -> Mistake | None:
    """An edit with its verdict, or None if the rules do not keep it; its `outcome` is counted."""
    verdict, mistake = outcome(mistake, rules.alpha)
    counts.update(("made", verdict))
    return mistake if verdict == "proved" or (verdict == "unproved" and rules.keep_unproved) else None


def inject(problems: Iterable[Problem], rules: Rules, yields: Yields) -> Iterator[Mistake]:
    """The mistakes of some problems, in order; the counts go into `yields`.

    The draws for a problem depend on the seed, its id and its question. Which draw is taken also depends on the
    mistakes before it, through the balance. So the same problems in the same order give the same mistakes, and the
    first n problems give the first of them.
    """
    balance, names = Balance(rules.false_equations), Counter[str]()
    for problem in track(problems, "injecting"):
        names[problem.id] += 1
        name = problem.id if names[problem.id] == 1 else f"{problem.id}~{names[problem.id]}"
        yield from _of_problem(dataclasses.replace(problem, id=name), rules, balance, yields)


def _of_problem(problem: Problem, rules: Rules, balance: Balance, yields: Yields) -> Iterator[Mistake]:
    rng = random.Random(int(digest("inject", rules.seed, problem.id, problem.question), 16))
    solutions = usable_solutions(problem)
    taken: set[tuple[str, str]] = set()
    for number in range(rules.per_problem if solutions else 0):
        text, answer = rng.choice(solutions)
        solution, found = parse_solution(context_text(problem.question, problem.messages), text, answer), None
        name = f"{problem.id}/step/{number}"
        for change, draft in _proposals(solution, rules, balance, rng):
            if (text[: draft.start], draft.wrong) in taken:
                continue
            record = edited(solution, draft, id=name, problem_id=problem.id, answer=answer, seed=rules.seed)
            record = dataclasses.replace(record, **conversation(problem))
            counts = yields.setdefault(draft.type, Counter())
            found = judged(record, rules, counts)
            if found is not None:
                counts["kept"] += 1
                balance.add(change)
                break
        if found is None:
            return
        taken.add((found.prefix, found.wrong_step))
        yield found
        if rules.carry_forward and found.wrong_answer:  # without it, nothing is known of how the solution ends
            whole = with_verdict(whole_solution(found, id=f"{problem.id}/solution/{number}"))
            if whole.verdict == "proved":
                yields[found.error_type]["solutions"] += 1
                yield whole


def _proposals(
    solution: Solution, rules: Rules, balance: Balance, rng: random.Random
) -> Iterator[tuple[dict[str, float], Draft]]:
    """Edits in the order in which to try them, with their changes; those that tip the balance too far come last."""
    balanced = rules.proposals > 1
    for strict in (True, False) if balanced or rules.false_equations < 1 else (False,):
        for type in rules.shares.order(rng):
            drafts = draw(solution, type, rng, rules.proposals)
            changes = [(_change(solution, draft, rules.carry_forward), draft) for draft in drafts]
            for change, draft in sorted(changes, key=lambda pair: balance.burden(pair[0])):
                allowed = balance.has_room_for(change) and (balance.allows(change) or not balanced)
                if allowed or not strict:
                    yield change, draft


def _change(solution: Solution, draft: Draft, solutions: bool) -> dict[str, float]:
    """What an edit adds to the balance: its step, and its complete solution if that makes a pair."""
    change = difference(solution.text[draft.start : draft.end], draft.wrong)
    change |= {} if holds(draft.wrong) else {FALSE: 1.0}
    if solutions and draft.rest is not None:
        wrong = solution.text[: draft.start] + draft.wrong + draft.rest
        if wrong.split()[-1:] != solution.text.split()[-1:]:  # it ends otherwise
            change |= {f"solution {key}": n for key, n in difference(solution.text, wrong).items()}
    return change
