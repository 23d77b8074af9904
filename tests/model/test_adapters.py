"""Adapters: the contract of every registered one, LoRA by hand and against NumPy, and PEFT's files."""

import dataclasses
import functools
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.errors import InputError
from mtjax.model import catalog, peft
from mtjax.model.adapters import ADAPTERS, linear_maps
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model, without_adapter
from mtjax.model.mixture import Mixture

SMALL = DecoderConfig(
    vocab_size=16, width=8, layers=5, heads=2, kv_heads=1, head_dim=4, mlp_width=12, qkv_bias=True, init_scale=0.3
)
BASE = make_language_model(SMALL)
TOKENS = jnp.arange(12).reshape(2, 6) * 5 % 16
SEGMENTS = jnp.asarray([[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 1, 0]])
PART = "model.layers.0.mlp.experts"
NEAR = {"atol": 5e-5}  # the products stand in another order; on a processor with AVX-512 they differ by 1.2e-5
FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures" / "peft"


def adapted(adapter, config=SMALL):
    return make_language_model(dataclasses.replace(config, adapter=adapter))


def moved(params, size=0.3):
    """Parameters whose adapter has been trained, so to say."""
    noise = lambda x: x + size * np.random.default_rng(x.size).normal(size=x.shape).astype(np.float32)
    return {**params, "adapter": jax.tree.map(noise, params["adapter"])}


@functools.cache
def start():
    """Parameters of the model without an adapter, and its hidden states."""
    params = jax.jit(BASE.init)(jax.random.key(0))
    return params, jax.jit(BASE.hidden)(params, TOKENS, SEGMENTS)


def same_as_merged(model, params, hidden):
    plain, weights = without_adapter(model, params)
    assert plain.config == BASE.config
    np.testing.assert_allclose(jax.jit(BASE.hidden)(weights, TOKENS, SEGMENTS), hidden, **NEAR)
    return weights


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_a_fresh_adapter_changes_nothing_and_a_moved_one_equals_the_merged_model(name):
    model = adapted(ADAPTERS[name]())
    base, wanted = start()
    fresh = jax.jit(model.complete)(jax.random.key(0), {"base": base})
    is_names = lambda leaf: isinstance(leaf, tuple)
    assert jax.tree.map(len, model.axes, is_leaf=is_names) == jax.tree.map(jnp.ndim, fresh)  # a name for each axis
    assert model.held(fresh).keys() | model.trained(fresh).keys() == fresh.keys()

    @jax.jit
    def both(params):  # of complete rows, and through a cache the first row's first segment
        first = model.decode(params, model.init_cache(1, 4), TOKENS[:1, :4], jnp.arange(4)[None])[0]
        return model.hidden(params, TOKENS, SEGMENTS), first[0]

    np.testing.assert_allclose(both(fresh)[0], wanted, atol=1e-5)
    params = moved(fresh)
    hidden, cached = both(params)
    assert np.abs(hidden - wanted).max() > 0.1
    np.testing.assert_allclose(cached, hidden[0, :4], **NEAR)
    if getattr(ADAPTERS[name], "mergeable", True):
        same_as_merged(model, params, hidden)
    else:
        with pytest.raises(InputError, match="cannot be merged"):
            without_adapter(model, params)


def test_uneven_ranks_and_untouched_layers_stay_so_when_trained():
    """One step of gradient descent keeps the zeros that fill up smaller ranks, and layers without an adapter."""
    adapter = Lora(
        rank=3, dora=True, targets=("q_proj", "mlp.down"), rank_pattern=(("layers.2.mlp.down", 1),), layers=(0, 2)
    )
    model = adapted(adapter)
    base, _ = start()

    @jax.jit
    def trained(key):
        params = model.complete(key, {"base": base})
        loss = lambda trained: jnp.sum(model.hidden({**params, "adapter": trained}, TOKENS, SEGMENTS) ** 3)
        step = lambda x, g: x - 0.05 * g / (jnp.abs(g).max() + 1e-9)
        params = {**params, "adapter": jax.tree.map(step, params["adapter"], jax.grad(loss)(params["adapter"]))}
        return params, model.hidden(params, TOKENS, SEGMENTS)

    params, hidden = trained(jax.random.key(0))
    weights = same_as_merged(model, params, hidden)
    assert np.count_nonzero(np.asarray(params["adapter"]["layers"]["mlp"]["down"]["b"][2])) == 8  # of [3, 8]
    chosen, before = adapter.chosen(linear_maps(BASE)), names(base)
    for path, new in names(weights).items():
        moved_by = np.abs(np.asarray(new) - before[path]).reshape(5, -1).max(1)
        ranks = chosen[path[:-1]].ranks if path[:-1] in chosen and path[-1] == "kernel" else (0,) * 5
        assert (moved_by > 1e-6).tolist() == [rank > 0 for rank in ranks], path


