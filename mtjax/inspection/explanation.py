"""Per-token view of a batch as plain values: texts, weights, losses and differences.

`terminal.to_text` renders it for a terminal, `html.to_page` as an HTML page.
"""

import math
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from mtjax.config import Config
from mtjax.data.batches import DataConfig
from mtjax.data.examples import Boundary, make_example
from mtjax.data.found import Found
from mtjax.data.problem import Problem
from mtjax.data.tasks.pair import choose_pairs
from mtjax.data.tokenizer import Tokenizer
from mtjax.inspection.batch_view import BatchScores, PackedSequence
from mtjax.inspection.token_texts import token_texts, visible
from mtjax.reporting.histogram import bins_in_order
from mtjax.reporting.report import Cell, Table
from mtjax.types import short_repr


class TokenView(NamedTuple):
    """One token of a text."""

    id: int  # in the vocabulary
    text: str | None  # decoded; None for the first tokens of a character that a later token completes
    weight: float  # in the loss
    target: bool  # whether it reaches the loss: it has a weight and is not the first of its text
    logprob: float  # under the policy, in nats; the loss of the token is -logprob
    entropy: float  # of the policy, in nats
    reference: float | None  # log-probability under the reference model; None without one
    differs: bool  # whether it is part of the difference to the text that this one is compared with

    @property
    def mark(self) -> str:
        """One character for the token's part in the loss, see `terminal.LEGEND`; `?` is a loss of NaN or inf."""
        if self.target:
            return str(min(max(int(-self.logprob), 0), 9)) if math.isfinite(self.logprob) else "?"
        return "-" if self.weight else "."


class TextView(NamedTuple):
    """One sequence: the chosen or the rejected side of a pair, or the only text of an example."""

    label: str  # "chosen", "rejected", "right", "wrong", or "" where a batch has one kind only
    tokens: tuple[TokenView, ...]  # in order
    first_difference: int | None
    """Index of the first token that differs from the other text; None where nothing is compared or differs, or where
    this text ends there. A deletion is marked only in the text that has the deleted tokens."""

    def sums(self) -> dict[str, float | int | None]:
        """Numbers of the text.

        `tokens`, `targets`, `weight` (sum of the targets' weights), `nats` (`-sum w log p`), `nats_per_target` (the
        same divided by `sum |w|`), `entropy` (mean over targets) and, with a reference, `reference_nats` and
        `log_ratio` (`sum w (log p - log p_ref)`).
        """
        targets = [token for token in self.tokens if token.target]
        weight = sum(abs(token.weight) for token in targets)
        nats = -sum(token.weight * token.logprob for token in targets)
        out: dict[str, float | int | None] = {
            "tokens": len(self.tokens),
            "targets": len(targets),
            "weight": sum(token.weight for token in targets),
            "nats": nats,
            "nats_per_target": nats / weight if weight else None,
            "entropy": sum(token.entropy for token in targets) / len(targets) if targets else None,
        }
        if any(token.reference is not None for token in targets):
            reference = -sum(token.weight * (token.reference or 0.0) for token in targets)
            out |= {"reference_nats": reference, "log_ratio": reference - nats}
        return out

    def summary(self) -> list[str]:
        """The sums in words."""
        sums = self.sums()
        words = [f"{sums['targets']} of {sums['tokens']} tokens are targets", f"weight {sums['weight']:.4g}"]
        if sums["nats_per_target"] is not None:
            words += [f"loss {sums['nats']:.2f} nats, {sums['nats_per_target']:.3f} a target"]
            words += [f"entropy {sums['entropy']:.3f}"]
        if "log_ratio" in sums:
            words += [f"reference {sums['reference_nats']:.2f} nats, log-ratio {sums['log_ratio']:+.3f}"]
        return words

    def table(self) -> Table:
        """All numbers of every token."""
        known = any(token.reference is not None for token in self.tokens)
        columns = ("t", "id", "token", "weight", "loss", "entropy", *(("reference",) if known else ()), "differs")
        rows: list[tuple[Cell, ...]] = []
        for place, token in enumerate(self.tokens):
            mark = "!" if place == self.first_difference else "^" if token.differs else ""
            numbers = [0.0 - token.logprob, token.entropy, *([0.0 - (token.reference or 0.0)] if known else [])]
            text = visible(token.text).replace("\n", "")
            rows.append((str(place), str(token.id), text, f"{token.weight:g}", *numbers, mark))
        return Table(columns, rows, f"{self.label or 'text'}: loss, entropy and reference in nats")


