"""Texts under a model that is loaded once: log-probabilities of their tokens, features, and judgements on labels."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.errors import InputError
from mtjax.mistakes.checks.base import RIGHT, WRONG, Item, Judged, Texts
from mtjax.model.policy import make_policy
from mtjax.runs.loading import Loaded, load_any
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel, Params

LEAST = 32  # Tokens of the shortest rows; longer rows are twice as long each, so that few programs are compiled.


@shared()
def _program(model: LanguageModel, what: str) -> Any:
    def run(params: Params, batch: Batch) -> Any:
        policy = make_policy(model, params)
        return policy.scores(batch).logprob if what == "logprob" else policy.hidden(batch).astype(jnp.float32)

    return jax.jit(run)


class TextModel:
    """A decoder with its tokenizer that scores texts, one in a row.

    Args:
        loaded: the model; InputError for one with an encoder.
        length: tokens of a text at most; what is longer loses its front (a prompt) or its end (a text by itself).
        rows: texts at a time.
    """

    def __init__(self, loaded: Loaded, length: int = 1024, rows: int = 8):
        if getattr(loaded.model.config, "encoder", None) is not None:
            raise InputError("the model has an encoder, and texts are scored by decoders; give a decoder")
        self.loaded, self.length, self.rows = loaded, length, rows

    def tokens(self, prompt: str, text: str) -> tuple[list[int], int]:
        """The tokens of a text after its prompt, a BOS token first where it is wanted, and where the text starts."""
        tokenizer = self.loaded.tokenizer
        before = list(tokenizer.encode(prompt).ids) if prompt else []
        ids = [*before, *tokenizer.encode(text).ids]
        start = len(before)
        if tokenizer.bos_id is not None and ids[:1] != [tokenizer.bos_id]:
            ids, start = [tokenizer.bos_id, *ids], start + 1
        if prompt and len(ids) > self.length:
            cut = len(ids) - self.length
            ids, start = ids[cut:], max(start - cut, 0)
        return ids[: self.length], start

    def _batches(self, texts: Texts) -> Iterator[tuple[list[int], list[int], Batch]]:
        """Numbers of texts, where each starts, and the batch of them: similar lengths together, each once."""
        made = [self.tokens(prompt, text) for prompt, text in texts]
        order = sorted((n for n in range(len(made)) if made[n][0]), key=lambda n: (len(made[n][0]), n))
        while order:
            width = LEAST
            while width < len(made[order[0]][0]):
                width *= 2
            part = [n for n in order[: self.rows] if len(made[n][0]) <= width]
            order = order[len(part) :]
            tokens = np.full((self.rows, width), self.loaded.tokenizer.pad_id, np.int32)
            segments = np.zeros((self.rows, width), np.int32)
            for row, n in enumerate(part):
                ids = made[n][0]
                tokens[row, : len(ids)], segments[row, : len(ids)] = ids, 1
            weights = (segments > 0).astype(np.float32)
            yield part, [made[n][1] for n in part], Batch(tokens, weights, segments, {})

    def logprobs(self, texts: Texts) -> list[np.ndarray]:
        """See `mtjax.mistakes.checks.base.Scorer`."""
        out = [np.zeros(0) for _ in texts]
        program = _program(self.loaded.model, "logprob")
        for numbers, starts, batch in self._batches(texts):
            found = np.asarray(program(self.loaded.params, jax.tree.map(jnp.asarray, batch)), np.float64)
            for row, (number, start) in enumerate(zip(numbers, starts, strict=True)):
                size = int((batch.segments[row] > 0).sum())
                out[number] = found[row, max(start, 1) : size]
        return out

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """The mean over the tokens of each text of the final hidden states, `[N, D]` float32; 0 for an empty text."""
        program, out = _program(self.loaded.model, "hidden"), dict[int, np.ndarray]()
        width = 0
        for numbers, _, batch in self._batches([("", text) for text in texts]):
            found = np.asarray(program(self.loaded.params, jax.tree.map(jnp.asarray, batch)))
            width = found.shape[-1]
            for row, number in enumerate(numbers):
                out[number] = found[row][batch.segments[row] > 0].mean(axis=0)
        return np.stack([out.get(number, np.zeros(width, np.float32)) for number in range(len(texts))])

    def choices(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """Probability of each answer after each prompt, `[N, K]`: their likelihoods, normalised over the answers."""
        logprobs = self.logprobs([(prompt, answer) for prompt in prompts for answer in answers])
        nats = np.array([own.sum() for own in logprobs]).reshape(len(prompts), len(answers))
        p = np.exp(nats - nats.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)


SOUND = "Question:\n{question}\n\nAnswer:\n{text}\n\nIs this answer correct? Reply with one word, {options}."
FAULT = "Problem:\n{question}\n\nSolution:\n{text}\n\nIs there a mistake in this solution? Reply {options}."
CHOICE = "{question}\n\nReply with one of these answers and nothing else: {options}."
LABEL = "Read this and choose its label.\n\n{question}\n\nPossible labels: {options}. Label:"
VERDICTS, CLASSES = ((SOUND, RIGHT), (FAULT, WRONG)), ((CHOICE, ""), (LABEL, ""))
"""Two wordings for right and wrong texts, each with the label that "yes" stands for, and two for other labels."""


def judge(models: Sequence[TextModel], items: Sequence[Item]) -> list[list[Judged]]:
    """What each model says of each item: probabilities of the labels, in two wordings with two orders of replies."""
    labels = sorted({item.label for item in items})
    of_texts = set(labels) <= {RIGHT, WRONG}
    labels = [RIGHT, WRONG] if of_texts else labels
    out: list[list[Judged]] = [[] for _ in items]
    ways = itertools.product(models, VERDICTS if of_texts else CLASSES, (1, -1))
    for model, (text, yes), order in ways:
        answers = ["yes" if label == yes else "no" for label in labels] if yes else labels
        options = " or ".join(["yes", "no"][::order]) if yes else ", ".join(labels[::order])
        asked = [text.format(question=item.question, text=item.text, options=options) for item in items]
        prompts = [model.loaded.decoding.prompt(prompt) for prompt in asked]
        for own, p in zip(out, model.choices(prompts, answers), strict=True):
            own.append({label: round(float(x), 6) for label, x in zip(labels, p, strict=True)})
    return out


def load_text_model(name: str, length: int, rows: int) -> TextModel:
    """The model called `name`, as `load_any` finds it, ready to score texts."""
    return TextModel(load_any(name), length, rows)
