"""`python -m mtjax.generate`: folders, chat templates, JSON, and every misuse answered in one line with exit code 2."""

import io
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import pytest

from mtjax import generate
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model

pytestmark = pytest.mark.usefixtures("one_device")

TINY = pathlib.Path(__file__).parent.parent / "configs" / "tiny.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random model with the bytes tokenizer, in a Hugging Face folder."""
    tokenizer = load_tokenizer("bytes")
    config = DecoderConfig(vocab_size=tokenizer.vocab_size, width=16, layers=2, heads=2, kv_heads=1, mlp_width=24)
    model = make_language_model(config)
    place = tmp_path_factory.mktemp("models") / "tiny"
    return str(huggingface.save(place, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=tokenizer))


def run(*argv):
    return generate.main([str(word) for word in argv])


def test_samples_of_several_prompts_as_json(folder, capsys):
    code = run(folder, "one", "two", "--samples", 3, "--temperature", 1, "--max_new_tokens", 5, "--json")
    assert code == ExitCode.DONE
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["prompt"] for record in records] == ["one"] * 3 + ["two"] * 3
    assert all(len(record["tokens"]) == 5 or record["finished"] for record in records)
    assert len({tuple(record["tokens"]) for record in records}) == 6


def test_the_same_seed_prints_the_same(folder, capsys):
    said = []
    for seed in (1, 1, 2):
        run(folder, "one", "--temperature", 1, "--max_new_tokens", 8, "--json", "--seed", seed)
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != said[2]


def test_prompts_from_standard_input(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("first\n\nsecond\n"))
    assert run(folder, "-", "--max_new_tokens", 2) == ExitCode.DONE
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("> ")] == ["> first", "> second"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("smolm2", "hi"), "did you mean 'smollm2'"),
        (("FOLDER",), "no prompt was given"),
        ((), "STR"),
        (("FOLDER", "hi", "--temprature", "1"), "did you mean --temperature?"),
        (("FOLDER", "hi", "--temperature", "hot"), "'hot' is not a number"),
        (("FOLDER", "hi", "--temperature", "-1"), "temperature=-1.0: expected at least 0"),
        (("FOLDER", "hi", "--rows", "0"), "rows=0"),
        (("FOLDER", "hi", "--step", "3"), "only a run folder has steps"),
        (("FOLDER", "hi", "--prefix=right"), "only the run of a mistake task has prefixes"),
        (("FOLDER", "hi", "--tokenizer", "byts"), "'bytes'"),
        (("FOLDER", "hi", "--max_new_tokens", "5000"), "pass the model's 2048"),
        (("FOLDER", "", "--raw", "--tokenizer", "arithmetic"), "a prompt is empty"),
        (("FOLDER", "hi", "--tokenizer", "smollm2"), "has 49152 ids, the model"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(argv, message, folder, capsys):
    assert run(*(folder if word == "FOLDER" else word for word in argv)) == ExitCode.BAD_INPUT
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_run_folder_is_a_model(tmp_path, capsys):
    """Train two steps of the tiny config, then sample from the run folder and from its export: the same answer."""
    from mtjax import train

    folder, export = tmp_path / "run", tmp_path / "export"
    options = [f"--run_dir={folder}", f"--export={export}", "--steps=2"]
    assert train.main([str(TINY), *options]) == ExitCode.DONE
    capsys.readouterr()
    ask = ("12+5=\n", "--temperature", 1, "--max_new_tokens", 12, "--json")
    assert run(folder, *ask) == 0
    first = json.loads(capsys.readouterr().out)
    assert run(export, *ask) == 0
    second = json.loads(capsys.readouterr().out)
    assert first["tokens"] == second["tokens"]
    assert run(folder, *ask, "--step", 7) == ExitCode.BAD_INPUT
    assert "checkpoints of steps [2]; got step=7" in capsys.readouterr().err

    # The held-out loss is measured at the end too, so the only checkpoint is the best.
    assert run(folder, *ask, "--step", "best") == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["tokens"] == first["tokens"]
    shutil.rmtree(folder / "best")
    assert run(folder, *ask, "--step", "best") == ExitCode.BAD_INPUT
    assert "has no best checkpoint" in capsys.readouterr().err

    # A run that started from this run is a model too; without updates that matter it says the same.
    then = tmp_path / "then"
    options = [f"--run_dir={then}", f"--init_from={folder}", "--steps=1", "--optim.learning_rate=1e-9"]
    assert train.main([str(TINY), *options]) == ExitCode.DONE
    capsys.readouterr()
    assert run(then, *ask) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["tokens"] == first["tokens"]


@pytest.mark.slow
def test_the_command_answers_with_smollm2():
    """As a user types it, in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "mtjax.generate", "smollm2", "What is 2+3?"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2 + 3 = 5"
