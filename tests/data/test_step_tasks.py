"""Tasks of labelled steps: solutions up to their first error, and marks with labels behind steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.batches import DataConfig, make_batches
from mtjax.data.problem import Candidate, Pair, Problem
from mtjax.data.sources import InMemory
from mtjax.data.sources.bigbench_mistake import BigBenchMistake
from mtjax.data.tasks.labelled import labelled_solutions
from mtjax.data.tasks.process_reward import ProcessRewardTask
from mtjax.data.tasks.until_error import UntilErrorTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.objectives.nll import Nll
from mtjax.objectives.process_reward import ProcessReward
from tests.objectives.fakes import batch_of, outcome

STEPS = ("a = 1", "b = 2", "c = 9", "d = 9")
WRONG = Candidate("\n".join(STEPS), steps=STEPS, labels=(True, True, False, False))
PROBLEM = Problem("p", "Q", right=("a = 1\nb = 2\nc = 3",), candidates=(WRONG,))
BYTES = load_tokenizer("bytes")


def shown(rendered):
    """The text behind the prompt, and its parts with their weights."""
    parts = [(rendered.text[span.start : span.end], span.weight) for span in rendered.spans]
    return rendered.text[rendered.prompt_end :], parts, rendered.ends


def test_solutions_whose_steps_are_known():
    pair = Pair("a = 1\nb = 2\n", "c = 3", "c = 4", "step")
    found = labelled_solutions(dataclasses.replace(PROBLEM, pairs=(pair,)))
    assert [(one.name, one.first_wrong, len(one.steps), one.complete) for one in found] == [
        ("labelled/0", 2, 4, True), ("right/0", 3, 3, True), ("step/0", 2, 3, False),
    ]  # fmt: skip
    assert labelled_solutions(Problem("w", "Q", wrong=("x",))) == []  # nothing is known of its steps


def test_a_wrong_solution_is_cut_at_its_first_error():
    wrong, right = UntilErrorTask().render(PROBLEM, BYTES)
    assert shown(wrong) == ("a = 1\nb = 2\n", [("a = 1\nb = 2\n", 1.0)], False)
    assert shown(right) == ("a = 1\nb = 2\nc = 3", [("a = 1\nb = 2\nc = 3", 1.0)], True)
    negative, _ = UntilErrorTask(error="negative", error_weight=0.25).render(PROBLEM, BYTES)
    assert shown(negative) == (
        "a = 1\nb = 2\nc = 9\n", [("a = 1\n", 1.0), ("b = 2\n", 1.0), ("c = 9\n", -0.25)], False,
    )  # fmt: skip
    kept, apart, _ = UntilErrorTask(error="apart").render(PROBLEM, BYTES)
    assert shown(kept) == shown(wrong)
    assert shown(apart) == ("c = 9\n", [("c = 9\n", 1.0)], False)
    assert apart.text == "Q\na = 1\nb = 2\nc = 9\n"
    assert (kept.extras["polarity"], apart.extras["polarity"]) == (1.0, 0.0)
    # Nothing stands before a first step that is wrong.
    first = Candidate("x", steps=("x",), labels=(False,))
    assert UntilErrorTask().render(Problem("p", "Q", candidates=(first,)), BYTES) == []


def test_the_weights_give_the_note_s_numbers():
    """Log-probabilities of steps -2, -1.5, -4, -3 with 4, 3, 5, 5 tokens; the third is the first wrong one."""
    tokens = [-0.5] * 4 + [-0.5] * 3 + [-0.8] * 5 + [-0.6] * 5
    batch, policy = batch_of(tokens)
    weights = lambda error: jnp.zeros_like(batch.weights).at[0, 1:8].set(1.0).at[0, 8:13].set(error)
    found = outcome(Nll(), policy, batch._replace(weights=weights(0.0))).loss
    np.testing.assert_allclose(found, [3.5, 7], rtol=1e-6)
    found = outcome(Nll(), policy, batch._replace(weights=weights(-0.1))).loss
    np.testing.assert_allclose(found, [3.1, 6.5], rtol=1e-6)


def test_marks_have_their_label_as_sign_and_show_nothing():
    wrong, right = ProcessRewardTask().render(PROBLEM, BYTES)
    assert shown(wrong) == ("a = 1\nb = 2\nc = 9\n", [("\n", 1.0), ("\n", 1.0), ("\n", -1.0)], False)
    assert shown(right) == ("a = 1\nb = 2\nc = 3\n", [("\n", 1.0)] * 3, False)
    assert wrong.extras["right_token"] == ord("+")
    every, _ = ProcessRewardTask(after_error="wrong", mark=" ##\n").render(PROBLEM, BYTES)
    assert [weight for _, weight in shown(every)[1]] == [1, 1, -1, -1]
    assert every.text.count(" ##\n") == 4
    last, _ = ProcessRewardTask(last_only=True).render(PROBLEM, BYTES)
    assert shown(last)[1] == [("\n", -1.0)]
    with pytest.raises(InputError, match="'yes' is 3 tokens of 'bytes'"):
        ProcessRewardTask(right_token="yes").render(PROBLEM, BYTES)


def test_the_loss_of_marks_by_hand():
    """Five marks behind right steps and one behind a wrong one, all with log-odds 1."""
    data = DataConfig(source=InMemory((PROBLEM,)), task=ProcessRewardTask(), sequence_length=48, max_segments=2)
    batch = make_batches(data, BYTES, batch_size=1, seed=0, repeat=False).batch_at(0)
    batch = jax.tree.map(jnp.asarray, batch)
    assert sorted(set(batch.weights.ravel().tolist())) == [-1, 0, 1]

    class Says:
        """Log-odds 1 everywhere."""

        def scores(self, batch):
            raise NotImplementedError

        hidden = scores

        def map_logits(self, fn, batch, also=()):
            flat = {name: x.reshape(-1) for name, x in batch.extras.items() if x.shape == batch.tokens.shape}
            logits = jnp.zeros((batch.tokens.size, 256)).at[:, ord("+")].set(2.0).at[:, ord("-")].set(1.0)
            return fn(logits, batch.tokens.reshape(-1), flat).reshape(batch.tokens.shape)

    loss, metrics = ProcessReward(wrong_weight=2.0)(Says(), batch)
    right, wrong = np.log1p(np.exp(-1)), np.log1p(np.exp(1))
    np.testing.assert_allclose(loss, [5 * right + 2 * wrong, 7], rtol=1e-6)
    np.testing.assert_allclose(metrics["accuracy"].value, 5 / 6, rtol=1e-6)
    assert metrics["accuracy_wrong"].value == 0
    np.testing.assert_allclose(metrics["right_share"].value, 5 / 6, rtol=1e-6)


def test_traces_of_big_bench_mistake_have_labels(tmp_path):
    file = tmp_path / "traces.jsonl"
    file.write_text(BigBenchMistake.example)
    problem = BigBenchMistake(str(file)).problems().items[0]
    assert problem.candidates[0].labels == (True, False)
    assert shown(UntilErrorTask().render(problem, BYTES)[0])[0] == "2 * 3 = 6.\n"
