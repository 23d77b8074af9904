"""The letter of a choice that a text names."""

import re
from typing import NamedTuple


class Letter(NamedTuple):
    """The letter of a choice, and what stands behind it."""

    letter: str
    rest: str


_LETTER = re.compile(
    r"(?:(?i:option|choice|alternative|answer) )?(?:[(\[{] ?(?P<a>[A-Za-z]) ?[)\]}][.:]?|(?P<b>[A-J])(?:[).:]|"
    r"(?= -)))(?: *(?P<rest>.*))?"
    r"|(?:(?i:option|choice|alternative|letter) )(?P<e>[a-j])|(?:(?i:option|choice|alternative|answer|letter) )?"
    r"(?P<c>[A-Z])|(?P<d>[a-j])\)(?: *(?P<more>.*))?"
)


_NO_CHOICE = re.compile(
    r"- (?:no|wrong|incorrect)$|[✗✘❌]|^(?:(?:or|and|nor|to|cannot|can|gives?|isn't|would|has|have|was|were|does|fits"
    r"|but)\b|[,&/]|(?:is|are)\b(?! (?:the )?(?:correct|right)))|\b(?:is|are|was|seems) (?:wrong|incorrect|false"
    r"|impossible|not (?:right|correct|the answer)|too [a-z]+)\b|\b(?:would|can't|cannot) be\b|\bdoes(?: not"
    r"|n't) (?:satisfy|work|fit)\b|\bor [0-9]|\([A-J]\)|\boption [A-J]\b"
)


_YES = r"(?:yes|correct|right|true|✓|✔|✅|☑)"
_NO = r"(?:no|incorrect|wrong|false|not correct|too [a-z]+|✗|✘|❌|✖|\\times|x)"
_MARKED = re.compile(rf"[\W_]*\(?(?P<letter>[A-J])[).:][^\n]*?\W(?:(?P<yes>{_YES})|{_NO})[\W\ufe0f]*", re.IGNORECASE)


def marked_option(text: str) -> str | None:
    """The one letter that a list of options from A on marks as correct, the others as wrong; else None.

    >>> marked_option("A: 12 ✗\\nB: 15 ✓\\nC: 18 ✗"), marked_option("A: 12 ✓\\nB: 15 ✓")
    ('B', None)
    """
    lines = [line for line in text.splitlines() if line.strip()]
    found = [one for line in reversed(lines) if (one := _MARKED.fullmatch(line))][::-1]
    letters = "".join(one["letter"].upper() for one in found)
    chosen = [one["letter"].upper() for one in found if one["yes"]]
    complete = len(found) > 1 and "ABCDEFGHIJ".startswith(letters) and bool(_MARKED.fullmatch(lines[-1]))
    return chosen[0] if complete and len(chosen) == 1 else None


_THE_OTHERS = re.compile(r"(?:(?:the|all(?: the| of the)?) )?others?\b", re.IGNORECASE)  # B. The others are too short


def read_letter(text: str) -> Letter | None:
    """The choice that a text names by its letter: `B`, `(B)`, `B. 24`, `option C`; else None."""
    found = _LETTER.fullmatch(text)
    if found is None:
        return None
    letter = found["a"] or found["b"] or found["c"] or found["d"] or found["e"]
    rest = (found["rest"] or found["more"] or "").strip(" -:")
    rest = "" if _THE_OTHERS.match(rest) else rest
    return None if _NO_CHOICE.search(rest) else Letter(letter.upper(), rest)
