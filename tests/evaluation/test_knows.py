"""What metrics of a model's self-knowledge ask of the model: by hand on a scripted one, and refusals."""

import dataclasses
import json
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.batches import DataConfig
from mtjax.data.closing import with_closed_prompts
from mtjax.data.examples import encode_prompt
from mtjax.data.problem import Problem
from mtjax.data.sources import Arithmetic, InMemory
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.evaluate import evaluate, save
from mtjax.evaluation.config import EvaluateConfig
from mtjax.evaluation.evaluator import evaluate_policy
from mtjax.evaluation.graders.steps import StepsGrader
from mtjax.evaluation.perturbation import perturbed
from mtjax.evaluation.token_scores import Scorer, token_scores
from mtjax.model.decoder import DecoderConfig
from mtjax.model.encoder import Encoder
from mtjax.model.language_model import make_language_model
from mtjax.reporting.intervals import Interval
from mtjax.runs.loading import Loaded
from mtjax.runs.rounds.config import Measure
from mtjax.runs.rounds.loop import run
from mtjax.runs.rounds.report import metrics_table, read_run
from mtjax.sampling.config import SamplingConfig
from tests import tiny_rounds
from tests.evaluation.scripted import bigram_model, script

pytestmark = pytest.mark.usefixtures("one_device")
TASK = CompletionTask(template="{question}\n")


@pytest.fixture(scope="module")
def letters():
    """A model of bytes that says A with 3/4 and B with 1/4 after a line break, and then ends."""
    tokenizer = load_tokenizer("bytes")
    params = script(tokenizer, "A", "B", shares=(0.75, 0.25))
    return Loaded(bigram_model(tokenizer.vocab_size), params, tokenizer)


def policy(loaded, problems, needs, samples=4, **options):
    sampling = SamplingConfig(samples=samples, max_new_tokens=6)
    return evaluate_policy(*loaded[:3], problems, TASK, sampling, needs=needs, rows=8, **options)


CHOICE = Problem("p#0", "Is it?", "A", options=("yes", "no"))


def test_entropies_and_choices_by_hand(letters):
    found = policy(letters, [CHOICE], ("entropies", "choices"))
    (entropy,) = found.entropies
    assert found.best.texts == [["A"]]
    assert entropy == pytest.approx([-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), 0], abs=1e-5)
    (choice,) = found.choices
    assert choice.right == 0
    assert np.exp(choice.log_probs) == pytest.approx([0.75, 0.25], abs=1e-5)
    # Letters of several tokens, or of an encoder-decoder, are scored one by one, with the same result.
    asked = Scorer(*letters[:3], 4)
    pairs = [(letters.tokenizer.encode("?\n").ids, letters.tokenizer.encode(x).ids) for x in "AB"]
    assert np.exp(asked.sums(pairs)) == pytest.approx([0.75, 0.25], abs=1e-5)


def test_scores_of_the_tokens_are_those_of_sampling(letters):
    found = policy(letters, [CHOICE] * 3, ("greedy",))
    pairs = [(letters.tokenizer.encode("Is it?\n").ids, row[0].tokens) for row in found.best.samples]
    for scores, row in zip(token_scores(*letters[:2], pairs, 2), found.best.samples, strict=True):
        assert scores.logprob == pytest.approx(row[0].token_logprobs, abs=1e-5)


def test_the_prior_of_a_text_and_sureness_by_hand():
    tokenizer = load_tokenizer("bytes")
    table = np.full((tokenizer.vocab_size, tokenizer.vocab_size), -1e9, np.float32)
    ids = lambda text: tokenizer.encode(text).ids
    first = tokenizer.end_id if tokenizer.first_id is None else tokenizer.first_id
    table[first, ids("x")[0]] = 0.0
    table[ids("x")[0], [ids("y")[0], ids("z")[0]]] = np.log([0.25, 0.75])
    table[ids(" ")[0], [ids("s")[0], ids("u")[0]]] = np.log([0.8, 0.2])
    asked = Scorer(bigram_model(tokenizer.vocab_size, 256), {"table": jnp.asarray(table)}, tokenizer, 4)
    assert np.exp(asked.prior(["xy", "xz"])) == pytest.approx([0.25, 0.75], abs=1e-5)
    assert asked.sureness(["Is it?\n"], ["A"]) == pytest.approx([0.8], abs=1e-5)


