"""Advantages: from the rewards of the candidates of one prompt to a number for each candidate, in NumPy.

One file for each family; `base.py` has the contract and the registry.
"""

from mtjax.data.advantages.base import ADVANTAGES
from mtjax.registry import import_modules

import_modules(__name__)

AnyAdvantage = ADVANTAGES.setting()  # The type of a setting; on the command line `data.task.advantage:rloo`.

__all__ = ["ADVANTAGES", "AnyAdvantage"]
