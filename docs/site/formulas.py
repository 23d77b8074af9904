"""Formulas of docstrings as MathML, which browsers draw without a script.

Docstrings and pages write formulas as plain text in code spans, such as `sum_t w_t (-log p_t) / sum_t w_t`, which can
be read in an editor. `mathml` reads that notation: names of Greek letters, `x_t`, `x^2`, `sum_t`, `sqrt(x)`,
products without a sign, and `/`, which divides all of the product before it.
"""

import html
import re
from typing import NamedTuple

LETTERS = ("alpha", "beta", "gamma", "delta", "epsilon", "eta", "theta", "kappa", "lambda", "mu", "nu", "rho", "sigma")
LETTERS += ("tau", "phi", "psi", "omega", "pi", "xi", "Gamma", "Delta", "Sigma", "Phi", "Psi", "Omega")
GREEK = {name: html.unescape(f"&{name};") for name in LETTERS}
SIGNS = {"*": "·", "-": "−", "<=": "≤", ">=": "≥", "!=": "≠", "->": "→", "...": "…", "~": "∼"}
LARGE = {"sum": "∑", "prod": "∏"}
FUNCTIONS = {"log", "ln", "exp", "sqrt", "max", "min", "mean", "softmax", "logsumexp", "sigmoid", "softplus", "tanh"}
FUNCTIONS |= {"relu", "cos", "KL", "CE", "sg", "Var", "Cov", "clip"}
WORDS = {"inf": "∞", "infinity": "∞"}
GROUPS = {"(": ")", "[": "]", "{": "}"}
BETWEEN_TERMS = {"+", "-", "=", ",", ";", "<", ">", "<=", ">=", "!=", "->", "...", "…", "~", "|"}
TOKEN = re.compile(
    r"(\s*)(?:(?P<number>\d[\d,]*\d(?:\.\d+)?%?|\d+(?:\.\d+)?(?:e-?\d+)?%?|\.\d+)|(?P<name>[^\W\d_]\w*(?:_<=?\w+)?)"
    r"|(?P<sign><=|>=|!=|->|\.\.\.|[-+*/=<>~,;|'^()\[\]{}…])|(?P<other>\S))"
)
CODE = re.compile(  # What marks code: quotes, options, attributes, keyword arguments, shapes, types, words of Python.
    r"""["`:@#$%&?!\\]|--|==|<<|>>|\*\*|\.\. |[a-z_]\.\w|\w=\S|^\[|->|//|^\w+\(\)$|[a-z]{2,}/|/[a-z]{2,}"""
    r"""|\b(?:if|else|for|not|is|None|True|False|import|def)\b"""
)
FORMULA = re.compile(  # What marks a formula: signs between spaces, exponents, sums, `log p`, `-f(x)`, `x_t`.
    r"(?:^| |\))(?:[-+*/=<>~]|<=|>=)(?: |\()|\^|\b(?:sum|prod)_|\blog [a-z(]|^-\w+\("
    r"|^-?[A-Za-z]_[a-z]$|^[A-Z]\([a-z](?:, [a-z])*\)$"
)


def is_formula(text: str) -> bool:
    """Whether a code span is a formula rather than code."""
    if CODE.search(text.replace("!=", "<")) or not FORMULA.search(text):
        return False
    try:
        mathml(text)
    except ValueError:
        return False
    return any(_name(match["name"])[0] != "word" for match in TOKEN.finditer(text) if match["name"])


def mathml(text: str, display: bool = False) -> str:
    """The formula as a `<math>` element in a span; `display` draws fractions as such, and limits below their sums.

    Raises:
        ValueError: a bracket has no partner, an exponent is missing, or a character is none of a formula's.
    """
    tokens = [Token(m.lastgroup or "", m[m.lastgroup or 0], bool(m[1])) for m in TOKEN.finditer(text.strip())]
    if strange := [token.word for token in tokens if token.kind == "other"]:
        raise ValueError(f"no formula has '{strange[0]}': {text}")
    row, rest = _row(tokens, None, display)
    if rest:
        raise ValueError(f"'{rest[0].word}' closes nothing: {text}")
    shown = ' displaystyle="true"' * display
    return f'<span class="formula"><math{shown} alttext="{html.escape(text)}">{row}</math></span>'


class Token(NamedTuple):
    """A number, name or sign."""

    kind: str
    word: str
    spaced: bool  # whether white space stands before it


class Item(NamedTuple):
    """An element of a row."""

    kind: str  # atom, function, large, or the sign itself
    element: str
    spaced: bool = True


def _row(tokens: list[Token], until: str | None, display: bool) -> tuple[str, list[Token]]:
    """The items up to the bracket `until` (or the end) as one element, and the tokens behind it."""
    items: list[Item] = []
    while tokens and tokens[0].word not in GROUPS.values():
        kind, word, _ = tokens[0]
        if kind == "sign" and word not in GROUPS:
            tokens = tokens[1:]
            if word == "'" and items:
                items[-1] = items[-1]._replace(element=f"<msup>{items[-1].element}<mo>′</mo></msup>")
            elif word in "'^":
                raise ValueError(f"'{word}' stands behind nothing")
            else:
                items.append(Item(word, f'<mo stretchy="false">{html.escape(SIGNS.get(word, word))}</mo>'))
        else:
            item, tokens = _atom(tokens, display)
            items.append(item)
    if until is not None:
        if not tokens or tokens[0].word != until:
            raise ValueError(f"'{until}' is missing")
        tokens = tokens[1:]
    return f"<mrow>{_fractions(items) if display else _joined(items)}</mrow>", tokens


