"""Verbalised learning: the parameters are a text, and a language model is both the learner and the optimizer.

    theta ──▶ learner: "{theta} ... input x" ──▶ prediction
      ▲                                            │
      └── optimizer: inputs, predictions, targets ◀┘

`learner` and `optimizer` are functions from prompts to replies, so they may be a local model, a server, or a script.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge

from mtjax.errors import InputError
from mtjax.io.hashing import unit
from mtjax.mistakes.mining import PolicyConfig
from mtjax.mistakes.rethinking_evaluation import RethinkData
from mtjax.mistakes.self_rethinking import Generate
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.validation import PositiveInt, check_types

FIELDS = ("Reasoning", "New instructions")
"""The two fields of a reply of the optimizer."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerbalisedConfig:
    """How the text is learnt; the defaults of batch, epochs and evaluation are the paper's."""

    batch: PositiveInt = 10  # Examples of a step.
    epochs: PositiveInt = 5  # Passes over the training examples.
    evaluated: PositiveInt = 100  # Most examples on which the loss is measured after each epoch.
    history: Annotated[int, Ge(0)] = 0  # How many earlier texts with their losses the optimizer is shown.
    seed: int = 0  # Random seed of the order of examples.
    learner: str = "{theta}\n\nInput: {input}\nOutput:"  # Asks for a prediction; {theta} and {input} are put in.
    optimizer: str = (
        "These are instructions that a model follows, and what it made of some inputs.\n\nInstructions:\n{theta}\n\n"
        "{examples}\n{history}\nImprove the instructions so that outputs come closer to the targets. Reply in this form"
        "\n\nReasoning: what is wrong, and what to change\nNew instructions: the improved instructions, complete\n"
    )
    """Asks for a new text; {theta}, {examples} and {history} are put in. The wording is ours."""

    def __post_init__(self) -> None:
        check_types(self, "verbalised")
        for name, slots in (("learner", ("theta", "input")), ("optimizer", ("theta", "examples"))):
            for slot in slots:
                if f"{{{slot}}}" not in getattr(self, name):
                    raise InputError(f"verbalised.{name} lacks {{{slot}}}, in whose place the text goes; add it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerbaliseConfig(PolicyConfig):
    """Which text to learn, from which problems, and by which models."""

    data: RethinkData  # Inputs (questions) and targets (answers); of a run or a config file, its held-out source.
    theta: str = ""  # The text to start from; required.
    learning: VerbalisedConfig = VerbalisedConfig()  # How it is learnt, and the prompts.
    loss: Literal["number", "text"] = "text"
    """Of a prediction: the squared difference of the last numbers, or 0 and 1 for texts that are equal and not."""
    optimizer: str | None = None  # Run folder, checkpoint or URL of the optimizer; None takes the learner.
    held_out: Annotated[int, Ge(0)] = 0  # How many of the last problems are not trained on, and measured instead.
    sampling: EmbeddedSampling = SamplingConfig(temperature=0.0)  # How replies are drawn, one for each prompt.
    limit: PositiveInt | None = 200  # Use only this many problems, the first ones; None takes all.
    output: str | None = None  # Folder for `theta.txt` and `verbalised.json`; None only prints.
    raw: bool = False  # Continue prompts as they are, without the model's chat template.
    rows: PositiveInt = 16  # Replies that a local model draws side by side.

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sampling.check_one_reply()
        if not self.theta.strip():
            raise InputError("say which text to start from, such as --theta='Answer with one number.'")


class Example(NamedTuple):
    """What the learner reads, and what it is to say."""

    input: str
    target: str


class Step(NamedTuple):
    """One step of the optimizer."""

    theta: str  # the text after it
    loss: float  # of the batch before it
    reasoning: str  # what the optimizer said about it
    malformed: bool  # the reply had not the two fields, so the text stayed


class Learnt(NamedTuple):
    """What was learnt."""

    theta: str  # the text with the lowest measured loss
    steps: list[Step]
    losses: list[float]  # measured at the start, and after each epoch


def parse_reply(reply: str) -> tuple[str, str] | None:
    """Reasoning and new text of a reply; None unless it has both fields, in order, and a text.

    >>> parse_reply("Reasoning: too low\\nNew instructions: Add 2.")
    ('too low', 'Add 2.')
    >>> parse_reply("New instructions: Add 2."), parse_reply("Add 2.")
    (None, None)
    """
    mark = r"[*_#\s]*"  # of Markdown
    names = r"\s+".join(FIELDS[1].split())
    form = rf"{FIELDS[0]}{mark}:{mark}(.*?)\n{mark}{names}{mark}:{mark}(.+)"
    found = re.search(form, reply, re.DOTALL | re.IGNORECASE)
    return (found[1].strip(), found[2].strip()) if found and found[2].strip() else None


def squared_error(prediction: str, target: str) -> float:
    """The squared difference of the last numbers of two texts; infinite where one has none.

    >>> squared_error("y = 5", "7"), squared_error("five", "7")
    (4.0, inf)
    """
    said, true = (re.findall(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", text) for text in (prediction, target))
    return (float(said[-1]) - float(true[-1])) ** 2 if said and true else math.inf


def not_equal(prediction: str, target: str) -> float:
    """0 where the two texts are the same but for case and white space, else 1."""
    return float(" ".join(prediction.lower().split()) != " ".join(target.lower().split()))


def filled(template: str, **texts: str) -> str:
    """A template with texts in its slots, in one pass, so that braces in the texts stay."""
    return re.sub(r"\{(\w+)\}", lambda match: texts.get(match[1], match[0]), template)


def learn_text(
    theta: str,
    examples: Sequence[Example],
    learner: Generate,
    optimizer: Generate,
    *,
    loss: Callable[[str, str], float] = squared_error,
    held_out: Sequence[Example] = (),
    config: VerbalisedConfig = VerbalisedConfig(),
) -> Learnt:
    """Learn a text by steps of the optimizer on batches of examples.

    The learner predicts a batch with the text as it is, the optimizer is shown inputs, predictions and targets, and
    says a new one. A reply without the two fields leaves the text as it was. The loss is measured at the start and
    after each epoch on `held_out`, or on the first training examples, and the best text is returned. Raises InputError
    for no examples.

    Source: Xiao et al., "Verbalized Machine Learning: Revisiting Machine Learning with Language Models", 2024 (arXiv
    2406.04344).
    """
    if not examples:
        raise InputError("there are no examples to learn a text from; give at least one input with its target")
    measured = list(held_out or examples)[: config.evaluated]

    def predict(text: str, batch: Sequence[Example]) -> list[str]:
        return learner([filled(config.learner, theta=text, input=one.input) for one in batch])

    def mean_loss(said: Sequence[str], batch: Sequence[Example]) -> float:
        return math.fsum(loss(reply, one.target) for reply, one in zip(said, batch, strict=True)) / len(batch)

    best, losses, steps = theta, [mean_loss(predict(theta, measured), measured)], list[Step]()
    tried: list[tuple[str, float]] = []  # texts, and the loss of the batch that they were used on
    for epoch in range(config.epochs):
        order = sorted(range(len(examples)), key=lambda number: unit(config.seed, epoch, number))
        for begin in range(0, len(order), config.batch):
            batch = [examples[number] for number in order[begin : begin + config.batch]]
            said = predict(theta, batch)
            shown = "\n".join(
                f"Input: {one.input}\nOutput: {reply.strip()}\nTarget: {one.target}\n"
                for one, reply in zip(batch, said, strict=True)
            )
            before = (
                [f"Loss {value:.6g}: {text}\n" for text, value in tried[-config.history :]] if config.history else []
            )
            past = "Earlier instructions:\n" + "".join(before) if before else ""
            tried.append((theta, mean_loss(said, batch)))
            found = parse_reply(optimizer([filled(config.optimizer, theta=theta, examples=shown, history=past)])[0])
            theta = theta if found is None else found[1]
            steps.append(Step(theta, tried[-1][1], found[0] if found else "", found is None))
        losses.append(mean_loss(predict(theta, measured), measured))
        best = theta if losses[-1] < min(losses[:-1]) else best
    return Learnt(best, steps, losses)
