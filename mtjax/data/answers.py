"""Final answers: found in a text, and compared exactly where they are numbers."""

import enum
import functools
import re
from fractions import Fraction

from mtjax.data.math_worker import MathWorker
from mtjax.errors import InputError


class Verdict(enum.Enum):
    """What is known of an answer; unknown is neither right nor wrong and must be counted apart."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


_FORMS = (
    re.compile(r"####[ \t]*(?P<answer>[^\n]+)"),
    re.compile(r"^[ \t*]*(?:final )?(?:a|answer)[ \t*]*:[ \t*]*(?P<answer>[^\n]+)", re.IGNORECASE | re.MULTILINE),
    re.compile(r"answer is:?[ \t]*(?P<answer>[^\n]+?)(?=\.(?:\s|$)|\n|$)", re.IGNORECASE),
)
_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{2,}\b")
_CHOICE = re.compile(r"\(?(?P<letter>[A-Z])\)(?=\W|$)|(?P<bare>[A-Z])\.?$")
_MATHS = re.compile(r"[0-9\\^√π]|[A-Za-z)] *[+*/=] *[A-Za-z(]")


def _boxed(text: str) -> tuple[int, str] | None:
    """Place and content of the last `\\boxed{...}`, whose braces may nest."""
    for start in reversed([match.end() for match in re.finditer(r"\\boxed *\{", text)]):
        depth = 1
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return start, text[start:end]
    return None


def _tidy(answer: str) -> str:
    """An answer without the marks around it: white space, emphasis, dollars of LaTeX, a final full stop."""
    answer = re.sub(r"\\(?:text|mathrm|mbox) *\{([^{}]*)\}", r"\1", answer).strip().strip("*").strip()
    inner = re.fullmatch(r"\\\((.*)\\\)|\$([^$]*)\$", answer.removesuffix("."), re.DOTALL)
    answer = (inner[1] or inner[2] or "") if inner else answer
    return answer.removesuffix(".").strip()


def stated_answer(text: str) -> str | None:
    """The answer that a text states in so many words, the last one if several; None where it states none.

    Forms: `#### 18`, a line `A: 18` or `Answer: 18`, `\\boxed{18}`, `The answer is 18.`
    """
    found = [(match.start("answer"), match["answer"]) for form in _FORMS for match in form.finditer(text)]
    boxed = _boxed(text)
    # A box within a stated answer, as in "the answer is $\boxed{18}$", starts later and so wins.
    answers = [(place, _tidy(answer)) for place, answer in [*found, *([boxed] if boxed else [])]]
    answers = [(place, answer) for place, answer in answers if answer]
    return max(answers)[1] if answers else None


def extract_answer(text: str) -> str | None:
    """The final answer of a solution: the stated one (`stated_answer`), or else the last number; None without either.

    >>> extract_answer("Step 1: 12 + 7 = 19\\nAnswer: 19"), extract_answer("so 9 * 2 = $18 a day")
    ('19', '$18')
    """
    stated = stated_answer(text)
    if stated is not None:
        return stated
    numbers = NUMBER_IN_TEXT.findall(text)
    return numbers[-1].strip() if numbers else None


@functools.cache
def _worker() -> MathWorker:
    return MathWorker()


def _words(text: str) -> str:
    return " ".join(text.casefold().split())


def _numbers(answer: str) -> list[tuple[Fraction, bool]]:
    """The number that an answer is, or the numbers within its words; none where it is other mathematics."""
    whole = parse_number(answer) or parse_number(answer.rpartition("=")[2])
    if whole is not None:
        return [whole]
    if not _WORD.search(answer) or "\\" in answer:
        return []
    inside = [parse_number(match) for match in NUMBER_IN_TEXT.findall(answer)]
    return [number for number in inside if number is not None]


def check_answer(candidate: str, gold: str, *, seconds: float = 10.0) -> Verdict:
    """Whether a solution, or an answer alone, gives the gold answer.

    Numbers are compared exactly (`mtjax.data.answers`): `1/2` equals `0.5`, `1,000` equals `1000.0`, and 0.333 is
    not 1/3. Words around the candidate's one number are passed over (`18 eggs a day`); of an equation its right side
    counts; a sentence with several numbers, such as `3 hours 20 minutes`, is UNKNOWN. Letters of choices, `(B)` or
    `B`, and words must be the same but for case and white space. Other mathematics goes to math-verify in a worker
    process, and is UNKNOWN when that takes more than `seconds` or cannot read one side. No answer at all is WRONG.

    Raises InputError for an empty gold answer.

    >>> check_answer("So she has 1,000 clips.\\n#### 1,000", "1000")
    <Verdict.RIGHT: 'right'>
    """
    truth = stated_answer(gold) or _tidy(gold)
    if not truth:
        raise InputError("the gold answer is empty; expected a problem with an answer: check the data's 'answer'")
    number = parse_number(truth)
    answer = stated_answer(candidate)
    if answer is None:
        short = _tidy(candidate)
        # A short text is an answer by itself, such as "1/2" or "x + 1"; of a long one, the last number is.
        alone = "\n" not in short and (number is None or parse_number(short) is not None or re.search(r"[\\^]", short))
        answer = short if alone else extract_answer(candidate)
    if not answer:
        return Verdict.WRONG
    if number is not None:
        given = _numbers(answer)
        if len(given) == 1:
            return Verdict.RIGHT if same_number(given[0], number) else Verdict.WRONG
        if len(given) > 1:
            return Verdict.UNKNOWN
    if _words(answer) == _words(truth):
        return Verdict.RIGHT
    letter = _CHOICE.fullmatch(truth)
    if letter:
        chosen = _CHOICE.match(answer)
        same = chosen is not None and (chosen["letter"] or chosen["bare"]) == (letter["letter"] or letter["bare"])
        return Verdict.RIGHT if same else Verdict.WRONG
    if not (_MATHS.search(truth) and _MATHS.search(answer)):
        return Verdict.WRONG
    equal = _worker().equal(truth, answer, seconds)
    return Verdict.UNKNOWN if equal is None else (Verdict.RIGHT if equal else Verdict.WRONG)


_UNSIGNED = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"


_PLAIN = re.compile(rf"{_UNSIGNED}(?:[eE][-+]?[0-9]{{1,3}})?")


_FRACTION = re.compile(rf"({_UNSIGNED}) ?/ ?([-+]?{_UNSIGNED})")


_MIXED = re.compile(r"([0-9]+) ([0-9]+) ?/ ?([0-9]+)")


_LATEX_FRACTION = re.compile(r"\\[dt]?frac *\{([^{}]*)\} *\{([^{}]*)\}")


_LATEX_SHORT_FRACTION = re.compile(r"\\[dt]?frac *([0-9]) *([0-9])")


LONGEST = 400
"""Longer texts than this are not read as a number."""


_SIGNED = rf"[-+−]?[$€£¥]? ?(?:[0-9]+ [0-9]+/[0-9]+|{_UNSIGNED}(?: ?/ ?{_UNSIGNED})?)"


NUMBER_IN_TEXT = re.compile(rf"(?<![\w.,/]){_SIGNED}(?:[eE][-+]?[0-9]{{1,3}}\b)? ?%?")
"""A number within running text, with sign, currency and percent sign; a sign right behind a digit or letter is none."""


def parse_number(text: str) -> tuple[Fraction, bool] | None:
    """The exact value of a number and whether it is a percentage (then the value is still out of 100); else None.

    Reads `-1,234.50`, `1e3`, `3/4`, `1 1/2`, `$12`, `50%`, `\\frac{1}{2}` and the same in `$...$`. Thousands
    separators must stand every three digits. There are no floats on the way.

    >>> parse_number("1 1/2"), parse_number("1,00")
    ((Fraction(3, 2), False), None)
    """
    if len(text) > LONGEST:
        return None
    text = text.strip().replace("−", "-").replace("\\$", "$").replace("\\%", "%").replace("{,}", ",")
    text = re.sub(r"\\[,!; ]", "", text).replace("\\left", "").replace("\\right", "")
    if len(text) > 2 and text.startswith("$") and text.endswith("$"):
        text = text[1:-1].strip()
    text = _LATEX_SHORT_FRACTION.sub(r" \1/\2", _LATEX_FRACTION.sub(r" \1/\2", text))
    text = re.sub(r"^([-+]?) ?[$€£¥]? ?([-+]?) ?(.*?)\.?$", r"\1\2\3", text.strip(), flags=re.DOTALL).strip()
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    sign = -1 if text.startswith("-") else 1
    text = text[1:].strip() if text[:1] in ("-", "+") else text
    value = _unsigned(text)
    return None if value is None else (sign * value, percent)


def _unsigned(text: str) -> Fraction | None:
    if _PLAIN.fullmatch(text):
        return Fraction(text.replace(",", ""))
    if match := _MIXED.fullmatch(text):
        whole, top, bottom = (Fraction(part) for part in match.groups())
        return None if bottom == 0 else whole + top / bottom
    if match := _FRACTION.fullmatch(text):
        top, bottom = (Fraction(part.replace(",", "")) for part in match.groups())
        return None if bottom == 0 else top / bottom
    return None


def same_number(a: tuple[Fraction, bool], b: tuple[Fraction, bool]) -> bool:
    """Exact equality of two `parse_number` results.

    Where one alone is a percentage, both readings of the other count: `50%` equals `0.5`, and it equals `50`, since
    gold answers often leave the sign out ("what percentage ...?").
    """
    if a[1] == b[1]:
        return a[0] == b[0]
    percent, plain = (a[0], b[0]) if a[1] else (b[0], a[0])
    return plain in (percent, percent / 100)
