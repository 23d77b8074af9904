"""How often injection looks at the numbers and words of a long solution: counted, not timed."""

from fractions import Fraction

from mtjax.data.problem import Problem
from mtjax.mistakes.injection import Rules, inject
from mtjax.mistakes.injectors import base, wording
from mtjax.mistakes.injectors import solution as solutions

ONES = ",".join(["1"] * 2500)


def test_where_two_texts_differ_is_found_in_one_pass_over_each(monkeypatch):
    passes, words = [], base._WORD

    class Counted:
        def finditer(self, text):
            passes.append(text)
            return words.finditer(text)

    monkeypatch.setattr(base, "_WORD", Counted())
    assert base.changed_span(ONES, f"{ONES},1") == (0, len(ONES), 0, len(ONES) + 2)
    assert len(passes) == 2


def test_many_numbers_in_question_and_solution():
    """It took 8 to 12 seconds, since each place of the number was looked up by all words of the text."""
    assert list(inject([Problem("a", f"What is {ONES}?", "1", (ONES,))], Rules(per_problem=2), {})) == []


def test_the_numbers_before_a_step_are_not_collected_for_each_step(monkeypatch):
    parsed = solutions.parse_solution("What is it?", "1.\n" * 1200 + "2 + 1 = 3", "3")
    reads, number_of = [], solutions.number_of
    monkeypatch.setattr(solutions, "number_of", lambda token: reads.append(token) or number_of(token))
    found = parsed.copies
    assert [(k, text) for k, _, text, _ in found[:2]] == [(1, "1"), (2, "1")]
    assert found[-1][:3] == (1200, 4, "1")  # not 2, which is new, nor 3, the result
    assert len(reads) <= 4 * len(parsed.numbers)
    assert parsed.before(parsed.steps[-1].start) == {Fraction(1)}


def test_units_are_looked_for_once_in_a_solution(monkeypatch):
    text = "Step 1: 2 * 3 = 6 dollars per hour\n" * 400 + "#### 6"
    asked, is_unit = [], wording._is_unit
    monkeypatch.setattr(wording, "_is_unit", lambda *place: asked.append(place) or is_unit(*place))
    list(inject([Problem("a", "What is it?", "6", (text,))], Rules(per_problem=1), {}))
    assert len(asked) <= 40 * 400  # was 400 * 400 * 4 and more
