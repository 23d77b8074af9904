"""The settings of `python -m mtjax.rounds`."""

import dataclasses
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from mtjax.config import Config
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.evaluation.evaluator import chosen_metrics
from mtjax.evaluation.graders import AnswerGrader, AnyGrader
from mtjax.evaluation.graders.program import ProgramAnswerGrader
from mtjax.evaluation.metrics import DRAWN
from mtjax.evaluation.rewards import AnyReward
from mtjax.mistakes.curation import CURATIONS, AnyCuration, RightOnly
from mtjax.optim.schedules import SCHEDULES
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.reload import Serving
from mtjax.sampling.search import AnySearch, Independent
from mtjax.training.memory import memory_names
from mtjax.validation import PositiveInt, check_types


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """Held-out problems on which every round is measured: pass@k, kinds of errors, which problems flipped."""

    source: AnySource  # Where they come from, never trained on; their prompts are those of the run's task.
    every: PositiveInt = 1  # Rounds between measurements, besides the start and the last round.
    samples: PositiveInt = 8  # Answers drawn per problem.
    ks: tuple[int, ...] = ()  # For which k to give pass@k, each at most `samples`; empty gives 1 and `samples`.
    metrics: tuple[str, ...] = ()
    """What else to compute (`python -m mtjax.list metric`), of what the policy alone can tell; into `rounds.jsonl` and
    the report."""
    temperature: Annotated[float, Gt(0)] = 1.0  # Sampling temperature.
    limit: PositiveInt | None = 200  # Use the first so many problems; None takes all.
    seed: Annotated[int, Ge(0)] = 0  # Random seed, the same each time: measurements differ by the model alone.

    def __post_init__(self) -> None:
        check_types(self, "measure")
        if beyond := [k for k in self.ks if not 1 <= k <= self.samples]:
            raise InputError(f"measure.ks={beyond[0]}: expected 1 to measure.samples={self.samples}; raise samples")
        for name, metric in chosen_metrics(self.metrics).items():
            if missing := [need for need in metric.needs if need not in DRAWN - {"accepted"}]:
                raise InputError(
                    f"measure.metrics: '{name}' needs {missing[0]!r}, which a policy alone cannot give in a round; "
                    f"measure it afterwards, with python -m mtjax.evaluate RUN --metrics {name}"
                )

    @property
    def all_ks(self) -> tuple[int, ...]:
        """The k of pass@k, ascending; 1 is always among them."""
        return tuple(sorted({1, *(self.ks or (self.samples,))}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stops:
    """When a run ends before its last round."""

    patience: PositiveInt | None = None
    """End when held-out pass@1 has not risen above its best for so many measurements; None never does."""
    least_rise: Annotated[float, Ge(0)] = 0.0  # How much pass@1 must rise to count.
    coverage_drop: Annotated[float, Gt(0), Le(1)] | None = None
    """End when held-out pass@k, for the largest k, is lower than at the start by more than this. None only prints an
    alarm, at 0.05."""
    mixed: bool = True  # End when no problem of a round has both a right and a wrong sample.
    tokens: PositiveInt | None = None  # End after the round in which so many tokens have been sampled and trained.

    def __post_init__(self) -> None:
        check_types(self, "stop")


UNUSED = ("live_filter", "held_out", "coverage", "early_stopping", "track_examples", "export")
"""Settings of a training run that have no meaning in rounds, and are refused unless they are off."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rounds:
    """Many rounds of: sample, grade, curate, train, measure."""

    train: Config
    """The training of a round: start model (`init_from` or `model`), problems (`data.source`), task, objective,
    optimizer, mesh, seed and run folder. `steps` is not used; `checkpoint.every` counts rounds."""
    rounds: PositiveInt = 3  # Number of rounds; may be raised later.
    problems: PositiveInt | None = None
    """Problems of a round: the next ones of a stream of random orders; None takes all in each round."""
    sampling: SamplingConfig = SamplingConfig(samples=8, max_new_tokens=None)  # How attempts are drawn.
    search: AnySearch = Independent()  # type: ignore[valid-type]
    """Which of the attempts that are drawn are kept."""
    rows: PositiveInt = 256  # Attempts that are drawn side by side; what a kill can cost.
    serving: Serving | None = None
    """A server that draws the attempts with the weights of each round; None draws them here."""
    grader: AnyGrader = AnswerGrader()  # How attempts, and held-out answers, are judged.
    reward: AnyReward = None
    """What each attempt is worth, for the curation `groups`; None is 1 for a right and 0 for a wrong one."""
    curation: AnyCuration = RightOnly()  # From graded attempts to the training data of a round.
    updates: PositiveInt | None = None
    """Updates of a round, which go through its data again and again; None makes `passes` passes, each example once."""
    passes: PositiveInt = 1  # Passes over the data of a round, without `updates`.
    begin: Literal["last", "base"] = "last"
    """What a round trains: the model of the last round, or the start model again (STaR, ReST-EM). The attempts are
    always those of the model of the last round."""
    moments: Literal["kept", "new"] = "kept"
    """Whether the state of the optimizer, and with it the schedule, goes on over rounds or begins anew in each; with
    begin=base it always does."""
    renew_reference: PositiveInt | None = None
    """Rounds after which the reference becomes the model of the last round, again and again; None keeps the start."""
    measure: Measure | None = None  # Held-out problems to measure on.
    stop: Stops = Stops()  # When to end before the last round.

    def __post_init__(self) -> None:
        check_types(self)
        train, task = self.train, self.train.data.task
        for name in UNUSED:
            if getattr(train, name):
                way_out = "set `measure`" if name in ("held_out", "coverage") else "leave it out"
                way_out = "set `stop.patience`" if name == "early_stopping" else way_out
                way_out = "export afterwards: python -m mtjax.export RUN FOLDER" if name == "export" else way_out
                raise InputError(f"train.{name} has no use in rounds, whose data change each round; {way_out}")
        curation: Any = self.curation
        if curation.tasks and task.name not in curation.tasks:
            name = CURATIONS.name_of(curation) or type(curation).__name__
            raise InputError(
                f"curation '{name}' makes data for the task {' or '.join(curation.tasks)}, but train.data.task is "
                f"'{task.name}'; set train.data.task:{curation.tasks[0]}, or choose another curation"
            )
        if curation.needs_trace and not isinstance(self.grader, ProgramAnswerGrader):
            name = CURATIONS.name_of(curation) or type(curation).__name__
            raise InputError(
                f"curation '{name}' runs programs statement by statement and compares their answers: set "
                "grader:program_answer, or choose another curation"
            )
        if memory_names(train.objective):
            raise InputError(
                "train.objective remembers examples by their number, which means another example each round; choose "
                "an objective without a memory"
            )
        if train.reference.kind == "cached":
            raise InputError(
                "train.reference.kind='cached': each round has other texts; set --train.reference.kind=frozen"
            )
        if self.serving is not None and getattr(task, "logprobs", "none") != "none":
            raise InputError(
                f"train.data.task.logprobs={task.logprobs!r} needs the tokens of every attempt, which a server does "
                "not give: set --train.data.task.logprobs=none --train.objective.old=current, or leave `serving` out"
            )
        if self.renew_reference and train.reference.refresh_every:
            raise InputError(
                "renew_reference and train.reference.refresh_every both renew the reference, by rounds and by "
                "updates; set one of them"
            )
        if train.data.max_segments == "auto":
            raise InputError(
                "train.data.max_segments='auto' would change the shape of a batch, and compile, each round; give a "
                "number, such as --train.data.max_segments=8"
            )
        if train.data.curriculum is not None or train.data.truncation != "drop":
            name = "curriculum" if train.data.curriculum is not None else "truncation"
            raise InputError(f"train.data.{name} has no use in rounds; leave it out")
        constant = SCHEDULES.name_of(train.optim.schedule) == "constant"
        if not constant and self.total_updates is None and train.optim.schedule_steps is None:
            raise InputError(
                "the number of updates of a round depends on its data, so the schedule has no end: set "
                "--train.optim.schedule_steps, or train.optim.schedule:constant, or --updates"
            )

    @property
    def total_updates(self) -> int | None:
        """Updates until the schedule ends, where the settings say: of one round if each begins anew."""
        if self.updates is None:
            return None
        return self.updates if self.starts_anew else self.updates * self.rounds

    @property
    def starts_anew(self) -> bool:
        """Whether the optimizer begins anew in each round."""
        return self.begin == "base" or self.moments == "new"
