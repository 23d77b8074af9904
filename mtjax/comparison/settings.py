"""What the recipes are made of: the start model and its problems, which they share, and what each does with them."""

import dataclasses

from mtjax.data.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """The start model, what it learns from, and the budget of what goes on from it: part of every recipe."""

    model: DecoderConfig = DecoderConfig(max_length=128)
    """Shape of the decoder; `vocab_size` is the tokenizer's."""
    start_source: Arithmetic = Arithmetic(count=20_000, split="train", slip_probability=0.5, habit_share=0.8)
    """What the start model imitates; `habit_share` of it drops carries and borrows, which plants a kind of mistake."""
    check_source: Arithmetic = Arithmetic(count=96, seed=2, split="validation")
    """Problems of the stop rule; used for nothing else."""
    test_source: Arithmetic = Arithmetic(count=160, seed=3, split="test")
    """Held-out problems on which everything is measured."""
    optim: OptimConfig = OptimConfig(learning_rate=3e-3, warmup_steps=100, schedule="constant", b2=0.98)
    """Of the start model."""
    arm_optim: OptimConfig = OptimConfig(learning_rate=1e-3, warmup_steps=20, schedule="constant", b2=0.98)
    """Of every arm, fresh moments."""
    batch_size: int = 64
    """Rows per update; a pair has two."""
    sequence_length: int = 96
    """Tokens per row."""
    max_segments: int = 3
    """Most examples in a row."""
    start_steps: int = 900
    """Budget of the start model; the stop rule must hold within it, or the recipe fails and says so."""
    check_every: int = 50
    """Steps between looks at the stop rule."""
    target: tuple[float, float] = (0.4, 0.7)
    """The stop rule: sampled accuracy (pass@1 at temperature 1) on `check_source` within these bounds."""
    arm_steps: int = 75
    """Updates of each arm."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the arms; each is trained once per seed."""
    samples: int = 16
    """Solutions per test problem, at temperature 1."""
    ks: tuple[int, ...] = (1, 2, 4, 8)
    """k of pass@k; at most `samples`."""
    seed: int = 0
    """Of the start model and of all sampling."""
    output: str = "runs/demo"
    """Folder of the report, its plots and `results.json`."""

    def __post_init__(self) -> None:
        low, high = self.target
        if not 0 <= low < high <= 1:
            raise InputError(f"target={self.target}: expected 0 <= low < high <= 1, such as (0.3, 0.7)")
        check_ks(self.ks, self.samples, "ks", "samples")
        if not self.seeds or min(self.start_steps, self.arm_steps, self.check_every) < 1:
            raise InputError("seeds must not be empty; start_steps, arm_steps and check_every are >= 1")
        if self.batch_size < 2 or self.batch_size % 2:
            raise InputError(f"batch_size={self.batch_size}: expected an even number, so that pairs fill the same rows")


def check_ks(ks: tuple[int, ...], samples: int, name: str, of: str) -> None:
    """Raise InputError unless every k can be estimated from so many samples."""
    if not ks or max(ks) > samples or min(ks) < 1:
        raise InputError(f"{name}={ks}: expected numbers from 1 to {of}={samples}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demo(Setup):
    """Learn from one's own mistakes, on generated arithmetic: start, mine, continue in four ways, measure."""

    mine_source: Arithmetic = Arithmetic(count=800, seed=1, split="train")
    """Problems to mine: the model solves them, the checker says which solutions are right."""
    mine_samples: int = 4
    """Solutions drawn per mined problem, at temperature 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mine_samples < 1:
            raise InputError(f"mine_samples={self.mine_samples}: expected at least 1")