def _joined(items: list[Item]) -> str:
    """The elements with a thin space between factors."""
    out = []
    for before, item in zip([None, *items[:-1]], items, strict=True):
        between = before is not None and not (before.kind + item.kind).strip("abcdefghijklmnopqrstuvwxyz")
        out.append('<mspace width="0.2em"/>' * (between and item.spaced) + item.element)
    return "".join(out)


def _fractions(items: list[Item]) -> str:
    """The elements, with `/` as a fraction where there can be no doubt what it divides.

    That is: by a number, a name, a bracket or a function of one, or a sum by a sum.
    """
    out: list[Item] = []
    term: list[Item] = []
    for item in [*items, Item(",", "")]:
        if item.kind not in BETWEEN_TERMS:
            term.append(item)
            continue
        slashes = [place for place, part in enumerate(term) if part.kind == "/"]
        if len(slashes) == 1:
            above, below = term[: slashes[0]], term[slashes[0] + 1 :]
            kinds = [part.kind for part in below]
            both = "large" in [part.kind for part in above], "large" in kinds
            if above and (
                kinds in (["atom"], ["function", "atom"]) and not both[0] or kinds[:1] == ["large"] and both[0]
            ):
                term = [Item("atom", f"<mfrac><mrow>{_joined(above)}</mrow><mrow>{_joined(below)}</mrow></mfrac>")]
        out += [*term, item]
        term = []
    return _joined(out[:-1])


def _atom(tokens: list[Token], display: bool) -> tuple[Item, list[Token]]:
    """A number, name or group with its subscript and exponent, and the tokens behind it."""
    (kind, word, spaced), tokens = tokens[0], tokens[1:]
    what, below, above = "atom", "", ""
    if word in GROUPS:
        inner, tokens = _row(tokens, GROUPS[word], display)
        element = f"<mrow><mo>{word}</mo>{inner}<mo>{GROUPS[word]}</mo></mrow>"
    elif word == "sqrt" and tokens and tokens[0].word == "(":
        inner, tokens = _row(tokens[1:], ")", display)
        element = f"<msqrt>{inner}</msqrt>"
    elif kind == "number":
        element = f"<mn>{word}</mn>"
    else:
        what, element, below = _name(word)
        if word.endswith("_") and tokens and tokens[0].word == "{":
            below, tokens = _row(tokens[1:], "}", display=False)
    if tokens and tokens[0].word == "^":
        above, tokens = _exponent(tokens[1:])
    places = ("munder", "mover", "munderover") if what == "large" else ("msub", "msup", "msubsup")
    if below or above:
        tag = places[2] if below and above else places[0] if below else places[1]
        element = f"<{tag}>{element}{below}{above}</{tag}>"
    return Item("atom" if what == "word" else what, element, spaced), tokens


def _exponent(tokens: list[Token]) -> tuple[str, list[Token]]:
    """What stands behind `^`: a group without its brackets, or one number or name, with a minus where there is one."""
    if tokens and tokens[0].word == "(":
        return _row(tokens[1:], ")", display=False)
    minus = bool(tokens) and tokens[0].word == "-"
    tokens = tokens[minus:]
    if not tokens or tokens[0].kind == "sign" and tokens[0].word not in GROUPS:
        raise ValueError("an exponent is missing")
    item, tokens = _atom(tokens, display=False)
    return f"<mrow>{'<mo>−</mo>' * minus}{item.element}</mrow>", tokens


def _name(word: str) -> tuple[str, str, str]:
    """The kind, the element and the subscript of a name: of one letter, Greek, of a function, or a word."""
    if word in WORDS:
        return "atom", f"<mi>{WORDS[word]}</mi>", ""
    base, _, below = word.partition("_")
    numbered = re.fullmatch(r"([A-Za-z]+?)(\d+)", word)
    if numbered and (numbered[1] in GREEK or len(numbered[1]) == 1):
        base, below = numbered.groups()
    symbol = base in GREEK or base in LARGE or base in FUNCTIONS or len(base) == 1 or 1 <= len(below) <= 2
    if not symbol or "_" in below:
        return "word", f"<mtext>{word}</mtext>" if below else f"<mi>{word}</mi>", ""
    tag = "mn" if below.isdigit() else "mi"
    index = f"<{tag}>{GREEK.get(below, html.escape(below))}</{tag}>"
    kind = "large" if base in LARGE else "function" if base in FUNCTIONS else "atom"
    sign = f"<mo>{LARGE[base]}</mo>" if kind == "large" else f"<mi>{GREEK.get(base, base)}</mi>"
    return kind, sign, index if below else ""
