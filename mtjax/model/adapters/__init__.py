"""Adapters, one file each: what is trained beside a model whose own parameters stay as they are."""

from mtjax.model.adapters.base import ADAPTERS, Adapter, Linear, adapt, linear, linear_maps, merged
from mtjax.registry import import_modules

import_modules(__name__)

AnyAdapter = ADAPTERS.setting(optional=True)
"""The type of a setting that holds an adapter or None; on the command line `model.adapter:lora`."""

__all__ = ["ADAPTERS", "Adapter", "AnyAdapter", "Linear", "adapt", "linear", "linear_maps", "merged"]