def test_perturbed_answers_keep_what_is_before_the_token(letters):
    tokenizer = letters.tokenizer
    answer = policy(letters, [CHOICE], ("greedy",)).best.samples[0][0]
    prompt = tokenizer.encode("Is it?\n").ids
    sampling = SamplingConfig(samples=40, max_new_tokens=4)
    drawn = perturbed(*letters[:3], [prompt], [answer], [np.array([0.5, 0.0])], sampling, 0, 8)
    assert set(drawn) == {"highest", "lowest", "change"}
    texts = {sample.text for sample in drawn["highest"][0]}
    assert texts == {"A", "B"}  # the first token is drawn anew
    assert {sample.text for sample in drawn["lowest"][0]} == {"A"}  # and here the end alone
    assert all(sample.tokens[0] == answer.tokens[0] for sample in drawn["lowest"][0])


def test_all_twelve_measures_through_the_evaluator(letters):
    problems = [Problem("a", "Is it?", "A", options=("yes", "no")), Problem("b", "Is it?", "B", options=("yes", "no"))]
    found = policy(letters, problems, ("samples", "greedy", "entropies", "perturbed"))
    assert len(found.perturbed) == 3
    assert found.sources == ["", ""]


def settings(records, task=TASK, samples=2, **options):
    data = DataConfig(source=InMemory(tuple(records)), task=task, tokenizer="bytes", sequence_length=64)
    return EvaluateConfig(data=data, sampling=SamplingConfig(samples=samples, max_new_tokens=4), rows=4, **options)


PLAIN = [{"id": "a", "question": "Is it?", "answer": "A"}]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("choices", {}, "metric 'choices' needs problems with options and the right one, and problem a has no such"),
        (
            "resampling",
            {},
            "metric 'resampling' needs the verdicts of a second, imperfect grader: set second_grader:NAME",
        ),
        ("continual", {}, "metric 'continual' needs results of earlier models .* --stages=FOLDER"),
        ("continual", {"stages": ("none",)}, "--stages=none has no samples.jsonl"),
        ("inductive_bias", {}, "metric 'inductive_bias' needs solutions of the problems"),
        ("likelihood", {}, "metric 'likelihood' needs solutions of the problems"),
        ("error_detection", {}, r"metric 'error_detection': problem a does not ask .* data\.source:error_detection"),
        ("recovery", {}, "metric 'recovery': no problem has a source .* data.source:made_facts"),
        ("gap", {}, "metric 'gap' needs answers after the wrong prefix.* set data.task:mistake"),
        ("uncertainty", {"samples": 1}, "metric 'uncertainty' needs 2 samples of each problem, and there is 1"),
        ("uncertanty", {}, "unknown metric 'uncertanty': did you mean 'uncertainty'"),
    ],
)
def test_a_metric_that_lacks_something_is_refused_before_anything_is_drawn(letters, name, changes, said):
    with pytest.raises(InputError, match=said):
        evaluate(letters, settings(PLAIN, metrics=(name,), **changes))


def test_samples_that_cannot_differ_are_refused(letters):
    config = settings(PLAIN, metrics=("perturbation",))
    config = EvaluateConfig(data=config.data, sampling=SamplingConfig(0.0, samples=2), metrics=config.metrics)
    with pytest.raises(InputError, match="temperature=0 draws the same one"):
        evaluate(letters, config)


def test_a_metric_that_finds_nothing_says_so(letters):
    outcome = evaluate(letters, settings(PLAIN, metrics=("stated_confidence", "greedy")))
    assert outcome.numbers["plain"].keys() == {"greedy"}
    assert any("'stated_confidence' found no number: no greedy answer states" in note for note in outcome.notes)


