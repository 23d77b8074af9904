"""Checks of data before training, one file per method. `python -m mtjax.audit` runs them."""

# ruff: noqa: F401  (names that users import from here)
from mtjax.mistakes.checks.base import CHECKS, Check, Flag, Found, Item, Subject, items_of
from mtjax.registry import import_modules

import_modules(__name__)
