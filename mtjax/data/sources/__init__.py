"""Where problems come from: one file per source."""

# ruff: noqa: F401  (names that users import from here)
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.base import SOURCES, FileSource, Source
from mtjax.data.sources.bigbench_mistake import BigBenchMistake
from mtjax.data.sources.cot_error_set import CotErrorSet
from mtjax.data.sources.gsm8k import Gsm8k, Gsm8kSolutions
from mtjax.data.sources.huggingface import Hub
from mtjax.data.sources.jsonl import Files, Jsonl
from mtjax.data.sources.memory import InMemory
from mtjax.data.sources.mined import Mined
from mtjax.data.sources.mistakes import Mistakes
from mtjax.data.sources.mixture import Mixture, weighted_sources
from mtjax.data.sources.rise import Rise
from mtjax.data.sources.svamp import Svamp
from mtjax.data.sources.tfds import Tfds
from mtjax.data.sources.trl import Trl
from mtjax.registry import import_modules

import_modules(__name__)

AnySource = SOURCES.setting()  # The type of a setting that holds a source; on the command line `data.source:gsm8k`.
