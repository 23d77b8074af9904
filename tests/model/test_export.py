"""What an export keeps of the checkpoint that a model came from."""

import json
import os
import stat

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from mtjax.data.tokenizer import load_tokenizer
from mtjax.model import huggingface
from tests.model import golden

MISTRAL = golden.COMMON | {"model_type": "mistral", "tie_word_embeddings": False, "sliding_window": None}
MISTRAL |= {"architectures": ["MistralForCausalLM"], "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
MISTRAL |= {"dtype": "bfloat16", "our_notes": {"run": 7}, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": 262}
GENERATION = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.05, "bos_token_id": 1}
GENERATION |= {"eos_token_id": [2, 7], "pad_token_id": 3, "transformers_version": "4.37.0"}


def write(folder, config=MISTRAL, **files):
    """A checkpoint in bfloat16 with norms in float32, a generation config, a licence and a README."""
    golden.write(folder, config)
    tensors = golden.tensors(config)
    cast = {name: x if "norm" in name else x.astype(ml_dtypes.bfloat16) for name, x in tensors.items()}
    safetensors.numpy.save_file(cast, folder / "model.safetensors")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION))
    (folder / "LICENSE").write_text("You may.")
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\ntags:\n- x\n---\n# The original\n")
    return folder


def read(file):
    return json.loads(file.read_text())


@pytest.fixture
def exported(tmp_path):
    source = write(tmp_path / "source")
    model, params = huggingface.load(source)
    tokenizer = load_tokenizer("bytes")
    tokenizer = tokenizer._replace(end_ids=(*tokenizer.end_ids, 2, 7))
    origin = huggingface.read_origin(source, "org/base")
    return huggingface.save(tmp_path / "out", model, params, tokenizer=tokenizer, origin=origin)


def test_the_config_keeps_family_and_unknown_keys(exported):
    config = read(exported / "config.json")
    assert (config["model_type"], config["architectures"]) == ("mistral", ["MistralForCausalLM"])
    assert config["our_notes"] == {"run": 7}
    assert (config["rope_theta"], config["rope_scaling"], config["torch_dtype"]) == (5e5, None, "bfloat16")
    assert not {"rope_parameters", "dtype"} & config.keys()
    assert config["eos_token_id"] == [258, 2, 7]
    assert huggingface.read_config(exported) == huggingface.read_config(exported.parent / "source")


def test_generation_settings_stay_and_end_ids_are_the_runs(exported):
    wanted = GENERATION | {"eos_token_id": [258, 2, 7], "bos_token_id": 257}
    assert read(exported / "generation_config.json") == wanted
    assert set(huggingface.end_ids(exported)) == {258, 2, 7}


def test_generation_settings_of_an_old_config_stay(tmp_path):
    source = write(tmp_path / "source", MISTRAL | {"do_sample": True, "temperature": 0.6})
    (source / "generation_config.json").unlink()
    model, params = huggingface.load(source)
    out = huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(source))
    assert read(out / "generation_config.json") == {"do_sample": True, "temperature": 0.6}
    assert read(out / "config.json")["eos_token_id"] == 2


def test_weights_keep_their_types_and_bits(exported):
    with safetensors.safe_open(exported / "model.safetensors", "numpy") as file:
        types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert {name: kind for name, kind in types.items() if "norm" in name} == dict.fromkeys(
        [name for name in types if "norm" in name], "F32"
    )
    assert {kind for name, kind in types.items() if "norm" not in name} == {"BF16"}
    before, after = (safetensors.numpy.load_file(exported.parent / x / "model.safetensors") for x in ("source", "out"))
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_asked_type_goes_before_and_what_float16_cannot_hold_stays(dtype, tmp_path, capsys):
    source = write(tmp_path / "source")
    model, params = huggingface.load(source)
    params["embed"]["embedding"] = params["embed"]["embedding"].at[0, 0].set(1e6)
    out = huggingface.save(tmp_path / "out", model, params, dtype=dtype, origin=huggingface.read_origin(source))
    stored = safetensors.numpy.load_file(out / "model.safetensors")
    assert stored["lm_head.weight"].dtype == dtype
    assert read(out / "config.json")["torch_dtype"] == dtype
    assert stored["model.embed_tokens.weight"][0, 0] == 1e6
    assert ("model.embed_tokens.weight is exported as float32" in capsys.readouterr().err) == (dtype == "float16")


def test_licence_files_stay_and_the_readme_says_where_the_model_comes_from(exported):
    assert (exported / "LICENSE").read_text() == "You may."
    card = (exported / "README.md").read_text()
    assert card.startswith('---\nlicense: apache-2.0\nbase_model: "org/base"\n')
    assert "The original" not in card


def test_files_have_the_usual_permissions(exported):
    umask = os.umask(0)
    os.umask(umask)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in exported.iterdir()}
    assert modes == dict.fromkeys(modes, 0o666 & ~umask)


def test_of_a_head_that_is_not_tied_the_export_says_so(tmp_path):
    source = write(tmp_path / "source", MISTRAL)
    config = read(source / "config.json") | {"tie_word_embeddings": True}
    (source / "config.json").write_text(json.dumps(config))
    model, params = huggingface.load(source)
    out = huggingface.save(tmp_path / "out", model, params, origin=huggingface.read_origin(source))
    assert read(out / "config.json")["tie_word_embeddings"] is False
    jax.tree.map(np.testing.assert_array_equal, huggingface.load(out)[1], params)
