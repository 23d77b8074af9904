"""What a sentence concludes: the part behind its reasons."""

import re

from mtjax.data.answers.cutting import cut
from mtjax.data.answers.reader import read

THEREFORE = re.compile(
    r"(?:^|[,;:] +(?:and )?)(?:(?:so|thus|hence|therefore|then|finally|overall|altogether|consequently|"
    r"in total|in all|in the end|in conclusion|in summary|in short|to conclude|all things considered|all told"
    r"|adding everything up|as a result|the solutions?(?: set)? (?:is|are)(?! empty))\b(?! (?:far|that|many|much)\b)"
    r",? *)+"
    r"(?=\S)",
    re.IGNORECASE,
)


_GIVES = re.compile(
    r"[^=<>\\]*\bwe (?:get|find|obtain|have)(?: that)? (?=\$?[A-Za-z] ?(?:[<>]|\\[lg][et]\b))|"
    r"\W*[A-Z][a-z]+ing [^=,]*, (?=\$?[A-Za-z] ?=[^,]*$)|"
    r".*\d.*, and (?:[a-z' ]+ )?(?=the (?:grand )?total (?:is|comes to|cost is) [-$\d])|"
    r"[^:=$]*[^\W\d_]{2}[^:=$]*: (?=\$[^$]+\$\W*$)|"
    r"(?:since|because|as|given that)\b[^,]*\d[^,]*,\s+|[^,]*,\s+(?=we (?:get|have|find|obtain)\b)|[^,]*?\b(?:gives"
    r"|yields|implies|imply|means)(?: us| that)?\s+\$?(?=[A-Za-z] ?=[^=,;]*(?:[,;]|$))|[^=,]*\d[^=,]*\b(?:plus|minus"
    r"|times|by|take away)\b[^=,]*\b(?:gives|leaves|makes|equals|yields|is|results in|comes to)(?: (?:us|him|her"
    r"|them|you|it))?(?: a total of)?\s+(?=[$\d])|.*,? (?:for|making|giving)(?: (?:us|him|her|them"
    r"|you))? a (?:grand )?total of\s+|.*, which (?:is|equals|gives|makes|means) (?=[-$\d])"
    r"|.*\d.*, leaving(?: (?:him|her|them|us|it|only|just|with)){0,3}\s+(?=[$\d])"
    r"|\W*[A-Z][a-z]+ing\b[^=]*\d[^=]*\b(?:gives|yields|results in|leads to|produces|makes"
    r"|leaves)(?: us)?\s+(?=[-$\d])|.*\d.*\b(?:to|and|we|you) (?:get|obtain|find)\s+(?=[-$\d])"
    r"|[^=,]*\d[^=,]*\b(?:make|makes|give|come to)\s+(?=[-$\d])|\W*(?:no doubt|without (?:a )?doubt|clearly"
    r"|obviously|for sure)[:,]\s+(?=\S)|[-\d.,/]+ ?(?:%|percent) of [^\s=]+(?: [a-z]+)? (?:is|are|equals"
    r"|was)\s+(?=[$\d])|(?=[^:=]*:\s)(?=[^:=]*\d[^:=]*[a-z]{2}[^:=]*\d)[^:=]*+:\s+"
    r"(?=[-$]?\d[\d,.]*%?(?: [a-z]+){0,3}\W*$)"
    r"|[^=]*\bi\.e\.,?\s+|[^=]*\bthat is,\s+|.*\b(?:vertex|points?|minimum|maximum|cent(?:er|re)"
    r"|intersection)\b[^()]* (?:at|is) (?=\$?\([^()]*\)\W*$)|[^=]*, giving (?=[A-Za-z] ?=)|[^=]*\b(?:holds|is true"
    r"|is satisfied) (?:exactly |only )?when (?=[A-Za-z] ?=)|[^=]*=.*,? (?:giving|yielding"
    r"|so we get)(?: us)?(?: the (?:point|pair|solution"
    r"|interval))? (?=[\[(])|[^:=]*[^\W\d_]{2}[^:=]*:\s+(?:[^=]*,\s+(?:and|so)\s+)?(?=[^:]*=)",
    re.IGNORECASE,
)
"""What stands before the value of a sentence that reasons: `Since 20 - 6 = 14,`."""


_ARROW = re.compile(
    r"(?<![\s_({][A-Za-z])(?<!^[A-Za-z])(?<!\)) (?:→|⇒|⟹|➜|[-=]>|\\Rightarrow|\\implies|\\rightarrow) "
)  # not in x → 0
_SUPPOSED = re.compile(
    r"\W*(?:if|had|were|suppose|supposing|unless|assuming)\b.*\b(?:would|might|could)\b", re.IGNORECASE
)
"""What a sentence says that is not so: `If each had 9, then it would be 18`."""


_LAST_EQUATION = re.compile(
    r"(?![A-Za-z] ?=)[^=,]*[A-Za-z][^=,]*=[^=,]*(?:,[^=,]*=[^=,]*)*, (?:and )?(?:so |then |thus )?([A-Za-z] ?= "
    r"?[^,=]+)"
)
"""Steps of a solution, as in `z - 4 = 12, z = 16`."""


_BETWEEN = re.compile(r"(?:,|;)(?: and| so| then)*\s+|\s+(?:and|then|so)\s+")
_COMPUTES = re.compile(r"[^=]*\d[^=A-Za-z]*(?:[-+*/x×÷^]|\\times)[^=A-Za-z]*\d[^=]*=[^=]*\d[^=]*")


def _steps(sentence: str) -> str | None:
    """The last of computations that a sentence lists: `5 + 7 = 12, 12 - 4 = 8`; None if it has other parts."""
    steps = _BETWEEN.split(sentence)
    return steps[-1] if len(steps) > 1 and all(map(_COMPUTES.fullmatch, steps)) else None


_SAYS = re.compile(r"[^:]*[A-Za-z][^:]*:\s+((?:yes|no|true|false)\W*)", re.IGNORECASE)  # There is no doubt: yes.
_LONGEST = 1500  # longer sentences are not searched for a conclusion


def concluded(sentence: str) -> str:
    """What a sentence concludes, behind its last "so" or another word that ends its reasons; else the sentence.

    >>> concluded("3 * 25 = 75, so there are 75 pieces.")
    'there are 75 pieces.'
    """
    if len(sentence) > _LONGEST:
        return sentence
    if _SUPPOSED.match(sentence):
        return ""
    if said := _SAYS.fullmatch(sentence):
        return said[1]
    first = THEREFORE.match(sentence)
    if first and "tuple" in read(sentence[first.end() :]).values:
        return sentence[first.end() :]
    if (last := _LAST_EQUATION.fullmatch(sentence)) and cut(last[1])[1].values:
        return last[1]
    if steps := _steps(sentence):
        return steps
    behind_arrow = _ARROW.split(sentence)[-1]
    if behind_arrow != sentence and cut(behind_arrow)[1].values:
        return behind_arrow
    ends = [found.end() for found in THEREFORE.finditer(sentence)]
    if ends and (values := cut(sentence[ends[-1] :])[1].values):
        equation = values.keys() <= {"word", "sequence"} and "=" in sentence and cut(sentence)[1].values
        return sentence if equation else sentence[ends[-1] :]
    gives = _GIVES.match(sentence, ends[-1] if ends else 0) or _GIVES.match(sentence)
    return sentence[gives.end() :] if gives and cut(sentence[gives.end() :])[1].values else sentence
