"""The contract of every registered search, and best of n by hand."""

import pytest

from mtjax.errors import InputError
from mtjax.registry import summary
from mtjax.sampling.sampler import ProblemSamples, Sample, Unusable
from mtjax.sampling.search import SEARCHES
from mtjax.sampling.search.best_of_n import BestOfN, most_likely

every_search = pytest.mark.parametrize("name", SEARCHES)
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
