"""Run an experiment: start models, training data, learning rates and arms; a killed run resumes."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mtjax.data.problem import Problem
from mtjax.experiments.arms import arm_config, cost_of
from mtjax.experiments.config import Setup
from mtjax.experiments.experiment import PLAIN, START, Experiment, Method, Mining, file_name
from mtjax.experiments.findings import Arms, Outcome
from mtjax.experiments.results import Measured, MinedProblems, Record, ResultsFolder
from mtjax.experiments.stages import Stages
from mtjax.io.lock import locked
from mtjax.io.progress import progress
from mtjax.types import Params

STAGES = {"train the start": r"start-\d+/start", "mine": "mined", "measure the start": r"start(-\d+/test)?"}
"""The stages before the arms, and the names of their parts in the results folder."""


def run(c: Setup, e: Experiment, log: Callable[[str], None] = print) -> Outcome:
    """Train and measure everything that the results folder does not hold yet.

    Raises:
        InputError: other settings than the folder's; a start model whose stop rule did not hold within its budget;
            another process is at work in the folder.
    """
    arms = len(c.seeds) * len(e.methods) + (len(e.small[0]) if e.small else 0)
    arms += len(e.methods) * len(e.tuning.rates) if e.tuning else 0
    with locked(c.output), progress("arms of the experiment", arms) as advance:
        return _run(c, e, log, advance)


def _run(c: Setup, e: Experiment, log: Callable[[str], None], advance: Callable[[], None]) -> Outcome:
    stages, kept = Stages(c, log), ResultsFolder(c, e.free, e.described)
    test = c.test_source.problems().items
    early_at = None if e.small is None else e.small[1].start_at
    begins, tuning, rates = [], {}, {}
    mined = injected = small = None
    arms = Arms({name: [] for name in (START, *e.methods)})
    problems: Sequence[Problem] = ()

    def measure(name: str, params: Params, on: Sequence[Problem], samples: int, margins: bool = False) -> Record:
        measured = kept.part(name, Measured, partial(stages.measure, params, on, PLAIN, samples))
        return Record.of_start(measured, stages.margins(params, on, PLAIN) if margins else None)

    def arm(
        place: str, method: Method, seed: int, on: Sequence[Problem] = test, samples: int = c.samples, *,
        rate: float | None = None, steps: int = c.arm_steps, right_tokens: float | None = None, **options: Any,
    ) -> Record:  # fmt: skip
        """Train an arm on `problems`, until `right_tokens` if given, and measure it on the problems `on`."""

        def make() -> Record:
            given = injected.problems if injected and method.step_pairs else problems
            config = arm_config(c, place, method, given, seed, rate, steps)
            if right_tokens is not None:
                enough = cost_of(config, stages.tokenizer, right_tokens)["updates"]
                config = dataclasses.replace(config, steps=int(enough))
            return stages.run(config, method, params, on, samples, **options)

        record: Record = kept.part(place, Record, make)
        advance()
        return record

    for number, seed in enumerate(c.seeds):
        first = number == 0
        if e.own_starts or first:
            name = f"{START}-{seed if e.own_starts else c.seed}"
            train = partial(stages.train_start, seed if e.own_starts else c.seed, early_at)
            begins.append(kept.start(name, stages.model, train, early=early_at is not None))
            params = begins[-1].params
            place = f"{name}/test" if e.own_starts else START
            arms[START].append(measure(place, params, test, c.samples, e.margins))
            log(f"{name}: {curve_text(arms[START][-1], c.ks)}, greedy {arms[START][-1].end.greedy:.3f}")
        if not isinstance(e.train_on, Mining):
            problems = dataclasses.replace(e.train_on, seed=e.train_on.seed + seed).problems().items
        elif first:
            mined = kept.part("mined", MinedProblems, partial(stages.mine, params, *e.train_on[:2]))
            injected = stages.inject(mined.problems, pairs) if (pairs := e.train_on.step_pairs) else None
            problems = mined.problems
        if (t := e.tuning) is not None and first:
            on = t.source.problems().items
            for name, method in e.methods.items():
                place = f"tuning/{file_name(name, method)}"
                make = partial(arm, method=method, seed=t.seed, on=on, samples=t.samples, full=False)
                tuning[name] = {rate: make(f"{place}-{rate:g}", rate=rate) for rate in t.rates}
                found = {rate: float(record.passes(t.k).mean()) for rate, record in tuning[name].items()}
                rates[name] = best_rate(found)
                listed = ", ".join(f"{rate:g}: {value:.3f}" for rate, value in found.items())
                log(f"{name}: pass@{t.k} on validation problems by learning rate {listed}; takes {rates[name]:g}")
        for name, method in e.methods.items():
            goal = arms[method.right_tokens_of][-1].cost["right_tokens"] if method.right_tokens_of else None
            place = f"arms/{file_name(name, method)}{f'-{rates[name]:g}' if rates else ''}-seed{seed}"
            make = partial(arm, place, method, seed, rate=rates.get(name, method.rate), right_tokens=goal)
            arms[name].append(make(looks=e.looks, contrast=e.contrast, margins=e.margins))
            log(f"{name}, seed {seed}: {curve_text(arms[name][-1], c.ks)}")
    arms = Arms(with_decodings(arms))
    if e.small is not None:
        methods, o = e.small
        params, problems, on = begins[0].early, o.source.problems().items, o.test_source.problems().items
        small = Arms({START: [measure("small-start", params, on, o.samples)]})
        for name, method in methods.items():
            place = f"small/{file_name(name, method)}-seed{c.seeds[0]}"
            small[name] = [arm(place, method, c.seeds[0], on, o.samples, steps=o.steps, looks=o.looks, full=False)]
            log(f"small training set, {name}: {curve_text(small[name][0], o.ks)}")
    seconds = {
        stage: sum(took for part, took in kept.seconds.items() if re.fullmatch(pattern, part))
        for stage, pattern in STAGES.items()
    }
    grids = {name: list(grid.values()) for name, grid in tuning.items()}
    trained = {
        "choose learning rates": grids,
        "arms": arms.trained,
        "small training set": small.trained if small else {},
    }
    for stage, by_name in trained.items():
        for key in ("train", "measure") if by_name else ():
            seconds[f"{stage}: {key}"] = sum(record.seconds[key] for own in by_name.values() for record in own)
    return Outcome(begins, arms, mined, injected, tuning, rates, small, seconds)


def with_decodings(arms: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """The arms, and after one that the contrast of its prefixes decoded as well, that as an arm of its own."""
    found: dict[str, list[Record]] = {}
    for name, records in arms.items():
        found[name] = records
        if all(record.contrast is not None for record in records):
            found[f"{name}, by contrast"] = [record.by_contrast for record in records]
    return found


def curve_text(record: Record, ks: Sequence[int]) -> str:
    """pass@k by step, in one line."""
    shares = lambda step: " / ".join(f"{record.passes(k, step).mean():.3f}" for k in ks)
    by_step = "; ".join(f"step {step}: {shares(step)}" for step in sorted(record.curve))
    return f"pass@{'/'.join(map(str, ks))} {by_step}"


def best_rate(found: Mapping[float, float]) -> float:
    """The learning rate with the highest value; the smallest of equal ones."""
    return max(sorted(found), key=lambda rate: found[rate])
