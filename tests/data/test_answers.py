"""Answers: found in the published forms, compared exactly; unknown rather than wrong when mathematics takes long."""

import decimal
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data import math_worker
from mtjax.data.answers import Verdict, check_answer, extract_answer, parse_number, vote
from mtjax.data.answers.normal import listed
from mtjax.data.problem import Problem
from mtjax.errors import InputError
from mtjax.mistakes.injection import Rules, inject

RIGHT, WRONG, UNKNOWN = Verdict.RIGHT, Verdict.WRONG, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("48/2 = 24\n#### 72", "72"),
        ("She makes $18.\nA: 18", "18"),
        ("Step 1: 9 + 5 = 14\nAnswer: 14", "14"),
        (r"so \boxed{\frac{1}{2}} of them", r"\frac{1}{2}"),
        (r"first \boxed{1}, no: \boxed{2}", "2"),
        ("The answer is 18. There are 3 left", "18"),
        ("The answer is 1,234.50 dollars.", "1,234.50 dollars"),
        (r"The answer is $\boxed{7}$.", "7"),
        ("**Answer:** 5.", "5"),
        ("#### 3\nwait\n#### 4", "4"),
        ("He has 5, 6, and 7.", "7"),
        ("12-7=5", "5"),
        ("it is 20 - -3", "-3"),
        ("half of 9, that is 4 1/2", "4 1/2"),
        ("no number", None),
        ("", None),
        (r"\boxed{1", "1"),  # the box never closes: the last number is left
    ],
)
def test_extract_answer(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("candidate", "gold", "verdict"),
    [
        ("1/2", "0.5", RIGHT),
        ("1,000", "1000", RIGHT),
        ("18.0", "18", RIGHT),
        ("$18.00", "18", RIGHT),
        ("so 2 * 9 = $18 per day", "18", RIGHT),
        ("1 1/2", "1.5", RIGHT),
        ("1/-2", "-0.5", RIGHT),
        (r"1\frac{1}{2}", "3/2", RIGHT),
        (r"$\frac12$", "0.50", RIGHT),
        ("50%", "1/2", RIGHT),
        ("50%", "50", RIGHT),
        ("50%", "0.05", WRONG),
        ("-5", "5", WRONG),
        ("−5", "-5", RIGHT),
        ("0.334", "1/3", WRONG),
        ("0.333", "1/3", UNKNOWN),  # rounded
        ("0.1000000000000000001", "1/10", WRONG),  # equal as floats
        ("1,00", "100", UNKNOWN),
        ("12/0", "12", UNKNOWN),
        ("", "18", UNKNOWN),
        ("I do not know", "18", UNKNOWN),
        ("x = 5", "5", RIGHT),
        (" 17 + 9 = 26", "17", WRONG),  # of a computation alone the other numbers are no answers
        ("19 - 11 = 8\n8 + 5 = 13", "8", WRONG),
        ("10 = 7 + 3\n= 10", "7", WRONG),
        ("19 - 11 = 8\n8 + 5 = 13", "13", RIGHT),
        ("7 + 10 = 17, so 7", "17", UNKNOWN),
        ("9 + 18 = 27 apples, 9 more", "9", UNKNOWN),
        ("17 = 26 - 8", "17", UNKNOWN),
        ("12 * 3 = 36 = 6 * 6", "12", UNKNOWN),
        ("Answer: 12 + 7 = 19", "19", RIGHT),
        (r"\boxed{18\text{ eggs}}", "18", RIGHT),
        ("18", "#### 18", RIGHT),
        ("Answer: 3 hours 20 minutes", "3", UNKNOWN),
        ("yes.", "Yes", RIGHT),
        ("no", "Yes", WRONG),
        ("So the answer is (B).", "(B)", RIGHT),
        ("Answer: B", "(B)", RIGHT),
        ("(A) 5", "(B)", WRONG),
        ("(A) The truck", "(A)", RIGHT),
        ("] ) }", "] ) }", RIGHT),
        ("] )", "] ) }", WRONG),
    ],
)
def test_check_answer_without_mathematics(candidate, gold, verdict, monkeypatch):
    monkeypatch.setattr("mtjax.data.answers.checker._worker", lambda: math_worker_that_finds_nothing_equal)
    assert check_answer(candidate, gold) is verdict


class math_worker_that_finds_nothing_equal:
    @staticmethod
    def equal(gold, answer, seconds):
        raise AssertionError("no case here may ask math-verify")


