"""Per-token view of a batch as plain values: texts, weights, losses and differences.

`terminal.to_text` renders it for a terminal, `html.to_page` as an HTML page.
"""

import math
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from mtjax.config import Config
from mtjax.data.tokenizer import Tokenizer
from mtjax.inspection.batch_view import BatchScores, PackedSequence
from mtjax.inspection.example_origins import common_prefix, notes_of, problems_of, right_answer
from mtjax.inspection.token_texts import token_texts, visible
from mtjax.reporting.report import Cell, Table


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
    """One sequence: the chosen or the rejected side of a pair, or the only text of an example.

    Attributes:
        label: "chosen", "rejected", "right", "wrong", or "" where a batch has one kind only.
        tokens: in order.
        first_difference: index of the first token that differs from the other text; None where nothing is compared or
            differs, or where this text ends there. A deletion is marked only in the text that has the deleted tokens.
    """

    label: str
    tokens: tuple[TokenView, ...]
    first_difference: int | None

    @property
    def has_reference(self) -> bool:
        """Whether reference log-probabilities are known."""
        return any(token.reference is not None for token in self.tokens)

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
        known = self.has_reference
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
    """Gather what is to be shown of a batch.

    A pair is compared with itself, and a wrong answer with the right answer to the same problem that shares its longest
    beginning.

    Args:
        config: of the run; its source is read for the problems that the examples were made from.
        title: what the batch is, in a few words.
        facts: names and descriptions to be shown above the examples.
        parts: the sequences of the batch (`batch_view.unpack_batch`).
        scores: of the batch; the first of its losses is shown.
        tokenizer: decodes the tokens.
        most: how many examples to show; 0 shows all.
    """
    sides = 2 if parts and len(parts[0].at) == 2 else 1
    groups = [tuple(parts[start : start + sides]) for start in range(0, len(parts), sides)]
    both = len({part.extras.get("polarity", 1.0) for part in parts}) > 1
    problems = problems_of(config, parts)
    examples = []
    for group in groups[: most or None]:
        first, name = group[0], group[0].name
        problem = problems.get(name)
        if sides == 2:
            texts = _pair(group, scores, tokenizer)
        else:
            label = ("wrong", "right")[int(first.extras.get("polarity", 1.0))] if both else ""
            right = right_answer(first, problem, config.data.task, tokenizer)
            texts = (_single(label, first, scores, tokenizer, right),)
        notes = tuple(notes_of(first, problem))
        examples.append(ExampleView(name, first.at[0] + 1, first.column + 1, notes, texts))
    loss = next(iter(scores.losses.values()))
    numbers = {"loss": float(loss.value), "counted": float(loss.count)}
    numbers |= {name: float(mean.value) for name, mean in scores.metrics.items()}
    return Explanation(title, tuple(facts), numbers, tuple(examples), len(groups) - len(examples))


def _pair(pair: Sequence[PackedSequence], scores: BatchScores, tokenizer: Tokenizer) -> tuple[TextView, ...]:
    chosen, rejected = (part.tokens.tolist() for part in pair)
    sides = zip(("chosen", "rejected"), pair, differences(chosen, rejected), strict=True)
    first = common_prefix(chosen, rejected)
    return tuple(_text(label, part, scores, tokenizer, flags, first) for label, part, flags in sides)


def _single(
    label: str, part: PackedSequence, scores: BatchScores, tokenizer: Tokenizer, right: tuple[Sequence[int], int] | None
) -> TextView:
    flags, first = np.zeros(len(part.tokens), bool), len(part.tokens)
    if right is not None:
        tokens, start = right
        answer = part.tokens[start:].tolist()
        flags[start:], first = differences(tokens, answer)[1], start + common_prefix(tokens, answer)
    return _text(label, part, scores, tokenizer, flags, first)


def _text(
    label: str, part: PackedSequence, scores: BatchScores, tokenizer: Tokenizer, flags: np.ndarray, first: int
) -> TextView:
    ids = part.tokens.tolist()
    columns = [ids, token_texts(tokenizer.decode, ids), part.weights.tolist(), part.targets.tolist()]
    columns += [part.of(scores.policy.logprob).tolist(), part.of(scores.policy.entropy).tolist()]
    columns += [[None] * len(ids) if scores.reference is None else part.of(scores.reference).tolist(), flags.tolist()]
    return TextView(label, tuple(map(TokenView, *columns)), first if first < len(ids) else None)


def differences(first: Sequence[int], second: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens of each sequence an edit from one to the other replaces, deletes or inserts."""
    flags = np.zeros(len(first), bool), np.zeros(len(second), bool)
    for kind, a, b, c, d in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind != "equal":
            flags[0][a:b], flags[1][c:d] = True, True
    return flags
