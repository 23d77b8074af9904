"""Objectives: what to minimise. One file each, arithmetic only; `base.py` says what all of them share."""

from mtjax.objectives import dco, dpo, kto, mistake_tuning, nll, npo, orpo, rise, simpo, unlikelihood
from mtjax.objectives.base import OBJECTIVES

__all__ = [
    "OBJECTIVES",
    "dco",
    "dpo",
    "kto",
    "mistake_tuning",
    "nll",
    "npo",
    "orpo",
    "rise",
    "simpo",
    "unlikelihood",
]
