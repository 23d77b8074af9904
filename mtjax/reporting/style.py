"""The look of a report: one style sheet for light pages, dark pages and paper; it names no font to fetch."""

STYLE = """\
:root {
  --page: #fbfaf8; --card: #ffffff; --ink: #1c2126; --soft: #5c6670; --line: #dedbd5;
  --mark: #0a5c8f; --stripe: #f4f2ee;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1b1f23; --ink: #e6e4df; --soft: #a0a8b0; --line: #343a40;
    --mark: #7cc4f2; --stripe: #20252a;
  }
}
* { box-sizing: border-box; }
html { font-size: 17px; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink); line-height: 1.6;
  font-family: "Charter", "Bitstream Charter", "Sitka Text", Cambria, Georgia, serif;
}
main { max-width: 54rem; margin: 0 auto; padding: 3.5rem 1.25rem 5rem; }
h1, h2, nav, table, figcaption, code { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 1rem; text-wrap: balance; }
h2 {
  font-size: 1.25rem; line-height: 1.3; margin: 3.25rem 0 0.75rem; padding-top: 1.25rem;
  border-top: 1px solid var(--line);
}
p, ul { max-width: 42rem; margin: 0 0 1rem; }
li { margin: 0.25rem 0; }
a { color: var(--mark); text-decoration-thickness: 1px; text-underline-offset: 0.2em; }
.lead { font-size: 1.12rem; }
nav { font-size: 0.85rem; margin-top: 1.5rem; }
nav ol { list-style: none; display: flex; flex-wrap: wrap; gap: 0.35rem 1.25rem; margin: 0; padding: 0; }
code {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.86em; overflow-wrap: anywhere;
  background: var(--stripe); border-radius: 4px; padding: 0.1em 0.3em;
}
small { font-size: 0.82em; color: var(--soft); white-space: nowrap; }
.wide { overflow-x: auto; margin: 1.25rem 0 1.5rem; }
table {
  border-collapse: collapse; min-width: 100%; font-size: 0.86rem; line-height: 1.45;
  font-variant-numeric: tabular-nums lining-nums;
}
caption { caption-side: top; text-align: left; color: var(--soft); padding: 0 0 0.6rem; }
th, td { text-align: left; padding: 0.5rem 0.9rem; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th { font-weight: 600; border-bottom: 2px solid var(--ink); }
tbody tr:nth-child(even) { background: var(--stripe); }
td:first-child { min-width: 9rem; }
.number { text-align: right; white-space: nowrap; }
figure {
  margin: 1.5rem 0 2rem; padding: 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
}
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: 0.86rem; line-height: 1.5; color: var(--soft); margin-top: 0.75rem; }
@media print { body { background: #fff; } main { padding: 0; max-width: none; } figure, tr { break-inside: avoid; } }
"""
