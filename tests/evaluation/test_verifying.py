"""Values of drawn answers by a verifier, and the votes that they weigh."""

import dataclasses

import jax
import pytest

from mtjax.data.batches import DataConfig
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.evaluation.config import EvaluateConfig
from mtjax.evaluation.evaluator import evaluate_policy, metrics
from mtjax.evaluation.verifying import ValueVerifier
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.value_head import ValueHead
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoding import Decoding
from mtjax.sampling.values import values_of

TOKENIZER = load_tokenizer("arithmetic")
SHAPE = DecoderConfig(
    vocab_size=TOKENIZER.vocab_size, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16, max_length=64,
    init_scale=0.5, value_head=ValueHead(),
)  # fmt: skip
TASK = CompletionTask(template="{question}\n")
PROBLEMS = [Problem("a", "2 + 3 =", answer="5"), Problem("b", "4 + 4 =", answer="8")]


@pytest.mark.usefixtures("one_device")
def test_each_sample_has_the_value_of_its_text_and_votes_with_it():
    model = make_language_model(SHAPE)
    params = jax.jit(model.init)(jax.random.key(3))
    sampling = SamplingConfig(samples=4, max_new_tokens=8)
    verifier = ValueVerifier(model, params, TOKENIZER, rows=3)
    drawn, plain = (
        evaluate_policy(
            model,
            params,
            TOKENIZER,
            PROBLEMS,
            TASK,
            sampling,
            needs=("samples",),
            verifier=one,
            rows=8,
        )  # fmt: skip
        for one in (verifier, None)
    )
    for problem, row, bare in zip(PROBLEMS, drawn.sampled.samples, plain.sampled.samples, strict=True):
        asked = TOKENIZER.encode(TASK.prompt(problem, None, TOKENIZER)).ids
        said = [[token for token in sample.tokens if token != TOKENIZER.end_id] for sample in row]
        by_hand = [values_of(model, params, [[*asked, *tokens]])[0] for tokens in said]
        assert [sample.value for sample in row] == pytest.approx(by_hand, abs=1e-6)
        assert [sample.text for sample in row] == [sample.text for sample in bare]
        assert all(sample.value is None for sample in bare)
    for name in ("verifier", "best_by_verifier"):
        assert f"{name}@4" in metrics(drawn, (4,), names=["coverage"], aggregation=name)
        with pytest.raises(InputError, match="no value by a verifier"):
            metrics(plain, (4,), names=["coverage"], aggregation=name)
    # Another model reads the question as in its own training.
    other = dataclasses.replace(verifier, decoding=Decoding(TOKENIZER, TASK))
    same = other(PROBLEMS, ["", ""], drawn.sampled.samples)
    for problem, row in zip(PROBLEMS, same, strict=True):
        asked = TOKENIZER.encode(TASK.prompt(problem, None, TOKENIZER)).ids
        texts = [[*asked, *TOKENIZER.encode(one.text).ids] for one in row]
        assert [one.value for one in row] == pytest.approx(values_of(model, params, texts, rows=3), abs=1e-6)


def test_what_is_refused():
    model = make_language_model(dataclasses.replace(SHAPE, value_head=None))
    with pytest.raises(InputError, match="needs a value head"):
        ValueVerifier(model, jax.jit(model.init)(jax.random.key(0)), TOKENIZER)
    with pytest.raises(InputError, match="has no part in the aggregation majority"):
        EvaluateConfig(data=DataConfig(source=InMemory(()), task=TASK, sequence_length=8), verifier="runs/verifier")
