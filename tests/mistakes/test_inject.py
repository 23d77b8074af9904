"""Injection over many problems: everything kept is proved, the counts add up, the surface tells nothing."""

import ast
import dataclasses
import functools
import json
import operator
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import pytest

from mtjax.data.arithmetic_checker import check_steps
from mtjax.data.messages import Message
from mtjax.data.mistake_record import from_json, read_mistakes, to_json, to_lines
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.mistakes import pairs_of
from mtjax.errors import InputError
from mtjax.mistakes.injected_files import yield_rows
from mtjax.mistakes.injection import OUTCOMES, InjectConfig, Rules, Shares, inject, usable_solutions
from mtjax.mistakes.injectors.base import ERROR_TYPES
from mtjax.mistakes.leakage import LIMIT, measure, pairs_in
from mtjax.mistakes.verification import verify
from mtjax.validation import check_types

PROSE = tuple(
    Problem(f"prose{n}", question, answer, (text,))
    for n, (question, answer, text) in enumerate([
        ("Ann buys 12 pens at $3 each and pays with $50. What does she get back?", "14",
         "The pens cost 12 * 3 = $36.\nShe gets back $50 - $36 = $14.\n#### 14"),
        ("A shelf of 240 books loses 25% of them. Then 16 come back. How many are there?", "196",
         "It loses 25% of 240 = 60 books.\nSo 240 - 60 = 180 are left.\nThen there are 180 + 16 = 196.\n#### 196"),
        ("Tom walks 45 minutes a day for 8 days. How many hours is that?", "6",
         "He walks 45 x 8 = 360 minutes.\nThat is 360/60 = 6 hours.\n#### 6"),
        ("Three crates hold 18, 27 and 35 melons; 9 are bad and the rest is sold for $2 each.", "142",
         "There are 18 + 27 + 35 - 9 = 71 good melons.\nThey bring 71 * 2 = $142.\n#### 142"),
        ("A farm has 1,250 hens and sells 2/5 of them for $4 each.", "2000",
         "It sells 1,250 * 2/5 = 500 hens.\nThat brings 500 * 4 = $2,000.\n#### 2000"),
    ])
)  # fmt: skip


def run(problems, **rules):
    yields = {}
    return list(inject(problems, Rules(**rules), yields)), yields


@pytest.fixture(scope="module")
def generated():
    return Arithmetic(count=60, seed=11).problems().items


def command(out, *words):
    """Mistakes and manifest by the command: without the shape checks of the tests it is several times as fast."""
    subprocess.run([sys.executable, "-m", "mtjax.inject", *words, f"--output={out}"], check=True, capture_output=True)
    return list(read_mistakes(str(out / "mistakes.jsonl"))), json.loads((out / "manifest.json").read_text())


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    """What the command makes of 500 generated problems with sums and products."""

    @functools.cache
    def made(*options):
        words = ["source:arithmetic", "--source.count=500", "--source.seed=11", "--source.operators", "+", "*"]
        return command(tmp_path_factory.mktemp("inject"), *words, "--source.max_value=999", *options)

    return made


def check_against_the_oracle(mistakes):
    """Every wrong step is the first error that the exact checker of generated arithmetic finds."""
    for m in mistakes:
        assert check_steps(m.question, m.right_solution).errors == ()
        report = check_steps(m.question, m.wrong_solution)
        assert report.errors
        if m.kind == "step":
            lines = m.prefix.count("\n") + (0 if m.prefix.endswith("\n") or not m.prefix else 1)
            assert report.first_wrong == (lines if m.prefix.endswith("\n") else max(lines - 1, 0))
        else:
            assert not report.answer_right


def test_everything_kept_is_proved_and_the_oracle_agrees(injected):
    mistakes, manifest = injected("--carry_forward")
    yields = {name: Counter(counts) for name, counts in manifest["yields"].items()}
    steps = [m for m in mistakes if m.kind == "step"]
    assert len(steps) == 500
    assert all(m.verdict == "proved" and m.judge for m in mistakes)
    assert {m.judge for m in steps} == {"equation", "final answer", "number"}
    check_against_the_oracle(mistakes)
    assert all(verify(m) == (m.verdict, m.judge) for m in mistakes[:30])
    assert len({m.id for m in mistakes}) == len(mistakes)
    # Counts add up: every edit made has one fate, and what is kept was proved.
    for counts in yields.values():
        assert counts["made"] == sum(counts[key] for key in OUTCOMES[1:-2])
        assert counts["kept"] <= counts["proved"]
    rows = yield_rows(yields)
    assert rows[-1][0] == "all"
    assert rows[-1][1 + OUTCOMES.index("kept")] == len(steps)
    assert rows[-1][1 + OUTCOMES.index("solutions")] == len(mistakes) - len(steps) > 200
    kinds = Counter(m.error_type for m in steps)
    assert len(kinds) >= 9
    assert max(kinds.values()) < 0.4 * len(steps)


