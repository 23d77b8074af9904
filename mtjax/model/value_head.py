"""A value head: how a policy expects a text to end, as a number in (-1, 1) at each token, with a file of its own."""

import dataclasses
import pathlib
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Lt
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from mtjax.distributed.sharding import shardings
from mtjax.errors import InputError
from mtjax.types import LanguageModel, Params
from mtjax.validation import check_types

FILE = "value_head.safetensors"  # beside the files of a model or adapter
VALUE = "value"  # the part of the parameters
WEIGHT, BIAS = "v_head.summary.weight", "v_head.summary.bias"  # as TRL calls them, `[1, D]` and `[1]`


@dataclasses.dataclass(frozen=True)
class ValueHead:
    """A linear layer with tanh on the final hidden states: `V(s_t) = tanh(w h_t + b)`, in float32.

    Source: Chen et al., "AlphaMath Almost Zero: Process Supervision without Process", 2024 (arXiv 2405.03553).
    """

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1  # Share of the hidden states' numbers that is dropped in training.

    def __post_init__(self) -> None:
        check_types(self, "model.value_head")


def with_value_head(model: LanguageModel, config: Any) -> LanguageModel:
    """The model with the value head of `config`, whose parameters are the part "value" and always trained."""
    head, size = config.value_head, config.width

    def complete(key: PRNGKeyArray, params: Params) -> Params:
        if model.complete is not None:
            params = model.complete(key, params)
        if VALUE in params:
            return params
        kernel = config.init_scale * jax.random.normal(jax.random.fold_in(key, 2), (size,))
        return {**params, VALUE: {"kernel": kernel, "bias": jnp.zeros(1)}}

    def value(params: Params, hidden: Float[Array, "*N D"]) -> Float[Array, "*N"]:
        wide, own = hidden.astype(jnp.float32), params[VALUE]
        if head.dropout and "noise" in params:
            kept = jax.random.bernoulli(jax.random.fold_in(params["noise"], 2), 1 - head.dropout, wide.shape)
            wide = jnp.where(kept, wide / (1 - head.dropout), 0)
        return jnp.tanh(jnp.sum(wide * own["kernel"], axis=-1) + own["bias"][0])

    def inner(params: Params) -> Params:
        """Without the noise where only the head has dropout."""
        return params if model.with_noise is not None else {name: params[name] for name in params if name != "noise"}

    noisy = (lambda params, key: {**params, "noise": key}) if head.dropout or model.with_noise is not None else None
    routed, watched = model.routed, model.watched
    return model._replace(
        config=config,
        init=lambda key: complete(key, model.init(key)),
        hidden=lambda params, *rest: model.hidden(inner(params), *rest),
        decode=lambda params, *rest: model.decode(inner(params), *rest),
        watched=None if watched is None else lambda params, *rest: watched(inner(params), *rest),
        routed=None if routed is None else lambda params, *rest: routed(inner(params), *rest),
        axes={**model.axes, VALUE: {"kernel": ("embed",), "bias": (None,)}},
        complete=complete,
        with_noise=noisy,
        value=value,
    )


def save_value_head(folder: pathlib.Path | None, model: LanguageModel, params: Params) -> None:
    """Write the file of a model's value head, if it has one; without a folder, only take part in the gathering."""
    from mtjax.model.families.tensors import to_hub

    if VALUE not in params:
        return
    weight, bias = (to_hub(params[VALUE][name], None).astype(np.float32) for name in ("kernel", "bias"))
    if folder is not None:
        from safetensors.numpy import save_file

        about = {"format": "pt", "dropout": str(model.config.value_head.dropout)}
        save_file({WEIGHT: np.ascontiguousarray(weight[None]), BIAS: bias}, folder / FILE, metadata=about)


def load_value_head(folder: pathlib.Path, width: int, mesh: Mesh | None) -> tuple[ValueHead, Params] | None:
    """The value head beside a model in `folder`; None without its file. InputError for other tensors than its own."""
    from safetensors import SafetensorError, safe_open

    file = folder / FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as handle:
            found = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
            dropout = float((handle.metadata() or {}).get("dropout", ValueHead().dropout))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{file} is not a complete safetensors file ({error}); fetch it again") from error
    shapes = {name: tensor.shape for name, tensor in found.items()}
    if shapes != {WEIGHT: (1, width), BIAS: (1,)} or not all(np.isfinite(each).all() for each in found.values()):
        raise InputError(
            f"{file} has {shapes}; expected finite {WEIGHT} (1, {width}) and {BIAS} (1,): does it belong to this "
            "model? Move it away to load the model without a value head"
        )
    params = {"kernel": found[WEIGHT][0].astype(np.float32), "bias": found[BIAS].astype(np.float32)}
    places = None if mesh is None else shardings({"kernel": ("embed",), "bias": (None,)}, mesh)
    return ValueHead(dropout), jax.device_put(params, places)