def test_an_empty_gold_answer_is_refused():
    with pytest.raises(InputError, match="gold answer is empty"):
        check_answer("1", " ")


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_decimals_equal_their_fractions(digits, places):
    value = decimal.Decimal(digits).scaleb(-places)  # an exact oracle
    assert parse_number(f"{value:f}") == (Fraction(digits, 10**places), False)
    assert parse_number(f"{value:,f}") == (Fraction(digits, 10**places), False)
    assert check_answer(f"It is so.\n#### {value:,f}", f"{digits}/{10**places}") is RIGHT
    assert check_answer(f"{value:f}1", f"{value:f}0" if places else str(digits)) is WRONG


@given(st.integers(-99, 99), st.integers(1, 99), st.integers(2, 9))
def test_fractions_of_one_value_are_equal(top, bottom, factor):
    assert check_answer(f"{top * factor}/{bottom * factor}", f"{top}/{bottom}") is RIGHT
    assert check_answer(f"{top * factor + 1}/{bottom * factor}", f"{top}/{bottom}") is WRONG


_SMALL = listed("""zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""")
_TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")


def in_words(n):
    """A number below 10**9 in words, as an oracle of its own."""
    if n < 20:
        return _SMALL[n]
    if n < 100:
        return _TENS[n // 10 - 2] + (f"-{_SMALL[n % 10]}" if n % 10 else "")
    size, name = next(
        (size, name) for size, name in ((10**6, "million"), (1000, "thousand"), (100, "hundred")) if n >= size
    )
    return f"{in_words(n // size)} {name}" + (f"{',' * (size > 100)} {in_words(n % size)}" if n % size else "")


@given(st.integers(2, 10**7), st.integers(1, 50), st.integers(0, 7))
def test_numbers_in_many_forms(n, more, form):
    gold, says = str(n), ("{}", "We get {}.", "So she has {} in total.", "**Answer:** {}")[form % 4]
    for value, verdict in ((n, RIGHT), (n + more, WRONG)):
        written = (f"{value:,} apples", in_words(value), f"\\${value:,}.00", f"{in_words(value)} apples")[form // 2]
        assert check_answer(says.format(written), gold) in ({verdict} if verdict is RIGHT else {WRONG, UNKNOWN})


@pytest.mark.parametrize(
    "doubt",
    [
        "The answer is not {}.", "I doubt that it is {}.", "It can't be {}.", "{}? No.", "Is it {}?", "{} is wrong.",
        "Either {} or 987.", "{} is impossible.", "Anything but {}.", "Neither {} nor 987.", "We can rule out {}.",
        "It might be {}.", "If the answer were {}, the sum would be odd.", "The answer is {}. Wait, that's wrong.",
        "{} would be too big.", "The answer is {}. No, it is 987.", "One might say {}, but that's wrong.",
        "{} is too large.", "close to {} but not it",
    ],
)  # fmt: skip
@pytest.mark.parametrize("said", ["12", "$3.50", "two thirds", "12 cm", r"\boxed{12}", "(3, 4)", r"2\sqrt{2}"])
def test_what_is_denied_or_doubted_is_no_answer(doubt, said):
    gold = said.removeprefix(r"\boxed{").removesuffix("}") if "boxed" in said else said
    assert check_answer(doubt.format(said), gold) is not RIGHT


@pytest.mark.parametrize(
    ("candidate", "gold", "verdict"),
    [
        ("y = 4 - x/2", "4", UNKNOWN),
        ("2b - a", "2", UNKNOWN),
        (r"\log_2 8", "3", RIGHT),
        (r"\log_2 8", "4", WRONG),
        (r"$\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}$", r"\begin{bmatrix}1&2\\3&5\end{bmatrix}", WRONG),
        (r"$\begin{pmatrix} 1 \\ 2 \end{pmatrix}$", "(1, 2)", RIGHT),
        ("(0, 4) \\cup (4, 9)", "(0, 9)", WRONG),
        ("(0, 5) \\cup (3, 9)", "(0, 9)", RIGHT),
        ("y = 7 - 2x", "4x + 2y = 14", RIGHT),
        ("y = 7 + 2x", "4x + 2y = 14", WRONG),
        ("August 2001", "September 2001", WRONG),
        ("So they paid 12 + 9 = $21 for the 3 seats", "21", RIGHT),
        ("If he had 3 more, he would have 13 + 3 = 16", "13", UNKNOWN),
        ("44,044 apples", "44", WRONG),
        ("3±=x", "3", UNKNOWN),  # once an exception
        ("at x <= 3, y \\approx", "3", UNKNOWN),
        ("24 (A)", "B", UNKNOWN),
    ],
)
def test_mechanisms_that_fresh_sets_of_cases_asked_for(candidate, gold, verdict):
    options = ("21", "24") if gold == "B" else ()
    assert check_answer(candidate, gold, options=options) is verdict


@given(st.text(alphabet=r"0123456789.,/%$- \{}frac=xA:#answer()B" + "\n", max_size=25))
def test_no_text_breaks_reading(text):
    extract_answer(text)
    parse_number(text)


def test_mathematics_in_the_worker():
    worker = math_worker.MathWorker()
    assert worker.equal(r"2\sqrt{2}", r"\sqrt{8}") is True
    assert worker.equal("x^2 + 2x + 1", "(x+1)^2") is True
    assert worker.equal("x + 1", "x + 2") is False
    assert worker.equal("x + 1", r"\foo{") is None  # cannot be read: not known, not wrong
    assert worker.starts == 1
    first = worker._process
    # expanding this takes far longer than a microsecond: no answer, the process is gone, the next question starts one
    assert worker.equal("(x+1)^{9} - 1", "(x+1)^{8}(x+1) - 1", seconds=1e-6) is None
    assert first.poll() is not None
    assert worker.equal("x", "x") is True
    assert worker.starts == 2
    worker._process.kill()  # it dies by itself: restarted as well
    worker._process.wait()
    assert worker.equal("x", "y") is False
    assert worker.starts == 3
    worker.close()
    assert worker._process is None


def test_verdicts_follow_the_worker(monkeypatch):
    class Worker:
        def equal(self, gold, answer, seconds):
            assert seconds == 3
            return {r"\binom{4}{2}": True, r"\binom{4}{3}": False}.get(answer)

    monkeypatch.setattr("mtjax.data.answers.checker._worker", Worker)
    assert check_answer(r"Answer: \binom{4}{2}", r"\binom{4}{2}+\binom{4}{9}", seconds=3.0) is RIGHT
    # It may have read a part only, so that its "different" is no verdict.
    assert check_answer(r"Answer: \binom{4}{3}", r"\binom{4}{2}+\binom{4}{9}", seconds=3.0) is UNKNOWN
    assert check_answer(r"Answer: \binom{4}{4}", r"\binom{4}{2}+\binom{4}{9}", seconds=3.0) is UNKNOWN
    assert check_answer("Answer: 3x", "x + x", seconds=3.0) is WRONG  # both are read whole without it


@pytest.mark.slow
def test_the_worker_does_not_outlive_its_owner():
    code = "from mtjax.data.answers.checker import check_answer, _worker as w\n"
    code += r"print(check_answer(r'\binom{4}{2}', r'\binom{4}{2}+0').value, w()._process.pid)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    verdict, pid = done.stdout.split()
    assert verdict == "right"
    assert subprocess.run(["kill", "-0", pid], capture_output=True).returncode != 0


def test_thousands_of_blank_lines_between_texts():
    """Each form would be tried at each of them, which took minutes."""
    assert check_answer("The total is 5." + "\n" * 20_000 + "The answer is 7", "7") is RIGHT
    assert check_answer("The answer is 7." + "\n" * 20_000, "7") is RIGHT


LONG = "9" * 6000  # Python refuses to convert over 4,300 digits
FORMS = (
    "{}", "-{}.5", "${}", "{}%", "The answer is {}.", "#### {}", "x = {}", "1/{}", "{} + {} = {}", "1e{}", "10^{}",
    "0.\\overline{{{}}}", "{}:{}", "({}, {})", "{} or {}", "{} red, 3 blue and 7 white", "log_{}({})", "{} of the {}",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_number_of_any_length_is_graded(form):
    text = form.format(*[LONG] * 3)
    assert check_answer(text, "12") is not RIGHT
    assert check_answer("12", text) is not RIGHT
    for function in (extract_answer, vote, parse_number):
        function(text)
    list(inject([Problem("a", f"What is {text}?", "12", (f"3 + 4 = 7\n{text}",))], Rules(per_problem=2), {}))
