"""Look-ahead search: a planted keyword, beams against brute force, and the search over a model."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.model.value_head import ValueHead
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.decoders.contrastive import Contrastive
from mtjax.sampling.local import LocalSampler
from mtjax.sampling.sampler import Contrasted
from mtjax.sampling.search.deal import Deal
from mtjax.sampling.search.lookahead import lookahead_search
from mtjax.sampling.values import values_of

END, KEY = 0, 3
TABLE = np.log([[0.1, 0.5, 0.3, 0.1], [0.3, 0.4, 0.3, 0.0001], [0.2, 0.2, 0.1, 0.5], [0.7, 0.1, 0.1, 0.1]])


def next_tokens(paths):
    """A Markov chain: after 1 comes nearly never the keyword, after 2 mostly. It begins as after 0."""
    rows = [TABLE[path.tokens[-1] if path.tokens else 0] for path in paths]
    return [[(int(token), float(row[token])) for token in np.argsort(-row, kind="stable")[:3]] for row in rows]


def planted(asked):
    """Whether a path and its greedy continuation of two tokens have the keyword; counts what is asked."""

    def heuristic(paths):
        asked.append(len(paths))
        found = []
        for path in paths:
            tokens = list(path.tokens)
            for _ in range(2):
                if tokens[-1] != END:
                    tokens.append(int(np.argmax(TABLE[tokens[-1]])))
            found.append(float(KEY in tokens))
        return found

    return heuristic


def search(weight, beams, longest=6):
    asked = []
    ends = lambda tokens: tokens[-1] == END
    paths = lookahead_search(next_tokens, planted(asked), ends, beams=beams, weight=weight, longest=longest)
    return paths, asked


def test_without_weight_it_is_greedy_and_with_it_the_keyword_is_reached():
    (greedy,), _ = search(0.0, 1, longest=3)
    assert greedy.tokens == (1, 1, 1)
    (found,), asked = search(5.0, 1)
    assert found.tokens == (2, 3, 0)
    assert found.ended
    assert sum(found.logprobs) == pytest.approx(np.log(0.3 * 0.5 * 0.7))
    assert set(asked) == {3}


def test_a_beam_asks_for_all_candidates_of_all_beams_and_its_answers_are_the_best_by_brute_force():
    paths, asked = search(0.0, 2, longest=2)
    assert asked == [3, 6]
    by_hand = {
        (a, b): TABLE[0][a] + TABLE[a][b] for a, b in itertools.product((1, 2), range(4))
    }  # no beam ends at once
    best = sorted(by_hand, key=lambda one: -by_hand[one])[:2]
    assert {one.tokens for one in paths} == set(best)


class Server:
    """A sampler that is no local model."""

    def draw(self, prompts, seed, stopped, numbers=None):
        raise AssertionError


TOKENIZER = load_tokenizer("arithmetic")
SHAPE = DecoderConfig(
    vocab_size=TOKENIZER.vocab_size, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, mlp_width=16, max_length=64,
    init_scale=0.5, value_head=ValueHead(),
)  # fmt: skip


@pytest.fixture(scope="module")
def sampler():
    model = make_language_model(SHAPE)
    return LocalSampler(
        model=model, params=jax.jit(model.init)(jax.random.key(3)), tokenizer=TOKENIZER,
        sampling=SamplingConfig(0.0, max_new_tokens=8), rows=2, by_token=True,
    )  # fmt: skip


def drawn(search, sampler, prompts=("2 + 3 =\n", "4 + 4 =\n"), **more):
    batches = search(sampler, prompts, 0, lambda: False, **more)
    return {one.number: one.samples for batch in batches for one in batch}


@pytest.mark.usefixtures("one_device")
def test_with_a_model_it_is_greedy_without_weight_and_reaches_a_keyword_with_it(sampler):
    prompts = ("2 + 3 =\n", "4 + 4 =\n")
    greedy = {one.number: one.samples for batch in sampler.draw(prompts, 0, lambda: False) for one in batch}
    plain = drawn(Deal(weight=0.0, candidates=2), sampler)
    for number in (0, 1):
        assert plain[number][0].token_ids == greedy[number][0].token_ids
        np.testing.assert_allclose(plain[number][0].token_logprobs, greedy[number][0].token_logprobs, atol=1e-4)
    missing = next(digit for digit in "0123456789" if digit not in greedy[0][0].text)
    found = drawn(Deal(weight=50.0, keywords=(missing,), candidates=TOKENIZER.vocab_size, lookahead=2), sampler)
    assert missing in found[0][0].text
    assert drawn(
        Deal(weight=50.0, keywords=(missing,), candidates=4, lookahead=2, beams=2), sampler, numbers=[1]
    ).keys() == {1}


@pytest.mark.usefixtures("one_device")
def test_the_value_head_guides_it_and_a_stop_text_ends_it(sampler):
    ids = [TOKENIZER.encode("2 + 3 =\n").ids, TOKENIZER.encode("4 + 4 = 8").ids]
    both = values_of(sampler.model, sampler.params, ids, rows=4)
    alone = [values_of(sampler.model, sampler.params, [one], rows=1)[0] for one in ids]
    assert alone == pytest.approx(both, abs=1e-5)  # 1.9e-6 apart on a processor with AVX-512
    assert all(-1 < value < 1 for value in both)
    valued, plain = (
        drawn(Deal(weight=100.0, value_weight=one, candidates=6, lookahead=1), sampler, ("2 + 3 =\n",))[0][0]
        for one in (1.0, 0.0)
    )
    said = lambda sample: [token for token in sample.token_ids if token not in TOKENIZER.end_ids]
    value = lambda sample: values_of(sampler.model, sampler.params, [[*ids[0], *said(sample)]])[0]
    assert value(valued) > value(plain)
    stop = plain.text[2]
    halted = dataclasses.replace(sampler, sampling=dataclasses.replace(sampler.sampling, stop=(stop,)))
    found = drawn(Deal(weight=0.0), halted, ("2 + 3 =\n",))[0][0]
    assert found.finished
    assert found.text == plain.text[: plain.text.index(stop)]


def test_what_it_refuses(sampler):
    headless = dataclasses.replace(sampler, model=make_language_model(dataclasses.replace(SHAPE, value_head=None)))
    with pytest.raises(InputError, match="needs a model with a value head"):
        drawn(Deal(value_weight=1.0), headless)
    with pytest.raises(InputError, match="needs a local model"):
        drawn(Deal(), Server())
    with pytest.raises(InputError, match="empty text"):
        Deal(keywords=("",))
    contrast = dataclasses.replace(sampler, sampling=SamplingConfig(decoder=Contrastive()))
    with pytest.raises(InputError, match="choose one of them"):
        drawn(Deal(), contrast, [Contrasted("1", "2")])
    with pytest.raises(InputError, match="no value head"):
        values_of(headless.model, headless.params, [[1]])
    with pytest.raises(InputError, match="texts of 0 to 65 tokens"):
        values_of(sampler.model, sampler.params, [[], [1] * 65])
