"""One spelling for each sign: Unicode digits, dashes and spaces, LaTeX, Markdown and HTML around an answer."""

import re
import unicodedata


def listed(words: str) -> list[str]:
    """The words of a table that is written as one text."""
    return words.split()


_SIGNS = {
    **dict.fromkeys("‐‑‒–—−－﹣", "-"), **dict.fromkeys("＋﹢", "+"), **dict.fromkeys("×·∙⋅✕", r"\times "),
    **dict.fromkeys("＄﹩", "$"), **dict.fromkeys("％﹪", "%"), **dict.fromkeys("“”„«»＂", '"'),
    **dict.fromkeys("‘’′＇", "'"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f", ""), **dict.fromkeys("≤⩽", r"\le "), "″": '"',
    **dict.fromkeys("≥⩾", r"\ge "), "≠": r"\ne ", "÷": "/", "⁄": "/", "∕": "/", "／": "/", "√": r"\sqrt ",
    "ℝ": "R", "∩": r"\cap ", "π": r"\pi ", "∞": r"\infty ",
    "∪": r"\cup ", "∅": r"\emptyset ", "±": r"\pm ", "≈": r"\approx ", "∈": r"\in ", "∠": r"\angle ",
    "℃": "°C", "℉": "°F", "٫": ".", "٬": ",", "，": ", ", "：": ":", "（": "(", "）": ")",
    "＝": "=", "．": ".", "。": ". ", "º": "°", "…": "...", 
    "｛": "{", "｝": "}", "［": "[", "］": "]", 
    "⟨": "(", "⟩": ")",
} | dict(zip("αβγδθλφωρστ", (
    rf"\{name} " for name in listed("alpha beta gamma delta theta lambda phi omega rho sigma tau")), strict=True)
)  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_TABLE = {ord(sign): text for sign, text in _SIGNS.items()}


def ascii_signs(text: str) -> str:
    """The text with one spelling for digits, dashes, spaces, fractions and signs; other letters stay.

    >>> ascii_signs("−1½ m² ＝ ٣")
    '-1 1/2 m^{2} = 3'
    """
    if text.isascii():
        return text
    if "，" in text:
        text = re.sub(r"(?<=\d)，(?=\d{3}(?!\d))", ",", text)
    if "√" in text:
        text = re.sub(r"√ ?(\d\d+)", r"√{\1}", text)
    out: list[str] = []
    for sign in text.translate(_TABLE):
        if sign < "\x80":
            out.append(sign)
        elif sign.isspace() or unicodedata.category(sign) == "Zs":
            out.append("\n" if sign in "\u2028\u2029\x85" else " ")
        elif (digit := unicodedata.decimal(sign, None)) is not None and sign not in _RAISED:
            out.append(str(digit))
        elif unicodedata.normalize("NFKC", sign).count("⁄") == 1:
            gap = " " if out and out[-1][-1:].isdigit() else ""
            out.append(gap + unicodedata.normalize("NFKC", sign).replace("⁄", "/"))
        else:
            out.append(sign)
    text = "".join(out)
    if _RAISED.keys() & set(text) or _LOWERED.keys() & set(text):
        # A raised sign in front of everything is a plain sign, such as the minus of "⁻5".
        text = re.sub(r"(?<![\w)\]}])[⁻⁺]", lambda found: _RAISED[found[0]], text)
        text = re.sub(
            f"[{''.join(_RAISED)}]+", lambda run: "^{" + "".join(_RAISED[sign] for sign in run[0]) + "}", text
        )
        text = re.sub(
            f"[{''.join(_LOWERED)}]+", lambda run: "_{" + "".join(_LOWERED[sign] for sign in run[0]) + "}", text
        )
    return text


_WORDS_IN_LATEX = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|mathrm|mathbf|mathit|mathsf|mathtt|mbox|hbox|boldsymbol|bm"
    r"|operatorname|emph|underline|textcolor\{\w*\}|displaystyle) *\{([^{}]*)\}"
)
_MARKS = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:eos|pad|end_of_turn)>|</?(?:b|i|u|em|strong|br|p|div|span|code|pre|mark"
    r"|h[1-6])\b[^<>\n]{0,80}>|```[\w+-]*|`|~~|\\begin\{(?:align\*?|equation\*?|aligned|gathered|center)\}"
    r"|\\end\{(?:align\*?|equation\*?|aligned|gathered|center)\}",
    re.IGNORECASE,
)
_STRUCK = re.compile(r"~~[^~\n]+~~|<(del|strike)>.*?</\1>", re.IGNORECASE | re.DOTALL)
_SPOKEN_THOUSANDS = re.compile(
    r"\b(thousand|million|billion), (?=(?:and )?(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|"
    r"(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty)\b)",
    re.IGNORECASE,
)
_ITALIC = re.compile(r"(?<![\w*)])\*([A-Za-z][^*\n]*[^*\s])\*(?![\w*])")
_EMPHASIS = re.compile(r"\*\*\*|\*\*|(?<!\w)__|__(?!\w)")


