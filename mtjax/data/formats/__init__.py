"""Formats of records: what a record's keys mean, one class per format, recognised by its keys."""

# ruff: noqa: F401  (names that users import from here)
from mtjax.data.formats.base import FORMATS, Format
from mtjax.data.formats.recognition import Reader, recognise
from mtjax.registry import import_modules

import_modules(__name__)
