"""A batch as one self-contained HTML page: texts with tokens shaded by loss, chosen beside rejected."""

import math
import re

from markupsafe import Markup, escape

from mtjax.inspection.explanation import Explanation
from mtjax.inspection.token_texts import visible
from mtjax.reporting.page import render
from mtjax.reporting.report import show


def to_page(found: Explanation) -> str:
    """The explanation as the text of an HTML file, which loads nothing from the network."""
    return render("batch.html", found=found, glyphs=glyphs, show=show, exp=math.exp, isfinite=math.isfinite)


def glyphs(text: str | None) -> Markup:
    """The visible text, escaped, with faint marks for white space; a line may break after a space."""
    return Markup(re.sub("[·↵→␍⍽…]", r"<i>\g<0></i>", str(escape(visible(text)))).replace("<i>·</i>", "<i>·</i><wbr>"))
