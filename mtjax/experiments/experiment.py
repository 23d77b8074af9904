"""What an experiment is: methods, what they train on, how learning rates are chosen, and what the report says.

A file in configs/ defines `recipe`, the settings, and `experiment`, a function from these settings to an `Experiment`.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mtjax.config import read_module
from mtjax.data.problem import Problem
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.tasks import CompletionTask, MistakeTask, Task
from mtjax.errors import InputError, suggest
from mtjax.experiments.config import Comparison, Coverage, Demo, Map, Overfit, Setup
from mtjax.objectives.base import OBJECTIVES
from mtjax.types import Objective

START = "start"
"""Name of the start model among the arms."""

PLAIN = CompletionTask()
"""A question and one solution."""

MISTAKE = MistakeTask(decode_prefix="correct", loss_on="rationale")
"""A solution after the prefix that says whether it is right."""

FILES: dict[type[Setup], str] = {Comparison: "compare.py", Coverage: "coverage.py", Demo: "demo.py", Map: "map.py"}
"""The file in configs/ that defines the experiment of each settings class."""


class Method(NamedTuple):
    """One way to continue from the start model: what an arm changes in the start's config."""

    task: Task  # how problems become text
    objective: Objective  # what is minimised
    problems: Callable[[Sequence[Problem]], Sequence[Problem]] = list  # selects the problems to train on
    polarities: tuple[bool | None, ...] = (None,)  # prefixes to decode after, its own first; None for no prefix
    says: str = ""  # description for the report
    file: str = ""  # part of the names of its files; the method's name by default
    right_tokens_of: str = ""  # stop after as many target tokens of right solutions as this method had
    step_pairs: bool = False  # train on the injected pairs of steps of `Mining.step_pairs`, too
    rate: float | None = None  # learning rate; None takes the one that `Experiment.tuning` chooses, or of `arm_optim`

    @property
    def objective_name(self) -> str:
        """The objective with its settings, such as `rise(beta=0.4, ...)`."""
        settings = dataclasses.asdict(self.objective)  # type: ignore[call-overload]
        name = OBJECTIVES.name_of(self.objective) or type(self.objective).__name__
        return f"{name}({', '.join(f'{key}={value}' for key, value in settings.items())})"


class Mining(NamedTuple):
    """Train on the start model's own solutions of these problems."""

    source: Arithmetic
    samples: int  # solutions drawn per problem
    step_pairs: int = 0  # most pairs of steps with an injected error per problem


class Tuning(NamedTuple):
    """Choose each method's learning rate: the one with the highest pass@k on these problems."""

    source: Arithmetic
    rates: tuple[float, ...]
    seed: int  # data order
    samples: int  # solutions per problem
    k: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment: what is trained and measured, and what its report says."""

    title: str
    pictures: str  # folder of the pictures that report.md links to
    methods: Mapping[str, Method]
    train_on: Mining | Arithmetic  # own solutions, or exact ones of a source that seed s shifts by s
    own_starts: bool = False  # train a start model for each seed
    looks: int = 1  # measurements of pass@k during each arm, the end included
    tuning: Tuning | None = None  # None takes the learning rate of `arm_optim`
    small: tuple[Mapping[str, Method], Overfit] | None = None  # the demo's small training set
    baseline: str = ""  # method that the others are compared with; "" compares none
    claims: Sequence[tuple[str, str, str, int | Literal["margin"]]] = ()
    """A sentence, and of which arm pass@k, or the mean of `Record.margins`, is above that of which other arm; also of
    the small training set."""
    contrast: float = 0.0  # weight of `decoder:contrastive`, another decoding of methods with two prefixes; 0 for none
    margins: bool = False  # measure `Record.margins`
    sections: Sequence[str]  # names in `report.SECTIONS`, in the order of the report
    texts: Mapping[str, Callable[[Any], str]]  # text of a section from the `findings.Findings`, by its name
    free: tuple[str, ...] = ("seeds", "ks", "output")  # settings no arm depends on: they may change on resume

    def __post_init__(self) -> None:
        files: dict[str, str] = {}
        for place, (name, method) in enumerate(self.methods.items()):
            if (file := file_name(name, method)) in files:
                raise InputError(f"methods '{files[file]}' and '{name}' share the file name '{file}'; set Method.file")
            files[file] = name
            if method.right_tokens_of and method.right_tokens_of not in list(self.methods)[:place]:
                raise InputError(f"right_tokens_of={method.right_tokens_of!r} of '{name}': expected a method before it")

    @property
    def described(self) -> dict[str, str]:
        """Each method with everything that its training depends on besides the settings, by name."""
        small = {} if self.small is None else {f"small: {name}": method for name, method in self.small[0].items()}
        shared = f"{self.looks} looks, on {self.train_on!r}"
        return {
            name: f"{method.objective_name}, {method.task!r}, {method.right_tokens_of!r}, {shared}"
            + (", no step pairs" if getattr(self.train_on, "step_pairs", 0) and not method.step_pairs else "")
            + ("" if method.rate is None else f", rate {method.rate:g}")
            + ("" if not self.contrast else f", contrast {self.contrast:g}")
            + (", margins" if self.margins else "")
            for name, method in (small | dict(self.methods)).items()
        }


def with_right(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right solution."""
    return [problem for problem in problems if problem.right]


def with_both(problems: Sequence[Problem]) -> list[Problem]:
    """The problems that have a right and a wrong solution, of which pairs can be made."""
    return [problem for problem in problems if problem.right and problem.wrong]


def chosen(names: Sequence[str], methods: Mapping[str, Method]) -> dict[str, Method]:
    """The methods with these names, in the order of `methods`; InputError for a name that is not there."""
    for name in names:
        if name not in methods:
            raise InputError(f"there is no method '{name}'; {suggest(name, methods)}")
    return {name: method for name, method in methods.items() if name in names}


def file_name(name: str, method: Method) -> str:
    """A method's name as part of a file's."""
    return method.file or re.sub(r"\W+", "-", name.lower()).strip("-")


def experiment_of(module: Any, c: Setup) -> Any:
    """The `Experiment` that a config file defines for the settings `c`, or the `grid.Grid` of a `Map`.

    A file of version 0.1 has that of configs/.
    """
    if not hasattr(module, "experiment"):
        module = read_module(pathlib.Path("configs", FILES[type(c)]))
    return module.experiment(c)
