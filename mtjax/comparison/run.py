"""The comparison itself: start, mine, continue, measure. Every arm runs through one compiled step and one sampler."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtjax.comparison.settings import Comparison
from mtjax.data.answers import extract_answer
from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.step_check import check_steps
from mtjax.data.tasks import CompletionTask, MistakeTask, Task
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.generate import SamplingConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.sample_texts import sample_texts
from mtjax.objectives.mistake_tuning import MistakeTuning
from mtjax.optim import make_optimizer
from mtjax.step import init_state, make_train_step
from mtjax.types import Params

PROMPT_LENGTH, ANSWER_LENGTH = 32, 64  # tokens; generated problems are shorter than both
PLAIN = CompletionTask()
BOTH = CompletionTask(polarities="both")
MISTAKE = MistakeTask(decode_prefix="correct", loss_on="rationale")


class Measured(NamedTuple):
    """Sampled solutions of the test problems, checked.

    Attributes:
        right: `[N, n]` bool: n samples of each of N problems.
        answers: the final answers, None where there is none.
        greedy: share right under greedy decoding.
    """

    right: np.ndarray
    answers: list[list[str | None]]
    greedy: float


class ArmRun(NamedTuple):
    """One arm with one seed.

    Attributes:
        measured: behind the arm's own prompt (for mistake tuning, the correct prefix).
        behind_wrong: behind the incorrect prefix; None for arms without prefixes.
        losses: training loss of each step, nats per token.
        positions: forward positions, padding included.
        right_tokens: target tokens of right solutions.
    """

    measured: Measured
    behind_wrong: Measured | None
    losses: list[float]
    positions: int
    right_tokens: float


class Outcome(NamedTuple):
    """Everything a report is made of."""

    start: Measured
    start_steps: int
    stop_rule: list[tuple[int, float]]
    mined: tuple[Problem, ...]
    mined_right: int
    mined_wrong: int
    arms: dict[str, list[ArmRun]]
    seconds: dict[str, float]


class Lab:
    """The compiled pieces that all stages share: one model, one step, one sampler."""

    def __init__(self, c: Comparison, say: Callable[[str], None]):
        self.c, self.say = c, say
        self.tokenizer = load_tokenizer("arithmetic")
        self.model = make_language_model(dataclasses.replace(c.model, vocab_size=self.tokenizer.vocab_size))
        # At weight 1 mistake tuning is nll, so one objective, and one compiled step, serves every arm.
        self.objective = MistakeTuning(1.0)
        self.start_optimizer = make_optimizer(c.optim, c.start_steps)
        self.arm_optimizer = make_optimizer(c.arm_optim, c.arm_steps)
        self.arm_step = make_train_step(self.model, self.objective, self.arm_optimizer, chunk=1024)

    def data(self, source: Any, task: Task, seed: int) -> Any:
        """Batches of one task over one source."""
        c = self.c
        # A degenerate solution of the model's own may begin with a symbol that swallows the prompt's line break.
        config = DataConfig(
            source=source,
            task=task,
            sequence_length=c.sequence_length,
            max_segments=c.max_segments,
            boundary="allow",
        )
        return make_batches(config, self.tokenizer, batch_size=c.batch_size, seed=seed)

    def sample(self, params: Params, prompts: list[str], config: SamplingConfig) -> list[list[str]]:
        """`[problem][sample]` texts."""
        rows = max(512 // config.samples, 1) * config.samples
        drawn = sample_texts(
            *(self.model, params, self.tokenizer, prompts, config, self.c.seed), rows=rows, prompt_length=PROMPT_LENGTH
        )
        return [[sample.text for sample in samples] for samples in drawn]

    def measure(
        self, params: Params, problems: Sequence[Problem], task: Task, polarity: bool | None = None
    ) -> Measured:
        """Sample and check the solutions of problems, and decode greedily once."""
        prompts = [task.prompt(problem, polarity) for problem in problems]
        sampling = SamplingConfig(max_new_tokens=ANSWER_LENGTH, samples=self.c.samples)
        texts = self.sample(params, prompts, sampling)
        best = self.sample(params, prompts, dataclasses.replace(sampling, temperature=0.0, samples=1))
        right = np.array([[is_right(p, text) for text in own] for p, own in zip(problems, texts, strict=True)])
        greedy = np.mean([is_right(p, own[0]) for p, own in zip(problems, best, strict=True)])
        return Measured(right, [[extract_answer(text) for text in own] for own in texts], float(greedy))

    def accuracy(self, params: Params, problems: Sequence[Problem]) -> float:
        """Sampled accuracy, four draws a problem: what the stop rule looks at."""
        sampling = SamplingConfig(max_new_tokens=ANSWER_LENGTH, samples=4)
        texts = self.sample(params, [PLAIN.prompt(p) for p in problems], sampling)
        return float(np.mean([[is_right(p, t) for t in own] for p, own in zip(problems, texts, strict=True)]))


def is_right(problem: Problem, solution: str) -> bool:
    """The answer line gives the value of the question, by the exact checker."""
    return check_steps(problem.question, solution).answer_right


def run(c: Comparison, say: Callable[[str], None] = print) -> Outcome:
    """Run every stage; InputError when the stop rule is not met within its budget."""
    clock, seconds = time.perf_counter(), {}
    lab = Lab(c, say)

    def lap(stage: str) -> None:
        nonlocal clock
        seconds[stage], clock = time.perf_counter() - clock, time.perf_counter()

    params, steps, stop_rule = train_start(lab)
    params = set_prefixes_apart(lab, params)
    lap("train the start model")
    mined = mine(lab, params)
    counts = sum(len(p.right) for p in mined), sum(len(p.wrong) for p in mined)
    say(f"mined {len(mined)} problems: {counts[0]} right and {counts[1]} wrong solutions of its own")
    lap("mine")
    test = c.test_source.problems().items
    start = lab.measure(params, test, PLAIN)
    say(f"start: pass@1 {start.right.mean():.3f}, greedy {start.greedy:.3f}")
    lap("measure the start")
    arms: dict[str, list[ArmRun]] = {name: [] for name in ARMS}
    for seed in c.seeds:
        goal: float | None = None
        for name, (task, problems) in ARMS.items():
            limit = goal if name == "right only, equal right tokens" else None
            source = InMemory(tuple(problems(mined)))
            trained, losses, positions, right_tokens = train_arm(lab, params, source, task, seed, limit)
            goal = right_tokens if name == "mistake tuning" else goal
            behind = [lab.measure(trained, test, task, polarity) for polarity in POLARITIES.get(name, (None,))]
            arms[name].append(ArmRun(behind[0], behind[1] if behind[1:] else None, losses, positions, right_tokens))
            say(f"{name}, seed {seed}: pass@1 {behind[0].right.mean():.3f}, greedy {behind[0].greedy:.3f}")
    lap("train and measure the arms")
    return Outcome(start, steps, stop_rule, tuple(mined), *counts, arms, seconds)


def train_start(lab: Lab) -> tuple[Params, int, list[tuple[int, float]]]:
    """Imitate until the stop rule holds."""
    c = lab.c
    step = make_train_step(lab.model, lab.objective, lab.start_optimizer, chunk=1024)
    state = init_state(lab.model, lab.start_optimizer, jax.random.key(c.seed))
    batches, problems = lab.data(c.start_source, PLAIN, c.seed), c.check_source.problems().items
    seen: list[tuple[int, float]] = []
    for number in range(1, c.start_steps + 1):
        state, metrics = step(state, batches.batch_at(number - 1), jax.random.key(0))
        if number % c.check_every == 0:
            seen.append((number, lab.accuracy(state.params, problems)))
            lab.say(f"start step {number}: loss {float(metrics['loss']):.3f}, sampled accuracy {seen[-1][1]:.3f}")
            if c.target[0] <= seen[-1][1] <= c.target[1]:
                return state.params, number, seen
    raise InputError(
        f"the stop rule was not met: sampled accuracy {seen[-1][1] if seen else None} after {c.start_steps} steps, "
        f"expected {c.target[0]} to {c.target[1]}; raise --start_steps, or lower "
        "--check_every if it stepped over the bounds"
    )


def set_prefixes_apart(lab: Lab, params: Params) -> Params:
    """Give the two prefix tokens, which the start model never saw, embeddings as large as the others' and different."""
    table = params["embed"]["embedding"]
    ids = [lab.tokenizer.encode(text).ids[0] for text in (MISTAKE.correct_prefix, MISTAKE.incorrect_prefix)]
    drawn = jax.random.normal(jax.random.key(lab.c.seed + 1), (2, table.shape[1])) * jnp.std(table)
    return {**params, "embed": {"embedding": table.at[jnp.array(ids)].set(drawn)}}


