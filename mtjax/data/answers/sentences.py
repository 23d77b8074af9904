"""The one number of a sentence such as `Jane has about 18 apples`."""

import re
from fractions import Fraction

from mtjax.data.answers import number_words
from mtjax.data.answers.clauses import single
from mtjax.data.answers.normal import listed
from mtjax.data.answers.numbers import BEFORE, POSITIONAL, SOFT, Number, read_number
from mtjax.data.answers.phrases import settled

_UP = frozenset(listed("increase rise rose gain profit more increasing grow grew"))
_DOWN = frozenset(listed("""decrease fall fell lo los lose loss lost less fewer decreasing shrink drop dropp"""))
_VERBS = frozenset(
    listed(
        """is are was were be has have had there get gets got need needs needed make makes made earn earns
    earned total equals sold bought ate used took spent paid gave cost costs weighs weighed"""
    )
)
_CLEAR_WORDS = number_words.NUMBER_WORDS - {"one", "couple", "third", "quarter", "score", "gross", "fourth", "fifth"}
_WHO = frozenset(
    listed("only exactly she he they we with the hence therefore thus there it's that's there's")
)  # words that a sentence has and a list of words has not
_PART = number_words.NUMBER_WORDS | {"and", "point"}  # words before which a number word may continue a number
_CLAUSE_BEHIND = re.compile(
    r"(?P<comma>, (?:she|he|they|we|i|you|it|there|the|this|that)\b)|\b(?:can|will|would|should|must|shall)\b",
    re.IGNORECASE,
)
_TASK = re.compile(r"\bto (?:find|determine|calculate|compute|figure|solve|know)\b", re.IGNORECASE)
APPROXIMATELY = frozenset(listed(r"about approximately approx approx. around roughly ~ \approx ≈ circa"))
_NUMERAL = r"[-+]?[$€£¥₹]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?%?(?![\w:/^.]?[0-9]|[A-Za-z^])"


def _without_given(text: str) -> tuple[str, tuple[Fraction, ...]]:
    """The part of a sentence with several numbers that states one (`clauses.single`), and its other numbers.

    >>> _without_given("12 of the 20 pencils are red")
    ('12', (Fraction(20, 1),))
    """
    if "=" in text:
        return text, ()
    if len(re.findall(_NUMERAL, text)) < 2 or (reduced := single(text)) is None:
        return text, ()
    kept = re.findall(_NUMERAL, reduced)
    others = [one for one in re.findall(_NUMERAL, text) if one not in kept]
    numbers = [read_number(one.replace(",", "")) for one in others]
    return reduced, tuple(one.value for one in numbers if one)


_LEAD = re.compile(
    r"((?:(?:(?:Mr|Mrs|Ms|Dr|St)\.|[^\W\d_](?:[^\W\d_]|['-])*|[0-9]+(?:st|nd|rd|th))[,:]? +|[~≈] ?|\\approx ?){1,20})"
    r"(?=[-+]?[$€£¥₹]?[-+]?\.?[0-9])"
)


_WENT = {"up": "increased by", "down": "decreased by"}
_COUNTED = re.compile(
    rf"(?<!below )(?<!above )(?<![Tt]he )(?<!these )(?<!those )\b(?:{'|'.join(sorted(_CLEAR_WORDS))})\b(?!-)",
    re.IGNORECASE,
)
_ANY = rf"[0-9]+|{'|'.join(sorted(number_words.NUMBER_WORDS))}"
_ODDS = re.compile(
    rf"(?P<lead>[^\d,]*\b(?:chances?|probability|odds|likelihood|proportion|share)\b[^\d,]* )?(?P<top>{_ANY}) "
    rf"(?:out of|in)(?: every)? (?P<bottom>{_ANY})(?(top)(?: [a-z]+)*)",
    re.IGNORECASE,
)
_PART_OF = re.compile(
    r"(?:[A-Za-z'-]+ ){1,8}?(?:is|are|was|were|equals) (?P<value>half an? [a-z]+|"
    r"(?:an?|one|two|three|four|five|six|seven|eight|nine)[ -]"
    r"(?:halves|half|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?)(?: of .*)?)"
)


