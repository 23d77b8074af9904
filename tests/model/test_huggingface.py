"""Hugging Face folders: what transformers reads of ours, split files, meshes, dialects, and the ways to be broken."""

import dataclasses
import json

import chex
import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.tokenizer import load_tokenizer
from mtjax.distributed.sharding import MeshSpec, make_mesh
from mtjax.errors import InputError
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.families import tensors
from mtjax.model.huggingface import config_from_json, config_to_json
from mtjax.model.language_model import make_language_model
from mtjax.model.rope import RopeScaling
from tests.model import golden

LLAMA = golden.COMMON | {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 5e5}
QWEN = golden.COMMON | {"model_type": "qwen2", "tie_word_embeddings": True, "rope_theta": 1e6}
SMALL = DecoderConfig(vocab_size=262, width=16, layers=3, heads=4, kv_heads=2, head_dim=8, mlp_width=24)


def small():
    model = make_language_model(SMALL)
    return model, jax.jit(model.init)(jax.random.key(0))


@given(
    inputs=st.sampled_from([None, 1, 2]),
    cuts=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(1, 3))] * 3),
)
def test_any_block_is_read_as_from_the_whole(inputs, cuts):
    """A parameter [4, 6, 5] written as the hub stores it; any block read back equals the block of the parameter."""
    whole = np.arange(120, dtype=np.float32).reshape(4, 6, 5)
    tensor = tensors.InMemory(tensors.to_hub(whole, inputs))
    assert tensor.get_shape() == tensors.hub_shape((4, 6, 5), inputs)
    index = tuple(slice(start, start + size) for start, size in cuts)
    index = tuple(slice(part.start, min(part.stop, size)) for part, size in zip(index, (4, 6, 5), strict=True))
    np.testing.assert_array_equal(tensors._read(tensor, (4, 6, 5), inputs, index), whole[index])


@pytest.mark.parametrize("spec", [MeshSpec(fsdp=4), MeshSpec(data=2, fsdp=2, tensor=2)])
def test_a_mesh_gets_the_same_numbers_from_split_files(spec, tmp_path):
    model, params = small()
    huggingface.save(tmp_path / "split", model, params, file_bytes=20_000)
    huggingface.save(tmp_path / "one", model, params)
    assert (tmp_path / "split" / huggingface.INDEX).is_file()
    _, placed = huggingface.load(tmp_path / "split", mesh=make_mesh(spec))
    chex.assert_trees_all_equal(placed, huggingface.load(tmp_path / "one")[1])
    kernel = placed["layers"]["mlp"]["down"]["kernel"]  # [L, F, D], split by tensor and fsdp
    assert kernel.addressable_shards[0].data.shape == (3, 24 // spec.tensor, 16 // spec.fsdp)


def test_each_part_is_on_its_device_before_the_next_is_read(tmp_path, monkeypatch):
    model, params = small()
    huggingface.save(tmp_path / "m", model, params)
    events, read, put = [], tensors._read_layers, jax.device_put
    monkeypatch.setattr(tensors, "_read_layers", lambda *given: events.append("read") or read(*given))
    monkeypatch.setattr(jax, "device_put", lambda *given: events.append(given[1]) or put(*given))
    _, placed = huggingface.load(tmp_path / "m", mesh=make_mesh(MeshSpec(fsdp=8)))
    assert events[::2] == ["read"] * 8 * len(jax.tree.leaves(params))
    assert events[1::2] == jax.devices() * len(jax.tree.leaves(params))
    jax.tree.map(np.testing.assert_array_equal, placed, params)


@pytest.mark.parametrize("spec", [None, pytest.param(MeshSpec(fsdp=2, tensor=2, data=2), marks=pytest.mark.slow)])
def test_of_large_parameters_the_host_reads_some_layers_at_a_time(spec, tmp_path, monkeypatch):
    """With room for two layers of the widest parameter: no more is read at once, and the numbers are the same."""
    model, params = small()
    huggingface.save(tmp_path / "m", model, params)
    mesh = None if spec is None else make_mesh(spec)
    wanted = huggingface.load(tmp_path / "m", mesh=mesh, storage="bfloat16")[1]
    most, read, largest = 2 * 4 * 16 * 24 // (1 if spec is None else 4), tensors._read_layers, []
    monkeypatch.setattr(tensors, "AT_ONCE", most)
    monkeypatch.setattr(tensors, "_read_layers", lambda *given: largest.append((out := read(*given)).nbytes) or out)
    found = huggingface.load(tmp_path / "m", mesh=mesh, storage="bfloat16")[1]
    chex.assert_trees_all_equal(found, wanted)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, wanted)
    assert jax.tree.map(lambda x: x.sharding, found) == jax.tree.map(lambda x: x.sharding, wanted)
    assert max(largest) == max(most, found["embed"]["embedding"].addressable_shards[0].data.size * 4)


