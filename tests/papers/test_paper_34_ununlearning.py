"""Paper 34, UnUnlearning (arXiv 2407.00106): what is unlearnt comes back with the prompt."""

import dataclasses

import pytest

from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources import Mixture
from mtjax.data.sources.made_facts import MadeFacts
from mtjax.data.tasks import CompletionTask
from mtjax.errors import InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.evaluation.evaluator import metrics
from mtjax.evaluation.grading import grade
from mtjax.evaluation.metrics import Evaluation
from mtjax.model.decoder import DecoderConfig
from mtjax.objectives.nll import Nll
from mtjax.objectives.unlikelihood import Unlikelihood
from mtjax.optim import OptimConfig
from mtjax.runs.evaluation import evaluate
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.sampler import Sample

FACTS = MadeFacts(count=8, digits=1)


def test_facts_are_distinct_and_asked_in_three_ways():
    problems = FACTS.problems().items
    assert len({name for name, _ in FACTS.facts()}) == 8
    closed, hint, told = problems[:3]
    assert closed.answer == hint.answer == told.answer
    assert told.question.startswith(f"The number of {FACTS.facts()[0][0]} is {closed.answer}. What")
    assert [one.source for one in problems[:3]] == ["facts/closed", "facts/hint", "facts/open"]
    assert (closed.right, closed.wrong) == ((f"Answer: {closed.answer}",), ())
    unlearnt = dataclasses.replace(FACTS, teach="wrong").problems().items[0]
    assert (unlearnt.right, unlearnt.wrong) == ((), closed.right)
    fresh = dataclasses.replace(FACTS, kinds=("open",), fresh=True).problems().items
    assert any(one.answer != number for one, (_, number) in zip(fresh, FACTS.facts(), strict=True))
    with pytest.raises(InputError, match="only the prompt tells a fresh number"):
        dataclasses.replace(FACTS, fresh=True).problems()


def test_the_metric_by_hand():
    problems = list(FACTS.problems().items)
    reply = lambda one: one.answer if one.source.endswith("open") or one.id.startswith("fact[0:0]") else "none"
    best = grade([[Sample(f"Answer: {reply(one)}")] for one in problems], problems)
    found = Evaluation([one.id for one in problems], [one.answer for one in problems], greedy=best,
                       sources=[one.source for one in problems])  # fmt: skip
    numbers = {name: value.mean for name, value in metrics(found, names=["recovery"]).items()}
    assert numbers == pytest.approx({"closed_book": 1 / 8, "with_hint": 1 / 8, "in_context": 1, "recovered": 7 / 8})


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
def test_closed_book_falls_to_chance_and_in_context_stays(tmp_path):
    closed = dataclasses.replace(FACTS, kinds=("closed",))
    reading = MadeFacts(count=400, seed=1, kinds=("open",), digits=1, fresh=True)
    data = DataConfig(
        source=Mixture(sources=(closed, reading), weights=(1.0, 2.0)), task=CompletionTask(template="{question}\n"),
        tokenizer="bytes", sequence_length=96, max_segments=1,
    )  # fmt: skip
    config = Config(
        model=DecoderConfig(width=64, layers=2, heads=4, kv_heads=4, head_dim=16, mlp_width=128, max_length=128),
        data=data, objective=Nll(), batch_size=32, steps=600, run_dir=str(tmp_path / "learn"), tensorboard=False,
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=20, schedule="constant"),
        checkpoint=CheckpointConfig(every=600), seed=0,
    )  # fmt: skip
    train(config)
    task = CompletionTask(template="{question}\n", polarities="both")
    unlearning = dataclasses.replace(
        config, objective=Unlikelihood(), steps=30, run_dir=str(tmp_path / "unlearn"),
        init_from=str(tmp_path / "learn"),
        optim=OptimConfig(learning_rate=1e-3, schedule="constant"), checkpoint=CheckpointConfig(every=30),
        data=dataclasses.replace(data, source=Mixture(sources=(dataclasses.replace(closed, teach="wrong"), reading)),
                                 task=task),
    )  # fmt: skip
    train(unlearning)

    def accuracy(run):
        asked = EvaluateConfig(
            data=dataclasses.replace(data, source=FACTS), sampling=SamplingConfig(max_new_tokens=12),
            metrics=("recovery",), rows=24,
        )  # fmt: skip
        found = evaluate(load_any(str(tmp_path / run)), asked).numbers["plain"]
        return {name: value.mean for name, value in found.items()}

    before, after = accuracy("learn"), accuracy("unlearn")
    assert before["closed_book"] >= 0.9
    assert before["in_context"] >= 0.9
    assert after["closed_book"] <= 0.25  # chance is 1 in 9
    assert after["in_context"] >= 0.75
    assert after["recovered"] >= 0.5