def names(tree):
    """The leaves of all layers by path."""
    found = jax.tree_util.tree_leaves_with_path(tree["layers"])
    return {("layers", *(part.key for part in path)): leaf for path, leaf in found}


def test_lora_by_hand():
    """`y = W x + s B A x` with s = alpha / rank, or alpha / sqrt(rank)."""
    x, kernel = jnp.asarray([[1.0, 2.0]]), jnp.asarray([[1.0, 0.0], [0.0, 1.0]])
    leaves = {"a": jnp.asarray([[1.0], [1.0]]), "b": jnp.asarray([[2.0, -1.0]])}
    assert Lora.apply(leaves, x, x @ kernel, kernel).tolist() == [[1 + 3 * 2, 2 - 3]]
    of = Lora(rank=4, alpha=8.0).chosen(linear_maps(BASE))
    assert of["layers", "mlp", "up"].scales == (2.0,) * 5
    assert Lora(rank=4, alpha=8.0, rslora=True).chosen(linear_maps(BASE))["layers", "mlp", "up"].scales == (4.0,) * 5
    # DoRA: W + B A = [[3, -1], [2, 0]], the norms of its columns sqrt(13) and 1; the magnitudes are 2 and 3.
    found = Lora.apply(leaves | {"scale": jnp.asarray([2.0, 3.0])}, x, x @ kernel, kernel)
    np.testing.assert_allclose(found, [[7 * 2 / np.sqrt(13), -1 * 3 / 1]], rtol=1e-6)


