"""The contract of every registered search, and best of n by hand."""

import jax
import numpy as np
import pytest

from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.model.value_head import ValueHead
from mtjax.registry import summary
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.local import LocalSampler
from mtjax.sampling.sampler import ProblemSamples, Sample, Unusable
from mtjax.sampling.search import SEARCHES
from mtjax.sampling.search.best_of_n import BestOfN, most_likely
from mtjax.sampling.search.steps import Steps
from mtjax.types import Batch

every_search = pytest.mark.parametrize(
    "name",
    [n for n, c in SEARCHES.items() if not getattr(c, "needs_value", False) and not getattr(c, "needs_local", False)],
)
guided = pytest.mark.parametrize("name", [n for n, c in SEARCHES.items() if getattr(c, "needs_value", False)])
PROMPTS = ["a", Unusable("too long"), "c", "d"]


class Fake:
    """A sampler with three samples for each prompt; their texts and log-probabilities depend on prompt and seed."""

    def draw(self, prompts, seed, stopped, numbers=None):
        for number in range(len(prompts)) if numbers is None else numbers:
            if isinstance(prompts[number], Unusable):
                yield [ProblemSamples(number, [], prompts[number].note)]
            else:
                texts = [f"{prompts[number]}{seed}{i}" for i in range(3)]
                yield [ProblemSamples(number, [Sample(text, -1.0 - i, 2) for i, text in enumerate(texts)])]
            if stopped():
                return


def found(name, seed=0, stopped=lambda: False, **more):
    batches = SEARCHES[name]()(Fake(), PROMPTS, seed, stopped, **more)
    return {one.number: one for batch in batches for one in batch}


@every_search
def test_every_prompt_has_samples_or_a_note(name):
    samples = found(name)
    assert sorted(samples) == [0, 1, 2, 3]
    assert samples[1] == ProblemSamples(1, [], "too long")
    assert all(samples[number].samples and not samples[number].note for number in (0, 2, 3))


@every_search
def test_equal_seeds_give_equal_samples(name):
    assert found(name, 1) == found(name, 1) != found(name, 2)


@every_search
def test_only_what_is_asked_for_and_stopped_early(name):
    assert sorted(found(name, numbers=[2, 3])) == [2, 3]
    assert sorted(found(name, stopped=lambda: True)) == [0]


@every_search
def test_a_search_is_documented(name):
    assert summary(SEARCHES[name]).endswith(".")


def test_best_of_n_by_hand():
    """Means -1, -.5, -2; a long answer may be better than a short one; unknown comes last."""
    samples = [Sample("a", -2.0, 2), Sample("b", -3.0, 6), Sample("c", -2.0, 1), Sample("d"), Sample("e", 0.0, 0)]
    assert [one.text for one in most_likely(samples, 3)] == ["b", "a", "c"]
    assert [one.text for one in most_likely(samples, 9)] == ["b", "a", "c", "d", "e"]
    with pytest.raises(InputError, match="keep=0"):
        BestOfN(0)


@guided
def test_a_search_that_a_value_head_guides_refuses_other_samplers(name):
    assert summary(SEARCHES[name]).endswith(".")
    with pytest.raises(InputError, match="needs a local model with a value head"):
        found(name)


