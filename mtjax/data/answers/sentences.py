"""The one number of a sentence such as `Jane has about 18 apples`."""

import re

from mtjax.data.answers import number_words
from mtjax.data.answers.normal import listed
from mtjax.data.answers.numbers import BEFORE, Number, read_number

_UP = frozenset(listed("increase rise rose gain profit more increasing grow grew"))
_DOWN = frozenset(listed("""decrease fall fell lo los lose loss lost less fewer decreasing shrink drop dropp"""))
_VERBS = frozenset(
    listed(
        """is are was were be has have had there get gets got need needs needed make makes made earn earns
    earned total equals sold bought ate used took spent paid gave cost costs weighs weighed"""
    )
)
_CLEAR_WORDS = number_words.NUMBER_WORDS - {"one", "couple", "third", "quarter", "score", "gross", "fourth", "fifth"}
_WHO = frozenset(listed("she he they we with"))  # words that a sentence has and a list of words has not
_PART = number_words.NUMBER_WORDS | {"and", "point"}  # words before which a number word may continue a number
_CLAUSE_BEHIND = re.compile(
    r"(?P<comma>, (?:she|he|they|we|i|you|it|there|the|this|that)\b)|\b(?:can|will|would|should|must|shall)\b",
    re.IGNORECASE,
)
_TASK = re.compile(r"\bto (?:find|determine|calculate|compute|figure|solve|know)\b", re.IGNORECASE)
APPROXIMATELY = frozenset(listed(r"about approximately approx approx. around roughly nearly almost ~ \approx ≈ circa"))
_LEAD = re.compile(r"((?:[^\W\d_][^\W\d_'.-]*[,:]? +|[~≈] ?|\\approx ?){1,20})(?=[-+]?[$€£¥₹]?[-+]?\.?[0-9])")


def number_in_sentence(text: str) -> Number | None:
    """The one number in a sentence such as `Jane has about 18 apples`; None if words around it change what it says."""
    text = re.sub(r"\b(end|ends|ended|add|adds|added) up (?=with|at|to)", r"\1 ", text)
    found, words = _LEAD.match(text), text.lower().split()
    if found is None:
        start = next((n for n, word in enumerate(words) if n and word.split("-")[0] in _CLEAR_WORDS), None)
        if start is None:
            return None
        while start and words[start - 1].split("-")[0] in number_words.NUMBER_WORDS | {"a", "an", "minus", "negative"}:
            start -= 1
        before, rest = words[:start], " ".join(text.split()[start:])
        if not (_VERBS | _WHO) & set(before) or not _VERBS & set(before) and _PART & set(before):
            return None
    else:
        before, rest = found[1].lower().split(), text[found.end() :]
    while before and before[-1] in ("minus", "negative"):
        rest = f"-{rest}" if rest[:1] not in "-+" else "?"
        before = before[:-1]
    approximate = bool(before) and before[-1] in APPROXIMATELY
    stems = {word.strip(",:.") for word in before}
    if stems & BEFORE or len(before) > 20 or re.fullmatch(r"[b-z]", before[-1] if before else ""):
        return None
    behind = _CLAUSE_BEHIND.search(rest)
    if behind and (behind["comma"] or not _VERBS & stems) or _TASK.search(text):
        return None  # the number is not what the sentence says
    number = read_number(rest)
    if number is None:
        return None
    up, down = bool(_UP & {word.rstrip("sd") for word in stems}), bool(_DOWN & {word.rstrip("sd") for word in stems})
    return number._replace(approximate=approximate, direction=up - down)
