"""A run with an adapter: its checkpoints, its base, and going on from it."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

from mtjax import config as settings
from mtjax import export
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model import catalog, huggingface, peft
from mtjax.model.language_model import make_language_model
from mtjax.runs.assembly import assemble
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from tests.devices import only_one_device

pytestmark = pytest.mark.usefixtures("one_device")
QUICK = ["--batch_size=4", "--data.source.count=60", "held_out:none", "--checkpoint.every=1", "--no_tensorboard"]
QUICK += [
    "--no_self_check",
    "model.adapter:lora",
    "--model.adapter.rank=2",
    "--model.adapter.targets",
    "q_proj",
    "down",
]


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base in a Hugging Face folder, and a function that trains on it in a folder of that name."""
    place = tmp_path_factory.mktemp("adapted")
    tokenizer = load_tokenizer("arithmetic")
    tiny = settings.read_file("configs/tiny.py")
    shape = dataclasses.replace(tiny.model, width=16, mlp_width=24, vocab_size=tokenizer.vocab_size)
    model = make_language_model(shape)
    huggingface.save(place / "base", model, jax.jit(model.init)(jax.random.key(3)), tokenizer=tokenizer)

    def run(name, *more):
        words = [f"--init_from={place / 'base'}", f"--run_dir={place / name}", *QUICK, *more]
        return train(settings.parse(tiny, words, "train"))

    with only_one_device():
        run("a", "--steps=1")
    return place, run


def test_a_resumed_run_is_the_one_that_ran_through_and_keeps_the_adapter_alone(runs):
    place, run = runs
    resumed, through = run("a", "--steps=2"), run("b", "--steps=2")
    assert bits(resumed.state) == bits(through.state)
    shapes = json.loads((place / "a" / "checkpoints" / "shapes.json").read_text())
    assert not any("base" in name for name in shapes)
    assert any(name.startswith("params/adapter/layers/mlp/down/") for name in shapes)
    base = huggingface.load(place / "base")[1]
    assert bits(resumed.state.params["base"]) == bits(base)
    whole = load_any(str(place / "a"), merge=False)
    assert bits(whole.params) == bits(resumed.state.params)
    assert load_any(str(place / "a")).model.config.adapter is None
    # Its adapter goes on in another run if the settings are the same; the reference is then the start, not the base.
    tiny = settings.read_file("configs/tiny.py")
    pairs = ["objective:dpo", "data.task:pair", f"--init_from={place / 'a'}", f"--run_dir={place / 'c'}", *QUICK]
    made = assemble(settings.parse(tiny, pairs, "train"))
    assert bits(made.state.params) == bits(whole.params)
    assert made.reference.params["base"] is made.state.params["base"]
    assert bits(made.reference.params["adapter"]) == bits(whole.params["adapter"])


def test_another_base_is_refused(runs):
    place, run = runs
    file = place / "base" / "model.safetensors"
    kept = file.read_bytes()
    model, params = huggingface.load(place / "base")
    try:
        huggingface.save(place / "base", model, jax.tree.map(lambda x: x * 1.01, params))
        with pytest.raises(InputError, match="adapter was trained to step . on another base model"):
            run("a", "--steps=3", "--accept_changed_data", "--data.tokenizer=arithmetic")
        with pytest.raises(InputError, match="was trained on another base model than .*bring back the model"):
            load_any(str(place / "a"), tokenizer="arithmetic")
    finally:
        huggingface.save(place / "base", model, params, tokenizer=load_tokenizer("arithmetic"))
    assert file.read_bytes() == kept


def test_the_adapter_of_a_run_is_one_for_peft_and_starts_a_run(runs):
    place, _ = runs
    whole = load_any(str(place / "a"), merge=False)
    (place / "adapter").mkdir()
    peft.save_adapter(place / "adapter", whole.model, whole.params, "../base")
    assert bits(catalog.load_model(str(place / "adapter"))[1]) == bits(whole.params)
    tiny = settings.read_file("configs/tiny.py")
    words = [f"--init_from={place / 'adapter'}", f"--run_dir={place / 'd'}", *QUICK]
    assert bits(assemble(settings.parse(tiny, words, "train")).state.params) == bits(whole.params)
    merged = assemble(settings.parse(tiny, words[:-5], "train"))
    assert bits(merged.state.params) == bits(load_any(str(place / "a")).params)
    assert merged.model.config.adapter is None


def test_exports_of_a_run_are_read_again_and_compared(runs, monkeypatch, capsys):
    place, _ = runs
    run, merged = str(place / "a"), load_any(str(place / "a"))
    assert export.main([f"{run}/checkpoints/1", str(place / "out"), "--dtype=bfloat16", "--max_shard_size=3KB"]) == 0
    assert "read again; the weights differ by at most" in capsys.readouterr().out
    assert len(list((place / "out").glob("model-*-of-*.safetensors"))) > 2
    rounded = jax.tree.map(lambda x: x.astype("bfloat16").astype("float32"), load_any(run, step=1).params)
    assert bits(huggingface.load(place / "out")[1]) == bits(rounded)
    card = (place / "out" / "README.md").read_text()
    for part in (
        "| objective | mistake_tuning",
        "| adapter | Lora(rank=2",
        "| loss | ",
        "config = mtjax.config.Config(",
    ):
        assert part in card
    assert export.main([run, str(place / "alone"), "--what=adapter"]) == 0
    assert f"read again with its base {place / 'base'}, and equal" in capsys.readouterr().out
    alone = load_any(str(place / "alone"))
    np.testing.assert_array_equal(*(jax.tree.leaves(each.params)[-1] for each in (alone, merged)))
    assert (place / "alone" / "tokenizer_config.json").is_file()

    class Hub:
        def whoami(self):
            if not seen["token"]:
                raise OSError("no token found")

        def create_repo(self, repo, private, exist_ok):
            seen["made"] = (repo, private)

        def upload_folder(self, repo_id, folder_path):
            return f"https://hub/{repo_id}"

    seen = {"token": False}
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    words = [run, str(place / "up"), "--push_to_hub=me/model", "--private"]
    assert export.main(words) == 2
    assert not (place / "up").exists()
    seen["token"] = True
    assert export.main(words) == 0
    assert seen["made"] == ("me/model", True)
    assert "uploaded to https://hub/me/model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "{run}"], "OUT is the model itself"),
        (["{run}"], "expected MODEL and OUT, two names"),
        (["{run}", "{new}", "--max_shard_size=big"], "max_shard_size=big: expected a size such as 5GB"),
        (["{run}/checkpoints/1", "{new}", "--step=1"], "names a step already"),
        (["{base}", "{new}", "--what=adapter"], "this model has no adapter"),
        (["{run}", "{new}", "--what=adapter", "--dtype=bfloat16"], "an adapter is written in float32"),
        (["{run}", "{new}", "--what=adapter", "--base={out}"], "belongs to another base model .*name that folder"),
    ],
)
def test_exports_that_cannot_be_made_are_refused(runs, words, message, capsys):
    place, _ = runs
    names = {"run": place / "a", "base": place / "base", "new": place / "new", "out": place / "out"}
    assert export.main([word.format(**names) for word in words]) == 2
    assert re.search(message, capsys.readouterr().err)
