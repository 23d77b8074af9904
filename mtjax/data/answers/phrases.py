"""Phrases in which a word that else changes an answer changes nothing, such as `over the three months`."""

import re

_THE = r"(?:the|these|those|this|his|her|their|its|all|both)"
_PHRASES = (
    (re.compile(r"(?<=\b[Ii]n )May\b(?! \d)|(?<=\band )May\b(?! \d)|(?<=\bof )May\b(?! \d)"), "June"),
    (re.compile(rf"\b(over|under|above|below|from|up) (?={_THE} [a-z]*[a-z ])", re.IGNORECASE), "in "),
    (re.compile(r"\bbetween (?=[^\d=]*\b(?:is|are|was|were|equals)\b)"), "of "),
    (re.compile(r"\bbetween (?=[^\d=<>]*=)"), "of "),
    (re.compile(r"\b([Tt])he unknown(?= (?:is|number|value|side|quantity)\b)"), r"\1he wanted"),
    (re.compile(r"\b[Ww]hat (?:remains|is left|was left)(?= (?:is|are|was|were)\b)"), "The rest"),
    (re.compile(r",? (?:that|which) (?:satisf(?:ies|y)|solves?|fulfills?|makes?) the (?:given )?(?:equations?"
                r"|inequality"
                r"|conditions?)(?: true)?(?= (?:is|are)\b)"), ""),
    (re.compile(r"\b(?:we |you |they |i )?(?:can |must |have to )?round(?:s|ed|ing)? (?:it |this |that )?(?:up "
                r"|down |off )?"
                r"to (?=[-$]?\d)"), "it is "),
    (re.compile(r"\bone[- ]way\b"), "there"),
    (re.compile(r"^After (?:an?|one|two|three|four|five|six|ten|[0-9]+) (?:year|month|week|day|hour|minute)s?,? "
                r"(?=(?:the|his|her|their|its|he|she|they|it)\b)"), ""),
    (re.compile(r"\bhas (?:an? )?(?:area|volume|perimeter|length|slope|value|diameter|radius) (?:of |equal to )?"
                r"(?=[-$\\\d])"), "is "),
    (re.compile(r"(?<=\bof the )(?:number )?line (?=(?:is|equals|has)\b)"), "curve "),
    (re.compile(r"\bpart (?=(?:is|was|that)\b)"), "share "),
    (re.compile(r"\b[Mm]ost (?=(?:certainly|definitely|surely)\b)"), ""),
    (re.compile(r"(?<=\b[Tt]he )(?:first|last) (?=(?:two|three|four|five|six|seven|eight|nine|ten|[0-9]+) )"), ""),
    (re.compile(r"(?<!square )(?<!cube )\broots? (?=(?:is|are|of the (?:equation|polynomial|quadratic))\b)"), "value "),
    (re.compile(r",? (?:in|during|by|of|after) the (?:first|second|third|fourth|last|final|opening) (?:half"
                r"|quarter|third)\b"), ""),
    (re.compile(r"\b([Ii]nitial|[Oo]riginal|[Ff]irst|[Ss]tarting) (?=(?:price|cost|value|amount|number|length"
                r"|width|term)\b)"), ""),
)  # fmt: skip


def settled(text: str) -> str:
    """The text with such phrases in other words.

    >>> settled("The total over the three months was 366")
    'The total in the three months was 366'
    """
    for phrase, instead in _PHRASES:
        text = phrase.sub(instead, text)
    return text