def test_dropout_keeps_the_mean_and_is_for_training_alone():
    x, kernel = jnp.ones((4000, 2)), jnp.zeros((2, 1))
    adapter = Lora(rank=1, alpha=1.0, dropout=0.25, targets=("mlp.up",))
    model = adapted(adapter)
    (of,) = adapter.chosen(linear_maps(BASE)).values()
    ready = adapter.ready(of, {"a": jnp.ones((5, 8, 1)), "b": jnp.ones((5, 1, 12))}, jax.random.key(0))
    leaves = {"a": jnp.ones((2, 1)), "b": jnp.ones((1, 1)), "key": ready["key"][0], "keep": ready["keep"][0]}
    found = np.asarray(Lora.apply(leaves, x, x @ kernel, kernel))[:, 0]
    np.testing.assert_allclose(np.unique(found), [0, 4 / 3, 8 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.mean(), 2, atol=0.1)
    assert len(np.unique(np.asarray(ready["key"]), axis=0)) == 5  # each layer drops others out
    params = moved(model.complete(jax.random.key(0), {"base": start()[0]}))
    hidden = jax.jit(lambda key: model.hidden(model.with_noise(params, key), TOKENS, SEGMENTS))
    assert np.abs(hidden(jax.random.key(1)) - hidden(jax.random.key(2))).max() > 1e-3
    assert adapted(Lora()).with_noise is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("q_prj",)}, r"'q_prj' fits no matrix .* attention.query = self_attn.q_proj, .*mlp.down = mlp.d"),
        ({"targets": ("lm_head",)}, "'lm_head' fits no matrix"),
        ({"rank_pattern": (("x_proj", 2),)}, "'x_proj' fits no matrix"),
        ({"targets": ("(",)}, r"'\(' is not a regular expression"),
        ({"layers": (7,)}, r"layers=7: the model has layers 0 to 4"),
        ({"rank": 0}, "model.adapter.rank=0: expected at least 1"),
        ({"dropout": 1.0}, "model.adapter.dropout=1.0: expected"),
        ({"alpha_pattern": (("up_proj", -1.0),)}, "alpha_pattern has .*above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_the_names_that_exist(settings, message):
    with pytest.raises(InputError, match=message):
        adapted(Lora(**settings))


def test_targets_are_names_or_patterns_of_either_house():
    paths = lambda *targets: {".".join(path[1:]) for path in Lora(targets=targets).chosen(linear_maps(BASE))}
    assert paths("q_proj") == paths("query") == paths("attention.query") == {"attention.query"}
    assert paths(r"mlp\..*") == paths("gate_proj", "up_proj", "down") == {"mlp.gate", "mlp.up", "mlp.down"}
    assert paths() == paths("all-linear") == paths(".*")
    assert len(paths()) == 7


MIXED = dataclasses.replace(  # a Qwen3-MoE whose first layer has no experts
    SMALL, layers=2, mixture=Mixture(3, 2, 6, dense_layers=(0,)), qkv_bias=False, qk_norm=True
)


@pytest.mark.slow  # the products are compared with NumPy in `test_mixture.py`
def test_adapted_experts_equal_the_merged_model(one_device):
    model = adapted(Lora(rank=2, targets=("q_proj", "down_proj", "up")), MIXED)
    params = moved(jax.jit(model.init)(jax.random.key(0)))
    hidden = jax.jit(model.hidden)(params, TOKENS, SEGMENTS)
    plain, weights = without_adapter(model, params)
    np.testing.assert_allclose(jax.jit(plain.hidden)(weights, TOKENS, SEGMENTS), hidden, **NEAR)


def test_experts_are_adapted_where_they_are_named():
    """In layers that have them, and in PEFT's names of each expert."""
    config, plain = MIXED, make_language_model(MIXED)
    assert not any("experts" in path for path in Lora().chosen(linear_maps(plain)))
    model = adapted(Lora(rank=2, targets=("q_proj", "down_proj", r"experts\.gate", "up")), config)
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert params["adapter"]["layers"]["block_1"]["experts"]["down"]["a"].shape == (1, 3, 6, 2)
    assert set(params["adapter"]["layers"]["block_1"]["experts"]) == {"gate", "up", "down"}
    assert set(params["adapter"]["layers"]["block_0"]["mlp"]) == {"up", "down"}
    with pytest.raises(InputError, match=r"layers.0.mlp.up_proj is adapted, and peft 0.21 .* merged, or leave"):
        peft.save_adapter(".", model, params, "base")
    for wrong in ({"dora": True}, {"dropout": 0.1}):
        with pytest.raises(InputError, match=f"is of experts, which {next(iter(wrong))} does not work with"):
            adapted(Lora(targets=("experts.*",), **wrong), config)


def test_experts_are_read_in_both_layouts_of_peft(tmp_path, one_device):
    """A tensor for each expert comes back; one for all (A `[E r, I]`, B `[O, r E]`, gate and up as one) is the same."""
    from safetensors.numpy import load_file, save_file

    mixture = Mixture(3, 2, 6)
    config = dataclasses.replace(SMALL, layers=1, mixture=mixture, qkv_bias=False, qk_norm=True)
    plain, model = make_language_model(config), adapted(Lora(rank=2, alpha=3.0, targets=("experts.*",)), config)
    drawn = lambda x: jnp.asarray(np.random.default_rng(x.size).normal(size=x.shape), jnp.float32)
    params = jax.tree.map(drawn, jax.eval_shape(model.init, jax.random.key(0)))
    peft.save_adapter(tmp_path, model, params, "base")
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    assert written["target_modules"] == ["gate_proj", "up_proj", "down_proj"]
    again, same = peft.load_adapter(tmp_path, plain, params["base"])
    assert again.config.adapter.targets == ("experts.gate", "experts.up", "experts.down")
    jax.tree.map(np.testing.assert_array_equal, same["adapter"], params["adapter"])

    kept = load_file(tmp_path / "adapter_model.safetensors")
    one = lambda side, leaf: [kept[f"base_model.model.{PART}.{e}.{side}_proj.lora_{leaf}.weight"] for e in range(3)]
    joined = lambda parts: np.moveaxis(np.stack(parts), 0, -1).reshape(parts[0].shape[0], -1)
    both = [
        np.concatenate([np.pad(g, [(0, 0), (0, 2)]), np.pad(u, [(0, 0), (2, 0)])])
        for g, u in zip(one("gate", "B"), one("up", "B"), strict=True)
    ]
    a = np.concatenate([np.concatenate(pair) for pair in zip(one("gate", "A"), one("up", "A"), strict=True)])
    fused = {f"base_model.model.{PART}.base_layer.lora_A.weight": a}
    fused |= {f"base_model.model.{PART}.base_layer.lora_B.weight": joined(both)}
    fused |= {f"base_model.model.{PART}.lora_A.weight": np.concatenate(one("down", "A"))}
    fused |= {f"base_model.model.{PART}.lora_B.weight": joined(one("down", "B"))}
    save_file(fused, tmp_path / "adapter_model.safetensors")
    patterns = {"rank_pattern": {".*gate_up_proj": 4}, "alpha_pattern": {".*gate_up_proj": 6.0}}
    more = patterns | {"target_modules": [], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(written | more))
    other, loaded = peft.load_adapter(tmp_path, plain, params["base"])
    weights, wanted = without_adapter(other, loaded)[1], without_adapter(model, params)[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), weights, wanted)
    save_file(fused | {f"base_model.model.{PART}.lora_A.weight": a}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"experts.lora_A.weight' and lora_B are \[12, 8\] and \[8, 6\]; expected"):
        peft.load_adapter(tmp_path, plain, params["base"])


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_an_adapter_of_peft_gives_its_logits_and_comes_back(kind, tmp_path):
    """The logits are those of peft 0.21 in torch, with patterns of ranks and alphas."""
    model, params = catalog.load_model(str(FIXTURES / kind))
    with np.load(FIXTURES / "logits.npz") as kept:
        wanted = kept[kind]
    ids = jnp.arange(10)[None] * 7 % 16
    logits = jax.jit(lambda p: model.logits(p, model.hidden(p, ids, jnp.ones_like(ids))))
    np.testing.assert_allclose(logits(params)[0], wanted, atol=1e-4)
    peft.save_adapter(tmp_path, model, params, str(FIXTURES / "base"))
    again, same = catalog.load_model(str(tmp_path))
    np.testing.assert_allclose(logits(same)[0], wanted, atol=1e-4)
    from safetensors.numpy import load_file

    ours, theirs = (load_file(place / "adapter_model.safetensors") for place in (tmp_path, FIXTURES / kind))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "VERA"}, "peft_type is 'VERA'; expected 'LORA'"),
        ({"modules_to_save": ["lm_head"]}, r'modules_to_save is \["lm_head"\], which is not supported'),
        ({"bias": "all"}, 'bias is "all", which is not supported'),
        ({"layer_replication": [[0, 1]]}, "layer_replication is .* not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base model"),
        ({"use_dora": True}, "lora_magnitude_vector of .* is missing, though use_dora is true"),
        ({"r": "8"}, "r is '8'; expected a whole number"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path is None; expected the model"),
        ({"base_model_name_or_path": "gone"}, "is an adapter of 'gone', which is not here: .*Or set base_model_name"),
        ({"revision": "abc"}, "revision is 'abc'"),
    ],
)
def test_what_an_adapter_here_cannot_compute_is_refused_by_name(change, message, tmp_path):
    shutil.copytree(FIXTURES / "rslora", tmp_path / "adapter")
    shutil.copytree(FIXTURES / "base", tmp_path / "base")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=message):
        catalog.load_model(str(tmp_path / "adapter"))


