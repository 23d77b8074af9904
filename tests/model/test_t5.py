"""T5: golden numbers on made weights, rows against segments alone, the cache, the two dialects, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mtjax.distributed.sharding import MeshSpec, make_mesh, shardings
from mtjax.errors import InputError, note
from mtjax.model import catalog, huggingface, peft
from mtjax.model.adapters import linear_maps
from mtjax.model.adapters.lora import Lora
from mtjax.model.decoder import DecoderConfig
from mtjax.model.encoder import Encoder
from mtjax.model.encoder_decoder import roles_of
from mtjax.model.families import FAMILIES, config_from_json, config_to_json, family_of
from mtjax.model.language_model import make_language_model
from mtjax.model.policy import make_policy
from mtjax.model.relative import bucket_of
from mtjax.types import Batch
from tests.devices import only_one_device
from tests.model import golden

V1_0 = {
    "model_type": "t5", "vocab_size": 48, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2,
    "num_decoder_layers": 3, "num_heads": 6, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16,
}  # fmt: skip
FLAN = V1_0 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
READ, ANSWER = [(5 * i + 2) % 48 for i in range(11)], [(7 * i + 3) % 48 for i in range(6)] + [1]
# Of transformers 4.57.6 (specs/models-and-rest.md 1.11): tensors, parameters, CE, gradient norm, last logits, sum.
FIXTURES = {
    "v1.0": (V1_0, 60, 64064, 3.908736, 0.98467, (0.09892, -0.17849, -0.15312, 0.07188, 0.01752), 28.9494),
    "flan": (FLAN, 66, 72000, 4.383950, 7.45130, (0.74136, -1.02656, 0.70174, 0.26734, -0.70199), 177.2392),
}
SMALL = DecoderConfig(
    vocab_size=16, width=8, layers=1, heads=2, kv_heads=2, head_dim=3, mlp_width=12, activation="gelu_tanh",
    encoder=Encoder(layers=1, buckets=4, max_distance=5),
)  # fmt: skip
ROWS = jnp.asarray([[5, 6, 1, 7, 1, 9, 1, 3, 1, 1, 2, 0], [4, 5, 8, 7, 2, 1, 5, 6, 7, 2, 1, 3]])  # 1 closes the prompt
SEGMENTS = jnp.asarray([[1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("name", "slope"),
    [("flan", True), ("v1.0", False), pytest.param("v1.0", True, marks=pytest.mark.slow)],
    ids=["flan", "v1.0", "v1.0-gradient"],
)
def test_made_weights_give_the_numbers_of_transformers(name, slope, tmp_path, one_device):
    config, tensors, count, loss, norm, last, total = FIXTURES[name]
    # The fixture's encoder input ends in token 4, which closes the prompt here.
    model, params = huggingface.load(golden.write(tmp_path, config | {"eos_token_id": READ[-1]}))
    assert len(golden.tensors(config)) == tensors
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    tokens = jnp.asarray([READ + ANSWER], jnp.int32)
    batch = Batch(tokens, (jnp.arange(18) >= 11)[None].astype(jnp.float32), jnp.ones_like(tokens), {})

    def run(params):
        hidden = model.hidden(params, tokens, batch.segments)
        policy = make_policy(model._replace(hidden=lambda *_: hidden), params)
        return -jnp.sum(policy.scores(batch).logprob) / 7, model.logits(params, hidden[0, 10:17])

    if slope:
        (found, logits), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
        squares = sum(float((np.asarray(leaf) ** 2).sum()) for leaf in jax.tree.leaves(gradient))
        np.testing.assert_allclose(np.sqrt(squares), norm, rtol=1e-4)
    else:
        found, logits = jax.jit(run)(params)
    np.testing.assert_allclose(found, loss, atol=1e-5)
    np.testing.assert_allclose(logits[-1, :5], last, atol=2e-4)
    np.testing.assert_allclose(jnp.sum(jnp.abs(logits)), total, rtol=1e-4)


@pytest.mark.parametrize(
    ("both_sides", "golden_buckets"),
    [
        (
            True,
            {0: 0, -1: 1, -7: 7, -8: 8, -11: 8, -12: 9, -15: 9, -16: 10, -22: 10, -23: 11, -31: 11, -32: 12, -45: 12}
            | {-46: 13, -63: 13, -64: 14, -90: 14, -91: 15, -128: 15, -999: 15, 1: 17, 8: 24, 128: 31, 999: 31},
        ),
        (
            False,
            {0: 0, -15: 15, -16: 16, -17: 16, -22: 18, -23: 18, -31: 21, -33: 21, -45: 23, -46: 24, -63: 26, -64: 26}
            | {-90: 29, -91: 29, -127: 31, -128: 31, -999: 31, 1: 0, 999: 0},
        ),
    ],
)
def test_buckets_of_distances(both_sides, golden_buckets):
    distance = jnp.asarray([*golden_buckets], jnp.int32)
    assert bucket_of(distance, 32, 128, both_sides).tolist() == [*golden_buckets.values()]


def test_the_first_end_token_of_a_segment_divides_it():
    roles = roles_of(ROWS, SEGMENTS, 1)
    assert np.asarray(roles.read[0]).astype(int).tolist() == [1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1]
    assert np.flatnonzero(roles.starts[0]).tolist() == [2, 6, 9]
    assert np.flatnonzero(roles.written[0]).tolist() == [3, 4, 7, 8, 10]
    open_end = roles_of(ROWS[:1, :2], SEGMENTS[:1, :2], 1)  # a prompt that is cut off
    assert open_end.read.all()
    assert not open_end.written.any()


@pytest.fixture(scope="module")
def start():
    """A small model, its parameters, its compiled `hidden`, and what that gives for `ROWS`."""
    model = make_language_model(SMALL)
    with only_one_device():
        params, run = jax.jit(model.init)(jax.random.key(0)), jax.jit(model.hidden)
        return model, params, run, run(params, ROWS, SEGMENTS)


def test_packed_segments_are_as_alone_and_no_answer_sees_later_tokens(start, one_device):
    model, params, run, hidden = start
    for row, begin, end in ((0, 5, 9), (0, 9, 11), (1, 0, 12)):
        own = jnp.zeros_like(ROWS).at[0, : end - begin].set(ROWS[row, begin:end])
        alone = run(params, own, (jnp.arange(12) < end - begin)[None].astype(jnp.int32) * jnp.ones_like(own))
        first = ROWS[row, begin:end].tolist().index(1)
        np.testing.assert_allclose(alone[0, first : end - begin], hidden[row, begin + first : end], atol=1e-5)
    changed = run(params, ROWS.at[1, 8].set(11), SEGMENTS)
    np.testing.assert_array_equal(changed[1, 5:8], hidden[1, 5:8])
    assert np.abs(changed[1, 8:] - hidden[1, 8:]).max() > 1e-3
    of_prompt = run(params, ROWS.at[1, 4].set(11), SEGMENTS)
    assert np.abs(of_prompt[1, 5:] - hidden[1, 5:]).max() > 1e-3


def test_only_the_answer_has_scores(start, one_device):
    model, params, _, _ = start
    scores = jax.jit(lambda params: make_policy(model, params).scores(Batch(ROWS, 0.0 * ROWS, SEGMENTS, {})))(params)
    live = np.asarray(roles_of(ROWS, SEGMENTS, 1).written)
    assert ((np.asarray(scores.logprob) != 0) == live).all()
    assert ((np.asarray(scores.entropy) != 0) == live).all()


@pytest.mark.parametrize("sizes", [(6, 6), (1,) * 12])
def test_any_pieces_through_the_cache_equal_the_row(sizes, start, one_device):
    model, params, run, _ = start
    tokens = jnp.stack([ROWS[1], jnp.asarray([5, 6, 7, 3, 1, 8, 9, 2, 1, 3, 3, 3])])  # other prompts, other lengths
    wanted = run(params, tokens, jnp.ones_like(tokens))
    cache, parts, done, decode = model.init_cache(2, 15), [], 0, jax.jit(model.decode)
    for size in sizes:
        positions = jnp.broadcast_to(jnp.arange(done, done + size), (2, size))
        out, cache = decode(params, cache, tokens[:, done : done + size], positions)
        parts, done = [*parts, out], done + size
    np.testing.assert_allclose(jnp.concatenate(parts, 1)[:, 5:], wanted[:, 5:], atol=1e-5)


def test_ragged_prompts_that_are_filled_up_decode_as_alone(start, one_device):
    """The sampler's use: prompts padded on the right, then a token a row at its own position."""
    model, params, _, hidden = start
    prompts = jnp.asarray([[4, 5, 8, 7, 2, 1], [5, 6, 1, 0, 0, 0]])
    positions, decode = jnp.broadcast_to(jnp.arange(6), (2, 6)), jax.jit(model.decode)
    out, cache = decode(params, model.init_cache(2, 15), prompts, positions)
    np.testing.assert_allclose(out[0, 5], hidden[1, 5], atol=1e-5)
    np.testing.assert_allclose(out[1, 2], hidden[0, 2], atol=1e-5)
    out, cache = decode(params, cache, jnp.asarray([[5], [7]]), jnp.asarray([[6], [3]]))
    np.testing.assert_allclose(out[:, 0], jnp.stack([hidden[1, 6], hidden[0, 3]]), atol=1e-5)