def test_stages_and_a_second_grader_and_random_models(letters, tmp_path):
    records = [
        {"id": "a", "question": "3 + 4 =", "answer": "A", "right": ["A"], "source": "first"},
        {"id": "b", "question": "4 + 3 =", "answer": "B", "right": ["B"], "source": "second"},
    ]
    before = letters._replace(params=script(letters.tokenizer, "B"))
    save(evaluate(before, settings(records, metrics=("greedy",))), {}, tmp_path / "one")
    lines = (tmp_path / "one" / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["wrong", "right"]
    outcome = evaluate(letters, settings(records, metrics=("continual",), stages=(str(tmp_path / "one"),)))
    numbers = {name: value.mean for name, value in outcome.numbers["plain"].items()}
    assert numbers == {"continual_accuracy": 0.5, "backward_transfer": 1, "forgetting": -1}
    other = settings([{**records[0], "id": "c"}], metrics=("continual",), stages=(str(tmp_path / "one"),))
    with pytest.raises(InputError, match="no greedy answer to problem c"):
        evaluate(letters, other)
    checked = evaluate(letters, settings(records, metrics=("resampling",), second_grader=StepsGrader(), samples=8))
    assert checked.numbers["plain"]["completeness"].mean == 0  # no answer holds steps
    biased = evaluate(letters, settings(records, metrics=("inductive_bias",), random_models=4))
    assert biased.shared["inductive_bias"]["random_nats_per_token"].mean == pytest.approx(np.log(259), abs=0.05)


@pytest.mark.slow
def test_rounds_measure_them_resume_with_equal_bytes_and_report_them(tmp_path):
    made = lambda name: dataclasses.replace(
        tiny_rounds.config(tmp_path / name, rounds=1),
        measure=Measure(
            source=Arithmetic(count=6, seed=3, split="test", **tiny_rounds.EASY),
            samples=2,
            metrics=("verdicts", "uncertainty"),
        ),
    )
    outcome = run(made("one"), make_sampler=tiny_rounds.Scripted(), say=lambda text: None)
    assert [set(line["metrics"]) >= {"cut", "without_answer"} for line in outcome.lines] == [True, True]
    run(made("two"), make_sampler=tiny_rounds.Scripted(), say=lambda text: None)
    assert tiny_rounds.files_of(tmp_path / "one") == tiny_rounds.files_of(tmp_path / "two")
    assert "measured/0001.metrics.json" in tiny_rounds.files_of(tmp_path / "one")
    table = metrics_table(read_run(tmp_path / "one")._replace(metrics={0: {"cut": Interval(1, 1, 1, 0.95)}}))
    assert table.columns == ["metric", "start"]


def test_rounds_refuse_metrics_that_a_policy_alone_cannot_give():
    source = Arithmetic(count=6)
    with pytest.raises(InputError, match=r"'likelihood' needs 'scores'.*python -m mtjax\.evaluate RUN --metrics likel"):
        Measure(source=source, metrics=("likelihood",))
    with pytest.raises(InputError, match="did you mean 'refusal'"):
        Measure(source=source, metrics=("refusl",))


def test_the_code_of_the_page_runs():
    page = (pathlib.Path(__file__).parents[2] / "docs" / "self_knowledge.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})


@pytest.mark.slow
def test_an_encoder_decoder_is_scored_as_it_was_sampled():
    tokenizer = with_closed_prompts(load_tokenizer("bytes"))
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, kv_heads=2, head_dim=8, mlp_width=16,
        max_length=64, activation="gelu_tanh", encoder=Encoder(layers=1, end_id=tokenizer.end_id),
    )  # fmt: skip
    model = make_language_model(shape)
    loaded = Loaded(model, jax.jit(model.init)(jax.random.key(1)), tokenizer)
    found = policy(loaded, [CHOICE], ("greedy", "entropies", "choices"))
    (sample,) = found.best.samples[0]
    pairs = [(encode_prompt(tokenizer, "Is it?\n"), sample.tokens)]
    (scores,) = token_scores(model, loaded.params, pairs, 2)
    assert scores.logprob == pytest.approx(sample.token_logprobs, abs=1e-4)
    assert len(found.entropies[0]) == len(sample.tokens)
    with pytest.raises(InputError, match="not defined for an encoder-decoder"):
        policy(loaded, [CHOICE], ("prior",))
    with pytest.raises(InputError, match="'perturbation' goes on from the middle of an answer"):
        policy(loaded, [CHOICE], ("perturbed",))