def test_tensors_of_other_modules_and_shapes_are_named(tmp_path):
    from safetensors.numpy import load_file, save_file

    shutil.copytree(FIXTURES / "rslora", tmp_path / "adapter")
    shutil.copytree(FIXTURES / "base", tmp_path / "base")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    kept = load_file(file)
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
    for changed, message in (
        (kept | {"base_model.model.lm_head.weight": np.zeros((16, 8), np.float32)}, "lm_head.weight' is of modules_to"),
        (kept | {name: np.zeros((9, 3), np.float32)}, r"q_proj.lora_B.weight' is F32 \[9, 3\]; expected .*\[8, 3\]"),
        (kept | {name: np.full((8, 3), np.nan, np.float32)}, "q_proj.lora_B.weight' has 24 NaN"),
        ({key: value for key, value in kept.items() if key != name}, "lora_B of .*q_proj is missing"),
    ):
        save_file(changed, file)
        with pytest.raises(InputError, match=message):
            catalog.load_model(str(tmp_path / "adapter"))
    peft.save_adapter(tmp_path / "adapter", *catalog.load_model(str(FIXTURES / "dora")), "../base", "of another")
    with pytest.raises(InputError, match="belongs to another base model"):
        catalog.load_model(str(tmp_path / "adapter"))