def test_no_place_and_no_size_gives_the_edit_away(injected):
    """Traps 2g: always the last digit, always plus one."""
    steps = [m for m in injected("--carry_forward")[0] if m.kind == "step"]
    where = Counter()
    for m in steps:
        at = m.right_step.find("=")
        where["result" if at >= 0 and m.span[0] > at else "left side"] += 1
    # A wrong result with the left side unchanged is a false equation, and at most 0.15 of the steps have one.
    assert min(where.values()) > 0.1 * len(steps)
    off = Counter()
    for m in steps:
        before, after = (re.fullmatch(r"\d+", text) for text in (m.before, m.after))
        if before and after:
            off[int(m.after) - int(m.before)] += 1
    assert max(off.values()) < 0.25 * sum(off.values())  # a carry is ten, wherever it slips
    assert abs(sum(n for d, n in off.items() if d > 0) / sum(off.values()) - 0.5) < 0.1


def test_no_single_feature_tells(injected):
    mistakes, manifest = injected("--carry_forward")
    for kind in ("step", "solution"):
        leaks = measure(pairs_in(mistakes, kind))
        assert {name: [round(x, 4) for x in leak] for name, leak in leaks.items()} == manifest["leak"][kind]
        for name, leak in leaks.items():
            assert name == "all" or max(leak) < LIMIT, (kind, name, leak)


@pytest.mark.slow
def test_without_balance_the_surface_tells_more(injected):
    """What the balance is for: the same rules, one proposal at a time."""
    evened, drawn = (injected(*options)[1]["leak"]["step"] for options in (("--carry_forward",), ("--proposals=1",)))
    assert max(evened["operators"]) < max(drawn["operators"])


def test_the_seed_decides_and_nothing_else(generated):
    problems = generated[:40]
    same = [to_lines(run(problems, seed=3)[0]) for _ in range(2)]
    assert same[0] == same[1]
    assert to_lines(run(problems, seed=4)[0]) != same[0]
    assert same[0].startswith(to_lines(run(problems[:10], seed=3)[0]))  # what comes later does not matter


def test_several_of_one_problem_differ(generated):
    mistakes, _ = run(generated[:20], per_problem=4)
    assert len({(m.problem_id, m.prefix, m.wrong_step) for m in mistakes}) == len(mistakes) == 80


def test_prose_of_every_kind():
    even = Shares(**dict.fromkeys(ERROR_TYPES, 1.0))
    mistakes, yields = run(PROSE, per_problem=12, shares=even, carry_forward=True, keep_unproved=True, proposals=3)
    steps = [m for m in mistakes if m.kind == "step"]
    assert {m.error_type for m in steps} >= set(ERROR_TYPES) - {"early_stop", "misread"}
    assert {m.verdict for m in mistakes} == {"proved", "unproved"}
    assert sum(counts["unproved"] for counts in yields.values()) > 0
    for m in mistakes:
        assert m.wrong_solution != m.right_solution
        if m.kind == "solution" or m.judge == "final answer":
            assert Fraction(m.wrong_answer.replace(",", "").strip("$")) != Fraction(m.answer)
    assert all(m.verdict == "proved" for m in run(PROSE, per_problem=5)[0])


def test_shares_filters_and_limits(generated):
    only = dataclasses.replace(Shares(**dict.fromkeys(ERROR_TYPES, 0.0) | {"carry": 1.0}))
    assert {m.error_type for m in run(generated[:30], shares=only)[0]} == {"carry"}
    assert all(m.edit_distance < 2 for m in run(generated[:50], alpha=2)[0])
    with pytest.raises(InputError, match="are all 0"):
        Shares(**dict.fromkeys(ERROR_TYPES, 0.0))
    with pytest.raises(InputError, match="expected numbers >= 0"):
        Shares(value=-1.0)
    assert set(dataclasses.asdict(Shares())) == set(ERROR_TYPES)


def test_which_solutions_are_edited():
    problem = PROSE[0]
    wrong = dataclasses.replace(problem, right=(problem.right[0].replace("#### 14", "#### 15"),))
    assert usable_solutions(wrong) == []  # called right, but it is not
    told = dataclasses.replace(problem, right=("Let's correct that.\n#### 14",))
    assert usable_solutions(told) == []
    mined = dataclasses.replace(problem, right=(), pairs=(Pair("", "14", "15"), Pair("a", "14", "15", "step")))
    assert usable_solutions(mined) == [("14", "14")]
    assert usable_solutions(Problem("p", "q", right=("so 3 + 4 = 7\n#### 7",))) == [("so 3 + 4 = 7\n#### 7", "7")]
    assert run([wrong, Problem("p", "q", "1", ("No number to edit.",))])[0] == []


