"""Loading by name: the ids that end a text, in one place for everything that decodes."""

import dataclasses
import json

import jax
import pytest

from mtjax.config import Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources import Jsonl
from mtjax.data.tasks import ChatTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.objectives.nll import Nll
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from tests.data.test_tokenizer import CHATML, chatml

TINY = DecoderConfig(vocab_size=262, width=8, layers=1, heads=1, kv_heads=1, head_dim=8, mlp_width=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model of bytes, whose generation config ends texts with 258 (the tokenizer's), 10 and 260."""
    place = tmp_path_factory.mktemp("models") / "tiny"
    model = make_language_model(TINY)
    huggingface.save(place, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=load_tokenizer("bytes"))
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


def test_a_run_exports_the_end_ids_and_settings_of_its_start(tmp_path, one_device):
    """A base model whose EOS is not the token that its template closes turns with, trained for one step on a chat."""
    source, out = tmp_path / "base", tmp_path / "out"
    config = dataclasses.replace(TINY, tied=True)
    model = make_language_model(config)
    huggingface.save(source, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=chatml(CHATML), dtype="bfloat16")
    its = json.loads((source / "tokenizer_config.json").read_text()) | {"eos_token": "<|endoftext|>"}
    (source / "tokenizer_config.json").write_text(json.dumps(its))
    settings = json.loads((source / "config.json").read_text()) | {"model_type": "mistral", "sliding_window": None}
    settings |= {"architectures": ["MistralForCausalLM"], "eos_token_id": 259, "notes": "kept"}
    (source / "config.json").write_text(json.dumps(settings))
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [259, 260], "do_sample": True}))
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "chats.jsonl").write_text(json.dumps(chat) + "\n")
    run = Config(
        data=DataConfig(source=Jsonl(str(tmp_path / "chats.jsonl")), task=ChatTask(), sequence_length=48),
        init_from=str(source), steps=1, batch_size=1, tensorboard=False, run_dir=str(tmp_path / "run"), export=str(out),
        objective=Nll(), self_check=False,
    )  # fmt: skip
    result = train(run)
    assert result.tokenizer.end_ids == (261, 259, 260)
    written = json.loads((out / "config.json").read_text())
    assert (written["model_type"], written["notes"], written["torch_dtype"]) == ("mistral", "kept", "bfloat16")
    assert written["eos_token_id"] == [261, 259, 260]
    generation = json.loads((out / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["do_sample"]) == ([261, 259, 260], True)
    assert json.loads((out / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"
    assert load_any(str(out)).tokenizer.end_ids == load_any(run.run_dir).tokenizer.end_ids == (261, 259, 260)


def test_an_export_into_the_run_folder_is_refused_at_once(tmp_path):
    data = DataConfig(source=Jsonl("x"), task=ChatTask())
    with pytest.raises(InputError, match="is the run_dir"):
        Config(data=data, run_dir=str(tmp_path / "run"), export=str(tmp_path / "run"))
