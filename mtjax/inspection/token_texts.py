"""Text of each token, with white space and characters without a glyph made visible."""

import unicodedata
from collections.abc import Callable, Sequence

BYTES_OF_A_CHARACTER = 4  # the longest UTF-8 encoding, and so the most tokens that one character is spread over


def token_texts(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> list[str | None]:
    """What each token decodes to. Of the tokens that share a character the last one has it, the others have None.

    Bytes that do not form a character become the replacement character.
    """
    out: list[str | None] = []
    before = start = 0
    while start < len(ids):
        # Decoded after the previous character, because some tokenizers drop a leading space.
        previous = decode(list(ids[before:start]))
        for end in range(start + 1, min(start + BYTES_OF_A_CHARACTER, len(ids)) + 1):
            joint, text = decode(list(ids[before:end])), decode(list(ids[start:end]))
            if previous and joint.startswith(previous):
                text = joint[len(previous) :]
            if "\ufffd" not in text:
                break
        else:
            end, text = start + 1, decode([ids[start]])
        out += [None] * (end - start - 1) + [text]
        before, start = start, end
    return out


NAMED = {" ": "·", "\t": "→", "\n": "↵\n", "\r": "␍", "\u00a0": "⍽"}
"""Visible forms of white space; a line break stays after its mark."""


def visible(text: str | None) -> str:
    """The text with every character visible.

    White space as in `NAMED`, other characters without a glyph as `⟨U+200B⟩`, a leading combining accent on a dotted
    circle, and None, a token that is only part of a character, as `…`.
    """
    if text is None:
        return "…"
    out = []
    for place, char in enumerate(text):
        kind = unicodedata.category(char)
        if char in NAMED:
            out.append(NAMED[char])
        elif kind[0] == "C" or kind in ("Zs", "Zl", "Zp") or 0xFE00 <= ord(char) <= 0xFE0F:
            out.append(f"⟨U+{ord(char):04X}⟩")
        elif place == 0 and kind[0] == "M":
            out.append(f"◌{char}")
        else:
            out.append(char)
    return "".join(out)
