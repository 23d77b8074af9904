"""Wrong input on purpose: one clear error, exit code 2, no traceback, nothing half-written."""

import json
import pathlib
import shutil

import pytest

from mtjax import config as settings
from mtjax import recipe, train
from mtjax.errors import ExitCode

TINY = "configs/tiny.py"

# What is typed behind the config file, and words that the answer must hold: the value, and the way out.
OVERRIDES = {
    "misspelt key": (["--optim.lerning_rate=1e-3"], "--optim.learning_rate"),
    "misspelt section": (["--optm.learning_rate=1e-3"], "--optim.learning_rate"),
    "misspelt field of the objective": (["--objective.incorrect_weigth=1"], "--objective.incorrect_weight"),
    "misspelt objective": (["objective:nlll"], "did you mean 'nll'"),
    "unknown objective": (["objective:ppo"], "known: dco, dpo, kto"),
    "a word for a number": (["--optim.learning_rate=fast"], "fast"),
    "a fraction for a count": (["--steps=1.5"], "1.5"),
    "unknown schedule": (["--optim.schedule=cosin"], "cosine"),
    "negative learning rate": (["--optim.learning_rate=-1"], "expected a positive number"),
    "learning rate not a number": (["--optim.learning_rate=nan"], "expected a positive number"),
    "negative incorrect weight": (["--objective.incorrect_weight=-1"], "expected a finite number >= 0"),
    "no steps": (["--steps=0"], "expected at least 1"),
    "no rows": (["--batch_size=0"], "expected at least 1"),
    "negative seed": (["--seed=-1"], "expected at least 0"),
    "impossible mesh": (["--mesh.data=3"], "there are 8 devices"),
    "two open mesh axes": (["--mesh.data=-1", "--mesh.fsdp=-1"], "at most one is -1"),
    "tensor above the kv heads": (["--mesh.tensor=8"], "mesh.tensor=8 is more than model.kv_heads=1"),
    "context that does not divide": (
        ["--mesh.context=8", "--data.sequence_length=100"],
        "mesh.context=8 does not divide",
    ),
    "a kernel that cannot": (
        ["--model.attention=splash", "--data.sequence_length=96"],
        "'splash' cannot be used: 96 tokens",
    ),
    "rows that do not divide": (["--batch_size=12"], "batch_size=12 must be a multiple"),
    "micro-batches that do not divide": (["--micro_batches=3"], "micro_batches=3"),
    "heads that do not divide": (["--model.heads=3", "--model.kv_heads=2"], "multiple of model.kv_heads=2"),
    "odd head": (["--model.head_dim=7"], "must be even"),
    "no checkpoint kept": (["--checkpoint.keep=0"], "expected both at least 1"),
    "row too short": (["--data.sequence_length=1"], "sequence_length"),
    "rows shorter than every example": (["--data.sequence_length=8"], "sequence_length"),
    "no segments": (["--data.max_segments=0"], "max_segments"),
    "unknown tokenizer": (["--data.tokenizer=byts"], "bytes"),
    "no such model": (["--init_from=no/such/folder"], "no/such/folder"),
    "objective without its task": (["data.task:completion_task"], "needs the task 'mistake'"),
    "no such data file": (["data.source:jsonl", "--data.source.path=missing.jsonl"], "missing.jsonl"),
}

FILES = {
    "no config in it": ("x = 1\n", "defines no `config = Config(...)`"),
    "syntax error": ("from mtjax.config import Config\nconfig = Config(\n", "line 2"),
    "unknown argument": ("from mtjax.optim import OptimConfig\nOptimConfig(learning_rat=1.0)\n", "learning_rat"),
    "failing import": ("import not_a_module\n", "line 1"),
    "bad value": ("from mtjax.optim import OptimConfig\nOptimConfig(b1=2.0)\n", "b1=2.0"),
}


def answer(capsys, code, words):
    """The one line on stderr, after checking what every refusal must be."""
    said = capsys.readouterr()
    assert code == ExitCode.BAD_INPUT, said
    assert "Traceback" not in said.err
    assert said.err.startswith("error: ")
    assert len(said.err.strip().splitlines()) == 1
    assert len(said.err) < 900
    assert words in said.err


