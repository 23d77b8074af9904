"""A batch as one self-contained HTML page: texts with tokens shaded by loss, chosen beside rejected."""

import math
import re

from markupsafe import Markup, escape

from mtjax.inspection.explanation import Explanation, TokenView
from mtjax.inspection.token_texts import visible
from mtjax.reporting.page import render
from mtjax.reporting.report import show

HOTTEST = 6.0
"""Loss in nats from which a target has the full shade."""


def to_page(found: Explanation) -> str:
    """The explanation as the text of an HTML file, which loads nothing from the network."""
    return render("batch.html", found=found, classes=classes, glyphs=glyphs, heat=heat, tooltip=tooltip, show=show)


def classes(token: TokenView, first: bool) -> str:
    """CSS classes of a token: context, differs, first difference, weight other than 0 and 1."""
    odd = token.weight not in (0.0, 1.0)
    kinds = [("c", not token.target), ("d", token.differs), ("f", first), ("w", odd)]
    return " ".join(name for name, applies in kinds if applies)


def heat(token: TokenView) -> str:
    """How strongly a token is shaded, from 0 to 1."""
    return f"{max(min(-token.logprob / HOTTEST, 1.0), 0.0) if math.isfinite(token.logprob) else 1.0:.2f}"


def tooltip(token: TokenView) -> str:
    """All numbers of a token."""
    words = [f"token {token.id}", f"weight {token.weight:g}", f"loss {0.0 - token.logprob:.3f} nats"]
    words += [f"p {math.exp(min(token.logprob, 0.0)):.3g}", f"entropy {token.entropy:.3f}"]
    return ", ".join(words + ([] if token.reference is None else [f"reference {0.0 - token.reference:.3f}"]))


def glyphs(text: str | None) -> Markup:
    """The visible text, escaped, with faint marks for white space; a line may break after a space."""
    return Markup(re.sub("[·↵→␍⍽…]", r"<i>\g<0></i>", str(escape(visible(text)))).replace("<i>·</i>", "<i>·</i><wbr>"))
