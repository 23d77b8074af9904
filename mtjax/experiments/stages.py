"""The stages of an experiment: train, mine, inject and evaluate, called in one process with shared compiled programs.

This is the only module of the room that calls other parts of mtjax to do work; the rest arranges and reports.
"""

import contextlib
import dataclasses
import pathlib
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mtjax.config import Config
from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Pair, Problem
from mtjax.data.sources.mined import FILE, Mined, read_mined
from mtjax.data.sources.mistakes import pair_of
from mtjax.data.tasks import Task
from mtjax.distributed.sharding import make_mesh
from mtjax.errors import ExitCode, InputError
from mtjax.evaluation.evaluator import evaluate_policy, greedy_of
from mtjax.evaluation.grading import grade
from mtjax.evaluation.token_scores import Scorer
from mtjax.evaluation.transitions import label_answer
from mtjax.experiments.arms import cost_of, look_steps, start_config
from mtjax.experiments.config import Setup
from mtjax.experiments.experiment import MISTAKE, PLAIN, Method, with_both
from mtjax.experiments.results import Injected, Measured, MinedProblems, Record, Start
from mtjax.mistakes.injection import Rules, Yields, inject
from mtjax.mistakes.mining import MineConfig, MineData
from mtjax.runs import mining
from mtjax.runs.loading import Loaded
from mtjax.runs.loop import Result, train
from mtjax.runs.warm_start import make_model
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders import Temperature
from mtjax.sampling.decoders.contrastive import Contrastive
from mtjax.sampling.texts import sample_texts
from mtjax.training.alarms import read_log
from mtjax.types import Params

DRAWN = Temperature()  # how solutions are drawn unless a decoder is given
CHECK_SAMPLES = 4  # solutions per problem of the stop rule
SCORED = 64  # steps whose margins are computed side by side

Watch = Callable[[int, Params], bool]
"""Called after each step with the parameters; True ends the run."""


