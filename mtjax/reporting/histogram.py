"""The bins of a histogram among metrics, in the order of their edges."""

import re
from collections.abc import Mapping

_BIN = re.compile(r"(?P<histogram>.*/)(?P<low>-?(?:inf|[0-9.e+]+))_to_-?(?:inf|[0-9.e+-]+)")


def bins_in_order(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics with the bins of each histogram in ascending order; all other names keep their places.

    JAX sorts names as texts, which puts `-10_to_-3` before `-30_to_-10`.

    >>> list(bins_in_order({"c/-1_to_0": 0.5, "c/-3_to_-1": 0.2, "loss": 1.0}))
    ['c/-3_to_-1', 'c/-1_to_0', 'loss']
    """
    found = {name: match for name in metrics if (match := _BIN.fullmatch(name))}
    bins = iter(sorted(found, key=lambda name: (found[name]["histogram"], float(found[name]["low"]))))
    return {name: metrics[name] for name in (next(bins) if name in found else name for name in metrics)}
