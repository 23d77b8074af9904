"""A language model whose next token depends on the last one only, so that tests know what it will say."""

import jax.numpy as jnp
import numpy as np

from mtjax.model.decoder import DecoderConfig
from mtjax.types import LanguageModel


def bigram_model(vocab_size, max_length=64):
    """`params["table"]` `[V, V]` holds the logits of the next token by the last one; there is no network."""
    config = DecoderConfig(
        vocab_size=vocab_size, width=vocab_size, layers=1, heads=1, kv_heads=1, head_dim=2, max_length=max_length
    )
    return LanguageModel(
        config=config,
        init=lambda key: {"table": jnp.zeros((vocab_size, vocab_size))},
        hidden=lambda params, tokens, segments: params["table"][tokens],
        logits=lambda params, hidden: hidden,
        init_cache=lambda rows, length: jnp.zeros((rows, length)),
        decode=lambda params, cache, tokens, positions: (params["table"][tokens], cache),
        axes={"table": ("vocab", "embed")},
    )


def script(tokenizer, *texts, shares=(1.0,), after="\n"):
    """Params that make the model say each text with its share of the probability behind `after`, and then end."""
    table = np.full((tokenizer.vocab_size, tokenizer.vocab_size), -1e9, np.float32)
    for text, share in zip(texts, shares, strict=True):
        ids = [*tokenizer.encode(after).ids, *tokenizer.encode(text).ids, tokenizer.end_id]
        for token, following in zip(ids[:-1], ids[1:], strict=True):
            table[token, following] = np.logaddexp(table[token, following], np.log(share))
    return {"table": jnp.asarray(table)}
