"""What a reply ends with behind its answer: checks, offers of help, its own last sentence again."""

import re

from mtjax.data.answers.asked import Asked
from mtjax.data.answers.chosen import DENIES
from mtjax.data.answers.remarks import split_sentences

_OFFERS = re.compile(
    r"\W*(?:let me know|would you like|do you want|want me|feel free|(?:i )?hope (?:this|that)|happy to|is there"
    r"|if you (?:want|need|have|would|'d)|shall i|great (?:question|job)|good luck|nice work)\b",
    re.IGNORECASE,
)
_CHECKS = re.compile(
    r"\W*(?:(?:quick |double[- ]?|sanity )?(?:check|verif(?:y|ication)|proof)(?:ing|ed)?\b"
    r"|(?:both|all|these|this|that|it) (?:indeed )?(?:checks? out|match(?:es)?|adds? up|makes sense|works"
    r"|satisf(?:y|ies))|as a check\b|to (?:double-?)?(?:check|verify)\b|indeed,? "
    r"|we can (?:check|verify)\b|plugging\b)",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(r"If\b.*\bhad\b.*\bwould have\b")
_COMPARISON = re.compile(r"(?:That|This|It)(?:'s| is| was) [^.]*\b(?:more|less|fewer|[a-z]{3,}er) than\b")
_SHORTEST = 10  # characters of a sentence that was cut off while it was said again


def _fails(sentence: str) -> bool:
    """Whether a check says that something does not hold."""
    return bool(DENIES.search(sentence)) or "\\ne" in sentence


_CONFIRMS = re.compile(r"\W*(?:all|both|each|it|this|that|correct|yes)\b[^\d.]{0,30}\W*", re.IGNORECASE)


def _check(sentences: list[str]) -> int:
    """Where a check begins whose other sentences only compute; else the number of sentences."""
    begins = next((n for n, one in enumerate(sentences) if _CHECKS.match(one)), len(sentences))
    computes = all("=" in one or _CONFIRMS.fullmatch(one) for one in sentences[begins + 1 :]) and not any(
        map(_fails, sentences[begins:])
    )
    return begins if computes else len(sentences)


def without_remarks(text: str, asked: Asked) -> str:
    """A cleaned reply up to the checks, offers and suppositions that it ends with, and comparisons if none is asked.

    A last sentence that was cut off while an earlier one was said again goes too.

    >>> without_remarks("x = 6. Check: 2(6) + 7 = 19. Let me know if you want more!", Asked())
    'x = 6.'
    """
    lines = text.rstrip().splitlines()
    remarks = (_OFFERS, _CHECKS, _SUPPOSED) if asked.compares else (_OFFERS, _CHECKS, _SUPPOSED, _COMPARISON)
    while lines:
        sentences = split_sentences(lines[-1].strip())
        kept = _check(sentences)
        while kept and any(form.match(sentences[kept - 1]) for form in remarks) and not _fails(sentences[kept - 1]):
            kept -= 1
        last = sentences[kept - 1] if kept > 1 else ""
        if len(last) >= _SHORTEST and any(one.startswith(last) and one != last for one in sentences[: kept - 1]):
            kept -= 1
        while kept > 1 and not re.search(r"\w", sentences[kept - 1]):
            kept -= 1
        if kept == len(sentences) and re.search(r"\w", lines[-1]):
            break
        rest = " ".join(sentences[:kept])
        lines[-1:] = [rest] if re.search(r"\w", rest) else []  # a line of marks alone goes too
    return "\n".join(lines)
