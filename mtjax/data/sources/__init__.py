"""Where problems come from: one file per source."""

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.bigbench_mistake import BigBenchMistake
from mtjax.data.sources.cot_error_set import CotErrorSet
from mtjax.data.sources.gsm8k import Gsm8k, Gsm8kSolutions
from mtjax.data.sources.huggingface import Hub
from mtjax.data.sources.jsonl import Jsonl
from mtjax.data.sources.memory import InMemory
from mtjax.data.sources.mined import Mined
from mtjax.data.sources.mistakes import Mistakes
from mtjax.data.sources.mixture import Mixture, weighted_sources
from mtjax.data.sources.svamp import Svamp
from mtjax.data.sources.tfds import Tfds

Source = (
    Jsonl
    | InMemory
    | Hub
    | Tfds
    | Arithmetic
    | Gsm8k
    | Gsm8kSolutions
    | Svamp
    | BigBenchMistake
    | CotErrorSet
    | Mined
    | Mistakes
    | Mixture
)
"""Anything with `problems(on_error) -> Problems` and `fingerprint() -> str`; a tyro union of dataclasses."""

SOURCES = {
    "jsonl": Jsonl,
    "memory": InMemory,
    "hub": Hub,
    "tfds": Tfds,
    "arithmetic": Arithmetic,
    "gsm8k": Gsm8k,
    "gsm8k_solutions": Gsm8kSolutions,
    "svamp": Svamp,
    "bigbench_mistake": BigBenchMistake,
    "cot_error_set": CotErrorSet,
    "mined": Mined,
    "mistakes": Mistakes,
    "mixture": Mixture,
}
"""The sources by name."""

__all__ = [
    "SOURCES",
    "Arithmetic",
    "BigBenchMistake",
    "CotErrorSet",
    "Gsm8k",
    "Gsm8kSolutions",
    "Hub",
    "InMemory",
    "Jsonl",
    "Mined",
    "Mistakes",
    "Mixture",
    "Source",
    "Svamp",
    "Tfds",
    "weighted_sources",
]
