"""Mistake tuning on generated arithmetic, in less than a minute on a CPU.

Command:  python -m mtjax.train configs/tiny.py --run_dir=runs/tiny --steps=60
Machine:  2 CPU cores, well under a minute.
Expect:   the loss falls from 3.69 to about 1.52 nats per token in 60 steps. To resume, run it again with more --steps.
"""

from mtjax.config import CheckpointConfig, Config, HeldOut
from mtjax.data.batches import DataConfig
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import MistakeTask
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.optim import OptimConfig

problems = {"slip_probability": 0.5}  # wrong solutions drop a carry or borrow with probability 0.5

config = Config(
    model=DecoderConfig(width=32, layers=2, heads=2, kv_heads=1, head_dim=16, mlp_width=96, max_length=128),
    data=DataConfig(
        source=Arithmetic(count=2_000, split="train", **problems),
        task=MistakeTask(decode_prefix="correct"),
        tokenizer="arithmetic",
        sequence_length=96,
        max_segments=4,
    ),
    objective=MistakeTuning(incorrect_weight=1.0),
    optim=OptimConfig(learning_rate=5e-3, warmup_steps=10, schedule="constant"),
    held_out=HeldOut(source=Arithmetic(count=200, split="test", **problems), every=20, batches=4),
    checkpoint=CheckpointConfig(every=20),
    steps=60,
    batch_size=16,
    run_dir="runs/tiny",
)