class ExampleView(NamedTuple):
    """One example: a text, or a chosen and a rejected one."""

    name: str  # such as "gsm8k-17/full/0"
    row: int  # in the batch, from 1
    segment: int  # in the row, from 1
    notes: tuple[str, ...]  # what else is known, such as "step pair" or "error type carry"
    texts: tuple[TextView, ...]  # one, or the two of a pair

    @property
    def first_differences(self) -> list[tuple[str, int] | None]:
        """Visible token and index at which each text of a pair starts to differ; None where a text ends there."""
        if len(self.texts) < 2 or all(text.first_difference is None for text in self.texts):
            return []
        places = [(text, text.first_difference) for text in self.texts]
        return [None if at is None else (visible(text.tokens[at].text).replace("\n", ""), at) for text, at in places]


@short_repr
class Explanation(NamedTuple):
    """A batch to be shown."""

    title: str
    facts: tuple[tuple[str, str], ...]  # name and description, such as ("model", "the run's start")
    numbers: Mapping[str, float]  # the loss and the objective's metrics on the batch
    examples: tuple[ExampleView, ...]  # the first of the batch, in its order
    left_out: int  # number of examples that are not shown


def explain_batch(
    config: Config,
    title: str,
    facts: Sequence[tuple[str, str]],
    parts: Sequence[PackedSequence],
    scores: BatchScores,
    tokenizer: Tokenizer,
    most: int = 0,
) -> Explanation:
    """Gather what is to be shown of the first `most` examples of a batch; 0 shows all.

    A pair is compared with itself, the candidates of a group stand side by side, and a wrong answer is compared with
    the right answer to the same problem that shares its longest beginning. The source of `config` is read for the
    problems that the examples were made from. The first of the losses in `scores` is shown.
    """
    sides = config.data.task.sides if parts and len(parts[0].at) == 2 else 1
    groups = [parts[start : start + sides] for start in range(0, len(parts), sides)]
    both = len({part.extras.get("polarity", 1.0) for part in parts}) > 1
    problems = problems_of(config, parts)
    examples = []
    for group in groups[: most or None]:
        first, problem, labels = group[0], problems.get(group[0].name), ["chosen", "rejected"]
        tokens = [part.tokens.tolist() for part in group]
        flags: tuple[np.ndarray, ...]
        if config.data.task.name == "pair" and sides == 2:
            flags, at = differences(*tokens), common_prefix(*tokens)
        elif sides > 1:
            there = [part for part in group if part.targets.any()]
            labels = [f"candidate {number}, reward {part.extras['reward']:g}" for number, part in enumerate(there, 1)]
            group, flags, at = there, tuple(np.zeros(len(part.tokens), bool) for part in there), 1 << 30
        else:
            labels = [("wrong", "right")[int(first.extras.get("polarity", 1.0))] if both else ""]
            flags, at = (np.zeros(len(first.tokens), bool),), len(first.tokens)
            if (right := right_answer(first, problem, config.data, tokenizer)) is not None:
                other, start = right
                flags[0][start:] = differences(other, tokens[0][start:])[1]
                at = start + common_prefix(other, tokens[0][start:])
        sequences = zip(labels, group, flags, strict=True)
        texts = tuple(_text(label, part, scores, tokenizer, differs, at) for label, part, differs in sequences)
        notes = tuple(notes_of(first, problem))
        examples.append(ExampleView(first.name, first.at[0] + 1, first.column + 1, notes, texts))
    loss = next(iter(scores.losses.values()))
    numbers = {"loss": float(loss.value), "counted": float(loss.count)}
    numbers |= bins_in_order({name: float(mean.value) for name, mean in scores.metrics.items() if mean.count})
    return Explanation(title, tuple(facts), numbers, tuple(examples), len(groups) - len(examples))


