"""The settings of `python -m mtjax.evaluate`."""

import dataclasses
from typing import Literal

from mtjax.data.batches import DataConfig
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import InputError
from mtjax.io.hashing import check_seed


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to evaluate a model on, and how."""

    data: DataConfig
    """Where the problems come from and how they become prompts; of a run or a config file, its held-out source."""
    samples: int = 8  # Answers drawn per problem.
    k: tuple[int, ...] = ()
    """For which k to give pass@k and maj@k, each at most `samples`; empty gives 1 and `samples`."""
    metrics: tuple[str, ...] = ()
    """Names of the metrics to compute (`python -m mtjax.list metric`); empty computes all."""
    temperature: float = 1.0  # Of the samples; the greedy answer is drawn besides.
    top_k: int = 0  # Draw among the k most likely tokens only; 0 draws among all.
    top_p: float = 1.0  # Draw among the fewest tokens whose probability reaches p; 1 draws among all.
    max_new_tokens: int | None = None
    """Longest answer, in tokens; None takes 256, or as many as the model has room for."""
    stop: tuple[str, ...] = ()  # Texts that end an answer.
    limit: int | None = 200  # Use the first so many problems; None takes all.
    seed: int = 0  # Of the samples and of the bootstrap.
    level: float = 0.95  # Of the bootstrap intervals.
    step: int | Literal["best"] | None = None
    """Of a run folder: which checkpoint; "best" has the lowest held-out loss, None takes the newest."""
    tokenizer: str | None = None  # Tokenizer to use; None takes the model's own.
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type to compute in; None is float32, or what the run computed in."""
    mesh: MeshSpec = MeshSpec()  # Over which devices.
    rows: int = 64  # Answers that are drawn side by side.
    output: str | None = None
    """Folder for evaluation.json and samples.jsonl; None is `evaluation` in the run folder, or nowhere for a model
    that is no run."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit={self.limit}: expected at least 1, or None for all problems")
        if self.samples < 1 or self.rows < 1:
            raise InputError(f"samples={self.samples}, rows={self.rows}: expected at least 1 each")
        beyond = [k for k in self.k if not 1 <= k <= self.samples]
        if beyond:
            raise InputError(f"k={beyond[0]}: expected 1 to samples={self.samples}; raise --samples, or lower --k")
        if not 0 < self.level < 1:
            raise InputError(f"level={self.level}: expected a share between 0 and 1, such as 0.95")

    @property
    def ks(self) -> tuple[int, ...]:
        """The k of pass@k and maj@k."""
        return self.k or tuple(sorted({1, self.samples}))