def mine(lab: Lab, params: Params) -> list[Problem]:
    """Solve problems with the model itself; keep each distinct right and wrong solution, as checked, that is text."""
    problems = lab.c.mine_source.problems().items
    sampling = SamplingConfig(max_new_tokens=ANSWER_LENGTH, samples=lab.c.mine_samples)
    texts = lab.sample(params, [PLAIN.prompt(p) for p in problems], sampling)
    out = []
    for problem, own in zip(problems, texts, strict=True):
        distinct = [text for text in dict.fromkeys(text.strip() for text in own) if text and can_be_read(lab, text)]
        right = tuple(text for text in distinct if is_right(problem, text))
        wrong = tuple(text for text in distinct if not is_right(problem, text))
        out.append(dataclasses.replace(problem, right=right, wrong=wrong))
    return out


def can_be_read(lab: Lab, text: str) -> bool:
    """Whether the tokenizer takes the text: a weak model may draw special tokens, whose names are no text."""
    try:
        lab.tokenizer.encode(text)
    except InputError:
        return False
    return True


def _with_right(mined: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in mined if problem.right]


ARMS: dict[str, tuple[Task, Callable[[Sequence[Problem]], Sequence[Problem]]]] = {
    "right only": (PLAIN, _with_right),
    "right and wrong, no prefix": (BOTH, list),
    "mistake tuning": (MISTAKE, list),
    "right only, equal right tokens": (PLAIN, _with_right),
}
"""Task and problems of each arm; the first three see equal forward positions, the last equal right tokens."""

POLARITIES: dict[str, tuple[bool, ...]] = {"mistake tuning": (True, False)}
"""Prefixes to decode behind."""


def train_arm(
    lab: Lab, params: Params, source: InMemory, task: Task, seed: int, right_tokens: float | None
) -> tuple[Params, list[float], int, float]:
    """Continue from the start for `arm_steps`, or until as many right target tokens were seen as `right_tokens`."""
    state = init_state(lab.model, lab.arm_optimizer, jax.random.key(0), params=params)
    batches = lab.data(source, task, seed)
    losses, right, positions = [], 0.0, 0
    for number in range(lab.c.arm_steps):
        batch = batches.batch_at(number)
        polarity = np.take_along_axis(batch.extras["segment_polarity"], np.maximum(batch.segments - 1, 0), -1)
        right += float((batch.weights * polarity * (batch.segments > 0)).sum())
        positions += batch.tokens.size
        state, metrics = lab.arm_step(state, batch, jax.random.key(0))
        losses.append(metrics["loss"])
        if right_tokens is not None and right >= right_tokens:
            break
    return state.params, [float(loss) for loss in losses], positions, right
