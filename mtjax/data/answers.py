"""Final answers: found in a text, and compared exactly where they are numbers."""

import enum
import functools
import re
from fractions import Fraction

from mtjax.data.math_worker import MathWorker
from mtjax.errors import InputError

LONGEST = 400  # Longer texts than this are not read as a number.

_UNSIGNED = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_PLAIN = re.compile(rf"{_UNSIGNED}(?:[eE][-+]?[0-9]{{1,3}})?")
_FRACTION = re.compile(rf"(?:([0-9]+) (?=[0-9]+ ?/ ?[0-9]+$))?({_UNSIGNED}) ?/ ?([-+]?{_UNSIGNED})")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac *(?:\{([^{}]*)\} *\{([^{}]*)\}|([0-9]) *([0-9]))")
_SIGNED = rf"[-+−]?[$€£¥]? ?(?:[0-9]+ [0-9]+/[0-9]+|{_UNSIGNED}(?: ?/ ?{_UNSIGNED})?)"

NUMBER_IN_TEXT = re.compile(rf"(?<![\w.,/]){_SIGNED}(?:[eE][-+]?[0-9]{{1,3}}\b)? ?%?")
"""A number within running text, with sign, currency and percent sign; after a digit or letter, no sign is read."""


def parse_number(text: str) -> tuple[Fraction, bool] | None:
    """The exact value of a number and whether it is a percentage (then the value is still out of 100); else None.

    Reads `-1,234.50`, `1e3`, `3/4`, `1 1/2`, `$12`, `50%`, `\\frac{1}{2}` and the same in `$...$`. Thousands
    separators must stand every three digits. No float is used.

    >>> parse_number("1 1/2"), parse_number("1,00")
    ((Fraction(3, 2), False), None)
    """
    if len(text) > LONGEST:
        return None
    text = text.strip().replace("−", "-").replace("\\$", "$").replace("\\%", "%").replace("{,}", ",")
    text = re.sub(r"\\[,!; ]", "", text).replace("\\left", "").replace("\\right", "")
    if len(text) > 2 and text.startswith("$") and text.endswith("$"):
        text = text[1:-1].strip()
    text = _LATEX_FRACTION.sub(lambda match: f" {match[1] or match[3]}/{match[2] or match[4]}", text)
    text = re.sub(r"^([-+]?) ?[$€£¥]? ?([-+]?) ?(.*?)\.?$", r"\1\2\3", text.strip(), flags=re.DOTALL).strip()
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    sign = -1 if text.startswith("-") else 1
    text = text[1:].strip() if text[:1] in ("-", "+") else text
    if _PLAIN.fullmatch(text):
        return sign * Fraction(text.replace(",", "")), percent
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    whole, top, bottom = (Fraction((part or "0").replace(",", "")) for part in match.groups())
    return None if bottom == 0 else (sign * (whole + top / bottom), percent)


def same_number(a: tuple[Fraction, bool], b: tuple[Fraction, bool]) -> bool:
    """Exact equality of two `parse_number` results.

    If only one is a percentage, both readings of the other count, since gold answers often leave the sign out: `50%`
    equals `0.5` and `50`.
    """
    if a[1] == b[1]:
        return a[0] == b[0]
    percent, plain = (a[0], b[0]) if a[1] else (b[0], a[0])
    return plain in (percent, percent / 100)


_BOX = re.compile(r"\\boxed\s*\{")


def _closing_brace(text: str, start: int) -> int | None:
    """Where the brace closes that was opened just before `start`; None if it never does."""
    depth = 1
    for end in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return end
    return None


def unboxed(text: str) -> str:
    r"""The text with every `\boxed{...}` replaced by its content; one without closing brace is left.

    >>> unboxed(r"so \boxed{\frac{1}{2}}.")
    'so \\frac{1}{2}.'
    """
    place = 0
    while box := _BOX.search(text, place):
        end = _closing_brace(text, box.end())
        place = box.end() if end is None else box.start()
        if end is not None:
            text = text[: box.start()] + text[box.end() : end] + text[end + 1 :]
    return text


_FORMS = (
    re.compile(r"####[ \t]*(?P<answer>[^\n]+)"),
    re.compile(r"^[ \t*]*(?:final )?(?:a|answer)[ \t*]*:[ \t*]*(?P<answer>[^\n]+)", re.IGNORECASE | re.MULTILINE),
    re.compile(r"answer is:?[ \t]*(?P<answer>[^\n]+?)(?=\.(?:\s|$)|\n|$)", re.IGNORECASE),
)