def test_eight_devices_equal_one(start):
    model, params, _, hidden = start
    live = roles_of(ROWS, SEGMENTS, 1)
    live = np.asarray(live.starts | live.written)[..., None]
    mesh = make_mesh(MeshSpec(fsdp=2, context=2, tensor=2))
    with jax.set_mesh(mesh):
        found = jax.jit(model.hidden)(jax.device_put(params, shardings(model.axes, mesh)), ROWS, SEGMENTS)
    np.testing.assert_allclose(np.where(live, found, 0), np.where(live, hidden, 0), atol=1e-5)


def test_settings_survive_json_and_transformers():
    from transformers import T5Config

    for config in (V1_0, FLAN, FLAN | {"feed_forward_proj": "gated-silu"}, V1_0 | {"feed_forward_proj": "gelu_new"}):
        read = config_from_json(config)
        assert family_of(read) == "t5"
        written = json.loads(json.dumps(config_to_json(read)))
        assert config_from_json(written) == read
        theirs = T5Config.from_dict({key: value for key, value in written.items() if key != "model_type"})
        assert config_from_json(theirs.to_dict()) == dataclasses.replace(read, tied=True)  # 5.x forces it
        assert FAMILIES["t5"].architecture == "T5ForConditionalGeneration"
    bare = {"model_type": "t5", "vocab_size": 48, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 6}
    assert config_from_json(bare) == config_from_json(
        T5Config.from_dict({key: value for key, value in bare.items() if key != "model_type"}).to_dict()
    )
    for size in FAMILIES["t5"].sizes.values():
        assert family_of(size) == "t5"
    assert not FAMILIES["t5"].holds(DecoderConfig())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_the_tensors_are_the_parameters(tied, gated):
    config = dataclasses.replace(SMALL, tied=tied, encoder=dataclasses.replace(SMALL.encoder, gated=gated))
    model = make_language_model(config)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    paths = [tuple(key.key for key in path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    assert sorted(entry.path for entry in FAMILIES["t5"].table(config)) == sorted(paths)
    is_names = lambda leaf: isinstance(leaf, tuple)
    assert jax.tree.map(len, model.axes, is_leaf=is_names) == jax.tree.map(jnp.ndim, shapes)


def test_what_decides_head_and_scale(tmp_path, capsys):
    """`lm_head` is used where it is stored; the scale follows transformers 5's key, else `tie_word_embeddings`."""
    note.cache_clear()
    tensors = golden.tensors(FLAN)
    headless = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    of_5 = FLAN | {"tie_word_embeddings": True, "scale_decoder_outputs": False}  # how transformers 5 saves Flan-T5
    absent = {key: value for key, value in FLAN.items() if key != "tie_word_embeddings"}
    for number, (config, stored, tied, scaled) in enumerate(
        [
            (FLAN, tensors, False, False),
            (of_5, tensors, False, False),
            (of_5, headless, True, False),
            (FLAN, headless, True, False),
            (absent, headless, True, True),
            (absent, tensors, False, True),
        ]
    ):
        folder = golden.write(tmp_path / str(number), config)
        safetensors.numpy.save_file(stored, folder / "model.safetensors")
        model, params = huggingface.load(folder)
        assert (model.config.tied, model.config.encoder.scale_outputs) == (tied, scaled)
        assert huggingface.read_config(folder) == model.config
        assert ("head" in params) == (not tied)
    assert "lm_head.weight is stored and differs from shared.weight" in capsys.readouterr().err


def test_copies_of_the_embedding_are_one_and_an_old_bias_is_left_out(tmp_path):
    tensors = golden.tensors(FLAN)
    shared, folder = tensors.pop("shared.weight"), golden.write(tmp_path, FLAN)
    old = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight": np.zeros((8, 6), np.float32)}
    copies = {"encoder.embed_tokens.weight": shared, "decoder.embed_tokens.weight": shared.copy()}
    safetensors.numpy.save_file(tensors | copies | old, folder / "model.safetensors")
    _, params = huggingface.load(folder)
    np.testing.assert_array_equal(params["embed"]["embedding"], shared)
    copies["decoder.embed_tokens.weight"][3, 1] += 1
    safetensors.numpy.save_file(tensors | copies, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"'encoder.embed_tokens.weight' and 'decoder.embed_tokens.weight' differ"):
        huggingface.load(folder)


def test_an_export_has_the_same_tensors_and_says_where_the_decoder_starts(tmp_path):
    config = FLAN | {"dropout_rate": 0.1, "n_positions": 512, "decoder_start_token_id": 0, "my_notes": "ours"}
    folder = golden.write(tmp_path / "in", config)
    model, params = huggingface.load(folder)
    out = huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(folder))
    before, after = (safetensors.numpy.load_file(x / "model.safetensors") for x in (folder, out))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    written = json.loads((out / "config.json").read_text())
    assert {**written, **config} == written
    assert written["architectures"] == ["T5ForConditionalGeneration"]
    assert json.loads((out / "generation_config.json").read_text())["decoder_start_token_id"] == 0
    assert huggingface.load(out)[0].config == model.config


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"feed_forward_proj": "gated-swiglu"}, "feed_forward_proj is 'gated-swiglu'; expected one of gelu, gelu_new"),
        ({"feed_forward_proj": "double-relu"}, "feed_forward_proj is 'double-relu'"),
        ({"dense_act_fn": "silu"}, "dense_act_fn is 'silu', feed_forward_proj 'relu'; expected 'relu'"),
        ({"is_encoder_decoder": False}, "is_encoder_decoder is not true"),
        ({"num_key_value_heads": 2}, "num_key_value_heads is 2, but the t5 decoder has no such setting"),
        ({"attention_bias": True}, "attention_bias is true, but the t5 decoder has no such setting"),
        ({"relative_attention_max_distance": 4}, "max_distance=4: the first 4 distances have a bucket each"),
        ({"relative_attention_num_buckets": 7}, "buckets=7: half of them are for keys on the right"),
        ({"relative_attention_num_buckets": 2}, "relative_attention_num_buckets is 2; expected a whole number of at"),
        ({"d_model": None}, "d_model is None"),
        ({"architectures": ["T5EncoderModel"]}, "which has no language-model head; expected T5ForConditionalGener"),
        ({"model_type": "mt5"}, "model_type 'mt5' is not supported"),
    ],
)
def test_what_the_family_does_not_have_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        config_from_json(V1_0 | changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kv_heads": 1}, "kv_heads=1 with model.encoder: each of the 2 heads has its own keys; set --model"),
        ({"window": 4}, "model.window=4 with model.encoder"),
        ({"qk_norm": True}, "model.qk_norm=True with model.encoder"),
        ({"rope_theta": 5e5}, "model.rope_theta=500000.0 with model.encoder"),
        ({"attention": "splash"}, "model.attention='splash' with model.encoder: the kernels have no position bias"),
    ],
)
def test_settings_that_an_encoder_decoder_does_not_have_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **changed)


