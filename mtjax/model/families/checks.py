"""What a checkpoint and a family's table must hold: the names of tensors, the parameters, finite values."""

import difflib
from collections.abc import Sequence

import jax
import numpy as np

from mtjax.errors import InputError
from mtjax.model.families.tables import HEAD, Entry
from mtjax.types import Params

PACKED = (".qweight", ".qzeros", ".scales", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".absmax", ".SCB")
"""Ends of tensor names that only quantised checkpoints have."""


def check_names(found: set[str], wanted: set[str], layers: int, where: str) -> None:
    """Raise InputError unless the checkpoint holds exactly the tensors that are wanted.

    Rotary buffers of old checkpoints are ignored.
    """
    if packed := sorted(name for name in found if name.endswith(PACKED)):
        raise InputError(
            f"{where}: this checkpoint is quantised ({packed[0]}); expected weights in float32, bfloat16 or "
            "float16: take the original checkpoint that it was made from"
        )
    if lora := sorted(name for name in found if ".lora_" in name):
        raise InputError(f"{where}: {lora[0]} belongs to an adapter; merge it into its base model first (peft)")
    some = lambda names: ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    missing = sorted(wanted - found)
    extra = sorted(name for name in found - wanted if not name.endswith("rotary_emb.inv_freq"))
    if missing == [HEAD]:
        raise InputError(
            f"{where}: {HEAD} is missing, though config.json says tie_word_embeddings is false; set it to true if "
            "the head is the embedding, or fetch the file again"
        )
    if missing:
        near = difflib.get_close_matches(missing[0], extra, n=1)
        way_out = f"did you mean '{near[0]}'?" if near else "is the file complete, and does config.json belong to it?"
        raise InputError(f"{where}: '{missing[0]}' is missing; {way_out} ({len(missing)} missing: {some(missing)})")
    if extra:
        raise InputError(
            f"{where}: {len(extra)} tensors that config.json has no place for, e.g. {some(extra)}; expected the "
            f"tensors of {layers} layers of its model_type: does config.json belong to these weights?"
        )


def check_table(params: Params, table: Sequence[Entry], beside: Sequence[str] = ()) -> None:
    """Raise InputError unless a family's table has exactly the parameters of a model, `beside` left out."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    own = {tuple(part.key for part in path) for path, _ in leaves if path[0].key not in beside}
    named = {entry.path for entry in table}
    for faults, what in ((own - named, "lacks the parameter"), (named - own, "has the unknown parameter")):
        if faults:
            path = min(".".join(path) for path in faults)
            raise InputError(
                f"the table of the model's family {what} '{path}' ({len(faults)} in all): mend `tensors` in the "
                "family's file (docs/models.md, 'Add a family')"
            )


def finite(values: np.ndarray, name: str) -> np.ndarray:
    """The values themselves; InputError if any is NaN or infinite in float32."""
    with np.errstate(invalid="ignore"):
        total = np.sum(values, dtype=np.float64)
    if not np.isfinite(total):
        bad = int(np.sum(~np.isfinite(values)))
        raise InputError(
            f"{name} has {bad} NaN or infinite values of {values.size}; expected finite weights: the file is damaged, "
            "or the training that made it diverged: fetch it again, or take an earlier checkpoint"
        )
    return values
