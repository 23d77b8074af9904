"""The start model of configs/rounds_*.py: generated arithmetic, right about half of the time, as in the demo.

Command:  python -m mtjax.train configs/rounds_start.py
Machine:  2 CPU cores, about 2 minutes.
Expect:   coverage/pass@1 of 0.44 at step 450, 0.54 at step 500 and 0.59 at step 550, where it stays: the rest is the
          habit that was planted.

Four in five of its training solutions drop each carry and borrow with probability one half, which plants a
recognisable kind of mistake (configs/demo.py).
"""

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig
from mtjax.training.monitors import CoverageConfig

config = Config(
    model=DecoderConfig(max_length=128),
    data=DataConfig(
        source=Arithmetic(count=20_000, split="train", slip_probability=0.5, habit_share=0.8),
        task=CompletionTask(),
        tokenizer="arithmetic",
        boundary="allow",  # a degenerate solution may begin with a symbol that merges with the end of the prompt
        sequence_length=96,
        max_segments=3,
    ),
    objective=Nll(),
    optim=OptimConfig(learning_rate=3e-3, warmup_steps=100, schedule="constant", b2=0.98),
    coverage=CoverageConfig(
        source=Arithmetic(count=96, seed=2, split="validation"), every=50, samples=8, max_tokens=64, rows=512
    ),
    checkpoint=CheckpointConfig(every=50, keep=20),
    steps=550,
    batch_size=64,
    chunk=1024,
    tensorboard=False,
    run_dir="runs/rounds_start",
)
