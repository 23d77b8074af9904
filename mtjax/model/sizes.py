"""Published decoders by name: their shapes, from the families, and how many parameters they have."""

import math

import jax

from mtjax.errors import InputError, suggest
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import FAMILIES
from mtjax.model.language_model import make_language_model

# The `config.json` of a checkpoint goes before this table.
SIZES: dict[str, DecoderConfig] = {
    name: config for family in FAMILIES.values() for name, config in family.sizes.items()
}


def size(name: str) -> DecoderConfig:
    """The decoder called `name` in `SIZES`; InputError with the nearest name otherwise.

    >>> size("smollm2-135m").layers
    30
    """
    if name not in SIZES:
        raise InputError(f"no decoder size is called {name!r}: {suggest(name, SIZES)}")
    return SIZES[name]


def count_params(config: DecoderConfig) -> int:
    """The number of parameters of a decoder; none is initialised, so this takes no memory.

    >>> count_params(size("smollm2-135m"))
    134515008
    """
    shapes = jax.eval_shape(make_language_model(config).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
