"""Answers in boxes of LaTeX, and what a statement of an answer is."""

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple


class Statement(NamedTuple):
    """An answer that a reply states in so many words."""

    text: str  # from the answer on to the end of its line, or the content of a box
    start: int  # where the text stands in the cleaned reply
    end: int
    boxed: bool = False  # it has an end of its own: a box or a closed tag


BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*(?P<brace>\{)?")


@functools.lru_cache(maxsize=16)
def _braces(text: str) -> dict[int, int]:
    """The place of each closing brace by the place behind the one that it closes."""
    pairs, opened = dict[int, int](), list[int]()
    for brace in re.finditer("[{}]", text):
        if brace[0] == "{":
            opened.append(brace.end())
        elif opened:
            pairs[opened.pop()] = brace.start()
    return pairs


def closing_brace(text: str, start: int) -> int | None:
    """Where the brace closes that was opened just before `start`; None if it never does."""
    return _braces(text).get(start)


def unboxed(text: str) -> str:
    r"""The text with every `\boxed{...}` replaced by its content; one without closing brace is left.

    >>> unboxed(r"so \boxed{\frac{1}{2}}.")
    'so \\frac{1}{2}.'
    """
    dropped: list[tuple[int, int]] = []
    for box in re.finditer(r"\\boxed\s*\{", text):
        if (end := closing_brace(text, box.end())) is not None:
            dropped += [box.span(), (end, end + 1)]
    kept, place = [], 0
    for start, end in sorted(dropped):
        kept.append(text[place:start])
        place = end
    return "".join((*kept, text[place:]))


_BARE = re.compile(r"\s*(\\[dt]?frac *(?:\{[^{}]*\}|\d) *(?:\{[^{}]*\}|\d)|[-+]?[\d.,]*\d|[A-Za-z](?![A-Za-z]))")
_SCALED = re.compile(r"\}?\s*\$?\s*(\\?%|(?:percent|thousand|million|billion|dozen|hundred)\b)")


def _boxes(text: str) -> Iterator[Statement]:
    for box in BOX.finditer(text):
        if box["brace"]:
            end = closing_brace(text, box.end())
            content = None if end is None else text[box.end() : end]
            after = None if end is None else end + 1
        else:
            bare = _BARE.match(text, box.end())
            content, after = (bare[1], bare.end()) if bare else (None, None)
        if content is None or after is None:
            continue
        content = re.sub(r"(?<!\\)\\(?=\s|$)", " ", content)
        behind = text[after : after + 40]
        if scale := _SCALED.match(behind):
            content += f" {scale[1]}"
        elif re.match(r"\$?\s*[\^!_/*+]|\$?[A-Za-z0-9(]", behind):
            content = f"{content} ..."  # it goes on: no value is read whole
        sign = (
            "-"
            if re.search(r"[-−]\s?\$?$", text[: box.start()])
            and re.search(r"(?:^|[=({\[$:\s])[-−]\s?\$?$", text[: box.start()])
            else ""
        )
        yield Statement(sign + content, box.start(), after, True)


_DENIED_BOX = re.compile(
    r"(?:(?:\bnot|n't|wrong)\s+(?:\w+\s+)?|\b(?:neither|either|nor|perhaps|maybe|possibly|whether it is|is it|"
    r"doubt (?:that )?it(?: is|'s)|could be|might be|may be|anything but|close to|rul(?:e|es|ed) out|"
    r"if [^.,\n]{0,40}\b(?:were|is|was))\s+)(?:\\\(|\\\[|\$)*\s*$",
    re.IGNORECASE,
)
DENIED_BEHIND = re.compile(
    r"(?:\\\)|\\\]|\$)*\s*(?:\?|,? not the (?:number|amount|value|one|total)\b|(?:is|are|was) (?:not|wrong"
    r"|incorrect|false|too|impossible)\b|(?:isn't|cannot|can't|does not|"
    r"doesn't|would|nor|is just|might)\b|or (?!\$?\\boxed))", re.IGNORECASE,
)  # fmt: skip


def boxed(text: str) -> list[Statement]:
    """The boxes, several that a list of boxes ends in as one list; an outer box stands for those within."""
    found: list[Statement] = []
    for one in _boxes(text):
        if not found or one.start >= found[-1].end:
            found.append(one)
    found = [
        one
        for one in found
        if not _DENIED_BOX.search(text[max(0, one.start - 60) : one.start]) and not DENIED_BEHIND.match(text, one.end)
    ]
    if not found:
        return []
    last, parts = found[-1], [found[-1]]
    for one in reversed(found[:-1]):
        if not re.fullmatch(
            r"[\s$,;&.]*(?:\b(?:and|or)\b)?[\s$]*(?:[A-Za-z] ?= ?)?[\s$]*", text[one.end : parts[-1].start]
        ):
            break
        if "\n\n" in text[one.end : parts[-1].start]:
            break
        parts.append(one)
    texts = [unboxed(one.text).strip() for one in reversed(parts)]
    same = len(set(texts)) == 1
    last = last._replace(text=texts[-1] if same else ", ".join(texts), start=last.start if same else parts[-1].start)
    return [*found[: -len(parts)], last]
