"""Scores of texts that nobody sampled: log-probability and entropy of every token of a continuation."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mtjax.data.examples import encode_prompt
from mtjax.data.sureness import sureness_text
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError
from mtjax.model.policy import make_policy
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel, Params, TokenScores

SHORTEST = 64  # rows are padded to so many tokens, times a power of two: few different shapes are compiled

Pair = tuple[Sequence[int], Sequence[int]]
"""Token ids of a context, and of what follows it."""


@shared()
def _program(model: LanguageModel) -> Any:
    return jax.jit(lambda params, batch: make_policy(model, params, targets_only=True).scores(batch))


@shared()
def _next_program(model: LanguageModel) -> Any:
    def run(params: Params, tokens: Any, segments: Any, last: Any) -> Any:
        hidden = model.hidden(params, tokens, segments)
        return jax.nn.log_softmax(model.logits(params, hidden[jnp.arange(len(last)), last]).astype(jnp.float32))

    return jax.jit(run)


def _in_rows(texts: Sequence[Sequence[int]], rows: int) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Numbers of texts of similar length, their tokens and their segments, `[rows, length]`."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    for begin in range(0, len(order), rows):
        chunk, length = order[begin : begin + rows], SHORTEST
        while length < len(texts[chunk[-1]]):
            length *= 2
        tokens, segments = np.zeros((2, rows, length), np.int32)
        for row, number in enumerate(chunk):
            size = len(texts[number])
            tokens[row, :size], segments[row, :size] = texts[number], 1
        yield chunk, tokens, segments


def token_scores(model: LanguageModel, params: Params, pairs: Sequence[Pair], rows: int = 16) -> Iterator[TokenScores]:
    """Of each continuation after its context, in order: scores of its tokens, `[tokens]` each, in nats.

    Of a text that is too long for the model, the beginning is cut off, and with it the tokens that have no context.
    Rows of similar length are scored together.
    """
    limit = model.config.max_length + 1  # the last token is predicted and not read
    texts = [[*before, *after][-limit:] for before, after in pairs]
    found: dict[int, TokenScores] = {}
    for chunk, tokens, segments in _in_rows(texts, rows):
        weights = np.zeros(tokens.shape, np.float32)
        for row, number in enumerate(chunk):
            weights[row, max(len(texts[number]) - len(pairs[number][1]), 1) : len(texts[number])] = 1
        scores = jax.tree.map(np.asarray, _program(model)(params, Batch(tokens, weights, segments, {})))
        for row, number in enumerate(chunk):
            found[number] = TokenScores(*(part[row][weights[row] > 0] for part in scores))
    yield from (found[number] for number in range(len(texts)))


def next_token(
    model: LanguageModel,
    params: Params,
    contexts: Sequence[Sequence[int]],
    asked: Sequence[Sequence[int]],
    rows: int = 16,
) -> list[Float[np.ndarray, " K"]]:
    """The log-probability of each of the tokens `asked` right after each context; of a decoder."""
    texts = [list(ids)[-model.config.max_length :] for ids in contexts]
    found: dict[int, np.ndarray] = {}
    for chunk, tokens, segments in _in_rows(texts, rows):
        last = np.maximum(segments.sum(axis=1) - 1, 0)
        log_p = np.asarray(_next_program(model)(params, tokens, segments, last))
        found |= {number: log_p[row][list(asked[number])].astype(np.float64) for row, number in enumerate(chunk)}
    return [found[number] for number in range(len(texts))]


class Scorer(NamedTuple):
    """A model with what it takes to score texts after prompts."""

    model: LanguageModel
    params: Params
    tokenizer: Tokenizer
    rows: int

    def sums(self, pairs: Sequence[Pair]) -> Float[np.ndarray, " P"]:
        """The log-probability of each continuation."""
        scores = token_scores(self.model, self.params, pairs, self.rows)
        return np.array([one.logprob.astype(np.float64).sum() for one in scores])

    def options(self, prompts: Sequence[str], counts: Sequence[int]) -> list[Float[np.ndarray, " K"]]:
        """The log-probability of each of the first K letters after each prompt."""
        contexts = [encode_prompt(self.tokenizer, prompt) for prompt in prompts]
        letters = []
        for prompt, count in zip(prompts, counts, strict=True):
            space = "" if prompt[-1:].isspace() else " "
            letters.append([self.tokenizer.encode(f"{space}{chr(ord('A') + k)}").ids for k in range(count)])
        if self.tokenizer.closing is None and all(len(ids) == 1 for row in letters for ids in row):
            first = [[ids[0] for ids in row] for row in letters]
            return next_token(self.model, self.params, contexts, first, self.rows)
        pairs = [(ids, letter) for ids, row in zip(contexts, letters, strict=True) for letter in row]
        sums, ends = self.sums(pairs), np.cumsum(counts)
        return [sums[end - count : end] for end, count in zip(ends.tolist(), counts, strict=True)]

    def prior(self, texts: Sequence[str]) -> Float[np.ndarray, " N"]:
        """The log-probability of each text with nothing before it, behind the token that begins texts."""
        if self.tokenizer.closing is not None:
            raise InputError(
                "the probability of a text with nothing before it is not defined for an encoder-decoder: take a decoder"
            )
        begin = self.tokenizer.first_id
        first = [self.tokenizer.end_id if begin is None else begin]
        return self.sums([(first, self.tokenizer.encode(text).ids) for text in texts])

    def sureness(self, prompts: Sequence[str], answers: Sequence[str]) -> Float[np.ndarray, " N"]:
        """`P(sure) / (P(sure) + P(unsure))` after each prompt and answer (`mtjax.data.sureness`).

        Each word counts with its first token that the other lacks: InputError where there is none.
        """
        pairs: list[Pair] = []
        for prompt, answer in zip(prompts, answers, strict=True):
            before = encode_prompt(self.tokenizer, prompt)
            both = [self.tokenizer.encode(sureness_text(answer, sure)).ids for sure in (True, False)]
            same = next((n for n, (a, b) in enumerate(zip(*both, strict=False)) if a != b), None)
            if same is None:
                raise InputError("the tokenizer writes 'sure' and 'unsure' alike, so sureness cannot be read from it")
            pairs += [([*before, *ids[:same]], ids[same : same + 1]) for ids in both]
        sums = self.sums(pairs)
        return 1 / (1 + np.exp(sums[1::2] - sums[::2]))
