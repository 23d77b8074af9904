"""The main clause of a sentence with several numbers: `Tom has 7 left after giving 5 of them away`."""

import re
from collections.abc import Iterator
from fractions import Fraction

from mtjax.data.answers import number_words
from mtjax.data.answers.normal import plain
from mtjax.data.answers.numbers import BEFORE, BEHIND, LONGEST, POSITIONAL
from mtjax.data.answers.roles import NUMERAL, SPELLED, VERBS, is_verb, stated, tokens
from mtjax.data.answers.statements import without_thoughts

_NUMBER = rf"(?:{NUMERAL}|{SPELLED})"
_STATES = (
    r"(?:(?:now|then|still|finally|therefore|thus|so) )?(?:has|have|had|is left with|are left with|keeps?|kept"
    r"|ends? up with|ended up with|(?:gets|receives?|got|received) back|gets?|needs?)\b"
)
_NEXT = rf"(?:{'|'.join(sorted(VERBS))}|he|she|they|it|there|we|none|nothing|will)"
_BREAK = re.compile(
    rf"(?:,(?!\d{{3}}(?!\d))|;| - (?![^,;]*=))\s*|\s+(?=(?:because|since|when|while|after|before|although|whereas"
    rf"|once|until|leaving|making|giving|rather than|instead of|compared (?:to|with)|down from|up from|in order to"
    rf"|whose|who|for a (?:grand )?total of|so (?!far|many|much|that)|which (?:leaves|gives|makes|means|is)|if"
    rf"|and (?:(?:now|then|still|finally|therefore|thus|so) )?{_NEXT})\b)",
    re.IGNORECASE,
)
_REASON = re.compile(r"(?:because|since|if|rather|instead|compared|down|up|which|so)\b", re.IGNORECASE)
_RESULT = re.compile(
    r"(?:and |but )?(?:(?:(?:so|thus|hence|therefore|consequently|as a result|meaning|namely|that is)\b|i\.e\.)[, "
    r"]*(?:that )?|(?:which|that|this) means (?:that )?(?=[^\W\d_]))",
    re.IGNORECASE,
)
_GIVES = re.compile(
    rf"(?:and |but )?(?:(?:which|that|this|it) (?P<verb>leaves|left|gives|gave|makes|made|is|equals|totals|brings"
    rf"|(?:comes|amounts|reduces|simplifies) to)|leaving|making|giving|yielding|totall?ing|bringing|meaning"
    rf"|(?:ending|finishing)(?: up)? with|for (?=a (?:grand )?total of)|(?:an?|a total) (?:increase|decrease"
    rf"|difference|total|profit|loss|gain|drop|saving|discount|rise|sum) of|(?P<which>(?:and )?(?:the )?(?:larger"
    rf"|smaller|greater|bigger|sum|difference|total|product)(?: (?:one|number))?(?: of (?:them|the two|these"
    rf"|both))? (?:is|are|was)))\b(?: (?:him|her|them|us|it|you|me|only|just|with|exactly|a (?:grand )?total of"
    rf"|(?-i:[A-Z])[a-z]+(?: with)?))*(?= (?:an? |{_NUMBER}|[-\\(]))",
    re.IGNORECASE,
)
_STATE = re.compile(rf"(?:and |but )?(?:(?:he|she|they|it|we) )?{_STATES}", re.IGNORECASE)
_ENDS_WITH = re.compile(r"\b(?:ends?|ended) up with\b|\bleft with\b", re.IGNORECASE)
_DOING = re.compile(
    rf"(?:and )?(?:bringing (?:the|his|her|its|their) [a-z]+(?: [a-z]+)? to|[a-z]+ing(?: (?:a total of|only|up))?) "
    rf"(?={_NUMBER})",
    re.IGNORECASE,
)  # covering 39 km
_SINGLE = re.compile(r"\b(?:each|every|per|apiece|an?|at|more|less|fewer)\b", re.IGNORECASE)
_ARRIVING = re.compile(r"(?:and )?(?:arriving|ending|finishing) at (?=\d)", re.IGNORECASE)
_IN_ALL = re.compile(
    rf"(?:and )?(?:[a-z]+ing )?{_NUMBER}(?: [a-z]+)?,? (?:in all|in total|altogether|overall|total)$",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r"(?:because|since|as|when|while|after|before|if|although|though|whereas|once|until|unless|who|whose|whom|where"
    r"|which|(?:and |but )?the (?:other|remaining|rest)|rather|instead|compared|given|considering|down|up|out|to|not"
    r"|[a-z]+ing|thanks|due)\b"
    rf"|(?:only |just )?{_NUMBER}(?: [a-z]+){{0,2}} (?:more|less|fewer|times|(?!other|number)[a-z]{{3,}}er)\b",
    re.IGNORECASE,
)
_NOTHING_ELSE = re.compile(rf"\b(?:none|nothing|no [a-z]+|{_NUMBER})\b.*\b(?:left|over|remain\w*)$", re.IGNORECASE)
_DENIES = re.compile(
    r"\b(?:not|never|but|however|contradict\w*|too|wrong|think|guess|believe|seems?|looks?|strange|odd)\b|n't\b",
    re.IGNORECASE,
)
_AGAIN = re.compile(
    rf"{_NUMBER}(?: (?!each|per|every|apiece)[a-z]+){{0,2}}",
    re.IGNORECASE,
)  # at 60 mph for 3 hours, 180 miles
_OF_WHICH = re.compile(r"of which\b", re.IGNORECASE)
_WHOLE = re.compile(r"\b(?:total|sum|altogether|costs?|bill)\b|=", re.IGNORECASE)
_REMAINDER = re.compile(
    rf"(?:and )?(?:with )?(?:there (?:is|are|will be) )?(?:none|nothing|no [a-z]+|{_NUMBER})(?: [a-z]+){{0,3}}?"
    r"(?: is| are| will be)? (?:left(?: over)?|remaining|over)", re.IGNORECASE,
)  # fmt: skip
_MEASURE = (
    r"force|speed|distance|mass|time|length|pressure|voltage|profit|loss|total|gain|discount|increase|decrease"
    r"|remainder|sum"
)
_FORMS = tuple(
    (re.compile(form, re.IGNORECASE), instead)
    for form, instead in (
        # a force of 20 N is needed; the larger number, 24, is 8 more than 16; with probability 3/8
        (rf"^(?:an?|its|his|her|their) ({_MEASURE}) of ({_NUMBER}[^,]*?) (?:is|was|were) (?:made|an?|one|two|three|left"
         r"|earned|paid|needed|required|used|reached)\b[^,]*$", r"the \1 is \2"),
        (rf"^(the|his|her|its) ([a-z]+(?: [a-z]+)?), ({_NUMBER}), (?:is|was) .*$", r"\1 \2 is \3"),
        (rf"^.*\bwith (?:a )?(?:probability|chance) (?:of )?(?={_NUMBER})", ""),
        # the mean of 2, 4 and 6 is 4
        (rf"\b(of|between) {_NUMBER}(?:, {_NUMBER})*,? and {_NUMBER}(?= (?:is|equals|was|comes)\b)", r"\1 them"),
        # the landing took place in 1969; the train that left at 2:15
        (r"^[^=]*\b(?:in|on|since) (?:[A-Z][a-z]+ )?(?=(?:1\d|20)\d\d$)", "It was "),
        (rf" that (?:left|leaves|started|starts|began|begins) at {_NUMBER} (?=arrive|end|finish|reach)", " "),
    )
)  # fmt: skip
"""Sentences in other words, in which the number is one that the clause states."""
_OPEN = re.compile(
    r"\?|\bonly if\b|^\W*(?:so,? )?(?:if|error)\b|\b(?:maybe|perhaps|possibly|probably|might|may|could|would(?! "
    r"(?:have to|need|take|cost|require)\b)|either|neither|unsure|not sure|suppos\w+"
    r"|assum\w+|guess|wrong|incorrect|mistake|cannot|unknown|impossible|says?|said|claims?|instead|about)\b",
    re.IGNORECASE,
)  # no clause of such a sentence states an answer
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_NUMERAL = re.compile(r"(?<![\w.,/])\d[\d,]*(?:\.\d+)?(?![\w/]|[.,]\d)")


