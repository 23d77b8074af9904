"""Measuring self-rethinking: its settings, one record per question, and accuracy before and after."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from mtjax.data.answers import check_answer, options_in
from mtjax.data.mistake_record import Mistake, read_mistakes
from mtjax.data.problem import OnError, Problem
from mtjax.data.sources import AnySource
from mtjax.errors import InputError
from mtjax.mistakes.formats import mined_mistakes
from mtjax.mistakes.mining import PolicyConfig
from mtjax.mistakes.self_rethinking import BlockConfig, Generate, Wording, prompt_of, rethink
from mtjax.reporting.intervals import Interval, difference_interval, mean_interval
from mtjax.sampling.config import EmbeddedSampling, SamplingConfig
from mtjax.validation import PositiveInt


@dataclasses.dataclass(frozen=True, kw_only=True)
class RethinkData:
    """Which questions to think about."""

    source: AnySource  # Where the problems come from; each needs an answer to compare with.
    on_error: OnError = "raise"  # A record that cannot be read: stop with its file and line, or skip and count it.


@dataclasses.dataclass(frozen=True, kw_only=True)
class RethinkConfig(PolicyConfig):
    """Which questions, which mistakes to show, and how to think."""

    data: RethinkData  # The problems; of a run or a config file, its held-out source.
    mistakes: str = ""  # Mistake records, or a folder of inject or mine; required. Questions also asked are left out.
    k: Annotated[int, Ge(0)] = 1  # The most new rationales of a question, which takes at most 2 + 2 k calls.
    unparsable: Literal["no", "yes"] = "no"  # What a reply counts as that begins with neither yes nor no.
    block: BlockConfig = BlockConfig()  # Which mistakes the model is shown.
    wording: Wording = Wording()  # The prompts.
    sampling: EmbeddedSampling = SamplingConfig(temperature=0.0)  # How replies are drawn, one for each prompt.
    limit: PositiveInt | None = 200  # Use only this many problems, the first ones; None takes all.
    together: PositiveInt = 64  # Questions in lock step: prompts at a time, and what a kill can cost.
    level: Annotated[float, Gt(0), Lt(1)] = 0.95  # Confidence level of the bootstrap intervals.
    output: str | None = None  # Folder for the results; None is `rethink` in the run folder, or nowhere without a run.
    raw: bool = False  # Continue prompts as they are, without the model's chat template.
    rows: PositiveInt = 16  # Replies that a local model draws side by side.

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sampling.check_one_reply()


def mistakes_at(path: str) -> Iterator[Mistake]:
    """The records in a file, or in a folder that `mtjax.inject` or `mtjax.mine` wrote; InputError for ""."""
    if not path:
        raise InputError("say which mistakes to show: --mistakes=FILE, or a folder of `mtjax.inject` or `mtjax.mine`")
    if not pathlib.Path(path).is_dir():
        return read_mistakes(path)
    file = pathlib.Path(path) / "mistakes.jsonl"
    return read_mistakes(str(file)) if file.is_file() else mined_mistakes(path)


def think(
    problems: Sequence[Problem], golds: Sequence[str], numbers: Sequence[int], block: str, config: RethinkConfig,
    generate: Generate,
) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """Take the problems with these numbers through the loop; each with its record, to be kept as JSON.

    "before" is the verdict of the first rationale, asked for its answer in the same way as the last. If there is no
    other rationale, it is the same prompt and reply; otherwise it takes one more call, which the record does not count,
    because the loop itself does not need it.
    """
    questions = [problems[number].question for number in numbers]
    states = rethink(questions, block, generate, k=config.k, wording=config.wording, unparsable=config.unparsable)
    redone = [place for place, state in enumerate(states) if state.rounds]
    first = lambda state: prompt_of("answer", state.question, state.rationales[0], block, config.wording)
    asked = generate([first(states[place]) for place in redone]) if redone else []
    replies = dict(zip(redone, asked, strict=True))
    for place, (number, state) in enumerate(zip(numbers, states, strict=True)):
        reply, gold = replies.get(place, state.answer), golds[number]
        record = {"schema": 1, "number": number, "id": problems[number].id, "question": state.question, "answer": gold}
        record |= {"rationales": list(state.rationales), "replies": list(state.replies), "ended": state.ended}
        record |= {"calls": state.calls, "first": reply, "final": state.answer}
        options = problems[number].options or options_in(state.question)
        before, after = (
            check_answer(text, gold, question=state.question, options=options).value for text in (reply, state.answer)
        )
        record |= {"before": before, "after": after}
        yield number, record


def measure(records: Iterable[Mapping[str, Any]], *, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Every number with its bootstrap interval over questions, by name.

    Accuracy `before` and `after`, their `difference` (paired), `calls` and `rounds` per question, and the shares of
    questions that `ended` by no, by the limit or by a reply that was neither; that went from `wrong to right` or `right
    to wrong`; and whose answer could not be judged (`unknown`), which counts as not right.
    """
    rows = list(records)
    array = lambda of: np.array([of(row) for row in rows], float)
    is_ = lambda key, value: array(lambda row: row[key] == value)
    before, after = is_("before", "right"), is_("after", "right")
    numbers = {
        "calls": array(lambda row: row["calls"]),
        "rounds": array(lambda row: len(row["rationales"]) - 1),
        **{f"ended: {end}": is_("ended", end) for end in ("no", "limit", "unparsable")},
        "wrong to right": (1 - before) * after,
        "right to wrong": before * (1 - after),
        "unknown before": is_("before", "unknown"),
        "unknown after": is_("after", "unknown"),
    }
    mean = lambda values: mean_interval(values, level=level, seed=seed)
    difference = difference_interval(after, before, level=level, seed=seed)
    first = {"before": mean(before), "after": mean(after), "difference": difference}
    return first | {name: mean(values) for name, values in numbers.items()}
