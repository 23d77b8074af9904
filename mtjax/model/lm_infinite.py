"""LM-Infinite: attention at any length, by a mask in the shape of a Lambda and a bounded distance."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mtjax.errors import InputError
from mtjax.validation import PositiveInt, check_types

WHOLE = 2**30  # the window of a layer that does not slide, see `decoder.EVERYTHING`


@dataclasses.dataclass(frozen=True)
class LmInfinite:
    """A token sees the nearest tokens, and the first ones as if they stood at one distance; nothing is trained.

    Formula: token i sees token j of its text iff `i - j < local`, with the usual rotary positions, or
    `j < starting` and `i - j >= local`, with the score of distance `distance`; one softmax over both. Texts of up to
    `local` tokens are as without it. Layers that slide keep their window.

    Want it to sample or score far beyond the length that a model was trained on. What stands between is not seen.

    Source: Han et al., "LM-Infinite: Zero-Shot Extreme Length Generalization for Large Language Models", NAACL 2024
    (arXiv 2308.16137).
    """

    starting: PositiveInt = 10  # Tokens at the start of a text that all later ones see.
    local: PositiveInt | None = None  # Nearest tokens, the token itself included; None: `max_length` of the model.
    distance: PositiveInt | None = None  # Distance of the starting tokens, at most `local`; None: `local`.

    def __post_init__(self) -> None:
        check_types(self, "model.lm_infinite")
        if self.distance is not None and self.local is not None and self.distance > self.local:
            raise InputError(f"model.lm_infinite.distance={self.distance}: expected at most local={self.local}")

    def reach(self, max_length: int) -> tuple[int, int]:
        """`local` and `distance` of a model that was trained on texts of `max_length` tokens."""
        local = self.local or max_length
        return local, min(self.distance or local, local)


class Far(NamedTuple):
    """What the scores of starting tokens are made of."""

    query: Float[Array, "B N H K"]  # turned to the position `distance`
    key: Float[Array, "B M G K"]  # turned to position 0; where they are in a cache, those of the first tokens alone
    local: Int[Array, ""]  # tokens that are seen in the usual way
    live: Bool[Array, ""]  # whether this layer has starting tokens: whether it does not slide


def near_window(c: LmInfinite, max_length: int, window: Int[Array, ""]) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """The window of usual scores in a layer, and whether the layer sees starting tokens."""
    return jnp.minimum(window, c.reach(max_length)[0]), window >= WHOLE


def far_mask(
    starting: int, far: Far, places: Int[Array, "B M"], distance: Int[Array, "... N M"]
) -> Bool[Array, "B 1 N M"]:
    """Which starting tokens are seen from afar; `places` are positions within their texts, `distance` is `i - j`."""
    found = (places < starting)[:, None, :] & (distance >= far.local) & far.live
    return found[:, None]