def without_markup(text: str) -> str:
    r"""The text without emphasis, tags of HTML, code fences, end tokens, and commands around words of LaTeX.

    >>> without_markup(r"**Answer:** \textbf{(A)}<|im_end|>")
    'Answer: (A)'
    """
    if "usand," in text or "llion," in text:
        text = _SPOKEN_THOUSANDS.sub(r"\1 ", text)
    if "\\" in text:
        before = ""
        while before != text:
            before, text = text, _WORDS_IN_LATEX.sub(lambda found: found[1].replace("~", " "), text)
    if "~~" in text or "</" in text:
        text = _STRUCK.sub("", text)
    if "<" in text or "`" in text or "~~" in text or "\\begin" in text:
        text = _MARKS.sub("", text)
    if "&=" in text:
        text = text.replace("&=", "=")
    if "\\color" in text:
        text = re.sub(r"\\color *\{\w+\} *(?:\{([^{}]*)\})?", r"\1", text)
    if text[:1] == "_" or "\n_" in text:
        text = re.sub(r"(?m)^_([A-Za-z][^_\n]*)_(?=$| )", r"\1", text)
    if "*" in text:
        text = _ITALIC.sub(r"\1", text)
    if "==" in text:
        text = re.sub(r"(?<!\S)==(?=[^\s=])([^=\n]*[^\s=])==(?!\S)", r"\1", text)
    if "**" in text or "__" in text:
        text = _EMPHASIS.sub("", re.sub(r"(?<=[\w)])\*\*(?=[\w(]|-\d)(?=[^*\n]*(?:\n|$))", "^", text))
    return text


_MATHS = re.compile(r"\$\$(.+?)\$\$|(?<![\\$])\$(?=[^\s$])((?:[^$\\\n]|\\.)*?(?:[^\s\\$]|\\\}))\$(?![\d$])", re.DOTALL)
_FRACTION = re.compile(
    r"\\frac *(?:\{ *([-+]?[\d.,]+) *\} *\{ *(\d+) *\}|(\d) *(?:(\d)|\{ *(\d+) *\})|\{ *(\d+) *\} *(\d))"
)
_DROPPED = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg|limits|mathopen|mathclose)(?![A-Za-z])|\\displaystyle(?![A-Za-z])\s*|\\!"
)
_GAPS = re.compile(r"\\(?:quad|qquad)\b|(?<!\\)\\[,:; ]|(?<!\\)~")
_NAMES = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"), (re.compile(r"\^ *\{? *\\circ *\}?|\\degree\b|\\deg\b"), "°"),
    (re.compile(r"\\leq?(?:slant)?(?![A-Za-z])"), r"\\le "), (re.compile(r"\\geq?(?:slant)?(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\(?:lt)(?![A-Za-z])"), "<"), (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"\\varnothing"), r"\\emptyset"), (re.compile(r"\\mathbb *\{? *([RZNQ]) "
        r"*\}?"), r"\1"), (re.compile(r"\\langle\b"), "("), (re.compile(r"\\rangle\b"), ")"),
    (re.compile(r"\\(?:div)(?![A-Za-z])"), "/"), (re.compile(r"\\cdot(?![A-Za-z])|\\ast(?![A-Za-z])"), r"\\times "),
    (re.compile(r"\\[lr]?brack(?:et)?(?![A-Za-z])"), " "), (re.compile(r"\\(?:dots|ldots|cdots)(?![A-Za-z])"), "..."),
)  # fmt: skip


_CASES = re.compile(r"\\begin\{cases\}((?:(?![&<>]|\\begin).)*?)(?:\\\\)?\s*\\end\{cases\}", re.DOTALL)
_ARROW = re.compile(r"^ *(?:→|⇒|⟹|∴|=>|\\Rightarrow\b|\\implies\b|\\therefore\b)\s*")


def plain(answer: str) -> str:
    r"""An answer in one spelling on one line: `ascii_signs`, without `$...$`, gaps and sizes of LaTeX.

    Numeric fractions become `1/2`, so that mixed numbers read as such.

    >>> plain(r"$1\tfrac{1}{2}\,\text{m}$.")
    '1 1/2 m'
    """
    text = re.sub(r"\bUS\$", "$", without_markup(ascii_signs(answer)))
    text = re.sub(r"\b[Aa]pprox\. ?(?=[-$\d])", "about ", text)
    text = re.sub(r"\b[Nn]o\. ?of\b", "number of", text)
    text = text.replace("/-", "") if re.search(r"\d/-(?!\d)", text) else text  # Rs. 500/-
    text = _CASES.sub(lambda found: ", ".join(re.split(r"\\\\", found[1])), text) if "{cases}" in text else text
    if "\\" in text:
        text = re.sub(r"(?<!\\)\\[()\[\]](?!\{)", " ", _DROPPED.sub("", text))
        for pattern, name in _NAMES:
            text = pattern.sub(name, text)
        text = _GAPS.sub(" ", text)
        text = _FRACTION.sub(_numeric_fraction, text).replace("\\%", "%")
    if "$" in text:
        text = _MATHS.sub(lambda found: f" {found[1] or found[2]} ", text).replace("\\$", "$")
    text = " ".join(text.replace("{,}", ",").split())
    text = re.sub(r"^[\"'`*]+|[\"'`*]+$", "", text) if text[:1] in "\"'`*" or text[-1:] in "\"'`*" else text
    text = re.sub(r" [:;]-?[)D]$", "", _ARROW.sub("", text))
    while text[:1] > "\u2000" and unicodedata.category(text[0]) == "So":
        text = text[1:].lstrip(" *\"'`")
    while text[-1:] and (text[-1] in ".,;:" or unicodedata.category(text[-1]) == "So") and not text.endswith(".."):
        if re.search(r"\b[ap]\.m\.$", text):
            break
        text = text[:-1].rstrip(" *\"'`") if text[-1] != "°" else text + " "
        if text.endswith(" "):
            break
    return text.strip()


def _numeric_fraction(found: re.Match[str]) -> str:
    top = found[1] or found[3] or found[6]
    gap = " " if found.start() and found.string[found.start() - 1].isdigit() else ""
    return f"{gap}{top}/{found[2] or found[4] or found[5] or found[7]}"
