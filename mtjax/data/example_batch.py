"""Many rendered texts as examples at a time: the same as `make_example` of each, in array operations."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from mtjax.data.closing import closed
from mtjax.data.encoding import Encoding, Encodings
from mtjax.data.examples import Boundary, Example, make_example, misspelt
from mtjax.data.special_tokens import unshield
from mtjax.data.tasks.base import Rendered
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError


def make_examples(
    rendered: Sequence[Rendered], names: Sequence[str], tokenizer: Tokenizer, *, boundary: Boundary = "split"
) -> list[Example | InputError]:
    """`make_example` of each text with the name of its problem, or the error that it raises.

    Texts are tokenised and decoded in the tokenizer's own batches, and weights computed for all tokens at once. A text
    that needs more, such as one whose prompt must be tokenised apart, goes through `make_example`.
    """

    def alone(number: int) -> Example | InputError:
        try:
            return make_example(rendered[number], names[number], tokenizer, boundary=boundary)
        except InputError as error:
            return error

    encode, decode = (getattr(way, "batch", None) for way in (tokenizer.encode, tokenizer.decode))
    if encode is None or decode is None or len(rendered) < 2:
        return [alone(number) for number in range(len(rendered))]
    try:
        rendered = [closed(one, tokenizer) for one in rendered]
    except InputError:
        return [alone(number) for number in range(len(rendered))]
    texts = [one.text for one in rendered]
    prompts = [one.text[: one.prompt_end] if boundary == "split" else "" for one in rendered]
    own = {text: number for number, text in enumerate(dict.fromkeys(text for text in prompts if text))}
    try:
        found: Encodings = encode([*texts, *own])
    except InputError:  # one text is refused: which, the single ones say
        return [alone(number) for number in range(len(rendered))]
    prompt = np.array([len(texts) + own[text] if text else -1 for text in prompts], np.int64)
    spread = Spread(rendered, found)
    simple = np.array([one.sampled is None and one.values is None for one in rendered])
    if boundary == "split":
        simple &= spread.begins_with(prompt, found)
        for number, one in enumerate(rendered):
            if one.starts and simple[number]:
                simple[number] = np.isin(one.starts, spread.start[spread.tokens_of(number)]).all()
    if boundary != "allow":
        simple &= ~spread.any_token(spread.holds_inside(spread.prompt_end))
    decoded = decode([ids.tolist() for ids in np.split(spread.ids, spread.first[1:])])
    exact = ~spread.any_token(spread.holds_an_edge())
    made = spread.examples(names, tokenizer)
    out: list[Example | InputError] = []
    for number, one in enumerate(rendered):
        if not simple[number]:
            out.append(alone(number))
        elif exact[number] and decoded[number] == unshield(one.text, tokenizer.special):
            out.append(made[number])
        else:
            inside = spread.tokens_of(number)
            offsets = [(start, end) for start, end in zip(spread.start[inside], spread.end[inside], strict=True)]
            encoding = Encoding(spread.ids[inside].tolist(), offsets)
            out.append(made[number]._replace(misspelt=misspelt(one, tokenizer, encoding)))
    return out


class Spread:
    """The tokens of many texts side by side; characters are numbered through all texts where they are compared."""

    def __init__(self, rendered: Sequence[Rendered], found: Encodings):
        self.rendered = rendered
        count = len(rendered)
        self.size = found.sizes[:count]
        self.first = np.cumsum(self.size) - self.size  # place of each text's first token
        total = int(self.size.sum())
        self.ids = found.ids[:total]
        self.start, self.end = found.offsets[:total].T  # characters of each token, within its text
        self.text = np.repeat(np.arange(count), self.size)  # the text of each token
        length = np.array([len(one.text) for one in rendered], np.int64)
        self.base = np.cumsum(length) - length  # number of each text's first character
        self.characters = int(length.sum())
        self.prompt_end = np.array([one.prompt_end for one in rendered], np.int64)

    def tokens_of(self, number: int) -> slice:
        """The places of a text's tokens."""
        return slice(int(self.first[number]), int(self.first[number] + self.size[number]))

    def any_token(self, tokens: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " texts"]:
        """Whether any of these tokens belongs to the text."""
        return np.bincount(self.text[tokens], minlength=len(self.size)) > 0

    def holds_inside(self, place: Int[np.ndarray, " texts"]) -> Bool[np.ndarray, " n"]:
        """Whether a token starts before this place in its text and ends after it."""
        there = place[self.text]
        return (self.start < there) & (there < self.end)

    def holds_an_edge(self) -> Bool[np.ndarray, " n"]:
        """Whether an edge of a target lies inside a token."""
        edges = np.zeros(self.characters + 2, np.int64)
        for base, one in zip(self.base.tolist(), self.rendered, strict=True):
            for span in one.spans:
                edges[base + span.start] = edges[base + span.end] = 1
        until = np.cumsum(edges)
        start, end = self.base[self.text] + self.start, self.base[self.text] + self.end
        return (end > start) & (until[np.maximum(end - 1, 0)] > until[start])

    def begins_with(self, prompt: Int[np.ndarray, " texts"], found: Encodings) -> Bool[np.ndarray, " texts"]:
        """Whether a text's first tokens are those of its prompt alone (number in `found`, -1 for none)."""
        starts = np.cumsum(found.sizes) - found.sizes
        size = np.where(prompt >= 0, found.sizes[prompt], 0)
        short = size > self.size
        size = np.where(short, 0, size)
        which = np.repeat(np.arange(len(size)), size)
        inside = ranges(size)
        differs = self.ids[self.first[which] + inside] != found.ids[starts[prompt[which]] + inside]
        bad = short | (np.bincount(which[differs], minlength=len(size)) > 0)
        more = size < self.size
        after, until = np.zeros(len(size), np.int64), np.zeros(len(size), np.int64)
        after[more] = self.start[(self.first + size)[more]]
        until[size > 0] = self.end[(self.first + size - 1)[size > 0]]  # some tokens swallow the white space behind them
        return ~bad & ((prompt < 0) | ((~more | (after >= self.prompt_end)) & (until <= self.prompt_end)))

    def weights(self) -> np.ndarray:
        """The weight of each token; see `mtjax.data.examples.token_weights`."""
        by_character = np.zeros(self.characters + 1, np.float32)
        for base, one in zip(self.base.tolist(), self.rendered, strict=True):
            length = len(one.text)
            for span in one.spans:
                by_character[base + span.start : base + min(span.end, length)] = span.weight
        last = np.maximum.accumulate(np.where(by_character != 0, np.arange(len(by_character)), -1))
        base = self.base[self.text]
        nearest = last[base + np.maximum(self.end - 1, 0)]
        held = (self.end > self.start) & (nearest >= base + self.start)
        return np.where(held, by_character[nearest], np.float32(0)).astype(np.float32)

    def examples(self, names: Sequence[str], tokenizer: Tokenizer) -> list[Example]:
        """The examples of all texts, as if their tokens were those of `make_example`."""
        weights, count, bos = self.weights(), len(self.size), tokenizer.bos_id
        opens = np.zeros(count, np.int64)
        if bos is not None:
            opens[:] = 1
            some = self.size > 0
            opens[some] = self.ids[self.first[some]] != bos
        ends = np.array([one.ends for one in self.rendered], np.int64)
        size = opens + self.size + ends
        begin = np.cumsum(size) - size
        body = np.repeat(begin + opens, self.size) + ranges(self.size)
        tokens, targets = np.zeros(int(size.sum()), np.int32), np.zeros(int(size.sum()), np.float32)
        tokens[body], targets[body] = self.ids, weights
        tokens[begin[opens > 0]] = bos or 0
        last = (begin + size - 1)[ends > 0]
        tokens[last], targets[last] = tokenizer.end_id, 1
        by_text = lambda held: np.bincount(self.text[held], minlength=count)
        head_end = np.array([one.head for one in self.rendered], np.int64)
        before = by_text(self.end <= self.prompt_end[self.text]) + opens
        head = np.where(head_end > 0, by_text(self.end <= head_end[self.text]) + opens, 0)
        missing_id = -1 if tokenizer.unknown_id is None else tokenizer.unknown_id
        unknown = by_text((self.ids == missing_id) & (weights != 0))
        numbers = zip(*(x.tolist() for x in (begin, begin + size, before, head, unknown)), strict=True)
        out = []
        for number, (one, name, (start, end, prompt_tokens, kept, missing)) in enumerate(
            zip(self.rendered, names, numbers, strict=True)
        ):
            per_token = {}
            if one.steps is not None:
                step = np.searchsorted(one.steps or (), self.start[self.tokens_of(number)], side="right")
                around = [0] * int(opens[number]), [len(one.steps)] * int(one.ends)
                per_token = {"step_ids": np.concatenate([around[0], step, around[1]]).astype(np.int64)}
            part = (tokens[start:end], targets[start:end], prompt_tokens, one.extras, per_token, kept, missing)
            out.append(Example(f"{name}/{one.name}", *part))
        return out


def ranges(sizes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " total"]:
    """`0 .. size - 1` for each size, one after the other."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
