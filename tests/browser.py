"""What Chromium finds in a page at some width, light or dark: does it fit, can it be read, have pictures a text."""

import functools
import json
import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine"),
]

LOOK = """<script>addEventListener("load", () => {
  const parts = c => { const v = c.match(/[\\d.]+/g).map(Number), full = c.startsWith("color(") ? 255 : 1;
    return [...v.slice(0, 3).map(x => x * full), v[3] ?? 1] };
  const over = (a, b) => [0, 1, 2].map(n => a[n] * a[3] + b[n] * (1 - a[3]));  // one colour laid over another
  const light = v => { v = v.map(x => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4 });
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  const behind = e => e ? over(parts(getComputedStyle(e).backgroundColor), behind(e.parentElement)) : [255, 255, 255];
  const fade = e => e ? getComputedStyle(e).opacity * fade(e.parentElement) : 1;
  const silent = "[aria-hidden=true], script, style, .text i";  // marks of white space in texts are faint on purpose
  const says = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) && e.getClientRects().length
    && getComputedStyle(e).visibility == "visible" && fade(e) > 0 && !e.closest(silent);
  const contrast = e => { const ground = behind(e), c = parts(getComputedStyle(e).color);
    const [a, b] = [light(over([...c.slice(0, 3), c[3] * fade(e)], ground)), light(ground)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) };
  const apart = "pre, .md-typeset__table, .formula, .output, [hidden], .md-sidebar, .md-search, .md-tabs";  // scroll
  const wide = [...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 1);
  const texts = [...document.querySelectorAll("body *")].filter(says);
  const worst = texts.reduce((a, e) => contrast(e) < contrast(a) ? e : a, texts[0]);
  const found = { width: innerWidth, scroll: document.documentElement.scrollWidth, contrast: contrast(worst),
    worst: worst.outerHTML.slice(0, 200), silent: [...document.images].filter(i => !i.alt).length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, picture: document.images[0]?.naturalWidth,
    over: wide.filter(e => !e.closest(apart)).map(e => e.outerHTML.slice(0, 100)), texts: texts.length };
  setTimeout(() => parent.postMessage(JSON.stringify(found), "*"), 0) })</script>"""

FRAME = """<body><iframe src="{name}" style="width: {width}px; height: 900px; border: 0"></iframe>
<script>addEventListener("message", e => document.body.innerText = "FOUND" + e.data + "END")</script></body>"""
"""A window has at least 500 pixels; a frame in it has any width."""


def needs_browser(test):
    """Decorator of a test that needs Chromium."""
    return functools.reduce(lambda test, mark: mark(test), NEEDS_BROWSER, test)


def dom(address, *options):
    """The page at an address as the browser has made it."""
    words = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom", *options]
    return subprocess.run([*words, address], capture_output=True, text=True, timeout=120).stdout


def look(page, width, dark):
    """What the browser finds in a page."""
    copy, frame = page.with_name("looked.html"), page.with_name("frame.html")
    copy.write_text(page.read_text().replace("</body>", f"{LOOK}</body>"))
    frame.write_text(FRAME.format(name=copy.name, width=width))
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    made = dom(f"file://{frame}", "--window-size=1500,1000", "--virtual-time-budget=5000", scheme)
    return json.loads(re.search(r"FOUND(\{.*?\})END", made, re.DOTALL)[1])
