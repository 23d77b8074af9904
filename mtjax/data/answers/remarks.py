"""Where an answer ends and a remark, a bracket or the next sentence begins."""

import re
from collections.abc import Iterator

from mtjax.data.answers.numbers import LONGEST

_CUT = re.compile(
    r"(?<=[a-z]):\s+(?=[^:]*\d[^:]*\d)|(?P<end>[.!?]+(?=\s|$))|\s*[;\n]|\s+[-–—]+\s+(?=[A-Za-z])|\s*(?P<bracket>["
    r"(\[])(?=[^()\[\]]*[)\]])|\\\]|\$\$"
    r"|,?\s+(?=(?:because|since|which|where|that is|i\.e|due|after|for a total|meaning|in order|"
    r"as (?:required|well|stated|calculated|expected|we|the|it|there|shown|above|desired|needed))\b)"
    r"|,\s+(?=or\s+(?:about\s+|approximately\s+|roughly\s+)?[-$£€]?\d)|,\s+(?=without (?:any |a )?doubt\b)"
    r"|,\s+(?=i(?:'m| am) (?:\w+ )?(?:sure|certain|confident|positive)\b)"
    r"|,?\s+(?=(?:and not|and nothing|rather than|instead of)\b)|,\s+(?=(?:the|an?|about|approximately|roughly|not"
    r"|rather|as|so|giving|making|therefore|thus|"
    r"hence|check|given|based|using|assuming|provided)\b)", re.IGNORECASE,
)  # fmt: skip
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|[ap]\.m|rs|approx|i\.e|e\.g|ft|in|lbs?|oz|hrs?|"
    r"min|mins|sec|dr|mr|mrs|ms|vs|st|(?<=\w )no|u\.s|jan|feb|mar|apr|jun|jul|aug|"
                           r"sept?|oct|nov|dec)$", re.IGNORECASE)  # fmt: skip
_ABBREVIATED = 16  # characters in which an abbreviation is looked for
_LONGEST = 4 * LONGEST  # characters, with mark-up, of which a value has at most `LONGEST` without
_REASON = re.compile(r"(?<!and)(?<!so)(?<!but),?\s+(?:because|since)\b", re.IGNORECASE)
"""A value with a reason, whose numbers are not what is said: `24, since 24 + 16 = 40`."""
_CONCLUDES = re.compile(r"\b(?:so|hence|thus|therefore)\b", re.IGNORECASE)
_GOES_ON = re.compile(r" (?:is|are|was|were|will|has|have|equals?|costs?|comes?|makes?|gives?|needs?|gets?)\b|\s*=")
_OPEN = re.compile(r"\b(?:or|mod|pmod|base|remainder|repeating|either|recurring)\b|\\pmod", re.IGNORECASE)


def split_sentences(line: str) -> list[str]:
    """The sentences of a line; none ends behind an abbreviation or the letter of a choice."""
    out: list[str] = []
    for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9$\\(])", line):
        if (
            out
            and _ABBREVIATION.search(out[-1][-_ABBREVIATED:].removesuffix("."))
            and not re.match(r"(?:So|Hence|Thus|Therefore)\b", part)
        ):
            out[-1] += f" {part}"
        elif part.strip():
            out.append(part)
    return out


def beginnings(text: str) -> Iterator[tuple[str, str]]:
    """The text, and each of its beginnings that a remark, bracket or next sentence may follow, the longest first.

    Each comes with the bracket cut off right behind it, or "". Nothing comes after a bracket that leaves the answer
    open, such as `18 (or 20)`. Beginnings of more than `_LONGEST` characters are left out: they are no values.
    """
    reason = _REASON.search(text)
    if reason and re.search(r"\d", text[: reason.start()]) and not _CONCLUDES.search(text, reason.end()):
        text = text[: reason.start()] if re.search(r"\d", text[reason.end() :]) else text
    yield text, ""
    cuts = []
    for cut in _CUT.finditer(text, 0, _LONGEST):
        before = text[: cut.start()]
        if (
            not before.strip()
            or before.rstrip().endswith((",", " or", " and"))
            or (cut["end"] and cut["end"][0] == "." and _ABBREVIATION.search(before) and cut.end() < len(text))
        ):
            continue
        if cut["end"] and (
            cut["end"].startswith("..") or (cut["end"][0] == "!" and re.search(r"[\d)}]$|\b[A-Za-z]$", before))
        ):
            continue  # an ellipsis, or a factorial
        bracket = ""
        if cut["bracket"]:
            closing = re.match(r"[^()\[\]]*[)\]]", text[cut.end() :])
            bracket = closing[0][:-1] if closing else ""
            if _OPEN.search(bracket) or re.match(r"\s*[-+*/^=×]", text[cut.end() + len(bracket) + 1 :]):
                break  # open, or part of a formula such as 3 (left) + 5
            if _GOES_ON.match(text, cut.end() + len(bracket) + 1):
                break  # the price for 8 tickets ($15 each) is $120
            if cut.start("bracket") == cut.start():
                continue  # no gap before it: part of a formula
        cuts.append((before.rstrip(), bracket))
    yield from reversed(cuts)
