"""Verdicts: whether a reply gives the gold answer; `wrong` needs two values of one kind, read whole, that differ."""

import enum
import functools
import re
from collections.abc import Hashable, Sequence
from fractions import Fraction

from mtjax.data.answers import answering, words
from mtjax.data.answers.asked import of_kind, read_question
from mtjax.data.answers.besides import NUMBER_IN_TEXT, also_says
from mtjax.data.answers.choices import CONFLICT, choose, contradicted, option_texts, options_in
from mtjax.data.answers.doubts import ends_in, says_indirectly
from mtjax.data.answers.emphasis import in_bold
from mtjax.data.answers.endings import without_remarks
from mtjax.data.answers.finding import Found, find, tidy
from mtjax.data.answers.lasts import ends_with
from mtjax.data.answers.normal import plain
from mtjax.data.answers.numbers import LONGEST
from mtjax.data.answers.reader import compare, key, read
from mtjax.data.answers.remarks import beginnings
from mtjax.data.answers.same import called_wrong, same
from mtjax.data.answers.statements import cleaned, statements, taken_back
from mtjax.data.math_worker import MathWorker
from mtjax.errors import InputError


class Verdict(enum.Enum):
    """What is known of an answer; unknown is neither right nor wrong and must be counted apart."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@functools.lru_cache(maxsize=4096)
def stated_answer(text: str, *, choice: bool = False) -> str | None:
    r"""The answer that a text states in so many words, the last one if several; None if it states none.

    Forms: `#### 18`, a line `A: 18` or `Answer: 18`, `\boxed{18}`, `The answer is 18.`, `<answer>18</answer>`; with
    `choice` also `option (C) is correct` and a last line `C`.
    """
    if not statements(cleaned(text, choice), choice):
        return None
    found = find(text, choice)
    return tidy(found.text) or None if found else None


@functools.lru_cache(maxsize=4096)
def extract_answer(text: str, *, choice: bool = False) -> str | None:
    """The final answer of a solution: the stated one (`stated_answer`), what it ends in (`find`), or the last number.

    >>> extract_answer("Step 1: 12 + 7 = 19\\nAnswer: 19"), extract_answer("so 9 * 2 = $18 a day")
    ('19', '$18')
    >>> extract_answer("No, 3 + 4 is not 5.")
    'No, 3 + 4 is not 5'
    """
    if (stated := stated_answer(text, choice=choice)) is not None:
        return stated
    found, numbers = find(text, choice), NUMBER_IN_TEXT.findall(cleaned(text))
    last = numbers[-1].strip() if numbers else None
    if found is None or not found.stated or not found.reading.values.keys() - {"several", "sequence"}:
        return last
    return last if last and compare(found.reading, read(last)) else tidy(found.text) or last


def vote(reply: str, *, options: Sequence[str] = (), choice: bool = False) -> Hashable | None:
    """What a reply votes for: replies with equal answers have equal votes; None for one without an answer.

    >>> vote("The answer is 18 dollars.") == vote("#### 18.0")
    True
    """
    found = find(reply, choice or bool(options))
    if found is not None and found.reading.values:
        texts = option_texts(tuple(options))
        place = choose(found.text, texts) if texts else None
        return key(found.reading) if place in (None, CONFLICT) else ("letter", chr(ord("A") + place))
    answer = extract_answer(reply, choice=choice or bool(options))
    if answer is None:
        text = cleaned(reply).strip()
        answer = text if "\n" not in text else ""
    return key(read(answer)) if answer else None


def parse_number(text: str) -> tuple[Fraction, bool] | None:
    r"""The exact value of a number and whether it is a percentage (then the value is still out of 100); else None.

    Reads `-1,234.50`, `1e3`, `3/4`, `1 1/2`, `$12`, `50%`, `\frac{1}{2}`, words. Thousands separators must stand every
    three digits. No float is used.

    >>> parse_number("1 1/2"), parse_number("1,00")
    ((Fraction(3, 2), False), None)
    """
    number = read(text).values.get("number") if len(text) <= LONGEST else None
    return None if number is None or re.search(r"[a-z]", number.words) else (number.value, number.percent)


_MATRIX = re.compile(r"(?:[0-9A-Za-z{}()\[\]+\-*/^_=,&| ]|\.(?!\.)|\\[A-Za-z]++|\\\\)++")
_NO_FORMULA = re.compile(r"\d *_|(?<![A-Za-z\\])[A-Za-z]{3,}|\\(?:text|[lc]?dots|[pb]?mod|deg)|\d\.\d+\.|\d-\d+-\d")


@functools.cache
def _worker() -> MathWorker:
    return MathWorker()


def _mathematics(text: str) -> bool:
    """Whether the library may be asked: nothing in the text is a factorial, a base, dots, a date or words."""
    bare = re.sub(r"\\[A-Za-z]+", " ", re.sub(r"\\(?:begin|end)\{[a-z]+\}", " ", text))
    return (
        "\\" in text
        and bool(_MATRIX.fullmatch(text))
        and not _NO_FORMULA.search(bare)
        and not re.search(r"\d-\d+-\d", text)
    )


def check_answer(
    candidate: str,
    gold: str,
    *,
    question: str = "",
    options: Sequence[str] = (),
    finished: bool = True,
    seconds: float = 10.0,
) -> Verdict:
    """Whether a solution, or an answer alone, gives the gold answer.

    The answer that the candidate states last is read (`find`), or what it ends in. RIGHT and WRONG need two values of
    one kind that were both read whole, equal or different: numbers (exactly; `1/2` equals `0.5`, and units, words,
    separators and percent signs are understood), choices, yes and no, words, times, dates, sets, tuples, intervals,
    ratios, equations and formulas. All else is UNKNOWN: no answer, several, a denied or retracted one, a rounded value,
    other units. Formulas of other forms go to math-verify in a worker process for at most `seconds`, which can only
    find them equal.

    Args:
        question: the problem's text, if known. Then a gold number has the unit that is asked for, and of a reply that
            states no answer the last sentence is read by what each of its values is to the question (`answering`).
        options: texts of the options of a choice, in order; then a letter and the text of its option are the same.
        finished: False if the candidate was cut off. Then only an answer counts that something follows.

    Raises InputError for an empty gold answer.

    >>> check_answer("So she has 1,000 clips.\\n#### 1,000", "1000")
    <Verdict.RIGHT: 'right'>
    """
    truth = gold if _BARE.fullmatch(gold) else stated_answer(gold) or tidy(gold)
    if not truth:
        raise InputError("the gold answer is empty; expected a problem with an answer: check the data's 'answer'")
    if finished and candidate == truth:
        return Verdict.RIGHT
    options = options or options_in(question)
    if options and choose(truth, option_texts(tuple(options))) in (None, CONFLICT):
        options = ()  # they are not options of this answer
    verdict = _verdict(candidate, truth, options, finished, seconds, question)
    if verdict is not Verdict.UNKNOWN or not finished:
        return verdict
    text = cleaned(candidate, bool(options))
    short = without_remarks(text, read_question(question))
    if statements(text, bool(options)) or taken_back(text[len(short) :]):
        return verdict
    if short != text.rstrip():
        verdict = _verdict(short, truth, options, finished, seconds, question)
    equal = answering.by_question(short, truth, options, question) if verdict is Verdict.UNKNOWN else None
    if not equal and verdict is Verdict.UNKNOWN:
        ends = ends_with(short, truth, question)
        equal = ends if equal is None or ends else equal
    if equal is None and verdict is Verdict.UNKNOWN and not options:
        equal = in_bold(candidate, truth, question)
    last = (short.splitlines() or [""])[-1]
    if equal is False and not options and (ends_in(short, truth) or says_indirectly(last)):
        return Verdict.UNKNOWN
    return verdict if equal is None else Verdict.RIGHT if equal else Verdict.WRONG


def _verdict(
    candidate: str, truth: str, options: Sequence[str], finished: bool, seconds: float, question: str
) -> Verdict:
    """The verdict on the answer that a candidate states, or that it ends in."""
    choice = bool(options) or "letter" in read(truth).values
    found = find(candidate, choice)
    if found is None or not (finished or found.stated and found.closed):
        return Verdict.UNKNOWN
    reads = bool(found.text and (found.reading.values or options))
    equal = same(found.text, found.reading, truth, options, question) if reads else None
    if equal is None:
        equal = _same_in_words(found, truth) or _by_library(found, truth, seconds)
    elif not found.stated or not equal and _rough(found):
        equal = None
    letter = found.reading.values.get("letter")
    if (
        equal is None
        or taken_back(found.rest)
        or called_wrong(found.reading, found.rest)
        or letter
        and taken_back(letter.rest)
        or options
        and contradicted(candidate, option_texts(tuple(options)))
    ):
        return Verdict.UNKNOWN
    if equal:
        return Verdict.RIGHT
    number = found.reading.values.get("number") if question and "number" in read(truth).values else None
    other_thing = number is not None and not of_kind(number, number.words, read_question(question))
    open_ = (
        other_thing
        or says_indirectly(found.text)
        or also_says(found, candidate, truth, options, question)
        or not (options or statements(cleaned(candidate)))
        and ends_in(cleaned(candidate), truth)
    )
    return Verdict.UNKNOWN if open_ else Verdict.WRONG


def _rough(found: Found) -> bool:
    number = found.reading.values.get("number")
    return number is not None and len(found.reading.values) == 1 and number.approximate and not number.computed


_BARE = re.compile(r"[-+]?[0-9][0-9,]*(?:\.[0-9]+)?")


def _same_in_words(found: Found, truth: str) -> bool | None:
    """True if a beginning of the answer is the gold answer word for word."""
    bare = lambda text: read(text)._replace(values={})
    same = not read(truth).values.keys() & {"number", "letter", "truth"} and any(
        compare(bare(truth), bare(part)) for part, _ in beginnings(found.text)
    )
    said = plain(found.text).lower()
    same = (
        same
        or found.stated
        and bool(
            re.fullmatch(rf"(?:it|this|that|[a-z ]+) (?:is|was) an? {re.escape(plain(truth).lower())} [a-z]+", said)
            and re.fullmatch(r"[a-z-]{4,}", plain(truth).lower())
            and not words.DOUBTED.search(said)
        )
    )
    return True if found.stated and (same or _named(plain(found.text), plain(truth))) else None


_CALLS = re.compile(
    r"(?:[^\W\d_][^\W\d_'-]*,? ){1,12}(?:is|are|was|were|called|named|known as|termed) (?:an? |the )?",
    re.IGNORECASE,
)


_CONTRASTS = re.compile(r"\b(?:where|while|whereas|although|unlike)\b", re.IGNORECASE)
_COMPOUND = re.compile(r"(?:[A-Z][a-z]?\d*){2,}")  # H2O
_WON = (
    r"(?:(?:is|was) the (?!second\b|last\b|wrong\b|other\b|same\b)[a-z]{4,}|(?:is|was) the [a-z]+ (?:of"
    r"|in) [A-Za-z]+(?! and\b)|won|wins|scored|scores|(?:is|was) the [a-z]+est|"
    r"(?:has|had|got|ate|earned|sold|read|ran) the most|(?:came|finished|arrived|is|was) first)\b[a-z ]*"
)


def _named(text: str, truth: str) -> bool:
    """Whether a sentence ends in the gold words as what something is: `The capital of France is Paris`."""
    before = text[: -len(truth)].rstrip("\"'")
    called = text.casefold().endswith(truth.casefold()) and _CALLS.fullmatch(before) and not _CONTRASTS.search(before)
    called = called if _COMPOUND.fullmatch(truth) or not re.search(r"\d", truth) else None
    acts = re.fullmatch(rf"{re.escape(truth)} (?:{_WON})", text)
    if (
        acts
        and truth[:1].isupper()
        and len(truth) > 2
        and not re.search(r"\b(?:and|or)\b", text)
        and not words.DOUBTED.search(text.casefold())
    ):
        return True
    return bool(called) and truth.lower() not in ("left", "right") and not words.DOUBTED.search(before.casefold())


def _by_library(found: Found, truth: str, seconds: float) -> bool | None:
    """True if math-verify finds the answers equal; None else, since it may have read a part only."""
    if found.reading.values and read(truth).values or not found.stated:
        return None
    texts = plain(truth), plain(found.text)
    return _worker().equal(*texts, seconds) or None if all(map(_mathematics, texts)) else None
