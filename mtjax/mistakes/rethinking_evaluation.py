"""Measuring self-rethinking: its settings, one record per question, and accuracy before and after."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mtjax.data.answers import check_answer
from mtjax.data.mistake_record import Mistake, read_mistakes
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import AnySource
from mtjax.distributed.sharding import MeshSpec
from mtjax.errors import InputError
from mtjax.mistakes.mined_records import mined_mistakes
from mtjax.mistakes.self_rethinking import BlockConfig, Generate, Thinking, Wording, prompt_of, rethink
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.sampling.transport import ServerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class RethinkData:
    """Which questions to think about."""

    source: AnySource  # Where the problems come from; each needs an answer to compare with.
    on_error: OnError = "raise"  # A record that cannot be read: stop with its file and line, or skip and count it.


@dataclasses.dataclass(frozen=True, kw_only=True)
class RethinkConfig:
    """Which questions, which mistakes to show, and how to think."""

    data: RethinkData  # The problems; of a run or a config file, its held-out source.
    mistakes: str = ""
    """A file of mistake records, or a folder of `mtjax.inject` or `mtjax.mine`; must be given. Questions that are also
    asked are left out."""
    k: int = 1  # How often a rationale may be worked out anew; a question takes at most 2 + 2 k calls.
    unparsable: Literal["no", "yes"] = "no"  # What a reply counts as that begins with neither yes nor no.
    block: BlockConfig = BlockConfig()  # Which mistakes the model is shown.
    wording: Wording = Wording()  # What it is told.
    sampling: EmbeddedSampling = SamplingConfig(temperature=0.0)  # How replies are drawn, one for each prompt.
    limit: int | None = 200  # Use the first so many problems; None takes all.
    together: int = 64  # Questions in lock step: prompts handed to the model at a time, and what a kill can cost.
    seed: int = 0  # Random seed for replies and bootstrap; `block.seed` draws the mistakes.
    level: float = 0.95  # Confidence level of the bootstrap intervals.
    output: str | None = None
    """Folder for rethinking.jsonl and rethinking.json; None is `rethink` in the run folder, or nowhere for a model that
    is no run."""
    overwrite: bool = False  # Delete the results of an earlier job in the output folder first.
    raw: bool = False  # Continue prompts as they stand, without the model's chat template.
    step: int | Literal["best"] | None = None
    """Of a run folder: which checkpoint; "best" has the lowest held-out loss, None takes the newest."""
    tokenizer: str | None = None  # Tokenizer to use; None takes the model's own.
    dtype: Literal["float32", "bfloat16"] | None = None
    """Type to compute in; None is float32, or what the run computed in."""
    mesh: MeshSpec = MeshSpec()  # Over which devices.
    rows: int = 16  # Replies that a local model draws side by side.
    server: ServerConfig = ServerConfig()
    """How to ask a server, where the model is a URL; prompts go to its chat unless server.api says otherwise."""

    def __post_init__(self) -> None:
        least = {"k": 0, "limit": 1, "together": 1, "rows": 1, "seed": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise InputError(f"{name}={value}: expected at least {lowest}")
        if self.sampling.samples != 1:
            raise InputError(f"samples={self.sampling.samples}: expected 1, because each prompt gets one reply")
        if not 0 < self.level < 1:
            raise InputError(f"level={self.level}: expected a share between 0 and 1, such as 0.95")


def mistakes_at(path: str) -> Iterator[Mistake]:
    """The records in a file, or in a folder that `mtjax.inject` or `mtjax.mine` wrote; InputError for ""."""
    if not path:
        raise InputError("say which mistakes to show: --mistakes=FILE, or a folder of `mtjax.inject` or `mtjax.mine`")
    folder = pathlib.Path(path)
    if not folder.is_dir():
        return read_mistakes(path)
    file = folder / "mistakes.jsonl"
    return read_mistakes(str(file)) if file.is_file() else mined_mistakes(path)


def think(
    problems: Sequence[Problem], golds: Sequence[str], numbers: Sequence[int], block: str, config: RethinkConfig,
    generate: Generate,
) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """Take the problems with these numbers through the loop; each with its record, to be kept as JSON.

    "before" is the verdict of the first rationale, asked for its answer as the last one is. Where no rationale was
    worked out anew it is the same prompt and so the same reply; otherwise it takes one more call, which the record does
    not count: the loop itself does without.
    """
    questions = [problems[number].question for number in numbers]
    options: dict[str, Any] = {"k": config.k, "wording": config.wording, "unparsable": config.unparsable}
    states = rethink(questions, block, generate, **options)
    redone = [place for place, state in enumerate(states) if state.rounds]
    first = [Thinking(state.question, "answer", state.rationales[:1]) for state in states]
    asked = generate([prompt_of(first[place], block, config.wording) for place in redone]) if redone else []
    replies = dict(zip(redone, asked, strict=True))
    for place, (number, state) in enumerate(zip(numbers, states, strict=True)):
        reply, gold = replies.get(place, state.answer), golds[number]
        yield (
            number,
            {
                "schema": 1,
                "number": number,
                "id": problems[number].id,
                "question": state.question,
                "answer": gold,
                "rationales": list(state.rationales),
                "replies": list(state.replies),
                "ended": state.ended,
                "calls": state.calls,
                "first": reply,
                "final": state.answer,
                "before": check_answer(reply, gold).value,
                "after": check_answer(state.answer, gold).value,
            },
        )


def measure(records: Iterable[Mapping[str, Any]], *, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Every number with its bootstrap interval over questions, by name.

    Accuracy `before` and `after`, their `difference` (paired), `calls` and `rounds` a question, and shares of questions
    that `ended` by no, by the limit or by a reply that was neither; that went from `wrong to right` or `right to
    wrong`; and whose answer could not be judged (`unknown`), which counts as not right.
    """
    rows = list(records)
    array = lambda of: np.array([of(row) for row in rows], float)
    before, after = (array(lambda row, side=side: row[side] == "right") for side in ("before", "after"))
    numbers = {
        "before": before,
        "after": after,
        "calls": array(lambda row: row["calls"]),
        "rounds": array(lambda row: len(row["rationales"]) - 1),
        **{f"ended: {end}": array(lambda row, end=end: row["ended"] == end) for end in ("no", "limit", "unparsable")},
        "wrong to right": (1 - before) * after,
        "right to wrong": before * (1 - after),
        "unknown before": array(lambda row: row["before"] == "unknown"),
        "unknown after": array(lambda row: row["after"] == "unknown"),
    }
    found = {name: mean_interval(values, level=level, seed=seed) for name, values in numbers.items()}
    difference = {"difference": difference_interval(after, before, level=level, seed=seed)}
    return {"before": found.pop("before"), "after": found.pop("after"), **difference, **found}
