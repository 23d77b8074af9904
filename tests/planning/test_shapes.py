"""A run's model and batch as shapes: equal to what the run itself would make, without weights, data or network."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from mtjax.config import read_file
from mtjax.data.batches import make_batches
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model.families.base import config_to_json
from mtjax.model.sizes import size
from mtjax.planning.program import batch_shape, model_shape, reference_shape, shape_of

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
TINY = read_file(CONFIGS / "tiny.py")
LARGE = sorted(CONFIGS.glob("llama31_8b_*.py")) + [CONFIGS / "qwen25_7b_rise.py"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-8B", "llama-3-8b"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("smollm2", "smollm2-135m"),
    ],
)
def test_names_of_the_hub(name, known):
    assert shape_of(name) == size(known)


def test_a_folder_says_it_itself(tmp_path):
    shape = dataclasses.replace(size("llama-3.2-1b"), width=1024, layers=3)
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(shape)))
    assert shape_of(str(tmp_path)).layers == 3


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'llama-3.1-8b'"):
        shape_of("someone/Llama-3.1-9B")


@pytest.mark.parametrize("name", ["tiny", "tiny_dco"])
def test_the_batch_is_the_runs_own(name):
    config = read_file(CONFIGS / f"{name}.py")
    tokenizer = load_tokenizer(config.data.tokenizer)
    real = make_batches(config.data, tokenizer, batch_size=config.batch_size, seed=0).batch_at(0)
    told = batch_shape(config)
    assert jax.tree.map(lambda x: (x.shape, np.dtype(x.dtype)), told) == jax.tree.map(
        lambda x: (x.shape, x.dtype), real
    )
    assert model_shape(config).vocab_size == tokenizer.vocab_size


@pytest.mark.parametrize("file", LARGE, ids=lambda file: file.stem)
def test_the_large_configs_have_shapes(file):
    config = read_file(file)
    shape, batch = model_shape(config), batch_shape(config)
    assert (shape.dtype, shape.remat) == ("bfloat16", "auto")  # the memory of the devices decides
    sides = (2,) if "rise" in file.stem else ()
    assert batch.tokens.shape == (config.batch_size, *sides, config.data.sequence_length)
    assert (reference_shape(config, shape) is not None) == ("rise" in file.stem)


def test_kept_log_probs_travel_with_the_batch_instead_of_a_model():
    config = read_file(CONFIGS / "llama31_8b_rise.py")
    kept = dataclasses.replace(config, reference=dataclasses.replace(config.reference, kind="cached"))
    assert reference_shape(kept, model_shape(kept)) is None
    assert batch_shape(kept).extras["reference_logprob"].shape == (64, 2, 2048)


def test_a_reference_of_another_vocabulary_is_refused():
    config = read_file(CONFIGS / "llama31_8b_rise.py")
    other = dataclasses.replace(config, reference=dataclasses.replace(config.reference, model="Qwen/Qwen2.5-7B"))
    with pytest.raises(InputError, match="152064 tokens"):
        reference_shape(other, model_shape(other))
