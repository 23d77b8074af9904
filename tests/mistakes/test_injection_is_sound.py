"""What injection may call a mistake: no free fact, no answer that nobody asked for, no size that gives it away."""

import random
from fractions import Fraction

import pytest

from mtjax.data.mistake_record import Mistake
from mtjax.data.problem import Problem
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.mistakes.filters import glaring, implausible
from mtjax.mistakes.injection import Rules, inject, usable_solutions
from mtjax.mistakes.injectors.base import ERROR_TYPES, draw
from mtjax.mistakes.injectors.solution import parse_solution
from mtjax.mistakes.injectors.wording import FACTORS
from mtjax.mistakes.leakage import Sides, measure, pairs_in
from mtjax.mistakes.text.equations import equations, holds
from mtjax.mistakes.text.lexer import numbers_in
from mtjax.mistakes.text.question import asked, final_value, stem
from mtjax.mistakes.verification import verify

WAR = "The war ended in 1945, on May 8.\nIn 1945 Japan followed."
PROSE = [
    Problem("war", "When did the war end in Europe?", right=(WAR,)),
    Problem("tips", "Give 3 tips for 8 people.", right=("1. Sleep 8 hours.\n2. Drink 3 liters.\n3. Eat 5 apples.",)),
    Problem("tower", "Describe the tower.", right=("It is 330 meters tall and was built by 300 workers in 2 years.",)),
    Problem("senate", "Describe the senate.", right=("Each of the 50 states sends 2 senators: 17 of them sit left.",)),
]


def step(right, wrong, question, answer, **fields):
    return Mistake(
        id="m", kind="step", problem_id="p", question=question, answer=answer, right_step=right, wrong_step=wrong,
        **{"generator": "rules", **fields},
    )  # fmt: skip


def test_free_facts_are_never_proved_wrong():
    yields = {}
    made = list(inject(PROSE, Rules(per_problem=20, keep_unproved=True, carry_forward=True), yields))
    assert len(made) > 10
    assert {(m.verdict, m.wrong_answer) for m in made} == {("unproved", "")}
    assert list(inject(PROSE, Rules(per_problem=20, carry_forward=True), {})) == []


@pytest.mark.parametrize("generator", ["rules", "self_edit"])
def test_a_number_of_the_text_alone_proves_nothing(generator):
    fact = {"question": "Describe the 4 seasons.", "answer": "", "generator": generator}
    assert verify(step("It has 4 seasons.", "It has 47 seasons.", **fact)).verdict == "unproved"
    assert verify(step("50 * 2 = 100 senators", "55 * 2 = 110 senators", **fact)).verdict == "unproved"
    # With a numeric answer, too, where the number is the text's own, or counts another thing than in the question.
    asks = {"question": "Ann has 48 pens, and each of 3 friends brings 2.", "answer": "54", "generator": generator}
    assert verify(step("They use 370 sheets.", "They use 730 sheets.", **asks)).verdict == "unproved"
    assert verify(step("370 * 2 = 740", "391 * 2 = 782", right_rest="\n#### 54", **asks)).verdict == "unproved"
    assert verify(step("It takes 48 minutes.", "It takes 84 minutes.", **asks)).verdict == "unproved"
    assert verify(step("She has 48 pens.", "She has 84 pens.", **asks)) == ("proved", "number")


def test_a_difference_in_the_other_order_is_proof_in_generated_arithmetic_only():
    years = step("It took 1889 - 1887 = 2 years.", "It took 1887 - 1889 = 2 years.", "Describe the tower.", "")
    assert verify(years).verdict == "unproved"
    generated = step("29 - 5 = 24", "5 - 29 = 24", "12 + 17 - 5 =", "24", prefix="Step 1: 12 + 17 = 29\nStep 2: ")
    assert verify(generated) == ("proved", "equation")


def test_the_last_number_of_a_text_is_no_answer():
    assert usable_solutions(PROSE[0]) == [(WAR, "")]
    # The last line still gives the answer; the number that changed is another one.
    asks = {"question": "Ann has 7 apples and eats 2.", "answer": "5"}
    right, wrong = "She has 7 - 2 = 5 apples, for 5 days.", "She has 7 - 2 = 5 apples, for 8 days."
    assert verify(step(right, wrong, **asks)).verdict == "unproved"
    assert verify(step(right, "She has 8 - 2 = 6 apples, for 6 days.", **asks)).judge == "final answer"


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("12 * 12 = 144", True),
        ("12 * 12 = 124, so 144.", False),
        ("10 / 3 = 3.33", True),
        ("3 + 4 = 8 * 2 = 16", False),
        ("3 + 4 = 7 * 1 = 7", True),
        ("4.5 gallons = 4.5 * 8 pints = 36 pints", True),
        ("15% of $80 = (15/100)*$80 = $12", True),
        ("no equation", True),
    ],
)
def test_a_solution_with_a_false_equation_is_not_edited(text, true):
    assert holds(text) == true
    assert bool(usable_solutions(Problem("p", "q", right=(text,)))) == true


OPTIONS = [
    ("How many are 7 + 5? (A) 11 (B) 12", "How many are 7 + 5?", {"A": "11", "B": "12"}),
    ("What is it?\nA. 12\nB. 15", "What is it?", {"A": "12", "B": "15"}),
    ("Ann has 3. Answer Choices: A)12 B)15 C)20", "Ann has 3.", {"A": "12", "B": "15", "C": "20"}),
    ("Find it. Options: ['A)21', 'B)21.5']", "Find it.", {"A": "21", "B": "21.5"}),
    ("A. Smith and B. Jones have 12.", "A. Smith and B. Jones have 12.", {}),
    ("Pick.\nOptions:\n- 5\n- 6", "Pick.", {}),
    ("What is 3 + 4?", "What is 3 + 4?", {}),
]