def _text(
    label: str, part: PackedSequence, scores: BatchScores, tokenizer: Tokenizer, differs: np.ndarray, first: int
) -> TextView:
    ids = part.tokens.tolist()
    columns = [ids, token_texts(tokenizer.decode, ids), part.weights.tolist(), part.targets.tolist()]
    columns += [part.of(scores.policy.logprob).tolist(), part.of(scores.policy.entropy).tolist()]
    columns += [[None] * len(ids) if scores.reference is None else part.of(scores.reference).tolist(), differs.tolist()]
    return TextView(label, tuple(map(TokenView, *columns)), first if first < len(ids) else None)


def differences(first: Sequence[int], second: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens of each sequence an edit from one to the other replaces, deletes or inserts."""
    flags = np.zeros(len(first), bool), np.zeros(len(second), bool)
    for kind, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind != "equal":
            flags[0][a:b], flags[1][c:d] = True, True
    return flags


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def problems_of(config: Config, parts: Sequence[PackedSequence]) -> dict[str, Problem]:
    """The problem of each example, by the example's name: the one with the longest id that starts the name."""
    prefixes: dict[str, list[str]] = {}
    for name in {part.name for part in parts}:
        words = name.split("/")
        prefixes[name] = ["/".join(words[:end]) for end in range(1, len(words))]  # ids may contain slashes
    wanted = {prefix for found in prefixes.values() for prefix in found}
    known: dict[str, Problem] = {}
    for problem in config.data.source.problems(config.data.on_error).items:
        if problem.id in wanted:
            known.setdefault(problem.id, problem)
    return {name: known[prefix] for name, found in prefixes.items() for prefix in found if prefix in known}


def notes_of(part: PackedSequence, problem: Problem | None) -> list[str]:
    """What is known of an example besides its text: kind of pair, error type, its numbers except that of its source."""
    form = "pair" if len(part.at) == 2 else "solution"
    if "advantage" in part.extras:
        return [f"success rate {part.extras.get('success_rate', 0.0):g}"]
    notes = [f"{part.extras['kind'] and 'step' or 'full'} {form}"] if "kind" in part.extras else []
    if problem is not None and len(part.at) == 2:
        kinds = {f"{problem.id}/{name}": pair.error_type for name, pair in choose_pairs(problem, None, None)}
        notes += [f"error type {kinds[part.name]}"] if kinds.get(part.name) else []
    rest = {name: value for name, value in part.extras.items() if name not in ("kind", "polarity", "source")}
    return notes + [f"{name} {value:g}" for name, value in rest.items()]


def right_answer(
    part: PackedSequence, problem: Problem | None, data: DataConfig, tokenizer: Tokenizer
) -> tuple[Sequence[int], int] | None:
    """For a wrong answer, the tokens of the right answer that shares its longest beginning, and where its own starts.

    None for a right answer, and where the problem has no right answer or the text was shortened.
    """
    if part.extras.get("polarity", 1.0) or problem is None:
        return None
    texts = data.task.render(Found(data.task, tokenizer).look(problem), tokenizer)
    boundary: Boundary = "split" if data.boundary == "split" else "allow"
    made = {f"{problem.id}/{text.name}": make_example(text, problem.id, tokenizer, boundary=boundary) for text in texts}
    own = made.get(part.name)
    if own is None or own.tokens.tolist() != part.tokens.tolist():
        return None
    right = [x.tokens[x.prompt_tokens :].tolist() for x in made.values() if x.extras.get("polarity") == 1]
    answer = own.tokens[own.prompt_tokens :].tolist()
    return (max(right, key=lambda tokens: common_prefix(tokens, answer)), own.prompt_tokens) if right else None
