"""The contract of a decoder."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float

from mtjax.registry import Registry

DECODERS = Registry("decoder")  # Every decoder by name.


class DecoderFunctions(NamedTuple):
    """Pure functions that the compiled sampling loop calls for each token."""

    init: Callable[[int, int], Any]  # (rows, vocabulary size) -> state: a pytree of arrays, empty if none is needed
    step: Callable[[Array, Any], tuple[Array, Any]]
    """(logits [N V], state) -> (log-probabilities [N V], state): the normalised distribution that the next token of
    each row is drawn from; a token with log-probability -inf is never drawn."""
    observe: Callable[[Array, Any], Any]  # (token [N], state) -> state, called with the token that was drawn
    erases: Callable[[Array], Array] | None = None
    """token [N] -> bool [N]: which tokens are no part of the answer but take its last token back; None for none"""
    combine: Callable[[Array, Array], Array] | None = None
    """(logits [N V] after the prompt, logits [N V] after a second prompt) -> the logits [N V] that `step` takes; None
    for a decoder that reads one prompt"""


class Decoder(Protocol):
    """A frozen dataclass; its fields are its own settings."""

    def __call__(self, temperature: float, top_k: int, top_p: float) -> DecoderFunctions:
        """The functions of the decoder for the sampling settings that all decoders share.

        At temperature 0 `step` gives the entire probability to one token.
        """
        ...


def stateless(log_probs: Callable[[Float[Array, "N V"]], Float[Array, "N V"]]) -> DecoderFunctions:
    """The functions of a decoder that looks at the current logits only."""
    return DecoderFunctions(
        init=lambda rows, vocabulary: (),
        step=lambda logits, state: (log_probs(logits), state),
        observe=lambda token, state: state,
    )
