"""Rewards: numbers for samples, from their verdict, form and length; one file for each family."""

from mtjax.evaluation.rewards.base import REWARDS, Reward
from mtjax.registry import import_modules

import_modules(__name__)

AnyReward = REWARDS.setting(optional=True)
"""The type of a setting that holds a reward or None; on the command line `reward:format`."""

__all__ = ["REWARDS", "AnyReward", "Reward"]
