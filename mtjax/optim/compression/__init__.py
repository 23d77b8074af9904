"""Compressed gradients of data-parallel workers, one file for each method."""

from mtjax.optim.compression.base import COMPRESSIONS, Compression, OfWorkers, after_workers
from mtjax.registry import import_modules

import_modules(__name__)

AnyCompression = COMPRESSIONS.setting(optional=True)
"""The type of a setting that holds a compression or None; on the command line `optim.compression:ef21`."""

__all__ = ["COMPRESSIONS", "AnyCompression", "Compression", "OfWorkers", "after_workers"]