@pytest.mark.usefixtures("one_device")
@guided
def test_a_guided_search_gives_the_models_own_tokens_and_repeats_itself(name):
    tokenizer = load_tokenizer("arithmetic")
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16,
        max_length=96, value_head=ValueHead(),
    )  # fmt: skip
    model = make_language_model(shape)
    params = jax.jit(model.init)(jax.random.key(0))
    sampler = LocalSampler(
        model=model, params=params, tokenizer=tokenizer, sampling=SamplingConfig(max_new_tokens=40), rows=8,
        by_token=True,
    )  # fmt: skip
    search = SEARCHES[name](proposals=3, depth=3, step_tokens=8, **({"simulations": 4} if name == "puct" else {}))
    prompts = ["2 + 3 =\n", "4 + 4 =\n"]
    runs = [[one for batch in search(sampler, prompts, 7, lambda: False) for one in batch] for _ in range(2)]
    assert runs[0] == runs[1]
    assert [one.number for one in runs[0]] == [0, 1]
    (alone,) = [one for batch in search(sampler, prompts, 7, lambda: False, [1]) for one in batch]
    assert alone == runs[0][1]  # whatever is searched beside it
    scores_of = jax.jit(lambda batch: make_policy(model, params, chunk=96).scores(batch).logprob)
    for prompt, one in zip(prompts, runs[0], strict=True):
        assert one.samples
        for sample in one.samples:
            ids = [*tokenizer.encode(prompt).ids, *sample.token_ids]
            tokens = np.zeros((1, 96), np.int32)
            tokens[0, : len(ids)] = ids
            segments = (np.arange(96) < len(ids)).astype(np.int32)[None]
            batch = Batch(tokens, np.zeros((1, 96), np.float32), segments, {})
            scores = np.asarray(scores_of(jax.tree.map(jax.numpy.asarray, batch)))[0]
            own = scores[len(ids) - len(sample.token_ids) : len(ids)]
            np.testing.assert_allclose(own, sample.token_logprobs, atol=1e-4)
            assert sample.logprob == pytest.approx(own.sum(), abs=1e-3)


class Planted(Steps):
    """Stands for the steps of a prompt: a step is `a` or `b`, two of them end a path, and `ab` is right."""

    def __init__(self, *_):
        self.asked = 0

    def propose(self, paths, turn):
        more = lambda path, step: path._replace(
            tokens=(*path.tokens, step), steps=path.steps + 1, ended=path.steps == 1, prior=0.5
        )
        return [[more(path, "a"), more(path, "b")] for path in paths]

    def value(self, paths):
        return [0.25] * len(paths)

    def text(self, path):
        return "".join(f"{step}\n" for step in path.tokens)

    def sample(self, path):
        return Sample(self.text(path), finished=path.ended)


def test_paths_of_a_tree_carry_their_steps_and_the_means_of_their_nodes(monkeypatch):
    from mtjax.sampling.search import steps

    monkeypatch.setattr(steps, "Steps", Planted)
    ends = {"a\nb\n": 1.0, "b\nb\n": None}
    tokenizer = load_tokenizer("arithmetic")
    sampler = LocalSampler(
        model=make_language_model(DecoderConfig(vocab_size=tokenizer.vocab_size)), params={}, tokenizer=tokenizer,
        sampling=SamplingConfig(), rows=8,
        ending=lambda number, sample: ends.get(sample.text, -1.0) if number == 5 else None,
    )  # fmt: skip
    found = steps.Puct(simulations=3, depth=2).search(sampler, [1], 0, 5)
    means = lambda first, *below: (first + sum(below)) / (1 + len(below))
    assert [(one.text, one.steps) for one in found] == [
        ("a\nb\n", ("a\n", "b\n")), ("a\na\n", ("a\n", "a\n")), ("b\na\n", ("b\n", "a\n")),
    ]  # fmt: skip
    assert found[0].step_values == pytest.approx((means(0.25, -1, 1), 1.0))
    assert found[1].step_values == pytest.approx((means(0.25, -1, 1), -1.0))
    assert found[2].step_values == pytest.approx((means(0.25, -1, 0.25), -1.0))
    # What is not known is worth its value, and not kept.
    one_of_each = steps.Puct(simulations=3, depth=2, keep=1).search(sampler, [1], 0, 5)
    assert [one.text for one in one_of_each] == ["a\nb\n", "a\na\n"]
    (best,) = steps.Puct(simulations=3, depth=2).search(sampler, [1], 0, 6)  # nothing is known of this prompt
    assert best.step_values == ()