class Stages:
    """The stages of one experiment, with everything that they share.

    Args:
        c: the settings of the experiment.
        log: prints a line of progress.
    """

    def __init__(self, c: Setup, log: Callable[[str], None] = print):
        self.c, self._log, self._terminal = c, log, sys.stdout
        self.folder = pathlib.Path(c.output)
        config = start_config(c, c.seed)
        self.model, _, self.tokenizer = make_model(config, make_mesh(config.mesh))

    def log(self, text: str) -> None:
        """Print a line of progress, also while the output of a training run goes to its log file."""
        with contextlib.redirect_stdout(self._terminal):
            self._log(text)

    def train(self, config: Config, start: Params | None = None, watch: Watch | None = None) -> Result:
        """`mtjax.runs.loop.train` from its first step; what it prints goes to a log file beside the run's folder."""
        folder = pathlib.Path(config.run_dir)
        shutil.rmtree(folder, ignore_errors=True)  # of a killed run
        folder.parent.mkdir(parents=True, exist_ok=True)
        ended = []

        def watched(step: int, params: Params) -> bool:
            ended.append(watch is not None and watch(step, params))
            return ended[-1]

        with folder.with_name(f"{folder.name}.log").open("w") as out, contextlib.redirect_stdout(out):
            done = train(config, start=jax.device_get(start), watch=watched)
        if done.exit_code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        if not any(ended) and int(done.state.step) < config.steps:
            sys.exit(done.exit_code)  # SIGTERM
        return done

    def train_start(
        self, seed: int, early_at: float | None = None, *, config: Config | None = None,
        target: tuple[float, float] | None = None,
    ) -> Start:  # fmt: skip
        """Train the start model with this seed until the stop rule holds; another one with its own `config` and bounds.

        `early_at` also keeps the parameters at the first check with at least this sampled accuracy. Raises InputError
        if the stop rule did not hold within `start_steps`.
        """
        c, problems = self.c, self.c.check_source.problems().items
        low, high = target or c.target
        checks: list[tuple[int, float]] = []
        early = None

        def watch(step: int, params: Params) -> bool:
            nonlocal early
            if step % c.check_every:
                return False
            share = float(self.right(params, problems, PLAIN, CHECK_SAMPLES).mean())
            checks.append((step, share))
            self.log(f"start step {step}: sampled accuracy {share:.3f}")
            if early is None and early_at is not None and share >= early_at:
                early = jax.tree.map(jnp.copy, params)
            return low <= share <= high

        done = self.train(config or start_config(c, seed), watch=watch)
        if not checks or not low <= checks[-1][1] <= high:
            raise InputError(
                f"the stop rule was not met: sampled accuracy {checks[-1][1] if checks else None} after "
                f"{c.start_steps} steps, expected {low} to {high}; raise --start_steps, or lower "
                "--check_every if it stepped over the bounds"
            )
        return Start(int(done.state.step), checks, self.separate_prefixes(done.state.params), early)

    def separate_prefixes(self, params: Params) -> Params:
        """Give the two prefix tokens, which the start model never saw, different embeddings of the usual size.

        A model that did not begin here reads the prefixes as words that it knows.
        """
        if self.c.init_from is not None:
            return params
        table = params["embed"]["embedding"]
        ids = [self.tokenizer.encode(text).ids[0] for text in (MISTAKE.correct_prefix, MISTAKE.incorrect_prefix)]
        drawn = jax.random.normal(jax.random.key(self.c.seed + 1), (2, table.shape[1])) * jnp.std(table)
        return {**params, "embed": {"embedding": table.at[jnp.array(ids)].set(drawn)}}

    def mine(self, params: Params, source: Any, samples: int, name: str = "mined") -> MinedProblems:
        """`mtjax.runs.mining.run` with the model; the distinct right and wrong solutions, as its checker judges them.

        Solutions that were cut at the longest length count as what their answer is.
        """
        folder = self.folder / name
        config = MineConfig(
            data=MineData(source=source, task=PLAIN),
            sampling=SamplingConfig(samples=samples, max_new_tokens=self.c.answer_length), seed=self.c.seed,
            output=str(folder), overwrite=True, rows=max(self.c.rows // samples, 1) * samples,
        )  # fmt: skip
        if mining.run("start model", config, lambda _: None, Loaded(self.model, params, self.tokenizer)):
            raise KeyboardInterrupt
        problems = Mined(str(folder), flawed="right", cut="wrong").problems().items
        records = list(read_mined(str(folder / FILE)))
        tokens = sum((s.tokens or 0) * s.count for record in records for s in record.solutions)
        mined = MinedProblems(list(problems), sum(record.drawn for record in records), tokens)
        self.log(f"mined {len(problems)} problems: {mined.right} right and {mined.wrong} wrong distinct solutions")
        return mined

    def inject(self, problems: Sequence[Problem], per_problem: int) -> Injected:
        """`mtjax.mistakes.injection.inject`: up to `per_problem` step pairs for each problem.

        Only problems with both a right and a wrong solution get any, as in RISE.
        """
        yields: Yields = {}
        found: dict[str, list[Pair]] = {}
        unreadable = 0
        for name, pair in self.step_pairs(with_both(problems), per_problem, yields):
            if pair is None:
                unreadable += 1
            else:
                found.setdefault(name, []).append(pair)
        kinds = Counter(pair.error_type for pairs in found.values() for pair in pairs)
        made = sum(counts["made"] for counts in yields.values())
        paired = [dataclasses.replace(p, pairs=(*p.pairs, *found.get(p.id, ()))) for p in problems]
        self.log(f"injected {kinds.total()} step pairs, each wrong side proved wrong")
        return Injected(paired, kinds.total(), made, unreadable, dict(sorted(kinds.items())))

    def step_pairs(self, problems: Sequence[Problem], most: int, yields: Yields) -> Iterator[tuple[str, Pair | None]]:
        """Problem ids and step pairs; None for a pair that cannot be made or that the tokenizer cannot write."""
        for mistake in inject(problems, Rules(seed=self.c.seed, per_problem=most), yields):
            pair = pair_of(mistake)
            try:
                self.tokenizer.encode("" if pair is None else pair.rejected)
            except InputError:
                pair = None
            yield mistake.problem_id, pair

    def margins(
        self, params: Params, problems: Sequence[Problem], task: Task, polarity: bool | None = None
    ) -> Float[np.ndarray, " P"]:
        """`Record.margins`: one pair for each problem whose right solutions yield one."""
        named = {problem.id: problem for problem in problems}
        held = [(named[name], pair) for name, pair in self.step_pairs(problems, 1, {}) if pair is not None]
        ids = lambda text: self.tokenizer.encode(text).ids
        begin = lambda problem: encode_prompt(self.tokenizer, task.prompt(problem, polarity, self.tokenizer))
        before = [[*begin(problem), *ids(pair.context)] for problem, pair in held]
        scorer = Scorer(self.model, jax.device_put(params, jax.devices()[0]), self.tokenizer, SCORED)
        sides = zip(*((ids(pair.chosen), ids(pair.rejected)) for _, pair in held), strict=True)
        right, wrong = (scorer.sums(list(zip(before, side, strict=True))) for side in sides)
        return right - wrong

    def wrong_by_rule(self, problems: Sequence[Problem], per_problem: int) -> dict[str, list[str]]:
        """Whole wrong solutions by problem id, made of the right ones by `mtjax.mistakes.injection.inject`.

        The error is carried through to the answer; solutions that the tokenizer cannot write are left out.
        """
        found: dict[str, list[str]] = {}
        rules = Rules(seed=self.c.seed, per_problem=per_problem, carry_forward=True)
        for mistake in inject([problem for problem in problems if problem.right], rules, {}):
            pair = pair_of(mistake, whole=True)
            if pair is None or mistake.wrong_answer in ("", mistake.answer):
                continue
            with contextlib.suppress(InputError):
                self.tokenizer.encode(pair.rejected)
                found.setdefault(mistake.problem_id, []).append(pair.rejected)
        return found

    def right(
        self, params: Params, problems: Sequence[Problem], task: Task, samples: int, polarity: bool | None = None,
        decoder: Any = DRAWN,
    ) -> np.ndarray:  # fmt: skip
        """`[N, n]` bool: which of n sampled solutions of each problem are right."""
        return self._sampled(params, problems, task, samples, polarity, decoder).right

    def _sampled(
        self, params: Params, problems: Sequence[Problem], task: Task, samples: int, polarity: bool | None,
        decoder: Any = DRAWN,
    ) -> Any:  # fmt: skip
        return evaluate_policy(
            self.model, jax.device_put(params, jax.devices()[0]), self.tokenizer, problems, task,
            SamplingConfig(max_new_tokens=self.c.answer_length, samples=samples, decoder=decoder), polarity=polarity,
            needs=("samples",), seed=self.c.seed, rows=max(self.c.rows // samples, 1) * samples,
        ).sampled  # fmt: skip

    def measure(
        self, params: Params, problems: Sequence[Problem], task: Task, samples: int, polarity: bool | None = None,
        decoder: Any = DRAWN,
    ) -> Measured:  # fmt: skip
        """Evaluate sampled solutions, and the greedy one, which no decoder changes, with its probability."""
        sampled = self._sampled(params, problems, task, samples, polarity, decoder)
        prompts = [task.prompt(problem, polarity, self.tokenizer) for problem in problems]
        greedy = greedy_of(SamplingConfig(max_new_tokens=self.c.answer_length))
        params = jax.device_put(params, jax.devices()[0])
        best = sample_texts(self.model, params, self.tokenizer, prompts, greedy, self.c.seed, rows=self.c.rows)
        once = grade(best, problems)
        labels = lambda graded: [
            [label_answer(problem.question, text) for text in texts]
            for problem, texts in zip(problems, graded.texts, strict=True)
        ]
        return Measured(
            sampled.right,
            sampled.answers,
            labels(sampled),
            once.right[:, 0],
            [row[0] for row in labels(once)],
            np.exp([row[0].logprob for row in best]),
        )

    def run(
        self, config: Config, method: Method, start: Params, problems: Sequence[Problem], samples: int, *,
        looks: int = 1, full: bool = True, contrast: float = 0.0, margins: bool = False,
    ) -> Record:  # fmt: skip
        """Train an arm; count the right ones of `samples` solutions of each problem at `looks` evenly spaced steps.

        With `full`, everything is measured at the end, after each of the method's prefixes, and if asked for, by their
        contrast with this weight, and the margins of `Record`; otherwise the files of the run are deleted.
        """
        begun, measuring = time.perf_counter(), 0.0
        at = look_steps(config.steps, looks)
        curve: dict[int, list[int]] = {}
        ends: list[Measured] = []
        found = None

        def watch(step: int, params: Params) -> bool:
            nonlocal measuring, found
            if step in at:
                since = time.perf_counter()
                first, last = method.polarities[0], full and step == config.steps
                for prefix in method.polarities if last else ():
                    ends.append(self.measure(params, problems, method.task, samples, prefix))
                if last and contrast and len(method.polarities) > 1:
                    ends.append(self.measure(params, problems, method.task, samples, first, Contrastive(contrast)))
                if last and margins:
                    found = self.margins(params, problems, method.task, first)
                right = ends[0].right if ends else self.right(params, problems, method.task, samples, first)
                curve[step] = right.sum(axis=1).tolist()
                measuring += time.perf_counter() - since
            return False

        self.train(config, start, watch)
        seconds = {"train": time.perf_counter() - begun - measuring, "measure": measuring}
        losses = [line["loss"] for line in read_log(pathlib.Path(config.run_dir))]
        if not full:
            shutil.rmtree(config.run_dir)
        measured, behind_wrong, by_contrast = [*ends, None, None, None][:3]
        cost = cost_of(config, self.tokenizer)
        return Record(curve, samples, measured, behind_wrong, losses, cost, seconds, by_contrast, found)