def _tidy(answer: str) -> str:
    """An answer without the marks around it: white space, emphasis, dollars of LaTeX, a final full stop."""
    answer = re.sub(r"\\(?:text|mathrm|mbox) *\{([^{}]*)\}", r"\1", answer).strip().strip("*").strip()
    inner = re.fullmatch(r"\\\((.*)\\\)|\$([^$]*)\$", answer.removesuffix("."), re.DOTALL)
    answer = (inner[1] or inner[2] or "") if inner else answer
    return answer.removesuffix(".").strip()


def stated_answer(text: str) -> str | None:
    """The answer that a text states in so many words, the last one if several; None if it states none.

    Forms: `#### 18`, a line `A: 18` or `Answer: 18`, `\\boxed{18}`, `The answer is 18.`
    """
    found = [(match.start("answer"), match["answer"]) for form in _FORMS for match in form.finditer(text)]
    starts = [match.end() for match in _BOX.finditer(text)]
    boxes = [(start, text[start:end]) for start in starts if (end := _closing_brace(text, start)) is not None]
    # A box within a stated answer, as in "the answer is $\boxed{18}$", starts later and so wins.
    answers = [(place, tidy) for place, answer in [*found, *boxes[-1:]] if (tidy := _tidy(answer))]
    return max(answers)[1] if answers else None


def extract_answer(text: str) -> str | None:
    """The final answer of a solution: the stated one (`stated_answer`), or else the last number; None without either.

    >>> extract_answer("Step 1: 12 + 7 = 19\\nAnswer: 19"), extract_answer("so 9 * 2 = $18 a day")
    ('19', '$18')
    """
    stated = stated_answer(text)
    numbers = NUMBER_IN_TEXT.findall(text) if stated is None else ()
    return numbers[-1].strip() if numbers else stated


class Verdict(enum.Enum):
    """What is known of an answer; unknown is neither right nor wrong and must be counted apart."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"


_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{2,}\b")
_CHOICE = re.compile(r"\(?(?P<letter>[A-Z])\)(?=\W|$)|(?P<bare>[A-Z])\.?$")
_MATHS = re.compile(r"[0-9\\^√π]|[A-Za-z)] *[+*/=] *[A-Za-z(]")


@functools.cache
def _worker() -> MathWorker:
    return MathWorker()


def _numbers(answer: str) -> list[tuple[Fraction, bool]]:
    """The number that an answer is, or the numbers within its words; none for other mathematics."""
    alone = parse_number(answer) or parse_number(answer.rpartition("=")[2])
    if alone is not None:
        return [alone]
    if not _WORD.search(answer) or "\\" in answer:
        return []
    inside = map(parse_number, NUMBER_IN_TEXT.findall(answer))
    return [number for number in inside if number is not None]


def check_answer(candidate: str, gold: str, *, seconds: float = 10.0) -> Verdict:
    """Whether a solution, or an answer alone, gives the gold answer.

    Numbers are compared exactly: `1/2` equals `0.5`, `1,000` equals `1000.0`, and 0.333 is not 1/3. Words around the
    candidate's one number are ignored (`18 eggs a day`); of an equation its right side counts; a sentence with several
    numbers, such as `3 hours 20 minutes`, is UNKNOWN. Letters of choices, `(B)` or `B`, and words must be the same
    except for case and white space. Other mathematics goes to math-verify in a worker process, and is UNKNOWN if that
    takes more than `seconds` or cannot read one side. No answer at all is WRONG.

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
    given = _numbers(answer) if number is not None else []
    equal: bool | None
    if number is not None and given:
        equal = same_number(given[0], number) if len(given) == 1 else None
    elif answer.casefold().split() == truth.casefold().split():
        equal = True
    elif letter := _CHOICE.fullmatch(truth):
        chosen = _CHOICE.match(answer)
        equal = chosen is not None and (chosen["letter"] or chosen["bare"]) == (letter["letter"] or letter["bare"])
    elif _MATHS.search(truth) and _MATHS.search(answer):
        equal = _worker().equal(truth, answer, seconds)
    else:
        equal = False
    return Verdict.UNKNOWN if equal is None else Verdict.RIGHT if equal else Verdict.WRONG