@pytest.mark.parametrize("name", OVERRIDES)
def test_overrides(name, tmp_path, capsys):
    words, expected = OVERRIDES[name]
    quick = ["--no_tensorboard", "--data.source.count=20", "--held_out.source.count=20"]
    quick = [word for word in quick if not (words[0].startswith("data.source:") and "data.source" in word)]
    code = train.main([TINY, f"--run_dir={tmp_path / 'run'}", *quick, *words])
    answer(capsys, code, expected)
    assert not list(tmp_path.rglob("checkpoints/[0-9]*"))


@pytest.mark.parametrize("name", FILES)
def test_config_files(name, tmp_path, capsys):
    text, expected = FILES[name]
    file = tmp_path / "config.py"
    file.write_text(text)
    answer(capsys, train.main([str(file)]), expected)


def test_a_missing_config_names_the_nearest(capsys):
    answer(capsys, train.main(["configs/tinny.py"]), "did you mean 'tiny.py'")
    answer(capsys, recipe.main([TINY]), "defines no `recipe = Comparison(...)`")


def test_a_switch_may_be_given_a_value_as_messages_name_it():
    given = settings.load(TINY, ["--overwrite=True", "--tensorboard=False", "--data.pack=False", "--self_check=False"])
    assert (given.overwrite, given.tensorboard, given.data.pack, given.self_check) == (True, False, False, False)
    assert given == settings.load(TINY, ["--overwrite", "--no_tensorboard", "--data.no_pack", "--no_self_check"])


RECORD = {"question": "1 + 1 =", "answer": "2", "right": ["2"], "wrong": ["3"]}
CORRUPT = {
    "cut line": (json.dumps(RECORD)[:-3], "data.jsonl:2"),
    "unknown field": (json.dumps(RECORD | {"rihgt": ["2"]}), "rihgt"),
    "wrong type": (json.dumps(RECORD | {"right": "2"}), "data.jsonl:2"),
    "not a record": ("[1, 2]", "data.jsonl:2"),
}


def jsonl_run(tmp_path, line, *more):
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join([json.dumps(RECORD), line, json.dumps(RECORD)] * 3) + "\n")
    words = ["data.source:jsonl", f"--data.source.path={file}", "--data.tokenizer=bytes", "held_out:none"]
    here = [f"--run_dir={tmp_path / 'run'}", "--steps=1", "--no_tensorboard", "--mesh.data=8", "--batch_size=8"]
    return train.main([TINY, *words, *here, *more])


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_data_names_file_and_line(name, tmp_path, capsys):
    line, expected = CORRUPT[name]
    answer(capsys, jsonl_run(tmp_path, line), expected)


def test_corrupt_data_may_be_skipped_and_is_counted(tmp_path, capsys):
    assert jsonl_run(tmp_path, "{", "--data.on_error=skip") == 0
    assert "3 skipped" in capsys.readouterr().out


# Reads of the torn checkpoint that were under way end after Orbax has closed its loop, and say so on stderr.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_broken_and_foreign_checkpoints(tmp_path, capsys):
    folder = tmp_path / "run"
    words = [TINY, f"--run_dir={folder}", "--steps=2", "--checkpoint.every=1", "--no_tensorboard", "--batch_size=8"]
    words += ["--data.source.count=20", "--held_out.source.count=20"]
    assert train.main(words) == 0
    capsys.readouterr()
    # A snapshot that lies lets another model through to the checkpoint, which refuses it by its first differing leaf.
    kept = folder / "config.py"
    kept.write_text(kept.read_text().replace("width=32", "width=16"))
    answer(capsys, train.main([*words, "--model.width=16"]), "there and")
    kept.write_text(kept.read_text().replace("width=16", "width=32"))
    # Torn: the newest loses its arrays; the one before is used.
    shutil.rmtree(folder / "checkpoints" / "2" / "default" / "d")
    assert train.main(words) == 0
    assert "trying the one before" in capsys.readouterr().out
    # A file where the folder should be.
    file = tmp_path / "file"
    pathlib.Path(file).write_text("")
    answer(capsys, train.main([TINY, f"--run_dir={file}"]), "is a file")