@pytest.mark.parametrize(("question", "bare", "options"), OPTIONS)
def test_options_by_hand(question, bare, options):
    assert asked(question) == (bare, options)


def test_numbers_of_options_are_no_numbers_of_the_problem():
    question, text = "Ann buys 7 pens at $5 each. (A) 28 (B) 35 (C) 42", "She pays 7 * 5 = $35.\n#### 35"
    solution = parse_solution(question, text, "B")
    assert solution.given == {7, 5}
    found = {d.wrong for seed in range(40) for d in draw(solution, "substitution", random.Random(seed), 5)}
    assert found
    assert not any(number.text in ("28", "42") for wrong in found for number in numbers_in(wrong.partition("=")[0]))
    assert stem(question, "26") == question  # the answer is no option: (a) and (b) may be two questions
    assert final_value(question, "B") == final_value(question, "35") == (Fraction(35), False)
    assert final_value("Which? (A) red (B) blue", "(b)") == "B"
    assert final_value(question, "quite a few") is None
    # A letter or an option's number is an answer to be judged by.
    fields = {"question": question, "answer": "B", "right_rest": "\n#### 35"}
    assert verify(step("7 * 5 = 35", "7 + 5 = 12", wrong_rest="\n#### 12", **fields)) == ("proved", "final answer")
    assert verify(step("7 * 5 = 35", "7 + 5 = 12", wrong_rest="\n#### (B)", **fields)).verdict == "unproved"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("36/3 = 52", True),  # above the dividend, and four times too large
        ("36/3 = 13", False),
        ("36/3 = 25", True),
        ("12 + 17 = 16", True),  # below a term
        ("12 + 17 = 39", False),
        ("29 - 5 = 34", True),
        ("48 * 2 = 24", True),
        ("1 + 1 = 3", False),
        ("20% of 50 = 12", False),
        ("20% of 50 = 100", True),
        ("20/50 = 45%", False),
        ("36/3 = 12", False),
    ],
)
def test_what_is_false_at_a_glance(text, seen):
    assert glaring(equations(text)[0]) == seen


def test_sizes_stay_plausible():
    assert implausible("48/2 = 24", "48*48 = 2304")
    assert not implausible("48/2 = 24", "48*2 = 96")
    for problem in Arithmetic(count=20, seed=2).problems().items:
        solution = parse_solution(problem.question, problem.right[0])
        for type in ERROR_TYPES:
            for draft in draw(solution, type, random.Random(problem.id), 5):
                assert not any(map(glaring, equations(draft.wrong)))


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_a_share_of_the_edits_leaves_a_false_equation(share):
    problems = Arithmetic(count=200, seed=4).problems().items
    made = list(inject(problems, Rules(false_equations=share), {}))
    assert len(made) == 200
    false = sum(not holds(m.wrong_step) for m in made)
    assert false == 0 if share == 0 else false <= 200 * share + 1
    assert share < 1 or false > 80
    paired = measure(pairs_in(made))["equation_check"].paired
    assert paired == pytest.approx(0.5 + false / 400, abs=1e-9)


def test_the_leak_table_sees_equations_sizes_and_rests():
    rng, pairs = random.Random(0), []
    for n in range(60):
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        right, tail = f"{a} + {b} = {a + b}", "x" * rng.randint(0, 9)
        check = Sides(f"p{n}", right, f"{a} + {b} = {a + b + 1}")
        size = Sides(f"p{n}", right, f"{a}0 + {b}0 = {a + b}0")
        pairs.append((check, size, Sides(f"p{n}", right, right, tail, tail + "y")))
    check, size, rest = (measure(kind) for kind in zip(*pairs, strict=True))
    assert check["equation_check"] == (1.0, 1.0)
    assert check["rest_length"] == (0.5, 0.5)
    assert size["equation_check"] == (0.5, 0.5)
    assert size["magnitude"].paired == 1.0
    assert rest["rest_length"].paired == 1.0


def test_the_rest_counts_only_where_it_is_known():
    known = step("1 + 2 = 3", "1 + 3 = 4", "q", "3", right_rest="\n#### 3", wrong_rest="\n#### 4")
    unknown = step("1 + 2 = 3", "1 + 3 = 4", "q", "3", right_rest="\n#### 3")
    assert [pair[3:] for pair in pairs_in([known, unknown])] == [("\n#### 3", "\n#### 4"), ("", "")]


@pytest.mark.parametrize(
    ("question", "text", "place"),
    [
        ("He works 3 hours. How many minutes?", "That is 3*60=180 minutes.\n#### 180", True),
        ("Each of 3 boxes has some pens.", "There are 3*12=36 pens.\n#### 36", False),  # twelve what?
        ("What is the rest?", "The rest is 100 - 20 = 80.\n#### 80", False),
        ("Which box?", "The second box is full.\n#### 2", False),
        ("How long?", "It takes 5 seconds.\n#### 5", True),
        ("Where?", "At the foot of the hill, in the yard.\n#### 5", False),
    ],
)
def test_units_are_real_units(question, text, place):
    solution = parse_solution(question, text)
    assert bool(draw(solution, "unit", random.Random(0), 30)) == place


def test_factors_hold_for_their_units():
    names = {name for _, pairs, _ in FACTORS for pair in pairs for name in pair}
    assert {"second", "minute", "hour", "inch", "foot", "ounce", "pound", "cent", "dollar"} <= names
    assert all(str(factor) not in wrong for factor, _, wrong in FACTORS)


def test_numbers_of_a_list_are_no_quantities():
    assert [t.text for t in numbers_in("1. Sleep 8 hours.\n2) Eat 5\n36.\n12.5 kg")] == ["8", "5", "36", "12.5"]
