"""Families of checkpoints, one file each: which `config.json` and which tensors describe a decoder of ours."""

from mtjax.model.families.base import FAMILIES, Family, config_from_json, config_to_json, family_of
from mtjax.registry import import_modules

import_modules(__name__)

__all__ = ["FAMILIES", "Family", "config_from_json", "config_to_json", "family_of"]
