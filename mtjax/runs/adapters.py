"""The base of an adapted run: made to fit the run's adapter, identified, and kept where no name leads to it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from mtjax.errors import InputError, note
from mtjax.model.adapters.base import at, chosen_maps, put
from mtjax.model.adapters.lora import Lora
from mtjax.model.fingerprint import fingerprint_of
from mtjax.model.language_model import make_language_model, without_adapter
from mtjax.model.value_head import VALUE
from mtjax.training.checkpoint import Checkpoints, read_about, read_state, saved_steps
from mtjax.types import LanguageModel, Params

BASE = "base"
"""Folder beside the checkpoints with the base of a run that starts from no named model; and its name in `made_of`."""


def fitted(model: LanguageModel, found: LanguageModel, params: Params) -> Params:
    """Parameters of a loaded model as a run of `model` starts from them.

    Without an adapter in the run, that of the loaded model is merged. With one, the loaded one goes on if it is of the
    same matrices, ranks and scales; else it is merged, which a note says, and the run's own is yet to be made.
    """
    value = {VALUE: params[VALUE]} if VALUE in params and model.config.value_head is not None else {}
    if VALUE in params and not value:
        note("the start has a value head, which is left out: set model.value_head:value_head to go on with it")
    params = {name: part for name, part in params.items() if name != VALUE}
    return {**_body(model, found, params), **value}


def _body(model: LanguageModel, found: LanguageModel, params: Params) -> Params:
    """`fitted` without the value head."""
    adapter, before = model.config.adapter, found.config.adapter
    if adapter is None:
        return without_adapter(found, params)[1]
    if before is not None and _same(adapter, before, found):
        return dict(params)
    if before is not None:
        note(
            f"the start's adapter ({before}) is of other matrices, ranks or scales than model.adapter: it is merged "
            "into its base, and a new one is put on top; give its settings to go on with it"
        )
    plain = without_adapter(found, params)[1]
    if all(leaf.dtype == adapter.base_dtype for leaf in jax.tree.leaves(plain)):
        return {BASE: plain}
    return {BASE: jax.tree.map(lambda x: x.astype(adapter.base_dtype), plain)}


def _same(adapter: Any, other: Any, model: LanguageModel) -> bool:
    """Whether two adapters compute the same function of the same leaves."""
    if type(adapter) is not type(other):
        return False
    plain = make_language_model(dataclasses.replace(model.config, adapter=None))
    one, two = (chosen_maps(plain, each)[0] for each in (adapter, other))
    return one == two and all(adapter.axes(of) == other.axes(of) for of in one.values())


def with_bank(
    model: LanguageModel, params: Params, key: Any, load: Callable[[str], tuple[LanguageModel, Params]]
) -> Params:
    """Parameters whose experts are the LoRA of `model.adapter.bank`, the routers being new.

    `load` gives model and parameters by name, with their adapter. InputError for one on another base, or of other
    matrices, ranks or scales.
    """
    adapter: Any = model.config.adapter
    plain = make_language_model(dataclasses.replace(model.config, adapter=None, value_head=None))
    chosen, own = chosen_maps(plain, adapter)[0], fingerprint_of(params[BASE])
    experts = []
    for name in adapter.bank:
        found, theirs = load(name)
        lora: Any = found.config.adapter
        if not isinstance(lora, Lora) or lora.dora or chosen_maps(plain, lora)[0] != chosen:
            wanted = f"rank {adapter.rank}, alpha {adapter.alpha:g} and targets {' '.join(adapter.targets)}"
            raise InputError(f"model.adapter.bank: {name} has {lora}; expected a plain LoRA with {wanted}")
        if fingerprint_of(theirs[BASE]) != own:
            raise InputError(
                f"model.adapter.bank: {name} was trained on another base than this run has (fingerprint "
                f"{fingerprint_of(theirs[BASE])} there, {own} here); set init_from to its base"
            )
        experts.append(theirs["adapter"])
    if model.complete is None:
        raise InputError("model.adapter.bank: the model has no adapter")
    made = model.complete(key, params)
    leaves = {
        path: adapter.of_bank(of, at(made["adapter"], path), [at(one, path) for one in experts])
        for path, of in chosen.items()
    }
    return {**made, "adapter": put(made["adapter"], leaves)}


def keep_base(place: epath.Path, base: Params) -> None:
    """Write the base beside the checkpoints, once."""
    kept = Checkpoints(place / BASE, 1)
    kept.save(0, base)
    kept.close()


def kept_base(place: epath.Path, like: Params) -> Params | None:
    """The base that `keep_base` wrote, placed as `like` says; None where there is none."""
    if not saved_steps(place / BASE):
        return None
    found: Params = read_state(place / BASE, 0, like)
    return found


def check_base(checkpoints: epath.Path, step: int, fingerprint: str, name: str) -> None:
    """InputError where a checkpoint of an adapter belongs to another base than that of this fingerprint."""
    was = read_about(checkpoints, step).get("made_of", {}).get(BASE)
    if was is not None and was != fingerprint:
        raise InputError(
            f"the adapter in {checkpoints / str(step)} was trained on another base model than {name} is now "
            f"(fingerprint {was} there, {fingerprint} here): bring back the model that the run started from"
        )
