"""Two sources of the same weights, and folders that hold something else than a model."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mtjax.errors import InputError, note
from mtjax.model import catalog, huggingface
from tests.model import golden

LLAMA = golden.COMMON | {"model_type": "llama", "tie_word_embeddings": False, "rope_theta": 1e4}
TIED = LLAMA | {"tie_word_embeddings": True}
WHOLE = golden.tensors(LLAMA)
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4665\nsize 988097824\n"


def write(folder, config, tensors):
    golden.write(folder, config)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return folder


def last_logits(folder):
    model, params = huggingface.load(folder)
    tokens = jnp.asarray(golden.TOKENS, jnp.int32)[None]
    return model.logits(params, model.hidden(params, tokens, jnp.ones_like(tokens)))[0, -1, :5]


# Logits from LlamaForCausalLM of transformers 5.23.0 (torch 2.13.0, CPU).
@pytest.mark.parametrize(
    ("tensors", "tied", "logits"),
    [
        (WHOLE, False, (-1.56749, -0.06344, 0.69713, 0.9819, 0.69527)),
        (WHOLE | {HEAD: WHOLE[EMBEDDING]}, True, (0.10756, 0.0738, 0.7682, -0.81417, 0.15028)),
        ({k: v for k, v in WHOLE.items() if k != EMBEDDING}, True, (0.2751, -0.37261, 1.0244, -0.91066, -0.64014)),
    ],
)
def test_a_head_under_a_tie_is_read_as_by_transformers(tensors, tied, logits, tmp_path, capsys):
    folder = write(tmp_path / "m", TIED, tensors)
    assert huggingface.read_config(folder).tied == huggingface.load(folder)[0].config.tied == tied
    np.testing.assert_allclose(last_logits(folder), logits, atol=2e-4)
    told = capsys.readouterr().err
    assert ("both are read and not tied, as in transformers 5" in told) == (not tied)


def test_of_a_single_file_and_an_index_the_single_file_is_read_and_it_is_said(tmp_path, capsys):
    folder = write(tmp_path / "m", LLAMA, WHOLE)
    alone = last_logits(folder)
    safetensors.numpy.save_file({name: x / 2 for name, x in WHOLE.items()}, folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": dict.fromkeys(WHOLE, "model-00001-of-00001.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert not capsys.readouterr().err
    np.testing.assert_array_equal(last_logits(folder), alone)
    assert "model.safetensors is read, as in transformers" in capsys.readouterr().err


def test_an_index_that_names_the_single_file_is_followed(tmp_path, capsys):
    folder = write(tmp_path / "m", LLAMA, WHOLE)
    alone = last_logits(folder)
    first = {name: x for name, x in WHOLE.items() if "layers.0" in name}
    rest = {name: x for name, x in WHOLE.items() if name not in first}
    safetensors.numpy.save_file(first | {HEAD: 2 * WHOLE[HEAD]}, folder / "model.safetensors")  # the head is elsewhere
    safetensors.numpy.save_file(rest, folder / "other.safetensors")
    index = dict.fromkeys(first, "model.safetensors") | dict.fromkeys(rest, "other.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    np.testing.assert_array_equal(last_logits(folder), alone)
    assert "lm_head.weight there is not read" in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_refused_by_name(value, tmp_path):
    name = "model.layers.2.mlp.down_proj.weight"
    spoilt = WHOLE[name].copy()
    spoilt[3, [5, 6]] = value, -value
    folder = write(tmp_path / "m", LLAMA, WHOLE | {name: spoilt})
    with pytest.raises(InputError, match=rf"'{name}' has 2 NaN or infinite values of 1792"):
        huggingface.load(folder)
    large = WHOLE[EMBEDDING].astype(np.float64)
    large[0, 0] = 1e300  # no float32
    with pytest.raises(InputError, match=rf"'{EMBEDDING}' has 1 NaN or infinite values"):
        huggingface.load(write(tmp_path / "m", LLAMA, WHOLE | {EMBEDDING: large}))


def test_other_weights_beside_the_ones_read_are_named(tmp_path, capsys):
    folder = write(tmp_path / "m", LLAMA, WHOLE)
    for name in ("pytorch_model.bin", "consolidated.safetensors", "training_args.bin", "optimizer.pt"):
        (folder / name).write_bytes(b"")
    huggingface.load(folder)
    assert "not read: consolidated.safetensors, pytorch_model.bin\n" in capsys.readouterr().err


FILES = {
    "gguf": ({"m.Q4_K_M.gguf": "GGUF"}, r"holds a GGUF file of llama.cpp \(m.Q4_K_M.gguf\): .*gguf_file='m.Q4_K_M"),
    "pickle": ({"pytorch_model.bin": ""}, r"PyTorch pickles \(pytorch_model.bin\): convert .*from_pretrained"),
    "meta": ({"consolidated.00.pth": "", "params.json": "{}"}, "in Meta's own format"),
    "parts": ({"model-00001-of-00002.safetensors": ""}, "parts of a checkpoint without model.safetensors.index"),
    "other name": ({"weights.safetensors": ""}, "weights under other names"),
    "flax": ({"flax_model.msgpack": ""}, "weights for Flax"),
    "adapter": (
        {"adapter_config.json": '{"base_model_name_or_path": "org/base"}', "adapter_model.safetensors": ""},
        r"holds an adapter, not a model: .*base: org/base\)",
    ),
    "nothing": ({"notes.txt": ""}, "found .*notes.txt"),
}


@pytest.mark.parametrize("with_config", [False, True])
@pytest.mark.parametrize("kind", FILES)
def test_another_kind_of_folder_is_called_by_its_name(kind, with_config, tmp_path):
    files, message = FILES[kind]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if with_config:
        (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    with pytest.raises(InputError, match=message):
        huggingface.load(tmp_path)


def test_an_adapter_beside_a_complete_model_is_refused(tmp_path):
    folder = write(tmp_path / "m", LLAMA, WHOLE)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    for read in (huggingface.load, huggingface.read_config):
        with pytest.raises(InputError, match="complete model and an adapter .*or move the adapter's files"):
            read(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quant_method": "awq", "bits": 4}, r"quantised \(awq, 4 bits\)"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, r"\(gptq, 4 bits\)"),
        ({"quant_method": "fp8"}, r"\(fp8\)"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, r"\(bitsandbytes\)"),
        ({"quant_method": "compressed-tensors"}, r"\(compressed-tensors\)"),
        ({"zero_point": True}, r"\(unknown method\)"),
    ],
)
def test_quantised_checkpoints_are_refused_by_their_method(settings, message, tmp_path):
    wanted = message + ".*original checkpoint.*delete quantization_config"
    with pytest.raises(InputError, match=wanted):
        huggingface.load(write(tmp_path / "m", LLAMA | {"quantization_config": settings}, WHOLE))
    folder = write(tmp_path / "m", LLAMA, WHOLE)
    (folder / "quantize_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=message + ".*delete .*quantize_config.json"):
        huggingface.load(folder)


@pytest.mark.parametrize("key", ["compression_config", "quantization", "quant_config"])
def test_other_keys_of_quantised_checkpoints_are_refused_as_such(key, tmp_path):
    with pytest.raises(InputError, match=f"{key} says that this checkpoint is quantised .*original checkpoint"):
        huggingface.load(write(tmp_path / "m", LLAMA | {key: {"format": "pack-quantized"}}, WHOLE))


@pytest.mark.parametrize("end", ["qweight", "weight_scale_inv", "weight.absmax", "weight_packed"])
def test_packed_tensors_without_a_quantization_config_are_refused(end, tmp_path):
    name = "model.layers.0.mlp.down_proj."
    tensors = {k: v for k, v in WHOLE.items() if not k.startswith(name)} | {name + end: np.zeros(4, np.int32)}
    with pytest.raises(InputError, match=rf"is quantised \({name}{end}\)"):
        huggingface.load(write(tmp_path / "m", LLAMA, tensors))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_git_lfs_pointer_is_called_one(name, tmp_path):
    folder = write(tmp_path / "m", LLAMA, WHOLE)
    (folder / name).write_text(LFS)
    with pytest.raises(InputError, match=rf"{name} is a Git LFS pointer.*git lfs pull"):
        huggingface.load(folder)


def test_a_file_in_place_of_a_folder_is_called_by_its_kind(tmp_path):
    for name, message in (
        ("m.gguf", "is a GGUF file.*gguf_file='m.gguf'"),
        ("model.safetensors", "expected the folder"),
    ):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(InputError, match=message):
            catalog.find_model(str(tmp_path / name))


def test_a_folder_called_as_the_packaged_model_is_read_and_said(tmp_path, monkeypatch, capsys):
    note.cache_clear()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2").mkdir()
    assert catalog.find_model("smollm2") == pathlib.Path("smollm2")
    assert "not the packaged model" in capsys.readouterr().err


def test_only_the_shape_is_read_of_incomplete_weights(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TIED))
    assert huggingface.read_config(tmp_path).tied
    (tmp_path / "model.safetensors").write_text(LFS)
    assert huggingface.read_config(tmp_path).tied
