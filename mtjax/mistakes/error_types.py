"""Settings that follow from the registered error types: how often each of them is tried first."""

import dataclasses
import random
from typing import Annotated, Any

import tyro

from mtjax.errors import InputError
from mtjax.mistakes.injectors.base import ERROR_TYPES, in_order
from mtjax.registry import summary


class _Shares:
    """How often each error type is tried first, in any unit; 0 leaves a type out.

    There is one field for each registered error type. Wrong results and numbers have the largest shares, as among
    natural errors (RISE finds mostly errors of calculation, substitution and omission). Edits that can only shorten a
    text are rare, so that length says little.
    """

    def __post_init__(self) -> None:
        shares = vars(self)
        bad = {name: share for name, share in shares.items() if not 0 <= share < float("inf")}
        if bad or not any(shares.values()):
            raise InputError(f"shares {bad or 'are all 0'}: expected numbers >= 0, at least one above 0")

    def order(self, rng: random.Random) -> list[str]:
        """The types in an order drawn without replacement, each time with odds in proportion to the shares."""
        shares = {name: share for name, share in vars(self).items() if share > 0}
        return sorted(shares, key=lambda name: rng.random() ** (1 / shares[name]), reverse=True)


_help = lambda entry: Annotated[float, tyro.conf.arg(help=summary(entry))]
Shares: Any = dataclasses.make_dataclass(
    "Shares",
    [(name, _help(ERROR_TYPES[name]), ERROR_TYPES[name].share) for name in in_order()],
    bases=(_Shares,),
    namespace={"__doc__": _Shares.__doc__, "__module__": __name__},
    frozen=True,
)
