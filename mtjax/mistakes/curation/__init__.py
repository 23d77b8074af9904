"""Curations: from the graded attempts of a round to the data that the round trains on, one file for each."""

from mtjax.mistakes.curation.base import CURATIONS, Attempted, Curated, Curation, Helpers
from mtjax.mistakes.curation.right_only import RightOnly
from mtjax.registry import import_modules

import_modules(__name__)

AnyCuration = CURATIONS.setting()  # The type of a setting; on the command line `curation:pairs`.

__all__ = ["CURATIONS", "AnyCuration", "Attempted", "Curated", "Curation", "Helpers", "RightOnly"]
