"""A run whose start was deleted, moved or changed: used and resumed by what its folder keeps, or refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from mtjax import explain, export, generate, inspect
from mtjax.config import CheckpointConfig, Config
from mtjax.data.batches import DataConfig
from mtjax.data.sources import Jsonl
from mtjax.data.tasks import ChatTask, PairTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import InputError
from mtjax.model import huggingface
from mtjax.model.adapters.lora import Lora
from mtjax.model.language_model import make_language_model
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.optim import OptimConfig
from mtjax.planning.program import shape_of
from mtjax.runs.loading import load_any
from mtjax.runs.loop import train
from mtjax.runs.rounds.loop import run
from mtjax.runs.start import describe, kept_start, origin_of
from mtjax.training.reference import ReferenceConfig
from tests.data.test_tokenizer import CHATML, chatml
from tests.test_loading import TINY
from tests.tiny_rounds import Scripted, config

pytestmark = pytest.mark.usefixtures("one_device")
MODEL = dataclasses.replace(TINY, max_length=64)


@pytest.fixture
def place(tmp_path):
    """A base model whose EOS token is not the one that its template closes turns with, and records of two kinds."""
    write_base(tmp_path / "base", MODEL)
    chats = ({"messages": [{"role": "user", "content": f"a{n}"}, {"role": "assistant", "content": "b"}]} for n in "123")
    pairs = ({"question": f"{n}+1=", "right": ["2"], "wrong": ["3"]} for n in range(4))
    for name, rows in (("chats", chats), ("pairs", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def write_base(folder, shape):
    model = make_language_model(shape)
    huggingface.save(folder, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=chatml(CHATML), dtype="bfloat16")
    its = json.loads((folder / "tokenizer_config.json").read_text()) | {"eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(its))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [259, 260], "do_sample": True}))
    (folder / "LICENSE").write_bytes(b"as you like\xff")


def chat(place, name, steps=2, file="chats", task=None, **changes):
    own = {"init_from": str(place / "base"), "objective": Nll(), **changes}
    data = DataConfig(source=Jsonl(str(place / f"{file}.jsonl")), task=task or ChatTask(), sequence_length=48)
    return Config(
        data=data, steps=steps, batch_size=1, tensorboard=False, run_dir=str(place / name), self_check=False,
        checkpoint=CheckpointConfig(every=1), optim=OptimConfig(schedule="constant"), **own,
    )  # fmt: skip


def pair(place, name, steps=2, **changes):
    return chat(place, name, steps, "pairs", PairTask(), objective=Dpo(beta=0.1), **changes)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def facts(folder):
    """What readers of a run take from its start."""
    loaded = load_any(folder)
    tokenizer = loaded.tokenizer
    shapes = (loaded.model.config, describe(folder)[0], shape_of(folder))
    ends = (tokenizer.end_ids, loaded.end_ids, describe(folder)[2])
    return {"shapes": shapes, "ends": ends, "origin": origin_of(folder), "tokenizer": tokenizer.identity}


def files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_run_is_read_exported_and_resumed_without_its_start(place, capsys):
    through = train(chat(place, "through", steps=4)).state
    train(chat(place, "run"))
    name = str(place / "run")
    before, params = facts(name), bits(load_any(name).params)
    assert before["origin"].licence == {"LICENSE": b"as you like\xff"}
    assert before["ends"][0] == (261, 259, 260)
    assert export.main([name, str(place / "out")]) == 0
    shutil.rmtree(place / "base")
    assert facts(name) == before
    assert bits(load_any(name).params) == params
    assert export.main([name, str(place / "again")]) == 0
    one, two = (files(place / out) for out in ("out", "again"))
    assert one | {"README.md": b""} == two | {"README.md": b""}  # which names the folder
    assert generate.main([name, "a1", "--max_new_tokens=2"]) == 0
    assert explain.main([name, "--step=2"]) == 0
    assert inspect.main([name]) == 0
    assert explain.main([name, "--step=2", "--checkpoint=start"]) == 2  # those weights are gone
    said = capsys.readouterr().err
    assert "goes on with what it keeps" in said
    assert "there is no folder" in said
    resumed = train(chat(place, "run", steps=4, export=str(place / "last"))).state
    assert bits(resumed) == bits(through)
    assert (place / "last" / "LICENSE").read_bytes() == b"as you like\xff"


def test_a_run_that_started_from_a_run_outlives_it(place):
    train(chat(place, "first", model=dataclasses.replace(MODEL, dtype="bfloat16")))
    train(chat(place, "second", init_from=str(place / "first")))
    before = facts(str(place / "second"))
    shutil.rmtree(place / "base")
    shutil.rmtree(place / "first")
    (place / "second").rename(place / "moved")
    assert facts(str(place / "moved")) == before


@pytest.mark.slow
def test_a_start_of_another_shape_is_not_missed(place):
    through = train(chat(place, "through", steps=3)).state
    train(chat(place, "run"))
    before = facts(str(place / "run"))
    shutil.rmtree(place / "base")
    write_base(place / "base", dataclasses.replace(MODEL, rope_theta=500.0))
    assert bits(train(chat(place, "run", steps=3)).state) == bits(through)
    assert facts(str(place / "run")) == before


def test_an_adapter_needs_its_base(place):
    config = chat(place, "run", model=dataclasses.replace(MODEL, adapter=Lora(rank=2)))
    train(config)
    shutil.rmtree(place / "base")
    with pytest.raises(InputError, match=r"holds an adapter.*init_from='.*base'.*bring it back"):
        load_any(str(place / "run"))
    with pytest.raises(InputError, match=r"needs the model that it started from .*base.* as the base of its adapter"):
        train(dataclasses.replace(config, steps=3))


@pytest.mark.slow
def test_a_fixed_reference_is_needed_to_go_on_and_a_moving_one_is_not(place):
    train(pair(place, "fixed"))
    moving = ReferenceConfig(refresh_every=2, mix=0.5)
    through = train(pair(place, "through", steps=4, reference=moving)).state
    train(pair(place, "moving", reference=moving))
    before = facts(str(place / "fixed"))
    shutil.rmtree(place / "base")
    assert facts(str(place / "fixed")) == before
    with pytest.raises(InputError, match=r"needs the model that it started from .*base.* as its reference"):
        train(pair(place, "fixed", steps=3))
    assert bits(train(pair(place, "moving", steps=4, reference=moving)).state) == bits(through)


def test_a_reference_model_that_is_gone_is_missed_in_training_alone(place):
    shutil.copytree(place / "base", place / "other")
    config = pair(place, "run", reference=ReferenceConfig(model=str(place / "other")))
    train(config)
    before = facts(config.run_dir)
    shutil.rmtree(place / "other")
    assert facts(config.run_dir) == before
    with pytest.raises(InputError, match=r"reference\.model='.*other', cannot be loaded: .*bring it back"):
        train(dataclasses.replace(config, steps=3))


def test_a_run_of_an_earlier_version_takes_the_facts_from_its_start(place):
    train(chat(place, "run"))
    before = facts(str(place / "run"))
    shutil.rmtree(place / "run" / "start")
    assert facts(str(place / "run")) == before
    (place / "base").rename(place / "away")
    with pytest.raises(InputError, match=r"run of an earlier version|is of an earlier version.*init_from='.*base'"):
        load_any(str(place / "run"))
    (place / "away").rename(place / "base")
    train(chat(place, "run", steps=3))  # which keeps them
    shutil.rmtree(place / "base")
    assert facts(str(place / "run")) == before


def test_checkpoints_elsewhere_have_the_facts_beside_them(place):
    there = CheckpointConfig(every=1, folder=str(place / "store"))
    at = lambda steps: dataclasses.replace(chat(place, "run", steps), checkpoint=there)
    train(at(2))
    before = facts(str(place / "run"))
    shutil.rmtree(place / "run")  # another machine
    shutil.rmtree(place / "base")
    train(at(3))
    assert facts(str(place / "run")) == before


@pytest.mark.slow
def test_rounds_go_on_without_their_start(place):
    shape = dataclasses.replace(MODEL, vocab_size=load_tokenizer("arithmetic").vocab_size)
    model, words = make_language_model(shape), str(place / "base" / "words")
    shutil.rmtree(place / "base")
    huggingface.save(
        place / "base", model, jax.jit(model.init)(jax.random.key(0)), tokenizer=load_tokenizer("arithmetic")
    )
    load_tokenizer("arithmetic").save(words)
    folder = place / "rounds"
    settings = config(folder, rounds=1, train_init_from=str(place / "base"))
    named = dataclasses.replace(settings.train.data, tokenizer=words)
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, data=named))
    run(settings, make_sampler=Scripted(), say=lambda _: None)
    before = facts(str(folder))
    shutil.rmtree(place / "base")
    assert facts(str(folder)) == before
    done = run(dataclasses.replace(settings, rounds=2), make_sampler=Scripted(), say=lambda _: None)
    assert [line["round"] for line in done.lines] == [0, 1, 2]
    assert facts(str(folder)) == before


def test_damaged_facts_are_named(place):
    train(chat(place, "run"))
    file = place / "run" / "start" / "start.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(InputError, match=r"start\.json cannot be read .*bring it back, or delete"):
        load_any(str(place / "run"))
    shutil.rmtree(file.parent)
    assert kept_start(place / "run") is None
    assert load_any(str(place / "run")).step == 2
