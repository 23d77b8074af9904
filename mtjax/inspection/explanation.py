"""What there is to see of a batch, as plain values: its texts token by token, with weights, losses and differences.

`explanation_text` shows it in a terminal, `explanation_page` as HTML.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from mtjax.data.tokenizer import Tokenizer
from mtjax.inspection.batch_view import Look, Piece

BYTES_OF_A_CHARACTER = 4
"""Most tokens that one character is spread over: the bytes of UTF-8."""


class Token(NamedTuple):
    """One token of a text.

    Attributes:
        id: its number.
        text: what it decodes to; None where it is only the front part of a character that a later token completes.
        weight: how much it counts as a target.
        target: whether it reaches the loss: it has a weight and is not the first of its text.
        logprob, entropy: of the policy, in nats; the loss of the token is `-logprob`.
        reference: log-probability under the reference; None without one.
        differs: whether it is part of what tells this text from the one it is compared with.
    """

    id: int
    text: str | None
    weight: float
    target: bool
    logprob: float
    entropy: float
    reference: float | None
    differs: bool


class Text(NamedTuple):
    """One sequence: the chosen or the rejected side of a pair, or the only one.

    Attributes:
        label: "chosen", "rejected", "right", "wrong", or "" where there is nothing to tell apart.
        tokens: in order.
        first_difference: place at which the two texts part; None where nothing is compared or differs, or where this
            text ends there. What an edit took out is marked in the other text alone.
    """

    label: str
    tokens: tuple[Token, ...]
    first_difference: int | None

    def sums(self) -> dict[str, float | int | None]:
        """Numbers of the whole text.

        `tokens`, `targets`, `weight` (sum of the targets' weights), `nats` (`-sum w log p`), `nats_per_target` (of the
        same, by `sum |w|`), `entropy` (mean over targets) and, with a reference, `reference_nats` and `log_ratio`
        (`sum w (log p - log p_ref)`).
        """
        targets = [token for token in self.tokens if token.target]
        weight = sum(abs(token.weight) for token in targets)
        nats = -sum(token.weight * token.logprob for token in targets)
        out: dict[str, float | int | None] = {
            "tokens": len(self.tokens),
            "targets": len(targets),
            "weight": sum(token.weight for token in targets),
            "nats": nats,
            "nats_per_target": nats / weight if weight else None,
            "entropy": sum(token.entropy for token in targets) / len(targets) if targets else None,
        }
        if any(token.reference is not None for token in targets):
            reference = -sum(token.weight * (token.reference or 0.0) for token in targets)
            out |= {"reference_nats": reference, "log_ratio": reference - nats}
        return out


class Shown(NamedTuple):
    """One example: a text, or chosen and rejected.

    Attributes:
        name: such as "gsm8k-17/full/0".
        row, segment: where it stands in the batch; both from 1.
        notes: what is known of it, such as "step pair" or "error type carry".
        texts: one, or two of a pair.
    """

    name: str
    row: int
    segment: int
    notes: tuple[str, ...]
    texts: tuple[Text, ...]


class Explanation(NamedTuple):
    """A batch, ready to be shown.

    Attributes:
        title: what it is, in a few words.
        facts: names and sentences, such as ("model", "the run's start").
        numbers: the loss and the objective's metrics on the batch, divided.
        examples: the first of the batch, in its order.
        left_out: how many more there are.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    numbers: Mapping[str, float]
    examples: tuple[Shown, ...]
    left_out: int


def explain_batch(
    title: str,
    facts: Sequence[tuple[str, str]],
    parts: Sequence[Piece],
    seen: Look,
    tokenizer: Tokenizer,
    *,
    most: int = 0,
    notes: Callable[[Piece], Sequence[str]] = lambda piece: (),
    against: Callable[[Piece], tuple[Sequence[int], int] | None] = lambda piece: None,
) -> Explanation:
    """Gather what is to be shown.

    Args:
        parts: the sequences of the batch (`mtjax.inspection.batch_view.pieces`).
        seen: what a forward pass said of it; its first loss is shown.
        most: show so many examples; 0 shows all.
        notes: what else is known of an example.
        against: for a text that is no pair, the tokens of a right answer to compare it with, and where its own answer
            starts; None for nothing.
    """
    sides = 2 if parts and len(parts[0].at) == 2 else 1
    groups = [tuple(parts[start : start + sides]) for start in range(0, len(parts), sides)]
    both = len({part.extras.get("polarity", 1.0) for part in parts}) > 1
    shown = []
    for group in groups[: most or None]:
        texts = _pair(group, seen, tokenizer) if sides == 2 else (_single(group[0], seen, tokenizer, both, against),)
        shown.append(Shown(group[0].name, group[0].at[0] + 1, group[0].column + 1, tuple(notes(group[0])), texts))
    first = next(iter(seen.losses.values()))
    numbers = {"loss": float(first.value), "counted": float(first.count)}
    numbers |= {name: float(mean.value) for name, mean in seen.metrics.items()}
    return Explanation(title, tuple(facts), numbers, tuple(shown), len(groups) - len(shown))


