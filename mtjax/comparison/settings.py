"""What a comparison is made of: the model, the problems, the budget."""

import dataclasses

from mtjax.data.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.optim import OptimConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Learn from one's own mistakes, on generated arithmetic: start, mine, continue in four ways, measure."""

    model: DecoderConfig = DecoderConfig(max_length=128)
    """Shape of the decoder; `vocab_size` is the tokenizer's."""
    start_source: Arithmetic = Arithmetic(count=20_000, split="train", slip_probability=0.5, habit_share=0.8)
    """What the start model imitates; `habit_share` of it drops carries and borrows, which plants a kind of mistake."""
    mine_source: Arithmetic = Arithmetic(count=800, seed=1, split="train")
    """Problems to mine: the model solves them, the checker says which solutions are right."""
    check_source: Arithmetic = Arithmetic(count=96, seed=2, split="validation")
    """Problems of the stop rule; used for nothing else."""
    test_source: Arithmetic = Arithmetic(count=160, seed=3, split="test")
    """Held-out problems on which everything is measured."""
    optim: OptimConfig = OptimConfig(learning_rate=3e-3, warmup_steps=100, schedule="constant", b2=0.98)
    """Of the start model."""
    arm_optim: OptimConfig = OptimConfig(learning_rate=1e-3, warmup_steps=20, schedule="constant", b2=0.98)
    """Of every arm, fresh moments."""
    batch_size: int = 64
    """Rows per update."""
    sequence_length: int = 96
    """Tokens per row."""
    max_segments: int = 3
    """Most examples in a row."""
    start_steps: int = 900
    """Budget of the start model; the stop rule must hold within it, or the comparison fails and says so."""
    check_every: int = 50
    """Steps between looks at the stop rule."""
    target: tuple[float, float] = (0.4, 0.7)
    """The stop rule: sampled accuracy (pass@1 at temperature 1) on `check_source` within these bounds."""
    mine_samples: int = 4
    """Solutions drawn per mined problem, at temperature 1."""
    arm_steps: int = 75
    """Updates of each arm; the equal-right-tokens arm stops sooner."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Data order of the arms; each arm is trained once per seed, from the same start."""
    samples: int = 16
    """Solutions per test problem, at temperature 1."""
    ks: tuple[int, ...] = (1, 2, 4, 8)
    """k of pass@k and maj@k; at most `samples`."""
    seed: int = 0
    """Of the start model and of all sampling."""
    output: str = "runs/demo"
    """Folder of the report, its plots and `results.json`."""

    def __post_init__(self) -> None:
        low, high = self.target
        if not 0 <= low < high <= 1:
            raise InputError(f"target={self.target}: expected 0 <= low < high <= 1, such as (0.3, 0.7)")
        if not self.ks or max(self.ks) > self.samples or min(self.ks) < 1:
            raise InputError(f"ks={self.ks}: expected numbers from 1 to samples={self.samples}")
        if not self.seeds or min(self.start_steps, self.arm_steps, self.check_every, self.mine_samples) < 1:
            raise InputError("seeds must not be empty; start_steps, arm_steps, check_every and mine_samples are >= 1")
