"""A batch as one self-contained HTML page: texts with their tokens shaded by loss, chosen beside rejected."""

import html
import math

from mtjax.inspection.explanation import Explanation, Shown, Text, Token, visible
from mtjax.inspection.terminal import describe
from mtjax.reporting.style import STYLE

HOTTEST = 6.0
"""Loss in nats from which on a target has the full shade."""

LOOK = """\
:root { --heat: #e4572e; --differs: #0a5c8f; --context: #8a9199; }
@media (prefers-color-scheme: dark) { :root { --heat: #ff7a45; --differs: #7cc4f2; --context: #7d858d; } }
main { max-width: 78rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1.25rem; margin: 0 0 1.5rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
dl, .numbers, .key, .sums, h3, h4, summary { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
dl, .key, .sums, summary { font-size: 0.86rem; }
.numbers { display: flex; flex-wrap: wrap; gap: 0.6rem 1.75rem; margin: 0 0 1.5rem; padding: 0; list-style: none;
  max-width: none; }
.numbers li { margin: 0; } .numbers b { display: block; font-weight: 600; font-variant-numeric: tabular-nums; }
.numbers span { color: var(--soft); font-size: 0.8rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.25rem;
  margin: 0 0 1.25rem; }
h3 { font-size: 0.95rem; margin: 0 0 0.6rem; overflow-wrap: anywhere; }
h3 small { font-weight: 400; white-space: normal; } h4 { font-size: 0.86rem; margin: 0 0 0.2rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1.25rem; }
.pair > div { min-width: 0; }
p.key { margin-bottom: 1.5rem; }
.sums { color: var(--soft); margin: 0 0 0.5rem; max-width: none; }
.text { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.84rem; line-height: 1.9;
  white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; max-width: none; }
.text span { border-radius: 3px; padding: 0.15em 0; box-shadow: inset -1px 0 0 var(--line);
  background: color-mix(in srgb, var(--heat) calc(var(--h, 0) * 72%), transparent); }
.text span.c { color: var(--context); } .text span.w::after { content: "\\00d7" attr(data-w); font-size: 0.7em;
  vertical-align: super; color: var(--soft); }
.text span.d { border-bottom: 3px solid var(--differs); border-bottom-left-radius: 0; border-bottom-right-radius: 0; }
.text span.f { outline: 2px solid var(--differs); }
.text i { font-style: normal; opacity: 0.38; }
details { margin-top: 0.75rem; } summary { cursor: pointer; color: var(--mark); }
.first { font: 0.86rem system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; margin: 0.75rem 0 0; max-width: none; }
@media print { article { break-inside: avoid; } details { display: none; } }
"""

KEY = (
    '<p class="key text"><span style="--h:0">target</span> <span style="--h:.5">3 nats</span> '
    '<span style="--h:1">6 nats or more</span>  <span class="c">context, not trained</span>  '
    '<span class="d">what differs</span> <span class="f">the first difference</span>  '
    '<span class="w" data-w="0.5">another weight</span>  <i>·</i> space  <i>↵</i> line break  <i>…</i> part of a '
    "character</p>"
)


def to_page(found: Explanation) -> str:
    """The explanation as the text of an HTML file; it asks for nothing from elsewhere and follows light and dark."""
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(said)}</dd>" for name, said in found.facts)
    numbers = "".join(
        f"<li><b>{value:.5g}</b><span>{html.escape(name)}</span></li>" for name, value in found.numbers.items()
    )
    left_out = f"<p>... and {found.left_out} more; --examples=0 shows all.</p>" if found.left_out else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(found.title)}</title>
<style>
{STYLE}{LOOK}</style>
</head>
<body>
<main>
<header>
<h1>{html.escape(found.title)}</h1>
<dl>{facts}</dl>
<ul class="numbers">{numbers}</ul>
{KEY}
</header>
{chr(10).join(map(_example, found.examples))}
{left_out}
</main>
</body>
</html>
"""


def _example(example: Shown) -> str:
    notes = "".join(f", {note}" for note in example.notes)
    head = (
        f"{html.escape(example.name)} <small>row {example.row}, segment {example.segment}{html.escape(notes)}</small>"
    )
    texts = "\n".join(map(_text, example.texts))
    first = ""
    if len(example.texts) == 2 and any(text.first_difference is not None for text in example.texts):
        sides = [_piece(text, text.first_difference) for text in example.texts]
        first = f'<p class="first">First difference: {sides[0]} against {sides[1]}.</p>'
    tables = "".join(map(_table, example.texts))
    return (
        f'<article>\n<h3>{head}</h3>\n<div class="pair">\n{texts}\n</div>\n{first}\n'
        f"<details><summary>Every token in numbers</summary>{tables}</details>\n</article>"
    )


def _text(text: Text) -> str:
    label = f"<h4>{html.escape(text.label)}</h4>" if text.label else ""
    spans = "".join(_span(token, place == text.first_difference) for place, token in enumerate(text.tokens))
    return f'<div>{label}<p class="sums">{html.escape("; ".join(describe(text)))}</p><p class="text">{spans}</p></div>'


def _span(token: Token, first: bool) -> str:
    """A token: shaded by its loss if it is a target; all its numbers show when it is pointed at."""
    odd = token.weight not in (0.0, 1.0)
    kinds = [("c", not token.target), ("d", token.differs), ("f", first), ("w", odd)]
    classes = " ".join(name for name, there in kinds if there)
    said = [f"token {token.id}", f"weight {token.weight:g}", f"loss {0.0 - token.logprob:.3f} nats"]
    said += [f"p {math.exp(min(token.logprob, 0.0)):.3g}", f"entropy {token.entropy:.3f}"]
    said += [f"reference {0.0 - token.reference:.3f}"] if token.reference is not None else []
    attributes = f' class="{classes}"' if classes else ""
    attributes += f' data-w="{token.weight:g}"' if odd else ""
    heat = min(-token.logprob / HOTTEST, 1.0) if math.isfinite(token.logprob) else 1.0
    attributes += f' style="--h:{max(heat, 0.0):.2f}"' if token.target else ""
    return f'<span{attributes} title="{html.escape(", ".join(said))}">{_shown(token.text)}</span>'


def _shown(text: str | None) -> str:
    """Visible text with its marks for white space faint."""
    out = html.escape(visible(text))
    for mark in "·↵→␍⍽…":
        out = out.replace(mark, f"<i>{mark}</i>")
    return out.replace("<i>·</i>", "<i>·</i><wbr>")  # a line may break there


def _piece(text: Text, place: int | None) -> str:
    if place is None:
        return "nothing"
    return f"<code>{html.escape(visible(text.tokens[place].text))}</code> at token {place}"


def _table(text: Text) -> str:
    known = any(token.reference is not None for token in text.tokens)
    names = ("t", "id", "token", "weight", "loss", "entropy", *(("reference",) if known else ()))
    head = "".join(f'<th scope="col"{"" if name == "token" else " class=number"}>{name}</th>' for name in names)
    rows = []
    for place, token in enumerate(text.tokens):
        numbers = [f"{token.weight:g}", f"{0.0 - token.logprob:.3f}", f"{token.entropy:.3f}"]
        numbers += [f"{0.0 - (token.reference or 0.0):.3f}"] if known else []
        cells = [f"<td class=number>{place}</td><td class=number>{token.id}</td><td>{_shown(token.text)}</td>"]
        cells += [f"<td class=number>{number}</td>" for number in numbers]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    caption = f"<caption>{html.escape(text.label or 'text')}: loss, entropy and reference in nats</caption>"
    return (
        f'<div class="wide"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
