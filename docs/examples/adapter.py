"""IA3: a trained factor for each output of a linear map."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mtjax.model.adapters.base import ADAPTERS, Leaves, Linear


@ADAPTERS.register("ia3")
@dataclasses.dataclass(frozen=True)
class Ia3:
    """Rescale the outputs of the keys, the values and the hidden layer of the MLP: `y = l * (W x)`, l = 1 at the start.

    Source: Liu et al., "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning", 2022,
    section 3.3 (arXiv 2205.05638).
    """

    base_dtype: Literal["float32", "bfloat16"] = "float32"  # Type in which the frozen parameters are kept.

    def chosen(self, maps: list[Linear]) -> dict[tuple[str, ...], Linear]:
        """Keys, values and the input of the MLP."""
        return {one.path: one for one in maps if one.path[-1] in ("key", "value", "up")}

    def init(self, key: PRNGKeyArray, of: Linear, kernel: Any) -> Leaves:
        """Ones, `[*layers, *outputs]`."""
        return {"factor": jnp.ones((*of.shape[: of.stacked], *of.shape[of.stacked + of.inputs :]))}

    def axes(self, of: Linear) -> dict[str, tuple[str | None, ...]]:
        """Split like the outputs of the kernel."""
        return {"factor": (*of.axes[: of.stacked], *of.axes[of.stacked + of.inputs :])}

    def ready(self, of: Linear, leaves: Leaves, key: PRNGKeyArray | None) -> Leaves:
        """The factors as they are."""
        return leaves

    @staticmethod
    def apply(
        leaves: Leaves, x: Float[Array, "*N I"], y: Float[Array, "*N O"], kernel: Float[Array, "I O"]
    ) -> Float[Array, "*N O"]:
        """`l * y`."""
        return y * leaves["factor"].reshape(-1).astype(y.dtype)

    def merge(self, of: Linear, leaves: Leaves, kernel: Any) -> Any:
        """`l * W`."""
        return kernel * jnp.expand_dims(leaves["factor"], tuple(range(of.stacked, of.stacked + of.inputs)))
