"""What is proved wrong, what is refuted, and what no checker can say: by hand, trap by trap."""

import dataclasses

import pytest

from mtjax.data.mistake_record import Mistake
from mtjax.mistakes.verification import verify

GSM = "Natalia sold clips to 48 friends in April, and half as many in May. How many altogether?"


def step(right, wrong, question=GSM, answer="72", generator="rules", **fields):
    return Mistake(
        id="m", kind="step", problem_id="p", question=question, answer=answer, right_step=right, wrong_step=wrong,
        generator=generator, **fields,
    )  # fmt: skip


def said(mistake):
    return (verify(mistake).verdict, verify(mistake).judge)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("48/2 = 24 clips", "48/2 = 25 clips"),
        ("48/2 = 24 clips", "48/3 = 24 clips"),
        ("48/2 = 24 clips", "2/48 = 24 clips"),
        ("48/2 = <<48/2=24>>24", "48/2 = <<48/2=26>>26"),
        ("20% of 50 = 10", "20% of 50 = 100"),
        ("$1,250 x 4 = $5,000", "$1,250 x 4 = $500"),
        ("10 / 4 = 2.5", "10 / 4 = 2.4"),
        ("20/50 = 40%", "20/50 = 40"),  # 0.4 is not 40
        ("2 * 5 = 10 and 10 + 4 = 14", "2 * 5 = 10 and 10 + 4 = 15"),
    ],
)
def test_a_false_equation_is_proof(right, wrong):
    assert said(step(right, wrong)) == ("proved", "equation")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("100 / 3 = 33.33", "100 / 3 = 33.4"),  # the right one is rounded itself: the reading is not trusted
        ("10 / 4 = 2.5", "10 / 4 = 3"),  # may be rounding
        ("6 / 2/3 = 9", "6 / 2/3 = 8"),  # the right one does not read as true
        ("4 pounds - 6 ounces = 58 ounces", "4 pounds - 6 ounces = 52 ounces"),
        ("$1 / 2 = 50 cents", "$1 / 2 = 60 cents"),
    ],
)
def test_no_proof_where_the_reading_is_not_certain(right, wrong):
    assert verify(step(right, wrong)).verdict == "unproved"


def test_another_word_in_front_changes_what_is_meant():
    # Half of 20 is 10; the text does not say that 20 + 4 = 14.
    assert verify(step("10 + 4 = 14", "half of 20 + 4 = 14")).judge != "equation"
    assert verify(step("so 10 + 4 = 14", "so 20 + 4 = 14")) == ("proved", "equation")
    # With another number of equations, the word decides.
    assert verify(step("2 * 5 = 10, and then 10 + 4 = 14", "then 10 + 4 = 13")).judge == "equation"
    assert verify(step("2 * 5 = 10, and then 10 + 4 = 14", "half of 26 + 2 = 15")).judge != "equation"


def test_the_final_answer_is_proof_when_the_rest_follows():
    fields = {"right_rest": "\nIn all 48+24 = 72.\n#### 72", "wrong_rest": "\nIn all 48+96 = 144.\n#### 144"}
    assert said(step("May: 48/2 = 24", "May: 48*2 = 96", **fields)) == ("proved", "final answer")
    # The rest has an error of its own: the step may be innocent.
    own = fields | {"wrong_rest": "\nIn all 48+96 = 145.\n#### 145"}
    assert verify(step("May: 48/2 = 24", "May: 48*2 = 96", **own)).verdict == "unproved"
    # The rest says something else.
    other = fields | {"wrong_rest": "\nIn all, without April, 96 = 96.\n#### 96"}
    assert verify(step("May: 48/2 = 24", "May: 48*2 = 96", **other)).verdict == "unproved"
    # Nobody knows how it goes on.
    assert verify(step("May: 48/2 = 24", "May: 48*2 = 96", right_rest=fields["right_rest"])).verdict == "unproved"
    # The right solution does not give the gold answer either.
    assert verify(step("May: 48/2 = 24", "May: 48*2 = 96", answer="75", **fields)).verdict == "unproved"


def test_a_number_in_which_the_right_solution_ends_too_is_no_other_answer():
    """An egg of twelve for $3.60: 0.30 dollars, or 30 cents; the edit changes the division, not the end."""
    question = "What does one egg cost, in dollars, if 12 eggs cost $3.60?"
    right = "One egg costs 3.60 / 12 = 0.30 dollars, that is 30 cents."
    wrong = "One egg costs 3.60 / 3.60 = 1.00 dollars, that is 30 cents."
    assert said(step(right, wrong, question=question, answer="0.30")) != ("proved", "final answer")
    alone, other = right.split(",")[0], "One egg costs 3.60 / 10 = 0.36 dollars"
    assert said(step(alone, other, question=question, answer="0.30")) == ("proved", "final answer")