_TERM = re.compile(r"\d [-+] \d*[b-hj-z](?:\^|\b(?!'))")  # -3 - 2x + x^2 is no number
_TAKES = re.compile(
    r"(?P<lead>(?:[A-Za-z']+ ){1,6}?)(?:is|was|takes|took|lasts|lasted|needs|uses|lives|walks|runs) "
    r"(?P<amount>(?:an?|half|one|three) [a-z -]*\b(?:half|quarters?|third)\b.*)"
)
"""`It takes an hour and a half`."""
_INSTRUCTS = frozenset(listed("add subtract multiply divide find calculate compute consider"))
_EXTREME = re.compile(
    r"\b(?:minimum|maximum)(?! of\b) [A-Za-z]|(?<!at )\bthe (?:least|most) [A-Za-z]+ [A-Za-z]", re.IGNORECASE
)  # the minimum number, the least common multiple: no bound
_NOTHING_LEFT = re.compile(
    r"(?:(?:[A-Za-z]+ ){1,3}(?:is|are|was|were|has|have|had|be) )?(?:no(?: [a-z]+){1,3} (?:left|remaining|over)|"
    r"(?:none|nothing)(?: at all)?(?: (?:left|remaining|over))?)",
    re.IGNORECASE,
)
_MORE_THAN = re.compile(r"(\S+(?: [a-z]+)?) (?:more|fewer|less|[a-z]+er)((?: [A-Za-z]+){0,4}) than [^\d,]+")
"""`13 more marbles than Ann`, which says 13 only where a difference is asked for."""


_OTHERS_SAY = re.compile(
    r"\b(?:some|many|people|friends?|book|others?|someone|anyone|everyone|who)\b.*"
    r"\b(?:says?|said|thinks?|thought|claims?|claimed|believes?|guess(?:es|ed)?)\b|\blike(?= \d)|\ban? "
    r"(?:multiple|factor|divisor|power) of\b|\bdivisible by\b", re.IGNORECASE,
)  # fmt: skip


_ONLY_ONE = re.compile(
    r"(?:[A-Za-z']+ ){0,6}?(?:is|are|has|have|had|get|gets|got|be|only|exactly|leaves?|with|needs?) one(?! of\b)"
    r"(?: [a-z]+){0,3}",
    re.IGNORECASE,
)


_RELATIVE = re.compile(r", (?:who|which|whose) [^,]*, ")


_AT_TIME = re.compile(
    r"\b(?:leaves?|left|arrives?d?|starts?|started|begins?|began|ends?|opens?|closes?|meets?|met)\b.* at$"
)
_DOUBTFUL = re.compile(
    r"\b(?:whether|check|disagree|mistakes?|misconception|pitfall|trap|supposedly|allegedly|tempting|tempted|told"
    r"|of [^,]*\d[^,]* and an? [a-z]+ of|will be\b.*\bnext (?:year|month|week)|was\b.*\blast (?:year|month|week)"
    r"|none|asked for(?= the)|only if|short"
    r"(?: by| of|$)|shy of|as (?:far|long|much|many|high|low|few|little|late|early) as(?= [-$\d]))\b",
    re.IGNORECASE,
)  # the sentence says of the number that it may be another