def test_two_problems_of_one_name_get_different_ids():
    mistakes, _ = run([PROSE[0], PROSE[0]])
    assert [m.problem_id for m in mistakes] == ["prose0", "prose0~2"]


def test_settings_are_checked():
    with pytest.raises(InputError, match="per_problem=0"):
        check_types(InjectConfig(source=Arithmetic(), per_problem=0))
    with pytest.raises(InputError, match="needs a model"):
        InjectConfig(source=Arithmetic(), editor="self_edit")
    with pytest.raises(InputError, match="editor=rules asks none"):
        InjectConfig(source=Arithmetic(), model="smollm2")
    assert isinstance(InjectConfig(source=Arithmetic(), seed=5), Rules)


# The large products: `make test-slow`.


def exact(expression):
    """The value of plain arithmetic by Python's own parser, as a fraction; None where it is none."""

    def value(node):
        if isinstance(node, ast.Constant):
            return Fraction(str(node.value))
        left, right = value(node.left), value(node.right)
        kinds = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
        return kinds[type(node.op)](left, right)

    try:
        return value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, AttributeError, ZeroDivisionError, KeyError, ValueError):
        return None


def false_by_python(text):
    """Whether a plain `a op b = c` of a text is false, by a reading of its own: bare numbers and operators only."""
    text = text.replace("$", "").replace(",", "").replace("–", "-").replace("×", "*").replace("÷", "/")
    text = re.sub(r"(?<=\d) ?x ?(?=[\d(])", "*", text)
    found = re.finditer(
        r"(?<![\d.%/*+(-])(?<![\d)] )((?:\d*\.?\d+ ?[-+*/] ?)+\d*\.?\d+) ?= ?(\d*\.?\d+)(?![\d%/*+-])", text
    )
    pairs = [(exact(m[1]), Fraction(m[2])) for m in found]
    return bool(pairs) and any(left is not None and left != right for left, right in pairs), bool(pairs)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--carry_forward",)])
@pytest.mark.parametrize("source", ["generated", "gsm8k"])
def test_the_large_products(source, options, request, tmp_path):
    """10,000 generated and all GSM8K-train solutions: proved wrong by another checker too, no feature above 60 %."""
    if source == "generated":
        words, count = ["source:arithmetic", "--source.count=10000"], 10_000
    else:
        path = request.getfixturevalue("shared_data") / "gsm8k" / "train.jsonl"
        words, count = ["source:gsm8k", f"--source.path={path}"], 7473
    mistakes, manifest = command(tmp_path, *words, *options)
    assert all(m.verdict == "proved" for m in mistakes)
    assert sum(m.kind == "step" for m in mistakes) > 0.95 * count
    for kind, leaks in manifest["leak"].items():
        for name, leak in leaks.items():
            assert name == "all" or max(leak) < LIMIT, (source, kind, name, leak)
    if source == "generated":
        check_against_the_oracle(mistakes)
        return
    seen = Counter()
    for m in mistakes:
        if m.judge == "equation":
            wrong, read = false_by_python(m.wrong_step)
            right, _ = false_by_python(m.right_step)
            assert wrong or right or not read, (m.right_step, m.wrong_step)
            seen["equation"] += wrong
        elif m.judge == "final answer":
            final = re.findall(r"#### *(-?[\d.,]+)", m.wrong_solution)[-1]
            assert Fraction(final.replace(",", "").rstrip(".")) != Fraction(m.answer), m.wrong_solution
            seen["final answer"] += 1
    assert min(seen.values()) > 2000


def test_a_conversation_is_injected_with_its_context():
    """The numbers of every turn are the problem's, and the record is trained as the conversation it answers."""
    talk = (
        Message("system", "Be brief."), Message("user", "Ann has 5 bags of 6 nuts. How many nuts?"),
        Message("assistant", "5 * 6 = 30\n#### 30"), Message("user", "She eats 4. How many are left?"),
    )  # fmt: skip
    problem = Problem("p", talk[1].content, "26", right=("30 - 4 = 26\n#### 26",), messages=talk)
    records = list(inject([problem], Rules(per_problem=3), {}))
    assert len(records) > 0
    for record in records:
        assert (record.messages, record.verdict) == (talk, "proved")
        assert record.question == "\n".join(one.content for one in talk)
        assert from_json(json.loads(json.dumps(to_json(record))), "file:1") == record
    (back,) = pairs_of(records)
    assert (back.question, back.messages, len(back.pairs)) == (talk[1].content, talk, len(records))