def _has_verb(part: str) -> bool:
    line = tokens(part)
    return any(is_verb(line, place) for place in range(len(line)))


def _parts(text: str) -> list[str]:
    """A sentence split at its clauses; a subject is left with what stands between it and its verb."""
    parts, start = [], 0
    for found in _BREAK.finditer(text):
        part = text[start : found.start()].strip()
        verb = _has_verb(part)
        if found[0].strip() or verb or _REASON.match(text, found.end()):
            parts.append(part)
            start = found.end()
    return [part for part in (*parts, text[start:].strip()) if part]


def _role(part: str, parts: list[str], place: int) -> tuple[int, str]:
    """How much a part of a sentence says its result, and its words: 2 for a result, 1 for a main clause, 0 for none."""
    if place and (gives := _GIVES.match(part)) and (not gives["which"] or len(re.findall(_NUMBER, parts[0])) > 1):
        return 2, f"It is {part[gives.end() :].strip()}"
    if result := _RESULT.match(part):
        return 2, part[result.end() :]
    if place and _IN_ALL.fullmatch(part):
        return 2, re.sub(r"^(?:and )?[a-z]+ing ", "", part)
    if 0 < place == len(parts) - 1 and (doing := _DOING.match(part)) and not _SINGLE.search(part):
        return 2, f"It is {part[doing.end() :]}"
    if place and (arriving := _ARRIVING.match(part)):
        return 2, f"It is at {part[arriving.end() :]}"
    if place and (state := _STATE.match(part)):
        return 2, f"It has {part[state.end() :].strip()}"
    if place and _OF_WHICH.match(part):
        return int(not _WHOLE.search(parts[0])), part
    if len(parts) > 1 and (_BESIDE.match(part) or place and _REMAINDER.fullmatch(part)):
        return 0, part
    verb = _has_verb(part)
    return int(verb), part


