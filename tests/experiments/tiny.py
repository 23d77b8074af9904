"""Recipes at a toy size: two-number sums of numbers up to 4, learnt in some dozens of steps."""

from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig

EASY = {"min_operands": 2, "max_operands": 2, "high": 4}

SETUP = {
    "model": DecoderConfig(width=32, layers=2, heads=2, kv_heads=2, head_dim=16, mlp_width=64, max_length=128),
    "start_source": Arithmetic(count=300, **EASY),
    "check_source": Arithmetic(count=16, seed=2, **EASY),
    "test_source": Arithmetic(count=16, seed=3, **EASY),
    "optim": OptimConfig(learning_rate=1e-2, warmup_steps=10, schedule="constant", b2=0.98),
    "batch_size": 16,
    "start_steps": 200,
    "check_every": 10,
    "target": (0.2, 1.0),
    "arm_steps": 4,
    "seeds": (0, 1),
    "samples": 4,
    "ks": (1, 2),
}
"""What all recipes share."""
