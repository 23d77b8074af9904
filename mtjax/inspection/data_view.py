"""Data before they are trained: what was read, lengths, packing, and the first examples with their masks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtjax.data.batches import Batches, DataConfig
from mtjax.data.examples import make_example, shorten
from mtjax.data.found import Found
from mtjax.data.problem import Problem
from mtjax.data.report import QUANTILES
from mtjax.data.tasks import PLAIN, TASKS, ChatTask, CompletionTask, GroupTask, PairTask
from mtjax.data.tasks.group import candidates_of
from mtjax.data.tokenizer import Tokenizer
from mtjax.errors import InputError, suggest
from mtjax.inspection.token_texts import token_texts
from mtjax.reporting.report import Table


class ShownToken(NamedTuple):
    """One token of an example."""

    text: str | None  # decoded; None for a part of a character
    weight: float  # as a target
    target: bool  # whether it reaches the loss: it has a weight and is not the first


class ShownText(NamedTuple):
    """One sequence of an example."""

    label: str  # "chosen", "rejected", "right", "wrong", or ""
    tokens: tuple[ShownToken, ...]
    whole: int | None = None  # tokens before it was cut to the row; 0: it does not fit and is left out

    @property
    def summary(self) -> str:
        """How many tokens it has, and how many of them are targets."""
        said = f"{sum(token.target for token in self.tokens):,} of {len(self.tokens):,} tokens are targets"
        cut = f", cut from {self.whole:,}" if self.whole else ", longer than a row: left out"
        return said + ("" if self.whole is None else cut)


class ShownExample(NamedTuple):
    """One example: a text, or a chosen and a rejected one."""

    name: str  # such as "a.jsonl:1/right/0"
    place: str  # where its record stands
    texts: tuple[ShownText, ...]


class DataView(NamedTuple):
    """All that is shown of data."""

    title: str
    facts: tuple[tuple[str, str], ...]  # name and description
    lengths: Table  # quantiles of the tokens and targets of an example
    notes: tuple[str, ...]  # what there is to report
    examples: tuple[ShownExample, ...]


def fitting_task(
    problems: Sequence[Problem], tokenizer: Tokenizer, name: str = "auto", template: str = "", talks: bool = False
) -> Any:
    """The task called `name`; "auto" takes the one that uses most of what the problems have.

    Candidates make it `group`, where they have recorded log-probabilities or rewards that do not just say which are
    right, pairs `pair`, conversations `chat`, everything else `completion`, of wrong solutions too where there are no
    pairs. With `talks`, records are written as conversations: then the template is the tokenizer's chat template, if it
    has one, as it is for conversations that need it.
    """
    pairs = any(problem.pairs for problem in problems)
    said = (bool(problem.messages) or any(pair.chosen_messages for pair in problem.pairs) for problem in problems)
    talks = talks or any(said)
    solved = any(problem.right or problem.wrong for problem in problems)
    rewarded = any(len(candidates_of(problem)) > 1 for problem in problems if problem.candidates)
    told = any(one.logprobs or one.proposal_logprobs for problem in problems for one in problem.candidates)
    if name == "auto" and not pairs and rewarded and (told or not solved):
        name = "group"
    if name == "auto":
        name = "pair" if pairs else "chat" if talks and not solved else "completion"
    if name not in TASKS:
        raise InputError(f"task {name!r}: {suggest(name, ['auto', *TASKS])}")
    template = template or ("chat" if talks and tokenizer.chat_template else PLAIN)
    if name == "pair":
        return PairTask(template=template)
    if name == "group":
        most = max((len(candidates_of(problem)) for problem in problems), default=2)
        return GroupTask(template=template, size=max(most, 2))
    if name == "completion":
        wrong = any(problem.wrong for problem in problems)
        return CompletionTask(template=template, polarities="both" if wrong else "right")
    return ChatTask() if name == "chat" else TASKS[name](**({"decode_prefix": "correct"} if name == "mistake" else {}))


def first_examples(
    problems: Sequence[Problem], task: Any, tokenizer: Tokenizer, most: int, config: DataConfig
) -> list[ShownExample]:
    """The first `most` examples that the task makes of problems, cut as they are trained.

    Records that cannot be rendered are passed over.
    """
    closing_id = None if tokenizer.closing is None else tokenizer.end_id
    shown: list[ShownExample] = []
    found = Found(task, tokenizer)
    for problem in problems:
        if len(shown) >= most:
            break
        try:
            rendered = task.render(found.look(problem), tokenizer)
            made = [make_example(text, problem.id, tokenizer, boundary="allow") for text in rendered]
        except InputError:
            continue
        for start in range(0, len(made), task.sides):
            texts, whole = [], made[start : start + task.sides]
            cut = shorten(whole, config.sequence_length, config.truncation, tokenizer.bos_id, closing_id)
            for full, example in zip(whole, cut or whole, strict=True):
                right = bool(example.extras.get("polarity", 1.0))
                label = ("rejected", "chosen")[right] if task.name == "pair" else ("wrong", "right")[right]
                if task.ragged:
                    label = f"reward {example.extras.get('reward', 0):g}, " + (
                        f"advantage {example.extras.get('advantage', 0):.3g}"
                    )
                ids, weights = example.tokens.tolist(), example.weights
                targets = (weights != 0) & (np.arange(len(weights)) > 0)
                columns = (token_texts(tokenizer.decode, ids), weights.tolist(), targets.tolist())
                tokens = tuple(ShownToken(*values) for values in zip(*columns, strict=True))
                if task.ragged and not targets.any():
                    continue
                size = None if cut and len(tokens) == len(full.tokens) else len(full.tokens) if cut else 0
                texts.append(ShownText(label, tokens, size))
            shown.append(ShownExample(made[start].id, problem.place, tuple(texts)))
    if all(text.label == "right" for example in shown for text in example.texts):  # nothing to tell apart
        shown = [one._replace(texts=tuple(text._replace(label="") for text in one.texts)) for one in shown]
    return shown[:most]


def view_data(
    title: str,
    facts: Mapping[str, str],
    problems: Sequence[Problem],
    config: DataConfig,
    tokenizer: Tokenizer,
    batches: Batches,
    *,
    notes: Sequence[str] = (),
    most: int = 4,
) -> DataView:
    """Gather what is shown of the data of `config`, whose packed batches are `batches`."""
    report, length, task = batches.report, config.sequence_length, config.task
    over = sum(number for name, number in report.counts._asdict().items() if name in ("dropped", "truncated"))
    ways = {"drop": "left out", "left": "cut at the front of the prompt", "keep": "cut at the end"}
    too_long = f"{over:,} of {report.examples + report.counts.made:,} examples are longer than {length:,} tokens"
    left_out = ", ".join(f"{number:,} {name}" for name, number in report.counts._asdict().items() if number)
    template = getattr(task, "template", "")
    shown = dict(facts) | {
        "task": f"{TASKS.name_of(task) or type(task).__name__}" + (f", template {template!r}" if template else ""),
        "tokenizer": f"{tokenizer.name}, {tokenizer.vocab_size:,} ids",
        "examples": f"{report.examples:,}" + (f" ({left_out})" if left_out else ""),
        "length": f"{too_long} (data.sequence_length)" + (f" and {ways[config.truncation]}" if over else ""),
        "packing": f"{report.packing_efficiency:.1%} of {report.rows * task.sides:,} rows of {length:,} tokens filled"
        + ("" if config.pack else " (data.pack=False)"),
        "targets": f"{report.target_share:.1%} of {report.tokens:,} tokens",
    }
    heads = ["", *("shortest" if q == 0 else "longest" if q == 1 else f"{q:.0%}" for q in QUANTILES)]
    table = Table(heads, [[name, *values] for name, values in report.lengths.items()], "quantiles over all examples")
    said = tuple(dict.fromkeys((*notes, *report.notes)))
    return DataView(
        title, tuple(shown.items()), table, said, tuple(first_examples(problems, task, tokenizer, most, config))
    )
