"""Merges by hand, and the permutations that leave a decoder's function as it is."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model.decoder import DecoderConfig
from mtjax.model.encoder import Encoder
from mtjax.model.language_model import make_language_model
from mtjax.model.merging import LOSS, MERGES, Given, Point, barriers
from mtjax.model.merging.greedy_soup import GreedySoup
from mtjax.model.merging.permutations import identities, matching, permuted
from mtjax.model.merging.soup import Soup
from mtjax.model.merging.weight_matching import WeightMatching
from mtjax.model.merging.wise_ft import WiseFt
from mtjax.model.mixture import Mixture
from mtjax.reporting.intervals import Interval

SMALL = DecoderConfig(
    vocab_size=16, width=8, layers=2, heads=4, kv_heads=2, head_dim=4, mlp_width=12, qkv_bias=True, init_scale=0.4
)
MODEL = make_language_model(SMALL)
TOKENS, SEGMENTS = jnp.arange(24).reshape(2, 12) * 5 % 16, jnp.ones((2, 12), jnp.int32)


@functools.cache
def fresh():
    return jax.jit(MODEL.init)(jax.random.key(1))


def given(*values):
    """Models of one number each, named by it."""
    return [Given(f"{value:g}", lambda value=value: {"w": jnp.asarray([value], jnp.float32)}) for value in values]


def number(value):
    return Interval(value, value, value, 0.95)


def numbers(params):
    """pass@1 is highest at 2, the loss is a parabola around 1."""
    w = float(params["w"][0])
    return {"pass@1": number(1 - abs(w - 2) / 10), LOSS: number((w - 1) ** 2)}


@pytest.mark.parametrize("name", list(MERGES))
def test_equal_models_merge_into_themselves_and_the_docstring_says_what_it_is(name):
    params = fresh()
    one = Given("one", lambda: params)
    count = {"fewest": MERGES[name].fewest}
    found = MERGES[name]()(MODEL, [one] * count["fewest"], lambda params: numbers({"w": jnp.zeros(1)}))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), found.params, params)
    assert found.about.endswith(".")
    for part in ("Formula:", "Want it", "Source:"):
        assert part in MERGES[name].__doc__


def test_a_soup_of_one_is_itself_and_shares_weigh():
    (one,) = given(0.1)
    np.testing.assert_array_equal(Soup()(MODEL, [one], None).params["w"], one.load()["w"])
    assert float(Soup()(MODEL, given(1, 2, 6), None).params["w"][0]) == 3
    assert float(Soup(shares=(1.0, 0.0, 3.0))(MODEL, given(1, 2, 6), None).params["w"][0]) == pytest.approx(4.75)
    for shares in ((1.0,), (1.0, -1.0), (0.0, 0.0)):
        with pytest.raises(InputError, match="expected 2 numbers of at least 0"):
            Soup(shares=shares)(MODEL, given(1, 2), None)


def test_a_greedy_soup_leaves_out_what_makes_it_worse():
    """pass@1 of 3, 0.5, 20 is .9, .85, -.8; the mean of 3 and 0.5 is 1.75 (.975), that with 20 is 7.83."""
    found = GreedySoup()(MODEL, given(0.5, 20, 3), numbers)
    assert float(found.params["w"][0]) == 1.75
    assert [point.label for point in found.points][:3] == ["3", "0.5", "20"]
    assert "mean of 2 of 3 models" in found.about
    by_loss = GreedySoup(choose=LOSS)(MODEL, given(0.5, 20, 3), numbers)  # nats are better if lower
    assert float(by_loss.params["w"][0]) == 0.5
    with pytest.raises(InputError, match="not measured; expected one of pass@1, nats_per_token"):
        GreedySoup(choose="accuracy")(MODEL, given(1, 2), numbers)
    with pytest.raises(InputError, match="say on which problems"):
        GreedySoup()(MODEL, given(1, 2), None)


def test_a_line_by_hand():
    """From 0 to 4 at quarters: pass@1 is best at 2; the loss 1, 0, 1, 4, 9 lies below the line 1, 3, 5, 7, 9."""
    found = WiseFt(points=5)(MODEL, given(0, 4), numbers)
    assert float(found.params["w"][0]) == 2
    assert [point.share for point in found.points] == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_allclose(barriers(found.points), [0, -3, -4, -3, 0])
    assert found.notes == ["no loss barrier: the loss nowhere lies above the straight line between both ends"]
    hill = [Point("", {LOSS: number(loss)}, share) for share, loss in ((0, 1.0), (0.5, 4.0), (1, 3.0))]
    np.testing.assert_allclose(barriers(hill), [0, 2, 0])
    assert float(WiseFt(fraction=1.0)(MODEL, given(0.1, 0.3), None).params["w"][0]) == np.float32(0.3)
    with pytest.raises(InputError, match="two models, START and END; got 3"):
        WiseFt(fraction=0.5)(MODEL, given(1, 2, 3), None)
    with pytest.raises(InputError, match="give the point, such as --fraction=0.5"):
        WiseFt()(MODEL, given(1, 2), None)


def some_permutations(model, seed):
    """Any permutation of stream and neurons, and one of heads that keeps the groups of a key/value head together."""
    rng, config = np.random.default_rng(seed), model.config
    together = config.heads // config.kv_heads
    found = {name: rng.permutation(order) for name, order in identities(model).items()}
    for name in (name for name in found if name.startswith("heads")):
        groups = rng.permutation(config.kv_heads)
        found[name] = np.concatenate([group * together + rng.permutation(together) for group in groups])
    return found


def loss_of(model, params):
    """Nats per token of what `params` themselves find most likely, as a function of other parameters."""
    logits = jax.jit(lambda params: model.logits(params, model.hidden(params, TOKENS, SEGMENTS)))
    targets = jnp.argmax(logits(params), -1)[..., None]
    return lambda params: -float(jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits(params)), targets, -1)))


VARIANTS = {
    "llama": {},
    "qwen3": {"qk_norm": True, "tied": True, "qkv_bias": False},
    "olmo2": {"qk_norm": True, "qk_norm_joint": True, "norm_places": "after"},
    "gemma2": {"norm_places": "both", "norm": "one_plus", "embed_scale": True, "window": 4, "score_cap": 2.0},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_permuted_copy_is_the_same_function_and_is_matched_back(name):
    """The barrier between a model and its permuted copy is above 0 before matching and 0 after it."""
    model = make_language_model(dataclasses.replace(SMALL, **VARIANTS[name]))
    params = jax.jit(model.init)(jax.random.key(1))
    noise = lambda x: x + 0.3 * np.random.default_rng(x.size).normal(size=x.shape).astype(np.float32)
    params = jax.device_get(jax.tree.map(noise, params))  # norms and biases are not all alike
    asked = some_permutations(model, 5)
    copy = permuted(model, params, asked)
    loss = loss_of(model, params)
    assert loss(copy) == pytest.approx(loss(params), abs=1e-5)
    assert not np.array_equal(copy["embed"]["embedding"], params["embed"]["embedding"])
    values = lambda tree: np.linalg.svd(tree["layers"]["mlp"]["up"]["kernel"], compute_uv=False)
    np.testing.assert_allclose(values(copy), values(params), rtol=1e-4)

    middle = lambda a, b: jax.tree.map(lambda x, y: (x + y) / 2, a, b)
    assert loss(middle(params, copy)) > loss(params) + 0.1
    back = permuted(model, copy, matching(model, params, copy))
    jax.tree.map(np.testing.assert_array_equal, back, params)
    assert loss(middle(params, back)) == loss(params)


def test_weight_matching_says_the_barrier_before_and_after():
    params = fresh()
    copy = jax.tree.map(jnp.asarray, permuted(MODEL, params, some_permutations(MODEL, 2)))
    loss = loss_of(MODEL, params)
    pair = [Given("one", lambda: params), Given("copy", lambda: copy)]
    found = WeightMatching(points=3)(MODEL, pair, lambda params: {LOSS: number(loss(params))})
    jax.tree.map(np.testing.assert_array_equal, found.params, params)
    assert "5 of 5 permutations moved something" in found.notes[0]
    assert "0 after" in found.notes[0]
    assert "the loss barrier before matching is" in found.notes[1]
    assert "no loss barrier after matching" in found.notes[2]
    assert [point.line for point in found.points] == ["before matching"] * 3 + ["after matching"] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mixture": Mixture(experts=2, per_token=1, width=8)}, "decoders without experts"),
        ({"encoder": Encoder(), "kv_heads": 4, "qkv_bias": False, "init_scale": 0.02}, "decoders without an encoder"),
    ],
)
def test_other_symmetries_are_refused(change, said):
    model = make_language_model(dataclasses.replace(SMALL, **change))
    with pytest.raises(InputError, match=said):
        WeightMatching()(model, given(1, 2), None)
