"""The main clause of a sentence with several numbers: `Tom has 7 left after giving 5 of them away`."""

import re
from collections.abc import Iterator
from fractions import Fraction

from mtjax.data.answers import number_words
from mtjax.data.answers.normal import plain
from mtjax.data.answers.numbers import BEFORE, BEHIND, LONGEST, POSITIONAL
from mtjax.data.answers.statements import without_thoughts

_WORD = "|".join(sorted(number_words.NUMBER_WORDS - {"a", "an"}))
_NUMBER = rf"(?:[-+]?[$€£₹]?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?(?![\w.,]?\d)|\b(?:{_WORD})\b)"
_PRONOUNS = r"(?: (?:him|her|them|us|it|you|me|[A-Z]\w+|only|just|with|you with|exactly|a total of))*"
_CLOCK = r"(?: [ap]\.?m\.?)?"
_FORMS = tuple(
    (re.compile(form, re.IGNORECASE), instead)
    for form, instead in (
        # 5 are given away, which leaves him with 7
        (rf"^.*\d.*(?:,|\band) (?:which|that|this) (?:leaves|left|gives|makes|means|is|equals|totals|comes to"
         rf"|reduces to"
         rf"|simplifies to|amounts to){_PRONOUNS} (?=[-$\d])", ""),
        # 12 over 30, which reduces to 2/5
        (rf"^.*{_NUMBER}.* (?:simplifies|reduces|comes|amounts|evaluates) to (?=[-$\d\\]|{_NUMBER})", ""),
        # 54 pencils shared among 6 children is 9 each
        (rf"^{_NUMBER}(?: [^\s\d]+){{1,4}} (?:for|less|plus|minus|times|at|(?:shared|divided|split) (?:among|between"
         rf"|by)) (?:the |a )?{_NUMBER}(?: [^\s\d]+){{0,2}} "
         rf"(?:is|leaves|means|gives|equals|makes) (?:going )?(?={_NUMBER})", ""),
        # began with 20, gave away 12, and has 8 left; pays with $10 and gets back $3
        (rf"^.*\d.*, and (?:now )?(?:has|have|is left with|keeps?|kept|ends up with) (?={_NUMBER})", "It has "),
        (rf"^.*\d.*(?:, (?:ending|ends|finishing) (?:up )?with|\band (?:gets|receives|got"
         rf"|received) back) (?={_NUMBER})", ""),
        # 26 shells - 14 old ones and 12 new ones; went up 20%, from 50 to 60
        (rf"(?:,| -) {_NUMBER} [^,;=]* and {_NUMBER} [^,;=]*$|, from {_NUMBER} to {_NUMBER}[^,]*$", ""),
        # from 9:15 to 12:00 is 2 hours; a force of 20 N is needed; from 50 to 60 is 20%
        (rf"^from [\d:]+{_CLOCK} to [\d:]+{_CLOCK} (?:is|are|makes) (?={_NUMBER})", ""),
        (rf"^an? (force|speed|distance|mass|time|length|pressure|voltage) of ({_NUMBER} [a-z/^\d]+) (?:is|was) "
         r"(?:needed|required|used|reached)[.!]?$", r"the \1 is \2"),
        (rf"^from {_NUMBER} to {_NUMBER}(?: [a-z]+)? (?:is|was|means) (?:an? )?(?={_NUMBER})", ""),
        # the landing took place in 1969
        (r"^[^=]*\b(?:in|on|since) (?:[A-Z][a-z]+ )?(?=(?:1\d|20)\d\d[.!]?$)", "It was "),
        # two hours at 20 mph means going 40 miles; you are left with 7; with probability 3/8
        (rf"^.*\d.*\bmeans (?:going|paying|having|getting|using|making|that) (?={_NUMBER})", ""),
        (rf"^.*\b(?:are|is|am) left with (?={_NUMBER})", ""),
        (rf"^.*\bwith (?:a )?(?:probability|chance) (?:of )?(?={_NUMBER})", ""),
        # the larger number, 24, is 8 more than 16; a profit of $5 was made; 16 and 24, and the larger is 24
        (rf"^(the|his|her|its) ([a-z]+(?: [a-z]+)?), ({_NUMBER}), (?:is|was) .*$", r"\1 \2 is \3"),
        (rf"^(?:an?|its|his|her|their) (profit|loss|total|gain|discount|increase|decrease|remainder|sum) of ({_NUMBER}"
         r"(?: [a-z]+){0,2}) (?:is|was|were) (?:made|an?|one|two|three|left|earned|paid)\b.*$", r"the \1 is \2"),
        (r"^.*\d.*\band .*\d.*(?:, and|;) the (?:larger|smaller|greater|bigger|sum|difference|total|product)"
         r"(?: (?:one|number))?(?: of (?:them|the two|these|both))? (?=(?:is|are|was) )", "it "),
        # brackets; Tom, who had 12,; 5 fewer than before; that's $15 a ticket
        (r" ?\([^()]*\)", ""),
        (r", (?:who|which|whose|where|when|being|having) [^,]*,", ""),
        (rf", (?:only |just )?{_NUMBER}(?: [a-z]+){{0,2}} (?:more|less|fewer|times|(?!other"
         rf"|number)[a-z]{{3,}}er)\b[^,]*$", ""),
        (r"(?:,|;) (?:of which|that's|that is) [^,;]*$", ""),
        # 7 left after giving 5 away; after giving 5 away, 7 are left
        (r",? (?:if|when|before|after|because|since|while|once|who|whose|down from|up from|instead of|rather than"
         r"|compared (?:to|with)|out of|in order to|to (?:reach|catch up|cover|carry|fill)) [^;=]*$", ""),
        (r"^(?:so,? |thus,? |hence,? |therefore,? )?(?:since|because|as|when|after|at|with|for|by|in|on|out of|of|once"
         r"|while|although|given|from|to|using|rounding|having)\b[^,=]*(?:,\d{3}[^,=]*)*, (?:and )?", ""),
        # $120 for 8 tickets at $15 each; driving at 60 mph, the 360-mile trip takes 6 hours
        (rf" (?:at|for|of) (?:only )?{_NUMBER}(?: (?:dollars?|cents|euros?|pounds?))? "
         r"(?:each|apiece|a piece|per [a-z]+|an? [a-z]+)\b", ""),
        (r"^[a-z]+ing\b[^,=]*, ", ""),
        (rf"^(?:at|with|for|in) {_NUMBER} \S+ (?=(?:the|an?|he|she|it|they|his|her|their)\b)", ""),
        (rf"(?<=\b(?:the|his|her)) {_NUMBER}-(?:[a-z]+)(?= )|,? at (?:an? )?(?:(?:speed|rate|pace) of )?{_NUMBER} "
         r"(?:mph|kph|km/h|m/s|miles (?:per|an) hour)(?=[.!]?$)", ""),
        # half of 3 cups is 1 1/2 cups; 8 red and 9 blue balls, 17 in all; 12 packs contain 96 pencils
        (rf"^(?:half|twice|double|triple|an? (?:half|third|quarter|fifth|tenth)|{_NUMBER}) (?:of )?(?:the )?{_NUMBER}"
         rf"(?: [a-z]+){{0,2}} (?:is|are|was|equals|makes) (?={_NUMBER})", ""),
        (rf"^.*\d.*, (?={_NUMBER}(?: [a-z]+)? (?:in all|in total|altogether|overall|total)[.!]?$)", ""),
        (rf"^(?:the |all |her |his |their )?{_NUMBER}(?: [a-z]+){{1,3}}? (?=(?:costs?|needs?|requires?|weighs?|takes?"
         r"|come|makes?|contains?|holds?|gives?|yields?)\b)", "They "),
        # it fell by 8 degrees to -3; Ann's 35 stickers; the train that left at 2:15
        (rf"\b(?:fell|falls|dropped|drops|rose|rises|went(?: up| down)?|increase[sd]|decrease[sd]|grew|grows|climbed"
         rf"|climbs"
         r"|declined|shrank) "
         rf"(?:by {_NUMBER}(?: [^\s\d]+){{0,2}} )?(?:from {_NUMBER}(?: [^\s\d]+){{0,2}} )?to (?={_NUMBER})", "is "),
        (rf"(?<=[a-z]'s) {_NUMBER}(?= [a-z]|[.!]?$)", ""),
        (rf" that (?:left|leaves|started|starts|began|begins) at [\d:]+{_CLOCK} (?=arrive|end|finish|reach)", " "),
    )
)  # fmt: skip
"""What is left out of a sentence, or stands in its place, one after the other."""
_OPEN = re.compile(
    r"\?|\bonly if\b|^\W*(?:so,? )?(?:if|error)\b|\b(?:maybe|perhaps|possibly|probably|might|may|could|would|either"
    r"|neither|unsure|not sure|suppos\w+"
    r"|assum\w+|guess|wrong|incorrect|mistake|cannot|unknown|impossible|says?|said|claims?|instead|about)\b",
    re.IGNORECASE,
)  # no clause of such a sentence states an answer
_MONEY = re.compile(r"[$€£₹]|\b(?:dollars?|cents|euros?|rupees|pounds|costs?|bill|price|pays?|paid)\b", re.IGNORECASE)
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_NUMERAL = re.compile(r"(?<![\w.,/])\d[\d,]*(?:\.\d+)?(?![\w/]|[.,]\d)")


def main_clauses(sentence: str) -> Iterator[str]:
    """The sentence with less and less of what it says beside its main clause.

    >>> list(main_clauses("Tom has 7 left after giving 5 away."))
    ['Tom has 7 left']
    """
    text = sentence.strip()
    if _OPEN.search(text) or len(text) > 300:
        return
    if not re.search(r"\d", text) and re.search(r"\b(?:plus|minus|times|divided by)\b", text):
        text = number_words.in_digits(text.rstrip("."))
        yield text
    for form, instead in _FORMS:
        shorter = form.sub(instead, text, count=1)
        if "apiece" in form.pattern and not _MONEY.search(shorter):
            continue  # 96 cupcakes at $2 each, which cost more
        if shorter != text and re.search(_NUMBER, shorter, re.IGNORECASE):
            text = shorter
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