def _selected(text: str) -> str | None:
    """The part of a sentence that says its result: behind *so* or *leaving*, or its only main clause; None if open."""
    parts = _parts(text)
    if any(re.fullmatch(rf"(?:and |or )?{_NUMBER}(?: (?:and|or) {_NUMBER})?", part, re.IGNORECASE) for part in parts):
        return None  # a list
    roles = [_role(part, parts, place) for place, part in enumerate(parts)]
    numbered = [place for place, part in enumerate(parts) if re.search(_NUMBER, part, re.IGNORECASE)]
    if len(numbered) == 1 and roles[numbered[0]][0] == 0 and not _BESIDE.match(parts[numbered[0]]):
        roles[numbered[0]] = 1, parts[numbered[0]]  # 40 miles, if I am right
    best = max((roles[place][0] for place in numbered), default=0)
    said = [place for place in numbered if roles[place][0] == best]
    if best == 1 and len(said) > 1 and _ENDS_WITH.search(parts[said[0]]):
        return parts[said[0]]
    if not best or best == 1 and len(said) > 1:
        return None
    for place in range(said[-1] + 1, len(parts)):
        part, rank = parts[place], roles[place][0]
        if rank and not _NOTHING_ELSE.search(part) or _DENIES.search(part) or part.startswith("or "):
            return None
        if place == len(parts) - 1 and _AGAIN.fullmatch(part):
            return None
    return roles[said[-1]][1]


def single(text: str) -> str | None:
    """A sentence with several numbers reduced to the one that it states; None if that is not clear.

    >>> single("After 3 weeks, each of the 4 friends has 5 books.")
    'It has 5 books'
    """
    if _OPEN.search(text) or len(text) > 300 or "=" in text or re.search(r"[a-z\d)][.!?] +[A-Z]", text):
        return None
    text = re.sub(r" \([^()]*\)", "", text).rstrip(".!")
    for form, instead in _FORMS:
        text = form.sub(instead, text, count=1)
    clause = _selected(text)
    if clause is None or len(re.findall(_NUMBER, clause, re.IGNORECASE)) < 2:
        return clause
    return stated(clause)


def main_clauses(sentence: str) -> Iterator[str]:
    """What a sentence states beside what it names in passing, in one or two readings, the likelier first.

    >>> list(main_clauses("Tom has 7 left after giving 5 away."))
    ['Tom has 7 left', 'Tom has 7 left after giving 5 away']
    """
    text = re.sub(r"(?<=[a-z])!$", "", plain(sentence.strip()))
    if _OPEN.search(text) or len(text) > 300:
        return
    if not re.search(r"\d", text) and re.search(r"\b(?:plus|minus|times|divided by)\b", text):
        yield number_words.in_digits(text)
    text = re.sub(r" ?\([^()]*\)", "", text) if "=" not in text else re.sub(r" \([^()=]*\)$", "", text)
    for form, instead in _FORMS:
        text = form.sub(instead, text, count=1)
    clause = _selected(text)
    if clause is not None:
        yield from filter(None, (stated(clause), clause))
    yield text


def numerals(sentence: str) -> tuple[Fraction, ...]:
    """The numbers that stand in a sentence in digits, those of at most `LONGEST` characters.

    >>> numerals("12 of the 1,000")
    (Fraction(12, 1), Fraction(1000, 1))
    """
    found = (one for one in _NUMERAL.findall(sentence) if len(one) <= LONGEST)
    return tuple(Fraction(one.replace(",", "").rstrip(".")) for one in found)


def emphasised(reply: str) -> str | None:
    """The one text in bold of a reply's last line, if no word around it denies or limits it; else None.

    >>> emphasised("The speed over 4 hours was **7.5 km/h**."), emphasised("It is not **7**.")
    ('7.5 km/h', None)
    """
    lines = without_thoughts(reply).strip().splitlines()
    found = list(_BOLD.finditer(lines[-1])) if lines else []
    if len(found) != 1 or not re.search(r"\d|\\", found[0][1]):
        return None
    line, bold = lines[-1], found[0]
    before = re.findall(r"[a-z']+", plain(re.split(r"[,;:.](?=\s)", line[: bold.start()])[-1]).lower())
    behind = set(re.findall(r"[a-z']+", line[bold.end() :].lower())[:3])
    if before == ["or"] and "%" in bold[1]:
        before = []  # an increase of $10, or 25 %
    if _OPEN.search(line) or set(before) & (BEFORE - POSITIONAL) or set(before[-1:]) & POSITIONAL or behind & BEHIND:
        return None
    return bold[1].strip().rstrip(".:")
