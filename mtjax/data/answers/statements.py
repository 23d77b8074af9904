"""Where a reply states its answer."""

import re

from mtjax.data.answers.boxes import DENIED_BEHIND, Statement, boxed
from mtjax.data.answers.forms import CHOSEN, FORMS, TONGUES
from mtjax.data.answers.machine import spoken
from mtjax.data.answers.normal import ascii_signs, without_markup

_THOUGHTS = r"think|thinking|thought|thoughts|reasoning|reason|scratchpad|reflection|analysis"
_CLOSED = re.compile(rf"<({_THOUGHTS})>.*?</\1>", re.DOTALL | re.IGNORECASE)
_ENDED = re.compile(rf".*</(?:{_THOUGHTS})>", re.DOTALL | re.IGNORECASE)
_BEGUN = re.compile(rf"<(?:{_THOUGHTS})>.*", re.DOTALL | re.IGNORECASE)


def without_thoughts(reply: str) -> str:
    """What a reply says outside `<think>...</think>` and the like; a thought that never closes ends it.

    >>> without_thoughts("<think>20?</think>18"), without_thoughts("<think>is it 20")
    ('18', '')
    """
    if "<" not in reply:
        return reply
    if "</" in reply:
        reply = _ENDED.sub("", _CLOSED.sub("", reply))
    return _BEGUN.sub("", reply)