def test_a_models_edit_may_say_the_same_in_another_unit():
    fields = {"right_rest": " in all\n#### 6", "wrong_rest": " in all\n#### 600", "answer": "6"}
    question = "What do 3 pens at $2 cost?"
    edit = step("3 * 2 = 6 dollars", "3 * 200 = 600 cents", question=question, generator="self_edit", **fields)
    assert verify(edit).verdict == "unproved"
    assert verify(dataclasses.replace(edit, wrong_step="3 * 200 = 600 dollars")) == ("proved", "final answer")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Tom has 3 + 4 = 7 apples.", "Tom has 7 = 3 + 4 apples."),  # the last number of a text is no stated answer
        ("There are 2/3 * 90 - 10 = 50.", "There are 0.667 * 90 - 10 = 50."),  # a rounding
        ("There are 2 * 7 * 24 * 60 = 20160 minutes.", "There are 2 * 10080 = 20160 minutes."),
        ("It is (100 - 32) * 5/9 = 37.78.", "It is (100 - 32) / 1.8 = 37.78."),
    ],
)
def test_a_models_edit_may_say_the_same_in_other_numbers(right, wrong):
    question, answer = "3 and 4, 2/3 of 90 less 10, 2 weeks, or 100 F?", right.rpartition("= ")[2].split()[0].strip(".")
    assert verify(step(right, wrong, question, answer, "self_edit")).verdict != "proved"


@pytest.mark.parametrize("text", ["3 + " + "(" * 260 + "4" + ")" * 260 + " = 7", f"3 + {'9' * 5000} = 7", "(" * 99999])
def test_a_text_that_cannot_be_read_is_unproved(text):
    assert verify(step("3 + 4 = 7", text, "3 and 4?", "7", "self_edit")).verdict == "unproved"
    assert verify(step(text, "3 + 4 = 7", "3 and 4?", "7", "self_edit")).verdict != "refuted"


def test_a_number_from_nowhere_is_proof():
    assert said(step("48/2 = 24", "84/2 = 42", right_rest="\n#### 72")) == ("proved", "number")
    assert said(step("48/2 = 24", "84/2 = 42", right_rest="\n#### 72", generator="self_edit")) == ("proved", "number")
    # Given in words, a constant, or one operation away: no proof.
    words = step(
        "25 + 3 = 28", "27 + 3 = 30", question="Twenty-seven boys, 25 girls and 3 dogs?", right_rest="\n#### 1"
    )
    assert verify(words).verdict == "unproved"
    assert verify(step("48 * 2 = 96", "48 * 7 = 336", right_rest="\n#### 1")).verdict == "unproved"
    assert verify(step("48/2 = 24", "96/2 = 48", right_rest="\n#### 1")).verdict == "unproved"
    said_only = step("Of her 48 friends many bought.", "Of her 84 friends many bought.", right_rest="\n#### 1")
    assert verify(said_only) == ("proved", "number")
    assert verify(dataclasses.replace(said_only, wrong_step="Of her 60 friends many bought.")).verdict == "unproved"
    assert verify(dataclasses.replace(said_only, wrong_step="Of his 84 friends many bought.")).verdict == "unproved"
    earlier = step("48 + 24 = 72", "48 + 317 = 365", prefix="There are 317 in the box.\n", right_rest="\n#### 1")
    assert verify(earlier).verdict == "unproved"


def test_generated_arithmetic_takes_numbers_from_what_is_written():
    known = {"question": "12 + 7 - 5 + 3 =", "answer": "17", "prefix": "Step 1: 12 + 7 = 19\nStep 2: "}
    rest = {"right_rest": "\nStep 3: 14 + 3 = 17\nAnswer: 17", "wrong_rest": "\nAnswer: 17"}
    assert said(step("19 - 5 = 14", "14 + 3 = 17", **known, **rest)) == ("proved", "number")  # 14 was never worked out
    assert verify(step("19 - 5 = 14", "19 + 3 = 22", **known)).verdict == "unproved"  # as far as the step goes
    carried = rest | {"wrong_rest": "\nAnswer: 22"}
    assert said(step("19 - 5 = 14", "19 + 3 = 22", **known, **carried)) == ("proved", "final answer")


def test_what_is_still_right_is_refuted():
    assert said(step("48 + 24 = 72", "24 + 48 = 72")) == ("refuted", "same values")
    assert said(step("60 * 1 = 60", "60 / 1 = 60")) == ("refuted", "same values")
    assert said(step("48/2 = 24", " 48/2  = 24")) == ("refuted", "identical")
    # Another number or another word beside the same equation is no longer the same claim.
    assert verify(step("Of 30, 30/3 = 10", "Of 32, 30/3 = 10")).verdict == "unproved"
    assert verify(step("4 more: 3 + 4 = 7", "4 fewer: 3 + 4 = 7")).verdict == "unproved"


def test_whole_solutions_are_judged_by_their_end():
    whole = dataclasses.replace(step("A: 24\n#### 72", "A: 25\n#### 73"), kind="solution")
    assert said(whole) == ("proved", "final answer")
    assert verify(dataclasses.replace(whole, wrong_step="A: 26\n#### 72")) == ("refuted", "final answer")
    assert verify(dataclasses.replace(whole, wrong_step="2 + 2 = 5\n#### 72")).verdict == "unproved"
    assert verify(dataclasses.replace(whole, answer="", wrong_step="#### 73")).verdict == "unproved"
    assert verify(dataclasses.replace(whole, answer="x + 1")).verdict == "unproved"
    assert verify(dataclasses.replace(whole, answer="72.0", wrong_step="so\n#### 72")).verdict == "refuted"
