"""Where every recipe begins: a model that is right sometimes, and the solutions it finds itself."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtjax.data.problem import Problem
from mtjax.data.tasks import CompletionTask, MistakeTask
from mtjax.errors import InputError
from mtjax.experiments.lab import Lab, is_right
from mtjax.objectives.nll import Nll
from mtjax.training.step import init_state
from mtjax.types import Params

PLAIN = CompletionTask()
"""A question and one solution."""

MISTAKE = MistakeTask(decode_prefix="correct", loss_on="rationale")
"""A solution behind the prefix that says whether it is right."""


class Start(NamedTuple):
    """The start model.

    Attributes:
        params: its parameters, the two prefixes of mistake tuning set apart.
        steps: updates until the stop rule held.
        stop_rule: step and sampled accuracy, each time it was looked at.
        early: parameters at the first look at which a lower accuracy was reached; None where nobody asked.
    """

    params: Params
    steps: int
    stop_rule: list[tuple[int, float]]
    early: Params | None = None


class Mined(NamedTuple):
    """Problems with their distinct right and wrong solutions, and what sampling them cost.

    Attributes:
        problems: in their order, those without any solution included.
        drawn: solutions sampled.
        tokens: tokens sampled, prompts not counted.
    """

    problems: tuple[Problem, ...]
    drawn: int
    tokens: int

    @property
    def right(self) -> int:
        """Number of distinct right solutions."""
        return sum(len(problem.right) for problem in self.problems)

    @property
    def wrong(self) -> int:
        """Number of distinct wrong solutions."""
        return sum(len(problem.wrong) for problem in self.problems)


def train_start(lab: Lab, seed: int, early_at: float | None = None) -> Start:
    """Imitate until the stop rule holds; InputError when it does not within its budget.

    `early_at` asks for the parameters at the first look with at least this sampled accuracy, too.
    """
    c = lab.c
    step = lab.step(Nll(), c.optim, c.start_steps)
    state = init_state(lab.model, lab.optimizer(c.optim, c.start_steps), jax.random.key(seed))
    batches, problems = lab.data(c.start_source, PLAIN, seed), c.check_source.problems().items
    seen: list[tuple[int, float]] = []
    early = None
    for number in range(1, c.start_steps + 1):
        state, metrics = step(state, batches.batch_at(number - 1), jax.random.key(0))
        if number % c.check_every == 0:
            seen.append((number, float(lab.rights(state.params, problems, PLAIN, 4).mean())))
            lab.say(f"start step {number}: loss {float(metrics['loss']):.3f}, sampled accuracy {seen[-1][1]:.3f}")
            if early is None and early_at is not None and seen[-1][1] >= early_at:
                early = jax.tree.map(jnp.copy, state.params)  # the step gives the state's own buffers away
            if c.target[0] <= seen[-1][1] <= c.target[1]:
                return Start(set_prefixes_apart(lab, state.params), number, seen, early)
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


def mine(lab: Lab, params: Params, problems: Sequence[Problem], samples: int) -> Mined:
    """Solve problems with the model itself; keep each distinct right and wrong solution, as checked, that is text."""
    found = lab.sample(params, [PLAIN.prompt(p) for p in problems], samples)
    out = []
    for problem, own in zip(problems, found, strict=True):
        texts = dict.fromkeys(sample.text.strip() for sample in own)
        distinct = [text for text in texts if text and lab.can_be_read(text)]
        right = tuple(text for text in distinct if is_right(problem, text))
        wrong = tuple(text for text in distinct if not is_right(problem, text))
        out.append(dataclasses.replace(problem, right=right, wrong=wrong))
    tokens = sum(len(sample.tokens) for own in found for sample in own)
    mined = Mined(tuple(out), len(problems) * samples, tokens)
    lab.say(f"mined {len(out)} problems: {mined.right} right and {mined.wrong} wrong solutions of its own")
    return mined