_SUPPOSED = re.compile(
    r"\b(?:if|suppose|supposing|assum\w+|unless|whether|why|how|no matter|until|check that|not the case)\b",
    re.IGNORECASE,
)
_VOID = re.compile(
    r"\b(?:not|never|wrong|incorrect|false|cannot|previous|earlier|another|possible|first|next|second|third|one|long)\b"
    r"|n't\b",
    re.IGNORECASE,
)
_SAID_OF = re.compile(r"\b(?:is|was|be|are|as) (?:the |my |our |your )?$", re.IGNORECASE)
HEDGED = re.compile(
    r"\b(?:maybe|perhaps|possibly|might|could|either|neither|is it|doubt|not sure|rul(?:e|es|ed) out|anything but)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"\b(?:number|total|sum|all|many|amount|percentage) (?:of )?(?:[a-z]+ ){0,4}$", re.IGNORECASE)
_SO = re.compile(r"\b(?:so|thus|hence|therefore)\b", re.IGNORECASE)
_OPTION = re.compile(r"(?:^|\n)[ \t*>]*[A-E][ \t*]*[:.)]|\b[Oo]ption [A-E]:")
_SENTENCE = re.compile(r"[.!?](?=\s)|\n")


_RULE = re.compile(r"^[ \t]*\|(?:[ \t]*:?-+:?[ \t]*\|)+[ \t]*$", re.MULTILINE)
_LAST_ROW = re.compile(
    r"^[ \t]*\|[ \t]*([^|\n]*\b(?:total|sum|result|overall)\b[^|\n]*?)[ \t]*\|([^|\n]+)\|[ \t]*\Z",
    re.MULTILINE | re.IGNORECASE,
)
_ROW = re.compile(r"^[ \t]*\|([^|\n]*\banswer[ \t]*)\|(?:\s*\|)?([^|\n]+)\|[ \t]*$", re.MULTILINE | re.IGNORECASE)
"""A row of a table, or a column with one row, that names the answer."""


_CALCULATOR = re.compile(r"<<[^<>\n]{1,80}>>")  # the annotations of GSM8K
_FAREWELL = re.compile(
    r"\n\s*(?:is there (?:anything|something)|do you (?:want|need|have)|can i|shall i|want me to|need (?:any|more)|"
    r"let me know if|(?:i )?hope (?:this|that|it) helps|feel free to|please let me know|if you have any|"
    r"this completes|thus,? we are done|q\.?e\.?d\b|would you like|happy to)[^\n]*\s*\Z",
    re.IGNORECASE,
)
"""What a reply ends with that belongs to no answer."""
_GREETING = re.compile(
    r"\A\W*(?:sure(?: thing)?|(?:great|good|nice) question|(?:i'm )?happy to help|of course|certainly|absolutely"
    r"|hi(?: there)?"
    r"|hello|hey|okay|ok|no problem|easy one)[!.:]+(?:\s+|[^\w\s*$\\(#-]+\s*)(?=\S)", re.IGNORECASE,
)  # fmt: skip
_ROLE = re.compile(r"^[ \t*#>]{0,9}assistant:\s{0,9}(?=\S)", re.IGNORECASE | re.MULTILINE)
_BOLD_END = re.compile(
    r"(?<=\n)[ \t]*(?:[^\w\s*]\ufe0f?[ \t]*)?\*\*(?=[A-Z][a-z]+ )(?=[^*\n]*\*\*\W*\Z)(?![^*\n]*:\*\*)"
)
"""A last line that is wholly bold."""


_NEXT_PROBLEM = re.compile(
    r"\n[ \t#*>]*(?:(?:next )?(?:question|problem|q|human|user|instruction|exercise)[ \t]*\d*[ \t*]*[:.)](?=\s|$)"
    r"|the following (?:are|is an?) (?:multiple[- ]choice )?questions?\b)",
    re.IGNORECASE,
)


_SHORT = re.compile(r"\s*(?!sure\b|here\b|ok|let\b)[-$(]*\w[^\s:?!]*(?: [^\s:?!]+){0,3}\s*", re.IGNORECASE)
"""A line of at most four words: what a model without instruction tuning answers before it asks the next question."""


_ANSWERED = re.compile(
    r"(?:^|\n)(?=[^\n]*[\d{])(?=[^\n]*[A-Za-z=])(?![^\n]*\b(?:restat\w*|rephras\w*|question|problem|asks?|asked|given)\b)"
    r"[^\n]*[^\s:?,]\s*\Z",
    re.IGNORECASE,
)
"""A last line that says a value and neither asks nor announces anything: what follows is another problem."""


def _up_to_next_problem(text: str, choice: bool) -> str:
    """A cleaned reply up to where it goes on with another problem, after an answer that it states or is alone."""
    for found in _NEXT_PROBLEM.finditer(text):
        before = text[: found.start()]
        if (
            statements(before, choice)
            or _SHORT.fullmatch(before)
            or (
                _ANSWERED.search(before)
                and re.match(r"\n[^\n]*:[^\n]*\d", text[found.start() :])  # with givens of its own
            )
        ):
            return text[: found.start() + 1]
    return text


def goes_on(reply: str) -> bool:
    """Whether a reply may go on with another problem."""
    return bool(_NEXT_PROBLEM.search(reply))


_ROWS = re.compile(
    r"(?:\$\$|\\\[)?\s*\\begin\{(?P<kind>align|aligned|gathered|split|eqnarray)(?P<star>\*?)\}(?P<rows>.*?)"
    r"\\end\{(?P=kind)(?P=star)\}\s*(?:\$\$|\\\])?", re.DOTALL,
)  # fmt: skip
"""Equations below each other, each of which is a line."""
_THOUSANDS = re.compile(r"(?<=[$€£])(\d{1,6}(?:\.\d{1,3})?)k (?=(?:after|in|over|by|from|at)\b)")  # $15k after a year
_BELOW_ZERO = re.compile(r"(?<![\w.,-])(\d[\d.]*) (degrees?(?: Celsius| Fahrenheit)?|° ?[CF]?) below zero\b")
_GROUPED = re.compile(
    r"(?<![\w'.])\d{1,3}(?:'\d{3})+(?![\w'])|(?:(?<=Rs)|(?<=Rs\.)|(?<=INR)|(?<=₹)) ?\d{1,2}(?:,\d\d)*,\d{3}(?![\d,])"
)  # 1'250'000, Rs 1,50,000
_IN_LATEX = re.compile(
    r"\$?\\(?:textbf|text|mathrm|textrm)\{(?P<said>\([A-J]\)|[A-Za-z]{3,})\}\$?(?=\W*$)"
)  # a last word
_FACTORIAL = re.compile(r"(?<=\d)!(?=[.,;)])")  # 5!.
_IS = re.compile(r"(?<=answer)'s (?=\(?[A-J]\b|[-$]?\d)|(?<=choice)'s (?=\(?[A-J]\b)")


def cleaned(reply: str, choice: bool = False) -> str:
    """A reply without thoughts and mark-up, up to the next problem, as statements are searched in it."""
    reply = re.sub(r"\n{3,}", "\n\n", reply)  # no long runs, which take long
    before, *turns = _ROLE.split(reply)
    if turns and not (_NEXT_PROBLEM.search(before) and statements(cleaned(before, choice), choice)):
        before = turns[-1]
    reply = _GREETING.sub("", before)
    reply = _FAREWELL.sub("", _CALCULATOR.sub("", spoken(without_thoughts(reply))))
    bold = _BOLD_END.search(reply)
    if bold and not reply[: bold.start()].rstrip().endswith(":"):
        reply = f"{reply[: bold.start()]}So, **{reply[bold.end() :]}"
    reply = re.sub(r"(?m)^>\s+(?=\*\*)", "", reply)
    reply = _ROWS.sub(lambda rows: rows["rows"].replace("\\\\", "\n"), reply) if "\\begin{" in reply else reply
    text = without_markup(ascii_signs(reply)).replace(" isn't ", " is not ")
    text = _IN_LATEX.sub(lambda one: one["said"], text)
    text = _FACTORIAL.sub(" factorial", _IS.sub(" is ", text))
    text = TONGUES.sub("\nAnswer: ", text) if TONGUES.search(text) else text
    text = re.sub(r"[ \t]{40,}", " " * 40, text)
    text = _THOUSANDS.sub(lambda number: f"{round(float(number[1]) * 1000)} ", text)
    text = _BELOW_ZERO.sub(r"-\1 \2", text)
    text = _GROUPED.sub(lambda number: re.sub("[',]", "", number[0]), text)
    if _RULE.search(text):
        text = _ROW.sub(r"\1: \2", _RULE.sub("", text))
        text = _LAST_ROW.sub(r"\1: \2", text.rstrip())
    return _up_to_next_problem(text, choice)


def _before(text: str, place: int) -> str:
    """The sentence up to a place."""
    start = max(
        (end.end() for end in _SENTENCE.finditer(text, max(0, place - 200), place)), default=max(0, place - 200)
    )
    return text[start:place]


def _voided(text: str, place: int) -> bool:
    """Whether the sentence before a statement supposes it, or the clause before it denies it."""
    before = _before(text, place)
    return bool(
        _SUPPOSED.search(before) or _VOID.search(re.split(r"[,;:]|\b(?:so|thus|hence|therefore)\b", before)[-1])
    )


def statements(text: str, choice: bool = False) -> list[Statement]:
    """The answers that a cleaned reply states, in order; with `choice` also letters such as `option (C) is correct`.

    One that is denied, supposed or asked is none: `the answer is not 7`, `if the answer is 7`, `is the answer 7?`.
    """
    found: list[Statement] = []
    lowered = text.lower()
    for sign, form in FORMS:
        for match in form.finditer(text) if sign in lowered else ():
            start, answer = match.start("answer"), match["answer"].strip()
            key = match.start("key") if "key" in form.groupindex else None
            if key is not None and (instead := INSTEAD.match(match["answer"])):
                start, answer = start + instead.start("answer"), instead["answer"].strip()
            if key is not None and text[match.end("key") :][:1] == "." and _SAID_OF.search(text[:key][-30:]):
                continue  # "18 is the answer. ..."
            if key is not None and match["key"].lower() == "answers" and _COUNTED.search(_before(text, key)):
                continue  # the number of answers is 12
            if key is not None and (_denied(answer) or _voided(text, key)):
                continue
            if key and text[key - 1] in "\"'" and re.match(r"[\"']\s*:", text[match.end("key") :]):  # JSON
                answer = re.sub(r"^\"((?:[^\"\\]|\\.)*)\".*|^([^,}\]]*).*", r"\1\2", answer)
            if answer.endswith(("\\]", "\\)")):
                answer = answer[:-2].rstrip()
            if answer[-1:] in ")]}" and re.search(r"\w", answer) and _closers(answer) > 0:
                answer = answer[:-1].rstrip()
            if sign == ">":
                answer = answer.splitlines()[-1] if answer else ""
                found.append(Statement(answer, start, match.end(), bool(match["closed"])))
            elif answer and sign == ":" and choice and not re.match(r"\(?[A-J]\b", answer):
                start = text.lower().index("a", match.start())  # the letter, not the word "answer"
                found.append(Statement(text[start : match.end("answer")], start, match.end("answer")))
            elif answer and not (sign == ":" and len(_OPTION.findall(text)) > 1):
                found.append(Statement(answer, start, match.end("answer")))
    for form in CHOSEN if choice else ():
        for match in form.finditer(text):
            place = match.start("answer")
            hedged = HEDGED.search(_SO.split(_before(text, place))[-1])
            if not (hedged or _voided(text, place) or DENIED_BEHIND.match(text, match.end())):
                found.append(Statement(match["answer"], match.start("answer"), match.end("answer")))
    for box in boxed(text) if "box" in lowered else ():
        # A box within a stated answer, as in "the answer is $\boxed{18}$", starts later and so wins.
        found = [one for one in found if not box.start < one.start < box.end]
        found.append(box)
    return sorted(found, key=lambda one: one.start)


def _closers(text: str) -> int:
    """How many more brackets a text closes than it opens."""
    return sum(text.count(sign) for sign in ")]}") - sum(text.count(sign) for sign in "([{")


INSTEAD = re.compile(
    r"(?:(?:rather than|instead of)\s+[^.,;\n]{1,30},\s+(?:it\s+is|it's|the\s+answer\s+is)"
    r"|(?:it(?: is|'s) )?(?:not|neither)\s+[^.,;\n]{1,30}?(?:, (?:as|like|which) [^.,;\n]{1,40}(?=, but))?"
    r"(?:,?\s+but(?:\s+(?:rather|instead|it\s+is|it's))?|[,;]\s+(?:rather|it\s+is|it's)))\s+(?P<answer>[^\n]+)",
    re.IGNORECASE,
)
"""`not 9 but 7`: what stands behind a denial in its place."""


def _denied(answer: str) -> bool:
    return bool(re.match(r"(?:not|n't|never|wrong|incorrect|no longer)\b", answer, re.IGNORECASE)) or bool(
        re.match(r"[^.!?\n]{1,60}\?(?:\s|$)", answer)
    )


_TAKEN_BACK = re.compile(
    r"\bno, |\b(?:edit|update|sorry|my mistake|i meant|wait|oops|hold on|correction|let me (?:redo|reconsider"
    r"|recalculate|correct|fix)|scratch that|(?:that|this|it)(?: is|'s) (?:wrong|incorrect|not (?:right|correct))|"
    r"(?:that|this|it|which) (?:seems?|looks?|sounds?|feels?) (?:off|odd|wrong|strange|too \w+|suspicious|implausible)|"
    r"(?:that|this|it|which) (?:does not|doesn't) (?:match|check|work|add up|fit|account for)|"
    r"(?:need|have|ought) to (?:redo|recompute|recalculate|start over)|"
    r"either (?:one |of them |answer |option )?(?:is|can|could|would|works|may|might)|"
    r"on the other hand|both (?:of them |answers |options |values |readings |interpretations )?"
    r"(?:are|can|could|may|might|\(?[A-J]\)? and \(?[A-J])|"
    r"(?:that|this|it|which) (?:does not|doesn't|can't|cannot) (?:look|seem|sound|be|feel) (?:quite )?(?:right"
    r"|correct)|i (?:was wrong|made an? (?:error|mistake)|misread)|actually)\b",
    re.IGNORECASE,
)


def taken_back_at(rest: str) -> int | None:
    """Where a reply takes back an answer in what follows it; None if it does not."""
    found = _TAKEN_BACK.search(rest)
    return found.start() if found else None


def taken_back(rest: str) -> bool:
    """Whether a reply takes back an answer in what follows it, without stating another."""
    return taken_back_at(rest) is not None