def test_bytes_are_equal_after_load_and_save_in_both_types(tmp_path):
    model, params = small()
    for dtype in ("float32", "bfloat16"):
        huggingface.save(tmp_path / "a", model, params, dtype=dtype)
        huggingface.save(tmp_path / "b", *huggingface.load(tmp_path / "a"), dtype=dtype)
        for name in ("model.safetensors", "config.json"):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_transformers_reads_what_is_saved(tmp_path):
    """Config, generation config and tokenizer with its chat template, by transformers' own classes."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    scaling = RopeScaling("llama3", factor=8.0, original_length=64)
    model = make_language_model(dataclasses.replace(SMALL, rope_scaling=scaling, rope_theta=5e5))
    tokenizer = load_tokenizer("bytes")
    assert huggingface.save(tmp_path / "m", model, small()[1], tokenizer=tokenizer) == tmp_path / "m"
    config = AutoConfig.from_pretrained(tmp_path / "m")
    assert config.model_type == "llama"
    assert config.rope_parameters["rope_theta"] == 5e5
    assert config.rope_parameters["rope_type"] == "llama3"
    assert config.head_dim == 8
    assert config.eos_token_id == tokenizer.end_id
    assert GenerationConfig.from_pretrained(tmp_path / "m").eos_token_id == tokenizer.end_id
    theirs = AutoTokenizer.from_pretrained(tmp_path / "m")
    assert theirs.chat_template == tokenizer.chat_template
    assert theirs("6 * 7", add_special_tokens=False)["input_ids"] == tokenizer.encode("6 * 7").ids
    assert load_tokenizer(str(tmp_path / "m")).fingerprint == tokenizer.fingerprint
    assert huggingface.end_ids(tmp_path / "m") == (tokenizer.end_id,)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"tied": True, "rope_scaling": RopeScaling("yarn", factor=4.0, original_length=512)},
        {"rope_scaling": RopeScaling("yarn", factor=4.0, original_length=512, attention_factor=1.5)},
        {"rope_scaling": RopeScaling("linear", factor=2.0)},
        {"qkv_bias": True, "window": 4, "window_layers": (False, True, True)},
        {"qkv_bias": True, "window": 4, "window_layers": (True, False, True)},
        {"window": 8},
    ],
)
def test_config_survives_json_and_transformers(change):
    """To JSON and back is the same decoder, also when transformers 5.x has read and written it in its own dialect."""
    from transformers import CONFIG_MAPPING

    config = dataclasses.replace(SMALL, **change)
    written = json.loads(json.dumps(config_to_json(config)))
    forgets = config.rope_scaling and config.rope_scaling.kind == "linear"  # original length: not part of `linear`
    wanted = (
        config
        if not forgets
        else dataclasses.replace(
            config, rope_scaling=dataclasses.replace(config.rope_scaling, original_length=config.max_length)
        )
    )
    assert config_from_json(written) == wanted
    theirs = CONFIG_MAPPING[written.pop("model_type")].from_dict(written).to_dict()
    assert "rope_parameters" in theirs
    assert config_from_json(theirs) == wanted


def test_a_window_that_no_family_has_is_refused():
    with pytest.raises(InputError, match="window on only some layers"):
        config_to_json(dataclasses.replace(SMALL, window=4, window_layers=(True, False, True)))


def test_absent_keys_take_the_defaults():
    bare = {key: LLAMA[key] for key in ("model_type", "vocab_size", "hidden_size", "intermediate_size")}
    config = config_from_json(bare | {"num_hidden_layers": 4, "num_attention_heads": 4})
    assert (config.kv_heads, config.head_dim, config.rope_theta, config.norm_eps) == (4, 8, 1e4, 1e-6)
    assert (config.tied, config.window, config.max_length) == (False, None, 2048)
    idle = config_from_json(QWEN | {"sliding_window": 4, "use_sliding_window": False})
    assert idle.window is None
    old = config_from_json(LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}})
    assert old.rope_scaling == RopeScaling("linear", factor=2.0, original_length=128)


def test_a_stored_head_equal_to_the_embedding_is_tied_and_old_buffers_are_skipped(tmp_path):
    config = LLAMA | {"tie_word_embeddings": True}
    golden.write(tmp_path, config)
    tensors = golden.tensors(config) | {
        "lm_head.weight": golden.tensors(config)["model.embed_tokens.weight"],
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32),
    }
    before = huggingface.load(tmp_path)[1]
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    after = huggingface.load(tmp_path)[1]
    assert "head" not in after
    chex.assert_trees_all_equal(before, after)


def test_end_ids_may_be_one_or_a_list(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 2}))
    assert huggingface.end_ids(tmp_path) == (2,)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [5, 3]}))
    assert huggingface.end_ids(tmp_path) == (2, 3, 5)


def test_saving_replaces_a_model_and_nothing_else(tmp_path):
    model, params = small()
    huggingface.save(tmp_path / "m", model, params)
    huggingface.save(tmp_path / "m", model, params)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a model folder"):
        huggingface.save(tmp_path / "mine", model, params)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistal"}, "model_type 'mistal' is not supported; expected one of .*llama,"),
        ({"model_type": None}, "model_type None"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"mlp_bias": True}, "mlp_bias is true"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"num_attention_heads": 5, "head_dim": None}, "num_attention_heads 5: not a multiple"),
        ({"num_key_value_heads": 3}, "kv_heads=3"),
        ({"rope_parameters": {"rope_type": "lama3"}}, "rope type 'lama3' is not supported; expected default, linear"),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
            "needs original_max_position_embeddings, low_freq_factor",
        ),
        ({"rope_scaling": {"rope_type": "linear"}}, "needs factor"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "expected a flat dict"),
        ({"partial_rotary_factor": 0.5}, "'partial_rotary_factor' is 0.5, which is not supported"),
        (
            {"model_type": "mistral", "sliding_window": 4, "layer_types": ["full_attention"]},
            "for each of 4 layers",
        ),
        ({"model_type": ["llama"]}, "model_type \\['llama'\\] is not supported"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5'; expected a positive number"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false'; expected true or false"),
        ({"initializer_range": [0.02]}, "initializer_range"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "four"}}, "factor is 'four'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "attention_factor": "x"}}, "attention_factor is 'x'"),
        (
            {"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 1.5}},
            "is 1.5; expected a whole number",
        ),
        (
            {
                "rope_scaling": {
                    "type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 4.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                }
            },
            "low_freq_factor=4.0, high_freq_factor=4.0: expected 0 < low_freq_factor < high_freq_factor",
        ),
        ({"model_type": "mistral", "sliding_window": 4, "layer_types": 4}, "layer_types is 4"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4, "max_window_layers": "2"},
            "max_window_layers is '2'; expected a whole number of at least 0",
        ),
    ],
)
def test_an_unsupported_config_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        config_from_json(LLAMA | change)


def break_folder(folder, what):
    model, params = small()
    huggingface.save(folder, model, params, file_bytes=20_000)
    index = folder / huggingface.INDEX
    files = sorted(folder.glob("*.safetensors"))
    if what == "lost file":
        files[1].unlink()
    elif what == "no map":
        index.write_text("{}")
    elif what == "garbage":
        files[0].write_bytes(b"not safetensors at all")
    elif what == "lost tensor":
        tensors = safetensors.numpy.load_file(files[0])
        tensors.pop(sorted(tensors)[0])
        safetensors.numpy.save_file(tensors, files[0])
    elif what == "list":
        (folder / "config.json").write_text("[]")
    elif what == "torch only":
        for file in [*files, index]:
            file.unlink()
        (folder / "pytorch_model.bin").write_bytes(b"")
    elif what == "integers":
        tensors = safetensors.numpy.load_file(files[0])
        safetensors.numpy.save_file({name: x.astype(np.int8) for name, x in tensors.items()}, files[0])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("lost file", "does not exist, though model.safetensors.index.json names it"),
        ("no map", "no weight_map"),
        ("garbage", "not a complete safetensors file"),
        ("lost tensor", "which model.safetensors.index.json lists in it"),
        ("list", "expected an object"),
        ("torch only", "convert the PyTorch .bin files"),
        ("integers", "is of type I8"),
    ],
)
def test_a_broken_split_folder_is_refused(what, message, tmp_path):
    break_folder(tmp_path / "m", what)
    with pytest.raises(InputError, match=message):
        huggingface.load(tmp_path / "m")


def test_a_missing_head_a_missing_folder_and_an_odd_mesh_are_refused(tmp_path):
    golden.write(tmp_path, LLAMA | {"tie_word_embeddings": True})
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    with pytest.raises(InputError, match="lm_head.weight is missing, though .* set it to true"):
        huggingface.load(tmp_path)
    with pytest.raises(InputError, match="does not exist; expected a folder"):
        huggingface.load(tmp_path / "absent")
    golden.write(tmp_path, LLAMA)
    with pytest.raises(InputError, match=r"layers.attention.query.kernel .* cannot be split"):
        huggingface.load(tmp_path, mesh=make_mesh(MeshSpec(tensor=8)))
