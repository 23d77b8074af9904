"""The value that a model gives to a text by the letters of a scale, and a choice of different texts (paper 43).

Command:  python docs/examples/papers/letter_values.py
Expect:   a value between 0 and 1 for each of eight texts, and four texts, one of each cluster.

A model is asked how helpful a text is, from A (1) to F (0). The value is `sum p(letter) value(letter)`, with the
probabilities of the letters alone, and is finer than the likeliest letter. Of the texts above the median, k-means finds
groups, and the text nearest to each centre is taken. The model here is untrained: replace it by one of
`mtjax.runs.loading.load_any`.

Source: arXiv 2405.14554 (SearchLVLMs) and its code, where the model sees pictures and texts come from a search.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.data.tokenizer import load_tokenizer
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model

VALUES = {"A": 1.0, "B": 0.8, "C": 0.6, "D": 0.4, "E": 0.2, "F": 0.0}


def expected_value(logprobs):
    """`sum p v` over the letters, from the log-probabilities of each, `[..., 6]`, which need not be normalised."""
    p = np.exp(logprobs - np.logaddexp.reduce(logprobs, -1, keepdims=True))
    return p @ np.array(list(VALUES.values()))


def different(vectors, number, rounds=20):
    """`number` rows, each the nearest to the centre of a cluster of its own (k-means from rows that lie far apart)."""
    centres = [vectors[0]]
    while len(centres) < number:
        far = np.min([((vectors - one) ** 2).sum(1) for one in centres], 0)
        centres.append(vectors[far.argmax()])
    centres = np.array(centres)
    for _ in range(rounds):
        own = ((vectors[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
        centres = np.array([vectors[own == k].mean(0) if (own == k).any() else centres[k] for k in range(number)])
    distance = ((vectors[:, None] - centres[None]) ** 2).sum(-1)
    taken = [int(np.where(own == k, distance[:, k], np.inf).argmin()) for k in range(number) if (own == k).any()]
    return taken, own


def main():
    """Values and choice for eight made texts; returns them."""
    tokenizer = load_tokenizer("bytes")
    shape = {"width": 16, "layers": 1, "heads": 2, "kv_heads": 1, "head_dim": 8, "mlp_width": 16, "init_scale": 0.5}
    model = make_language_model(DecoderConfig(vocab_size=tokenizer.vocab_size, **shape))
    params = jax.jit(model.init)(jax.random.key(0))
    topics = ("rain in Rome", "trains to Oslo", "tea from Assam", "clocks in Bern")
    texts = [f"{part} of {topic}" for topic in topics for part in ("a map", "the price")]
    rows = [tokenizer.encode(f"{text}\nHelpful, from A to F? ").ids for text in texts]
    length = max(map(len, rows))
    tokens = jnp.asarray([[*row, *[0] * (length - len(row))] for row in rows])
    hidden = jax.jit(model.hidden)(params, tokens, jnp.ones_like(tokens))
    last = np.asarray([len(row) - 1 for row in rows])
    logits = np.asarray(model.logits(params, hidden))[np.arange(len(rows)), last]
    letters = [tokenizer.encode(letter).ids[-1] for letter in VALUES]
    values = expected_value(logits[:, letters].astype(np.float64))
    words = sorted({word for text in texts for word in text.split()})  # in place of embeddings; topics count twice
    weight = np.array([2.0 if any(word in topic.split() for topic in topics) else 1.0 for word in words])
    vectors = weight * np.array([[word in text.split() for word in words] for text in texts])
    taken, own = different(vectors, 4)
    for text, value in zip(texts, values, strict=True):
        print(f"{value:.3f}  {text}")
    print("taken: " + "; ".join(texts[n] for n in taken))
    return values, [own[n] for n in taken]


if __name__ == "__main__":
    main()
