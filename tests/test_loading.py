"""Loading by name: the ids that end a text, in one place for everything that decodes."""

import json

import jax
import pytest

from mtjax.data.tokenizer import load_tokenizer
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.runs.loading import load_any

TINY = DecoderConfig(vocab_size=262, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, mlp_width=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model of bytes, whose generation config ends texts with 258 (the tokenizer's), 10 and 260."""
    place = tmp_path_factory.mktemp("models") / "tiny"
    model = make_language_model(TINY)
    huggingface.save(place, model, model.init(jax.random.key(0)), tokenizer=load_tokenizer("bytes"))
    (place / "generation_config.json").write_text(json.dumps({"eos_token_id": [10, 258, 260]}))
    return str(place)


def test_end_ids_of_the_files_are_the_tokenizers(folder):
    loaded = load_any(folder)
    assert loaded.tokenizer.end_id == 258
    assert loaded.tokenizer.end_ids == (258, 10, 260)
    assert loaded.end_ids == (10, 258, 260)


def test_of_another_tokenizer_only_ids_that_mean_the_same_token_end_a_text(folder):
    loaded = load_any(folder, tokenizer="arithmetic")
    assert loaded.tokenizer.end_ids == (load_tokenizer("arithmetic").end_id,)
    assert load_any(folder, tokenizer="bytes").tokenizer.end_ids == (258, 10)  # its own by another name
