"""Several values in one answer: sets, lists, tuples, intervals and inequalities, ratios."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

Same = Callable[[str, str], bool | None]  # Whether two elements are equal; None if one cannot be read.


class Several(NamedTuple):
    """A set or a list of elements."""

    elements: tuple[str, ...]
    ordered: bool = False  # written without braces: another order may be another answer


class Tuple(NamedTuple):
    """Elements in an order that matters, such as coordinates."""

    elements: tuple[str, ...]


class Ratio(NamedTuple):
    """`3:2` or `3 to 2`."""

    parts: tuple[str, ...]
    said: bool = False  # in a sentence, which may name the two things in another order


def split(text: str, separator: str = r",|;") -> list[str]:
    """The parts of a text between separators that stand outside brackets."""
    parts, depth, start, at = [], 0, 0, 0
    pattern = re.compile(separator)
    while at < len(text):
        if text[at] in "([{":
            depth += 1
        elif text[at] in ")]}":
            depth -= 1
        elif depth == 0 and (found := pattern.match(text, at)):
            parts.append(text[start:at].strip())
            start = at = found.end()
            continue
        at += 1
    return [*parts, text[start:].strip()]


_EMPTY = (
    "\\emptyset",
    "{}",
    "\\{ \\}",
    "\\{\\}",
    "{ }",
    "empty set",
    "the empty set",
    "no solution",
    "no solutions",
    "none",
)
_NO_SOLUTION = re.compile(
    r"(?:there (?:is|are) |(?:the|this) (?:equation|system|inequality) has )?no (?:real )?(?:solutions?|roots?)"
    r"(?: exists?)?|(?:so )?the solution set is empty",
    re.IGNORECASE,
)
_NAMED = re.compile(r"([A-Za-z](?:_\{?\w\}?)?) ?(?:=|\\in) ?")
_COUNTED = re.compile(r"[-+$€£]*\d{1,3}(?:,\d{3})+ [^\d,]+$")  # 44,044 apples
_THOUSANDS = re.compile(r"[-+$€£]*\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)")


_CONNECTIVE = re.compile(
    r"(?:so|thus|hence|therefore|then|finally|overall|altogether|consequently|in (?:total|all|short|the end)|"
    r"as a result|yes|no)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"^(?:so|since|because|as|about|approximately|roughly|which|who|where|thus|hence|therefore|then|but|if|not"
    r"|giving|making|leaving|meaning|it|she|"
    r"he|they|we|you|there|this|that)\b|\b(?:is|are|was|were|has|have|had|equals)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"(?:the|an?) ", re.IGNORECASE)


_TWICE_EMPTY = re.compile(
    r"(?:the )?empty set,? (?:or )?\(?(?:\\?\{ ?\\?\}|\\(?:emptyset|varnothing))\)?", re.IGNORECASE
)


def read_several(text: str) -> Several | None:
    r"""The set or list that a text is: `{1, 2}`, `1, 2 and 3`, `x = 5 or x = -5`, `\pm 5`; else None."""
    text = re.sub(r"^Either (?=[A-Za-z] ?=)", "", text, flags=re.I)
    if text.lower() in _EMPTY or _TWICE_EMPTY.fullmatch(text) or _NO_SOLUTION.fullmatch(text):
        return Several(())
    braces = re.fullmatch(r"(?:[A-Za-z] ?(?:=|\\in) ?)?\\?\{(.*?)\\?\}", text)
    inside = braces[1].strip() if braces else text
    if braces and (inside.count("{") != inside.count("}") or ":" in inside or "|" in inside or "=" in inside):
        return None
    bare = _NAMED.sub("", text, count=1)
    if text.count("\\pm") == bare.count("\\pm") == 1 and not re.search(r",|\b(?:or|and)\b", text):
        before, after = (part.strip() for part in bare.split("\\pm"))
        return Several(
            (f"{before} + {after}".removeprefix(" + "), f"{before} - {after}".strip().replace("- ", "-", not before))
        )
    if _THOUSANDS.fullmatch(inside) or _COUNTED.match(inside) or re.search(r"=[^=,]*\d,\d{3}$", inside):
        return None
    parts = split(inside, r"(?:,|;)(?: and\b| or\b)?|\b(?:and|or)\b|&")
    if len(parts) < 2 and not braces:
        return None
    if not braces and (_CONNECTIVE.fullmatch(parts[0]) or any(map(_CLAUSE.search, parts[1:]))):
        return None  # a sentence with commas
    if not braces and any(map(_ARTICLE.match, parts[1:])) and not _ARTICLE.match(parts[0]):
        return None  # a remark, as in "It is Paris, the capital"
    names = [found[1][0] for part in parts if (found := _NAMED.match(part))]
    if len(set(names)) > 1 or re.search(r"[a-z]{2} .*=", parts[0]) and names:
        return None
    parts = [_NAMED.sub("", part, count=1) for part in parts]
    if "\\pm" in text and (braces or names):
        parts = [one for part in parts for one in _both_signs(part)]
    if not all(parts) or any(
        re.search(r"[()\[\]{}]", part) and part[0] in "([" and part[-1] not in ")]" for part in parts
    ):
        return None
    return Several(tuple(parts), ordered=not braces and not names)


def _both_signs(part: str) -> list[str]:
    """`\\pm 3` as 3 and -3; another part alone."""
    return [sign + part[3:].strip() for sign in ("", "-")] if part.startswith("\\pm") else [part]


def read_tuple(text: str) -> Tuple | None:
    """The tuple that a text is: `(3, 4)`, or `x = 3, y = 4` in the order of the letters; else None."""
    if len(re.findall(r"\b[a-z] is (?=[-\d])", text)) > 1:
        text = re.sub(r"\b([a-z]) is (?=[-\d])", r"\1 = ", text)
    parts = split(text, r",|;|\band\b")
    named = [_NAMED.match(part) for part in parts]
    if len(parts) > 1 and all(named):
        letters = [found[1] for found in named if found]
        if len(set(letters)) == len(letters):
            values = [_NAMED.sub("", part, count=1) for part in parts]
            return Tuple(tuple(value for _, value in sorted(zip(letters, values, strict=True))))
        return None
    text = re.sub(
        r"^(?:the )?(?:point|vertex|pair|ordered pair|coordinates|center|centre|vector|triple) (?=\()",
        "",
        text,
        flags=re.I,
    )
    text = re.sub(r"^\([a-z], ?[a-z](?:, ?[a-z])?\) ?= ?", "", text)
    if text[:1] + text[-1:] not in ("()", "[]") or len(split(text[1:-1])) < 2 or len(split(text)) > 1:
        return None
    if text[0] == "[" and len(split(text[1:-1])) < 3:
        return None  # an interval
    return Tuple(tuple(split(text[1:-1])))


_FOR_EVERY = re.compile(r"(?:[A-Za-z']+ ){0,5}(?P<n>[1-9]\d*) [a-z]+ (?:for|to) every (?P<m>[1-9]\d*) [a-z]+")


def read_ratio(text: str) -> Ratio | None:
    """The ratio that a text is; else None."""
    if every := _FOR_EVERY.fullmatch(text):
        return Ratio((every["n"], every["m"]), said=True)
    parts = re.split(r" ?: ?| to ", text.removesuffix(" ratio"))
    fits = len(parts) in (2, 3) and all(re.fullmatch(r"[1-9]\d*(?:\.\d+)?|\.\d+|0\.\d+", part) for part in parts)
    return Ratio(tuple(parts)) if fits else None


def same_elements(a: Sequence[str], b: Sequence[str], same: Same) -> bool | None:
    """Whether two sequences are equal, element by element."""
    if len(a) != len(b):
        return False if all(same(x, x) for x in (*a, *b)) else None
    found = [same(x, y) for x, y in zip(a, b, strict=True)]
    return False if False in found else None if None in found else True


def same_several(a: Several, b: Several, same: Same) -> bool | None:
    """Whether two sets are equal; lists in another order are neither equal nor different."""
    if a.ordered and b.ordered and same_elements(a.elements, b.elements, same):
        return True
    table = [[same(x, y) for y in b.elements] for x in a.elements]
    rows = [*table, *zip(*table, strict=True)]
    if any(all(one is False for one in row) for row in rows) and a.elements and b.elements:
        return False
    if not a.elements or not b.elements:
        return a.elements == b.elements
    if all(sum(one is True for one in row) == 1 for row in rows) and len(a.elements) == len(b.elements):
        return None if a.ordered and b.ordered and not _roots(a, same) else True
    return None


def _roots(several: Several, same: Same) -> bool:
    """Whether elements are values in no order: two of which one is negative, or each with its negative."""
    bare = [element.removeprefix("-").strip() for element in several.elements]
    if len(bare) == 2:
        return any(element.startswith("-") for element in several.elements)
    return all(
        any(
            same(x, y) and several.elements[i].startswith("-") != several.elements[j].startswith("-")
            for j, y in enumerate(bare)
        )
        for i, x in enumerate(bare)
        if not same(x, "0")
    ) and any(element.startswith("-") for element in several.elements)


def same_tuple(a: Tuple, b: Tuple, same: Same) -> bool | None:
    """Whether two tuples are equal."""
    return same_elements(a.elements, b.elements, same)


def same_ratio(a: Ratio, b: Ratio, same: Same) -> bool | None:
    """Whether two ratios are equal: `6:4` is `3:2`."""
    if len(a.parts) != len(b.parts):
        return None
    found = [same(f"{x}/{a.parts[-1]}", f"{y}/{b.parts[-1]}") for x, y in zip(a.parts[:-1], b.parts[:-1], strict=True)]
    if (a.said or b.said) and False in found and len(a.parts) == 2 and same("/".join(a.parts), "/".join(b.parts[::-1])):
        return None
    return False if False in found else None if None in found else True
