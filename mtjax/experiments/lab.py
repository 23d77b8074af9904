"""The compiled pieces that all stages of all recipes share: one model, one sampler, one step for each objective."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mtjax.data.answers import extract_answer
from mtjax.data.arithmetic_checker import check_steps
from mtjax.data.batches import Batches, DataConfig, make_batches
from mtjax.data.problem import Problem
from mtjax.data.tasks import Task
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.transitions import label_answer
from mtjax.experiments.config import Setup
from mtjax.model.language_model import make_language_model
from mtjax.optim import OptimConfig, make_optimizer
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import Sample, sample_texts
from mtjax.training.reference import frozen_reference
from mtjax.training.step import StepFn, make_train_step
from mtjax.types import Objective, Params

PROMPT_LENGTH, ANSWER_LENGTH = 32, 64  # tokens; generated problems are shorter than both
CHUNK = 1024  # positions whose logits exist at a time: 33 symbols take little room
ROWS = 512  # solutions that are drawn side by side


class Measured(NamedTuple):
    """Solutions of N problems, n sampled at temperature 1 and one greedy each, checked.

    Attributes:
        right: `[N, n]` bool.
        answers: the final answers of the samples, None where there is none.
        kinds: what is wrong first in each sample, as `mtjax.evaluation.transitions.label_answer` says.
        greedy_right: `[N]` bool.
        greedy_kinds: what is wrong first in each greedy solution.
        confidence: `[N]`: probability of the whole greedy solution, at temperature 1.
    """

    right: np.ndarray
    answers: list[list[str | None]]
    kinds: list[list[str]]
    greedy_right: np.ndarray
    greedy_kinds: list[str]
    confidence: np.ndarray

    @property
    def greedy(self) -> float:
        """Share right under greedy decoding."""
        return float(self.greedy_right.mean())


def is_right(problem: Problem, solution: str) -> bool:
    """The answer line gives the value of the question, by the exact checker."""
    return check_steps(problem.question, solution).answer_right


def scale_by_rate(rate: float) -> optax.GradientTransformation:
    """Multiply updates by a learning rate that is kept in the state, so that one compiled step serves all rates."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda x: x * state, updates), state

    return optax.GradientTransformation(lambda params: jnp.float32(rate), update)


class Lab:
    """Model, tokenizer, data, steps and sampler of one recipe."""

    def __init__(self, c: Setup, say: Callable[[str], None] = print):
        self.c, self.say = c, say
        self.tokenizer = load_tokenizer("arithmetic")
        self.model = make_language_model(dataclasses.replace(c.model, vocab_size=self.tokenizer.vocab_size))
        self.steps: dict[tuple[Objective, OptimConfig], StepFn] = {}

    def optimizer(self, config: OptimConfig, steps: int) -> optax.GradientTransformation:
        """The optimizer of `config`, with its learning rate in the state."""
        return optax.chain(
            make_optimizer(dataclasses.replace(config, learning_rate=1.0), steps), scale_by_rate(config.learning_rate)
        )

    def step(self, objective: Objective, config: OptimConfig, steps: int) -> StepFn:
        """The compiled step of one objective; optimizers that differ in the learning rate alone share it."""
        end = None if config.schedule == "constant" else config.schedule_steps or steps
        shape = dataclasses.replace(config, learning_rate=1.0, schedule_steps=end)
        if (objective, shape) not in self.steps:
            reference = frozen_reference(self.model, CHUNK) if objective.needs_reference else None
            optimizer = self.optimizer(shape, steps)
            self.steps[objective, shape] = make_train_step(
                self.model, objective, optimizer, reference=reference, chunk=CHUNK
            )
        return self.steps[objective, shape]

    def data(self, source: Any, task: Task, seed: int) -> Batches:
        """Batches of one task over one source; of pairs half as many, so that there are as many rows."""
        c = self.c
        # A degenerate solution of the model's own may begin with a symbol that swallows the prompt's line break.
        config = DataConfig(
            source=source,
            task=task,
            sequence_length=c.sequence_length,
            max_segments=c.max_segments,
            boundary="allow",
        )
        return make_batches(config, self.tokenizer, batch_size=c.batch_size // task.sides, seed=seed)

    def sample(self, params: Params, prompts: list[str], samples: int, *, greedy: bool = False) -> list[list[Sample]]:
        """`[prompt][sample]`: at temperature 1, or the most likely token every time."""
        config = SamplingConfig(max_new_tokens=ANSWER_LENGTH, samples=samples, temperature=0.0 if greedy else 1.0)
        return sample_texts(
            *(self.model, params, self.tokenizer, prompts, config, self.c.seed),
            rows=max(ROWS // samples, 1) * samples,
            prompt_length=PROMPT_LENGTH,
        )

    def rights(
        self, params: Params, problems: Sequence[Problem], task: Task, samples: int, polarity: bool | None = None
    ) -> np.ndarray:
        """`[N, n]` bool: which of n sampled solutions of each problem are right; the cheap measurement."""
        drawn = self.sample(params, [task.prompt(problem, polarity) for problem in problems], samples)
        return np.array([[is_right(p, s.text) for s in own] for p, own in zip(problems, drawn, strict=True)])

    def measure(
        self, params: Params, problems: Sequence[Problem], task: Task, samples: int, polarity: bool | None = None
    ) -> Measured:
        """Sample and check the solutions of problems, and decode greedily once."""
        prompts = [task.prompt(problem, polarity) for problem in problems]
        texts = [[sample.text for sample in own] for own in self.sample(params, prompts, samples)]
        best = [own[0] for own in self.sample(params, prompts, 1, greedy=True)]
        each = lambda check: [[check(p, text) for text in own] for p, own in zip(problems, texts, strict=True)]
        once = lambda check: [check(p, sample.text) for p, sample in zip(problems, best, strict=True)]
        label = lambda problem, text: label_answer(problem.question, text)
        return Measured(
            np.array(each(is_right)),
            [[extract_answer(text) for text in own] for own in texts],
            each(label),
            np.array(once(is_right)),
            once(label),
            np.exp([sample.logprob for sample in best]),
        )

    def can_be_read(self, text: str) -> bool:
        """Whether the tokenizer takes the text: a weak model may draw special tokens, whose names are no text."""
        try:
            self.tokenizer.encode(text)
        except InputError:
            return False
        return True
