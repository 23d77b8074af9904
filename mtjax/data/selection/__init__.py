"""Selections: which problems of a source to train on. One file per method."""

# ruff: noqa: F401  (names that users import from here)
from mtjax.data.selection.base import SELECTIONS, Selected, Selection, select, selected_sources
from mtjax.data.selection.decontaminate import Decontaminate
from mtjax.data.selection.deduplicate import Deduplicate
from mtjax.registry import import_modules

import_modules(__name__)
