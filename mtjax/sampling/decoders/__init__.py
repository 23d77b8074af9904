"""Decoders: how the distribution of the next token is made from the logits, one file for each."""

from typing import Annotated, Any

from mtjax.registry import import_modules
from mtjax.sampling.decoders.base import DECODERS, Decoder, DecoderFunctions, stateless
from mtjax.sampling.decoders.temperature import Temperature, first_of_largest, proposal

import_modules(__name__)

AnyDecoder = Annotated[Any, DECODERS]
"""The type of a setting that holds a decoder; on the command line `decoder:min_p`."""

__all__ = [
    "DECODERS",
    "AnyDecoder",
    "Decoder",
    "DecoderFunctions",
    "Temperature",
    "first_of_largest",
    "proposal",
    "stateless",
]
