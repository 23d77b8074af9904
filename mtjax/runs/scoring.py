"""Scores of the training data of a config under a model."""

import dataclasses
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mtjax.config import Config
from mtjax.data.batches import make_batches, unlimited
from mtjax.data.selection.learnable import learnability
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.inspection.batch_view import unpack_batch
from mtjax.model.policy import make_policy
from mtjax.runs.loading import load_any
from mtjax.runs.step_settings import with_chunk
from mtjax.sharing import shared
from mtjax.types import Batch, LanguageModel, Params


class Scored(NamedTuple):
    """The score of one example."""

    example: str  # its name, such as "gsm8k-17/right/0"
    problem: str  # the id of its problem
    score: float  # NaN where no token of it is learnable


def token_ranks(logits: Float[Array, "C V"], tokens: Int[Array, " C"]) -> tuple[Float[Array, " C"], Int[Array, " C"]]:
    """Cross-entropy of each token, and how many tokens are more likely than it."""
    own = jnp.take_along_axis(logits, tokens[:, None], axis=-1)
    nll = jax.nn.logsumexp(logits, axis=-1) - own[:, 0]
    return nll, jnp.sum(logits > own, axis=-1, dtype=jnp.int32)


@shared()
def _program(model: LanguageModel, chunk: int) -> Any:
    def run(params: Params, batch: Batch) -> Any:
        policy = make_policy(model, params, chunk=chunk)
        return policy.map_logits(lambda logits, tokens, _: token_ranks(logits.astype(jnp.float32), tokens), batch)

    return jax.jit(run)


def score_examples(
    name: str, config: Config, top_k: int = 10, excluded: Literal["zero", "dropped"] = "zero"
) -> list[Scored]:
    """The `learnability` of every training example of a config under the model called `name`, in one process.

    Selections of the config are left out, since they may be made from these scores. Of several sequences of an example,
    such as a pair, the first counts.
    """
    loaded = load_any(name)
    data = unlimited(dataclasses.replace(config.data, tokenizer=None, selections=()))
    batches = make_batches(data, loaded.tokenizer, batch_size=config.batch_size, seed=0, repeat=False)
    settled = with_chunk(config, loaded.model.config, make_mesh(MeshSpec(), jax.devices()[:1]))
    program, out = _program(loaded.model, settled.chunk_size), list[Scored]()
    ids = {problem.id for problem in config.data.source.problems(config.data.on_error).items}
    for step in range(batches.steps_per_epoch):
        batch = batches.batch_at(step)
        nll, rank = map(np.asarray, program(loaded.params, jax.tree.map(jnp.asarray, batch)))
        for part in unpack_batch(batch, batches.ids):
            if len(part.at) == 1 or part.at[1] == 0:
                own = part.targets
                score = learnability(part.of(nll)[own].astype(np.float64), part.of(rank)[own] < top_k, excluded)
                out.append(Scored(part.name, problem_of(part.name, ids), score))
    return out


def problem_of(example: str, ids: Collection[str]) -> str:
    """The id of the problem that an example was made from: the longest that its name begins with.

    >>> problem_of("a/b.jsonl:12/right/0", {"a", "a/b.jsonl:12"})
    'a/b.jsonl:12'
    """
    words = example.split("/")  # ids may contain slashes
    starts = ("/".join(words[:end]) for end in range(len(words) - 1, 0, -1))
    return next((start for start in starts if start in ids), "")