def number_in_sentence(text: str) -> Number | None:
    """The one number that a sentence such as `Jane has about 18 apples` states; None if its words change what it says.

    Of `She pays 64 dollars for the 16 glasses` that is 64, with 16 beside it.
    """
    text = settled(text)
    if _TERM.search(text):
        return None
    if odds := _ODDS.fullmatch(text):
        top, bottom = read_number(odds["top"]), read_number(odds["bottom"])
        if top and bottom and bottom.value:
            counted = (
                top.value
                if re.search(
                    r" out of \S+ [a-z]+ [a-z]",
                    text,
                )
                else None
            )  # 45 out of 60 students passed
            return Number(top.value / bottom.value, approximate=odds["lead"] is None, rounded=counted)
    if (part := _PART_OF.fullmatch(text)) and not BEFORE & set(text[: part.start("value")].lower().split()):
        value = read_number(part["value"].partition(" of ")[0])
        return value if value and value.value.denominator > 1 else None
    if len(_COUNTED.findall(text)) > 1 and not re.search(r"\d|\bone\b", text):
        text = number_words.in_digits(text)
    elif re.search(r"\d", text) and len(_COUNTED.findall(text)) == 1:
        text = _COUNTED.sub(lambda word: number_words.in_digits(word[0]), text)
    if _NOTHING_LEFT.fullmatch(text):
        return Number(Fraction(0), approximate=True)
    text = _RELATIVE.sub(" ", text.replace("'ll ", " will "))
    text, given = _without_given(text)
    if given and (number := read_number(text)) is not None:
        return number._replace(beside=given)
    text = re.sub(r"\b(end|ends|ended|add|adds|added) up (?=with|at|to)", r"\1 ", text)
    text = re.sub(r"\b(?:went|goes|gone|go) (up|down)(?: by\b|(?= [$\d]))", lambda way: _WENT[way[1]], text)
    found, words = _LEAD.match(text), text.lower().split()
    if found and re.search(r"\b(?:because|since)\b", found[1], re.IGNORECASE):
        return None  # the number belongs to the reason
    if found is None:
        if (takes := _TAKES.fullmatch(text)) and (value := read_number(takes["amount"])) and not value.places:
            return value if not BEFORE & set(takes["lead"].lower().split()) else None
        start = next((n for n, word in enumerate(words) if n and word.split("-")[0] in _CLEAR_WORDS), None)
        if start is None:
            return Number(Fraction(1), approximate=True) if _ONLY_ONE.fullmatch(text) else None
        while start and words[start - 1].split("-")[0] in number_words.NUMBER_WORDS | {"a", "an", "minus", "negative"}:
            start -= 1
        before, rest = words[:start], " ".join(text.split()[start:])
        if re.search(r"\bone (?:in|out of)\b", " ".join(before)):
            return None  # a share
        past = any(word.endswith("ed") and len(word) > 4 for word in before)
        past = past or (len(before) > 1 and before[-1].endswith("s") and text[0].isupper())  # Mark reads
        if not (past or (_VERBS | _WHO) & set(before)) or not _VERBS & set(before) and _PART & set(before):
            return None
    else:
        before, rest = found[1].lower().split(), text[found.end() :]
    while before and before[-1] in ("minus", "negative"):
        rest = f"-{rest}" if rest[:1] not in "-+" else "?"
        before = before[:-1]
    approximate = bool(before) and before[-1] in APPROXIMATELY
    stems = {word.strip(",:.") for word in before}
    if _EXTREME.search(text):
        stems -= {"minimum", "maximum", "least", "most"}
    if _OTHERS_SAY.search(text) or _DOUBTFUL.search(text):
        return None
    if before[:1] and before[0] in _INSTRUCTS or before[-1:] in (["almost"], ["nearly"]):
        return None
    if (
        stems & (BEFORE - SOFT - POSITIONAL)
        or set(before[-2:]) & POSITIONAL
        or len(before) > 20
        or re.fullmatch(r"[b-z]", before[-1] if before else "")
    ):
        return None
    behind = _CLAUSE_BEHIND.search(rest)
    if behind and (behind["comma"] or not _VERBS & stems) or _TASK.search(text):
        return None  # the number is not what the sentence says
    approximate = approximate or bool(re.search(r"\b(?:from|to|for|in|of) each\b", rest))
    approximate = approximate or bool(stems & (SOFT | POSITIONAL))
    more = _MORE_THAN.fullmatch(rest)
    approximate = approximate or more is not None
    number = read_number(f"{more[1]} {more[2]}" if more else rest)
    if number is None:
        return None
    if _AT_TIME.search(" ".join(before)) and not number.words:
        number = number._replace(words="o'clock")
    up, down = bool(_UP & {word.rstrip("sd") for word in stems}), bool(_DOWN & {word.rstrip("sd") for word in stems})
    return number._replace(approximate=approximate, direction=up - down, beside=given)