def test_lora_on_named_matrices(start, one_device):
    model, params, _, hidden = start
    names = {one.path: one.names[0] for one in linear_maps(model)}
    cross = ("decoder", "layers", "cross", "value")
    assert names[cross] == ("decoder.layers.0.cross.value", "decoder.block.0.layer.1.EncDecAttention.v")
    both = {("encoder", "layers", "attention", "query"), ("decoder", "layers", "attention", "query")}
    for targets, paths in (
        (("EncDecAttention.v", "cross.key"), {cross, ("decoder", "layers", "cross", "key")}),
        (("SelfAttention.q",), both),
        (("encoder.layers.attention.query",), {min(both, key=lambda path: path[0] == "decoder")}),
    ):
        adapter = Lora(rank=2, targets=targets)
        assert set(adapter.chosen(linear_maps(model))) == paths
    adapted = make_language_model(dataclasses.replace(SMALL, adapter=Lora(rank=2, targets=("cross.*", "wi_1"))))
    fresh = jax.jit(adapted.complete)(jax.random.key(0), {"base": params})
    noise = lambda x: x + 0.3 * np.random.default_rng(x.size).normal(size=x.shape).astype(np.float32)
    moved = {**fresh, "adapter": jax.tree.map(noise, fresh["adapter"])}

    @jax.jit
    def both(params):
        through_cache = adapted.decode(params, adapted.init_cache(1, 12), ROWS[1:], jnp.arange(12)[None])[0][0]
        return adapted.hidden(params, ROWS, SEGMENTS)[1], through_cache

    np.testing.assert_allclose(both(fresh)[0][5:], hidden[1, 5:], atol=1e-5)
    out, through_cache = both(moved)
    assert np.abs(out[5:] - hidden[1, 5:]).max() > 0.01
    np.testing.assert_allclose(through_cache[5:], out[5:], atol=1e-5)
    assert adapted.predicted is model.predicted