def _pair(pair: Sequence[Piece], seen: Look, tokenizer: Tokenizer) -> tuple[Text, ...]:
    chosen, rejected = (part.tokens.tolist() for part in pair)
    sides = zip(("chosen", "rejected"), pair, differences(chosen, rejected), strict=True)
    first = parting(chosen, rejected)
    return tuple(_text(label, part, seen, tokenizer, flags, first) for label, part, flags in sides)


def _single(
    part: Piece,
    seen: Look,
    tokenizer: Tokenizer,
    both: bool,
    against: Callable[[Piece], tuple[Sequence[int], int] | None],
) -> Text:
    label = ("wrong", "right")[int(part.extras.get("polarity", 1.0))] if both else ""
    other = against(part)
    flags, first = np.zeros(len(part.tokens), bool), len(part.tokens)
    if other is not None:
        tokens, start = other
        own = part.tokens[start:].tolist()
        flags[start:], first = differences(tokens, own)[1], start + parting(tokens, own)
    return _text(label, part, seen, tokenizer, flags, first)


def _text(label: str, part: Piece, seen: Look, tokenizer: Tokenizer, flags: np.ndarray, first: int) -> Text:
    texts = token_texts(tokenizer.decode, part.tokens.tolist())
    logprob, entropy = part.of(seen.scores.logprob).tolist(), part.of(seen.scores.entropy).tolist()
    reference = [None] * len(texts) if seen.reference is None else part.of(seen.reference).tolist()
    ids, weights, targets = part.tokens.tolist(), part.weights.tolist(), part.targets.tolist()
    columns = zip(ids, texts, weights, targets, logprob, entropy, reference, flags.tolist(), strict=True)
    return Text(label, tuple(Token(*values) for values in columns), first if first < len(ids) else None)


def parting(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both sequences begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def differences(first: Sequence[int], second: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens of each sequence are not in the other, order kept: what an edit replaced, and what it put there."""
    flags = np.zeros(len(first), bool), np.zeros(len(second), bool)
    for kind, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind != "equal":
            flags[0][a:b], flags[1][c:d] = True, True
    return flags


def token_texts(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> list[str | None]:
    """What each token decodes to; the last token of a character that is spread over several has it, the others None.

    Bytes that never become a character show as the replacement character.
    """
    out: list[str | None] = []
    before = start = 0
    while start < len(ids):
        # Behind the character before it: some tokenizers drop a space in front of all.
        said = decode(list(ids[before:start]))
        for end in range(start + 1, min(start + BYTES_OF_A_CHARACTER, len(ids)) + 1):
            text = _behind(said, decode(list(ids[before:end])), decode(list(ids[start:end])))
            if "\ufffd" not in text:
                break
        else:
            end, text = start + 1, decode([ids[start]])
        out += [None] * (end - start - 1) + [text]
        before, start = start, end
    return out


def _behind(before: str, joint: str, alone: str) -> str:
    return joint[len(before) :] if before and joint.startswith(before) else alone


NAMED = {" ": "·", "\t": "→", "\n": "↵\n", "\r": "␍", "\u00a0": "⍽"}
"""How white space is made visible; a line break is followed by one."""


def visible(text: str | None) -> str:
    """The text with nothing hidden in it.

    White space as in `NAMED`, other characters that have no shape as `⟨U+200B⟩`, an accent without its letter on a
    dotted circle, and a token that is only part of a character as `…`.
    """
    if text is None:
        return "…"
    out = []
    for place, char in enumerate(text):
        if char in NAMED:
            out.append(NAMED[char])
        elif _shapeless(char):
            out.append(f"⟨U+{ord(char):04X}⟩")
        elif place == 0 and unicodedata.category(char).startswith("M"):
            out.append(f"◌{char}")
        else:
            out.append(char)
    return "".join(out)


def _shapeless(char: str) -> bool:
    kind = unicodedata.category(char)
    return kind[0] == "C" or kind in ("Zs", "Zl", "Zp") or 0xFE00 <= ord(char) <= 0xFE0F


def columns_of(text: str) -> int:
    """How many columns of a terminal a visible text takes: two for wide characters, none for accents."""
    wide = lambda char: 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return sum(0 if unicodedata.category(char) in ("Mn", "Me") else wide(char) for char in text)
