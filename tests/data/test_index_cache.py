"""The cache of tokenised examples: whatever happens to its file, the examples are those of the source."""

import json

import numpy as np
import pytest

from mtjax.data.index import Fit, build_index, content_digest
from mtjax.data.sources import Jsonl
from mtjax.data.tasks import CompletionTask
from mtjax.data.tokenizer import load_tokenizer

BYTES, TASK = load_tokenizer("bytes"), CompletionTask()


@pytest.fixture
def build(tmp_path):
    """A function that builds the index of a small file, with its cache in the folder."""
    rows = ({"question": f"What is {n}?", "right": [f"Answer: {n}"]} for n in range(5))
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def build(task=TASK, tokenizer=BYTES):
        source = Jsonl(str(tmp_path / "data.jsonl"))
        return build_index(source, "raise", task, tokenizer, Fit(64, "drop", "raise"), str(tmp_path / "cache"))

    return build


def cache_files(tmp_path):
    return sorted((tmp_path / "cache").glob("index-*"))


def test_any_damage_is_noticed(build, tmp_path):
    sound = content_digest(build())
    (folder,) = cache_files(tmp_path)
    for file in sorted(folder.iterdir()):
        text = file.read_bytes()
        damages = [b"", b"\xff" * 50, text[:100], text[:-3], bytes(len(text) or 1)]
        for number, place in enumerate(range(0, len(text), len(text) // 10 + 1)):
            flipped = bytearray(text)
            flipped[place] ^= 1 << number % 8
            damages.append(bytes(flipped))
        for damaged in damages:
            file.write_bytes(damaged)
            assert content_digest(build()) == sound
            assert file.read_bytes() == text
        file.unlink()
        assert content_digest(build()) == sound


def test_another_end_token_is_another_cache(build, tmp_path):
    first = build()
    other = build(tokenizer=BYTES._replace(end_id=BYTES.bos_id))
    assert len(cache_files(tmp_path)) == 2
    assert not np.array_equal(first.tokens, other.tokens)


def test_changed_code_of_a_task_of_ones_own_is_another_cache(build, tmp_path, monkeypatch):
    from mtjax.config import read_module

    text = "from mtjax.data.tasks import CompletionTask\nclass Own(CompletionTask):\n    name = 'own'\n"
    file = tmp_path / "own_task.py"
    file.write_text(text)
    build(read_module(file).Own())
    file.write_text(text + "    # changed\n")
    build(read_module(file).Own())
    assert len(cache_files(tmp_path)) == 2


def test_the_digest_of_examples_sees_every_array(build):
    index = build()
    sound = content_digest(index)
    weights = np.array(index.weights)
    weights[3] = 0.5
    extra = {"polarity": index.per_sequence["polarity"][::-1] + 1}
    others = [
        index._replace(weights=weights),
        index._replace(ids=[*index.ids[1:], "x"]),
        index._replace(tokens=index.tokens[::-1].copy()),
        index._replace(per_sequence=extra),
        index._replace(per_token={"step_ids": np.zeros(3, np.int32)}),
    ]
    assert len({sound, *map(content_digest, others)}) == 6