def test_an_adapter_of_one_stack_is_written_for_peft_by_its_complete_names(tmp_path, start, one_device):
    _, params, _, _ = start
    plain, params = huggingface.load(huggingface.save(tmp_path / "base", start[0], params))
    for targets, written in (
        (("encoder.*SelfAttention.q",), ["encoder.block.0.layer.0.SelfAttention.q"]),
        (("SelfAttention.q", "EncDecAttention.v"), ["SelfAttention.q", "SelfAttention.q", "EncDecAttention.v"]),
    ):
        model = make_language_model(dataclasses.replace(plain.config, adapter=Lora(rank=2, targets=targets)))
        shapes = jax.eval_shape(model.complete, jax.random.key(1), {"base": params})
        draw = lambda x: jnp.asarray(np.random.default_rng(x.size).normal(size=x.shape), jnp.float32)
        adapted = {"base": params, "adapter": jax.tree.map(draw, shapes["adapter"])}
        folder = tmp_path / str(len(targets))
        folder.mkdir()
        peft.save_adapter(folder, model, adapted, "../base")
        config = json.loads((folder / "adapter_config.json").read_text())
        assert (config["target_modules"], config["task_type"]) == (written, "SEQ_2_SEQ_LM")
        _, found = catalog.load_model(str(folder))
        chosen = lambda tree: jax.tree_util.tree_structure(tree["adapter"])
        assert chosen(found) == chosen(adapted)
        jax.tree.map(np.testing.assert_array_equal, found["adapter"], adapted["adapter"])
