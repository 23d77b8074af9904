"""The forms in which a reply states an answer, or names the letter of a choice."""

import re

_KEY = r"(?:final[ _]|correct |right |best )*(?:answers?|ans)\b"
_LINK = (
    r"(?: (?:to |of |for )?(?:(?:the )?(?:question|problem|part) )?\d{1,2}(?=[ \t]*:[ \t*]*\S))?(?:[\"'\])*]"
    r"|\s)*(?:\([^()\n]{0,40}\)|(?:to|of|for|in)\s[^.:\n=]{1,80}?)?\s*(?:choice|option)?\s*"
    r"(?:[-–—]\s|\.(?=[\s(])|(?:,?\s*(?<![A-Za-z])(?:is\s+equal(?:\s+to)?|is|was|are|be|equals|should\s+be"
    r"|must\s+be|will\s+be|would\s+be|has\s+to\s+be|comes\s+(?:out\s+)?to(?:\s+be)?)"
    r"(?![\w'])(?:\s\([^()\d\n]{0,40}\)(?=\s?:))?|=>|[=:→])+(?:\s*(?:therefore|thus|simply|just|then|now|indeed"
    r"|clearly|also)\b)?(?:\s*[=:](?!=))?)"
)
_GAP = (
    r"(?:\s|(?:[=-]>|[→⇒➜★☆▶►])\s*|(?<=\n)#{1,6}\s|(?<=\n)(?:---+|\*\*\*+|===+)(?=\n)|(?<=\n)>(?=\s+[^\s\[\]"
    r"(){}<>])|\$\$|\\\[|(?<=\n)[-*•·+]\s|(?<=\n)\d+[.)]\s(?=\S)|\*(?=\s))*"
)
TONGUES = re.compile(
    r"(?:答案|答え|答|정답|답)\s*(?:(?:是|为|為|は|은|는)\s*:?|:)\s*"
    r"|\b(?:r[ée]ponse|respuesta|antwort|ergebnis|resposta|risposta|ответ|jawaban|odpowied[zź]|antwoord)"
    r"(?: (?:finale?|correcta|correcte|correta|exacte|corretta))?\s*(?:(?:est|es|ist|é|è|adalah|is)\b\s*[:=]?"
    r"|[:=])\s*",
    re.IGNORECASE,
)
"""`The answer is` in other languages."""
FORMS = (
    ("####", re.compile(r"####[ \t]*(?P<answer>[^\n]+)")),
    (">", re.compile(
        r"<(?P<tag>(?:final[_-]?)?(?:answer|result)|final|ans)(?: "
        r"[^<>\n]*)?>\s*(?P<answer>.+?)\s*(?P<closed></(?P=tag)>|$)",
        re.IGNORECASE | re.DOTALL,
    )),
    ("answer]", re.compile(r"(?:^|\n)\W*(?P<key>\[(?:final )?answer\])[ \t]*:?\s*(?P<answer>[^\n]+)", re.IGNORECASE)),
    (":", re.compile(r"(?:^|\n)[ \t*>]*a[ \t*]*:[ \t*]*(?P<answer>[^\n]+)", re.IGNORECASE)),
    ("ans", re.compile(rf"(?<![\w\\])(?P<key>{_KEY}){_LINK}{_GAP}(?=(?P<answer>[^\n]+))", re.IGNORECASE)),
    ("ans", re.compile(
        rf"(?:^|\n)[\s#*>]*(?:the |my )?(?P<key>{_KEY})[ \t]*(?::?[ \t]*\n{_GAP}|"
        r"[ \t]+(?=\(?[A-J]\)?\W*(?:\n|$)|[-+$]?\d))(?P<answer>[^\n]+)", re.IGNORECASE,
    )),
    ("[/answer]", re.compile(
        r"(?P<key>\[(?:final )?answer\])\s*(?P<answer>[^\n]+?)\s*\[/(?:final )?answer\]", re.IGNORECASE,
    )),
    ("but", re.compile(
        r"\bbut (?:(?:after|on|upon|when) [^.,\n]{1,40}?,? )?(?:it|that|this|the (?:correct|actual|real|true) "
        r"(?:answer|value|one|number))(?: is|'s)(?: (?:actually|really|in fact))? "
        r"(?P<answer>(?=[-$\\(\d]|(?-i:[A-Z]))[^\n]+)", re.IGNORECASE,
    )),
    ("correct", re.compile(
        r"(?:^|\n|[.!?]\s)\W*(?P<key>correct(?:ed|ion)?)\W{0,3}:\W{0,3}\s(?P<answer>(?=[-$\\(\d])[^\n]+)",
        re.IGNORECASE,
    )),
    ("tl", re.compile(r"(?:^|\n)\W*(?P<key>tl;?dr)\W{0,3}:\W{0,3}\s?(?P<answer>[^\n]+)", re.IGNORECASE)),
    (" should ", re.compile(
        r"\b(?P<key>it|that|this) should (?:be|have been) (?P<answer>(?=[-$\\\d])[^\n*+/^=]+?(?=[.,!]?(?:\s"
        r"|$)))(?![^\n]*[*+/=])", re.IGNORECASE,
    )),
    (" ", re.compile(
        r"(?P<key>\b(?:correct|right|actual|true)\s+(?:total|number|value|sum|result|count|amount))\s+is\s+"
        r"(?P<answer>(?=[-$\\\d])[^\n]+)", re.IGNORECASE,
    )),
    ("no", re.compile(
        r"(?P<key>(?:\.\.+|-)\s*no),? (?:it(?:'s| is) |make that )?(?P<answer>(?=[-$\\\d])[^\n]+)", re.IGNORECASE,
    )),
    (" ", re.compile(
        r"(?P<key>\b(?:correct|right|best|remaining|matching|my|final)\s+(?:option|choice|alternative|letter|one"
        r"|pick))(?:\s+here)?(?:\s+(?:among|of|from)\s[^.:\n]{1,40}?)?\s*(?:is|:|=)+\s*:?\s*(?P<answer>[^\n]+)",
        re.IGNORECASE,
    )),
)  # fmt: skip
"""How a reply states an answer, each with a text that it always holds."""
CHOSEN = (
    re.compile(r"(?<=[.!?]\s)(?P<answer>\([A-J]\)|[B-J])[.!*\s]*$"),
    re.compile(r"(?:^|\n)\W*(?P<answer>\([A-J]\)|(?-i:[A-J])\b),? (?:is )?(?:my |the )?final (?:answer|choice)\W*$",
               re.IGNORECASE),
    re.compile(r"(?<![\w,])(?<!and )(?<!or )(?<!nor )(?:(?:option|choice|answer|alternative)\s*)?"
               r"(?P<answer>\( ?[A-J] ?\)|\b[A-J])\)?(?: \([^()\n]{1,40}\))?\s+is\s+(?:the\s+|our\s+|my\s+"
               r"|therefore\s+)?"
               r"(?:correct|right|best|true|answer|one|what we (?:want|need))\b(?!\s+(?:only|if))", re.IGNORECASE),
    re.compile(r"(?:^|\n|(?<=[.!;,]\s))[^\w\n]*(?:(?:so|hence|thus|therefore|the|correct|right|best|answer|ans|is"
               r"|it|it's|i'll|i'd|let's|we'll|i'm|going|say|definitely|certainly|surely|think|believe|must|be|i"
               r"|would|will|we|"
               r"choose|select|pick|chose|go|with|by|and|imo|oa|my|choice|option|alternative)\b[\s,:=-]*)+"
               r"(?P<answer>\([A-J]\)|(?-i:[A-J])\b)\)?(?: \([^()\n]{1,40}\))?\s*[.!]?\s*(?=\n|$)",
               re.IGNORECASE),
    re.compile(r"(?:^|\n|(?<=[.!]\s))(?:so )?i(?:'d|'ll| would| will)? (?:pick|choose|chose|select|go with|say|answer)"
               r"(?: option| choice)? (?P<answer>\([A-J]\)|(?-i:[A-J])\b)(?=[:;,]|\.\s| because\b| since\b)"
               r"(?!,? (?:or|and|but|though|perhaps|maybe|possibly)\b)",
               re.IGNORECASE),
    re.compile(r"(?:^|\n)[^\w\n]*(?P<answer>\([A-J]\)|(?-i:[A-J]))\)?\W*$", re.IGNORECASE),
    re.compile(r"\b(?:which is|that is|that's|this is|i\.e\.|corresponding to|corresponds to|matches|matching),? "
               r"(?:the )?(?:answer )?"
               r"(?:option|choice|alternative) (?P<answer>\( ?[A-J] ?\)|[A-J]\b)\W*$", re.IGNORECASE),
    re.compile(r"\b(?:choice|option|answer|selection|pick)\b[^.\n]{0,40}? (?:is|was|be|seems to be) (?:option"
               r"|choice|letter) (?P<answer>\( ?[A-J] ?\)|[A-J]\b)\W*$", re.IGNORECASE),
    re.compile(r"(?:^|\n|(?<=[.!;,]\s))(?P<answer>\([A-J]\)|(?-i:[B-J])\b) is (?:the )?(?:most|best|only"
               r"|closest) [a-z]+(?: [a-z]+)?\W*$", re.IGNORECASE),
    re.compile(r"(?:^|\n|(?<=[.!;,]\s))(?:so )?(?:option )?(?P<answer>\([A-J]\)|(?-i:[A-J])\b) it is\W*$",
               re.IGNORECASE),
    re.compile(r"(?:→|⇒|⟹|➜|[-=]>) *(?:option |choice )?(?P<answer>\( ?[A-J] ?\)|[A-J])\)?\W*$", re.IGNORECASE),
    re.compile(r"(?<=\s)(?<!or )(?<!and )(?<!nor )(?<!not )(?<!, )(?P<answer>\([A-J]\))\s*\.?\s*$"),
    re.compile(r"\b(?:leaves|leaving|left with|(?P<only>only))(?: us)?(?: with)?(?: only| just)? "
               r"(?:(?:option|choice|answer) )?(?P<answer>\([A-J]\)|(?-i:[A-J])\b)"
               r"(?(only) (?:remains|works|fits|matches|is left)\b|\s*[.!]?\s*(?=\n|$))", re.IGNORECASE),
    re.compile(r"(?:^|\n|(?<=[.!]\s))[^\w\n]*(?:so |hence |thus |therefore )?,?\s*(?:option|choice)\s+"
               r"(?P<answer>\(?[A-J]\b\)?(?=\s*[:.,)-]|\s*$)(?![^\n]*\b(?:option|choice) \(?[A-J]\b)[^\n]*)$",
               re.IGNORECASE),
)  # fmt: skip
"""How a reply names the letter of a choice."""
