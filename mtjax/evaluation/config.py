"""The settings of `python -m mtjax.evaluate`."""

import dataclasses
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from mtjax.data.batches import DataConfig
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import InputError
from mtjax.evaluation.graders import GRADERS, AnswerGrader, AnyGrader
from mtjax.io.hashing import check_seed
from mtjax.sampling.aggregation import AGGREGATIONS
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to evaluate a model on, and how."""

    data: DataConfig  # The problems and how they become prompts; of a run or a config file, its held-out source.
    sampling: EmbeddedSampling = SamplingConfig(samples=8, max_new_tokens=None)  # The greedy answer is drawn besides.
    k: tuple[int, ...] = ()  # For which k to give pass@k and maj@k; empty gives 1 and `samples`.
    metrics: tuple[str, ...] = ()
    """What to compute (`python -m mtjax.list metric`); empty is `greedy`, `coverage`, `verdicts`, `likelihood` and
    `gap`, as far as they apply."""
    aggregation: str = "majority"  # How k samples choose an answer for maj@k (`python -m mtjax.list aggregation`).
    verifier: str | None = None
    """Model with a value head that values the samples for the aggregations `verifier` and `best_by_verifier`: a run
    folder, or what `MODEL` may be. None takes the model's own."""
    grader: AnyGrader = AnswerGrader()  # How samples are judged.
    second_grader: GRADERS.setting(optional=True) = None  # type: ignore[valid-type]
    """A second, imperfect grader, as there is one at test time, for the metric `resampling`."""
    stages: tuple[str, ...] = ()
    """Output folders of evaluations of earlier models on the same problems, for the metric `continual`."""
    random_models: Annotated[int, Ge(2)] = 32  # Models with random parameters, for the metric `inductive_bias`.
    limit: PositiveInt | None = 200  # Use the first so many problems; None takes all.
    seed: int = 0  # Random seed for sampling and for the bootstrap.
    level: Annotated[float, Gt(0), Lt(1)] = 0.95  # Of the bootstrap intervals.
    step: int | Literal["best"] | None = None  # Checkpoint of a run: its step, "best" by held-out loss, or the newest.
    weights: Literal["auto", "raw", "average"] = "auto"
    """Parameters of a run: as trained (raw), or the average that it keeps of them (`optim.average`); auto: raw, but the
    average of a schedule-free optimizer."""
    tokenizer: str | None = None  # Tokenizer to use; None takes the model's own.
    dtype: Literal["float32", "bfloat16"] | None = None  # Type to compute in; None is float32, or that of the run.
    mesh: MeshSpec = MeshSpec()  # Over which devices.
    rows: PositiveInt = 64  # Answers drawn side by side.
    output: str | None = None  # Folder for the results; None is `evaluation` in a run folder, otherwise nowhere.

    def __post_init__(self) -> None:
        check_types(self)
        check_seed(self.seed)
        AGGREGATIONS.find(self.aggregation)
        if self.verifier is not None and not self.needs_value:
            raise InputError(
                f"verifier={self.verifier!r} has no part in the aggregation {self.aggregation}: add "
                "--aggregation=verifier, or leave it out"
            )
        most = self.sampling.samples
        beyond = [k for k in self.k if not 1 <= k <= most]
        if beyond:
            raise InputError(f"k={beyond[0]}: expected 1 to samples={most}; raise --samples, or lower --k")

    @property
    def needs_value(self) -> bool:
        """Whether the aggregation asks a verifier; InputError for an unknown one."""
        return bool(getattr(AGGREGATIONS.find(self.aggregation), "needs_value", False))

    @property
    def ks(self) -> tuple[int, ...]:
        """The k of pass@k and maj@k."""
        return self.k or tuple(sorted({1, self.sampling.samples}))
