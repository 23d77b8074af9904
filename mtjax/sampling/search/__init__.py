"""Search: which samples are taken from a sampler for each prompt, one file for each method."""

from typing import Annotated, Any

from mtjax.registry import import_modules
from mtjax.sampling.search.base import SEARCHES, Search
from mtjax.sampling.search.independent import Independent

import_modules(__name__)

AnySearch = Annotated[Any, SEARCHES]
"""The type of a setting that holds a search; on the command line `search:best_of_n`."""

__all__ = ["SEARCHES", "AnySearch", "Independent", "Search"]
