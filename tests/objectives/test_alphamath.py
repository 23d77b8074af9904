"""AlphaMath: the two terms by hand, from the records of a tree search to the value targets of a batch."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Candidate, Problem
from mtjax.data.sources import InMemory, Jsonl
from mtjax.data.tasks.step_values import StepValuesTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.objectives.alphamath import AlphaMath
from tests.objectives.fakes import batch_of

BYTES = load_tokenizer("bytes")


class Valued:
    """A policy with log-probabilities and values of its own."""

    def __init__(self, policy, values):
        self.scores, self.map_logits, self.hidden = policy.scores, policy.map_logits, policy.hidden
        self.values = lambda batch: values


def test_the_two_terms_by_hand():
    """Right tokens -1 and -2; values .1, .4, .8 for the targets .2, .5, 1: squares of .01, .01 and .04."""
    batch, policy = batch_of([-1.0, -2.0], [-7.0], polarity=[1, 0])
    said, goal, weight = (jnp.zeros(batch.tokens.shape).at[0, 1:3].set(x) for x in ([0.1, 0.4], [0.2, 0.5], 1.0))
    said, goal, weight = (x.at[1, 1].set(y) for x, y in ((said, 0.8), (goal, 1.0), (weight, 1.0)))
    said = said.at[2].set(jnp.nan)  # where nothing is to be said, nothing is read
    batch = batch._replace(extras=batch.extras | {"value_target": goal, "value_weight": weight})
    loss = lambda **settings: AlphaMath(**settings)(Valued(policy, said), batch)[0].value
    np.testing.assert_allclose(loss(value_weight=0.0), 1.5, rtol=1e-6)
    np.testing.assert_allclose(loss(value_weight=0.5), 1.5 + 0.5 * 0.02, rtol=1e-6)
    np.testing.assert_allclose(loss(value_weight=1.0, epsilon=1e-3) - 1.5, 0.0199933351, rtol=1e-4)
    _, metrics = AlphaMath()(Valued(policy, said), batch)
    np.testing.assert_allclose(metrics["value_error"].value, 0.02, rtol=1e-6)
    assert metrics["value_sign"].value == 1
    assert metrics["right_share"].value == 0.5
    wrong = batch._replace(extras=batch.extras | {"segment_polarity": 0 * batch.extras["segment_polarity"]})
    np.testing.assert_allclose(AlphaMath(value_weight=1.0)(Valued(policy, said), wrong)[0].value, 0.02, rtol=1e-6)
    with pytest.raises(InputError, match=r"needs a policy with a value head"):
        AlphaMath()(policy, batch)
    with pytest.raises(InputError, match=r"needs extras\['value_weight'\]"):
        AlphaMath()(Valued(policy, said), batch_of([-1.0], polarity=[1])[0])


def test_values_stand_at_the_last_token_of_their_step(tmp_path):
    file = tmp_path / "tree.jsonl"
    steps = [{"step": "ab", "Q": 0.25}, {"step": "c", "Q": -0.5}, {"step": "de", "Q": -1}]
    file.write_text(json.dumps({"question": "Q", "response": steps}) + "\n")
    (problem,) = Jsonl(str(file)).problems().items
    assert problem.wrong == ("ab\nc\nde",)
    data = DataConfig(source=Jsonl(str(file)), task=StepValuesTask(), sequence_length=16, max_segments=1)
    batch = make_batches(data, BYTES, batch_size=1, seed=0, repeat=False).batch_at(0)
    text = [BYTES.decode([token]) for token in batch.tokens[0].tolist()]
    told = {
        place: float(value)
        for place, (value, here) in enumerate(
            zip(batch.extras["value_target"][0], batch.extras["value_weight"][0], strict=True)
        )
        if here
    }
    assert [(text[place], value) for place, value in told.items()] == [("\n", 0.25), ("\n", -0.5), ("e", -1.0)]
    assert batch.extras["segment_polarity"][0].tolist() == [0.0]


def test_solutions_without_values_have_one_at_their_end():
    known = Candidate("a\nb", steps=("a", "b"), values=(0.5, 1.0))
    rendered = StepValuesTask().render(
        Problem("p", "Q", right=("a\nb", "c\nd"), wrong=("e",), candidates=(known,)), BYTES
    )
    assert [(one.extras["polarity"], one.values) for one in rendered] == [
        (1.0, (0.5, 1.0)), (1.0, (None, 1.0)), (0.0, (-1.0,)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("response", "says"),
    [([{"step": "a", "Q": 2}], "a number from -1 to 1"), ([{"step": "a", "Q": 0.5}], "the last 'Q' is")],
)
def test_bad_records_are_refused(tmp_path, response, says):
    file = tmp_path / "tree.jsonl"
    file.write_text(json.dumps({"question": "Q", "response": response}) + "\n")
    with pytest.raises(InputError, match=says):
        Jsonl(str(file)).problems()


def test_in_memory_problems_train_too():
    source = InMemory((Problem("p", "Q", right=("a",)),))
    data = DataConfig(source=source, task=StepValuesTask(), sequence_length=8, max_segments=1)
    batch = jax.tree.map(jnp.asarray, make_batches(data, BYTES, batch_size=1, seed=0, repeat=False).batch_at(0))
    assert float(batch.extras["value_weight"].sum()) == 1
