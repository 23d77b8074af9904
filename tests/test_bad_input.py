"""Wrong input on purpose: one clear error, exit code 2, no traceback, nothing half-written."""

import dataclasses
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Annotated, Any

import numpy as np
import pytest
from annotated_types import Ge, Gt, Lt
from safetensors.numpy import load_file, save_file

from mtjax import config as settings
from mtjax import recipe, train
from mtjax.errors import ExitCode, InputError
from mtjax.objectives.dpo import Dpo
from mtjax.objectives.nll import Nll
from mtjax.runs.loading import load_any
from mtjax.training.checkpoint import METADATA
from mtjax.validation import check_types

TINY = "configs/tiny.py"

# What is typed behind the config file, and words that the answer must hold: the value, and the way out.
OVERRIDES = {
    "misspelt key": (["--optim.lerning_rate=1e-3"], "--optim.learning_rate"),
    "misspelt section": (["--optm.learning_rate=1e-3"], "--optim.learning_rate"),
    "misspelt field of the objective": (["--objective.incorrect_weigth=1"], "--objective.incorrect_weight"),
    "misspelt key at the top": (["--stpes=3"], "did you mean --steps?"),
    "misspelt key three levels down": (["--held_out.source.cuont=3"], "--held_out.source.count"),
    "misspelt source, behind its settings": (["--data.source.seed=1", "data.source:arithmetc"], "'arithmetic'"),
    "misspelt task": (["data.task:mistke_task"], "did you mean 'mistake'"),
    "a choice written as a setting": (["--objective=dppo"], "unknown objective 'dppo'; did you mean 'dpo'"),
    "a number for a switch": (["--steps=1", "--overwrite=1"], "--overwrite=1: a switch takes True or False"),
    "a folder without a name": (["--checkpoint.folder="], "checkpoint.folder='': expected a folder or an address"),
    "an address of no kind": (["--checkpoint.folder=nosuch://b"], "'nosuch://b' cannot be reached"),
    "an export without a name": (["--export="], "export='': expected the name of a folder"),
    "an export inside of a file": (["--export=README.md/x"], "README.md' is a file"),
    "a name that is too long": ([f"--init_from={'a' * 5000}"], "File name too long; give another path"),
    "more than there is memory": (["--batch_size=100000000000"], "not enough memory"),
    "a seed that is too large": (["--seed=18446744073709551616"], "seed=18446744073709551616: expected at least 0"),
    "a warm-up without an end": (["--optim.warmup_steps=99999999999999999999"], "optim.warmup_steps=9999999999"),
    "a base that does not turn": (["--model.rope_theta=1"], "model.rope_theta=1.0: expected more than 1 and finite"),
    "no epsilon": (["--model.norm_eps=nan"], "model.norm_eps=nan: expected at least 0 and finite"),
    "negative scale": (["--model.init_scale=-1"], "model.init_scale=-1.0"),
    "ramp the wrong way round": (
        ["model.rope_scaling:rope-scaling", "--model.rope_scaling.kind=yarn", "--model.rope_scaling.beta_fast=0"],
        "beta_slow=1.0, beta_fast=0.0",
    ),
    "a choice with dashes": (["--held_out:none"], "a word without dashes: held_out:none"),
    "a choice made twice": (["objective:nll", "objective:dpo"], "objective is chosen already"),
    "a setting of the source that was replaced": (
        ["--steps=1", "source:jsonl", "--source.path=x"],
        "--data.source.count is a setting of other choices, such as data.source:arithmetic",
    ),
    "a misspelt section of a choice": (["--steps=1", "objectiv:nll"], "did you mean objective:nll?"),
    "a setting of another choice": (["objective:nll", "--objective.incorrect_weight=2"], "objective:mistake_tuning"),
    "a stray word": (["sdfg"], "'sdfg' is not a setting"),
    "a word for a switch": (["--data.pack=maybe"], "--data.pack=maybe: a switch takes True or False"),
    "misspelt objective": (["objective:nlll"], "did you mean 'nll'"),
    "unknown objective": (["objective:ppo"], "known: aldr, alphamath, aot, asft"),
    "a word for a number": (["--optim.learning_rate=fast"], "'fast' is not a number; it is 0.005 without"),
    "a fraction for a count": (["--steps=1.5"], "'1.5' is not a whole number; it is 60 without"),
    "no whole number and not None": (["--optim.schedule_steps=never"], "'never' is not {None}|INT"),
    "unknown schedule": (["--optim.schedule=cosin"], "cosine"),
    "negative learning rate": (["--optim.learning_rate=-1"], "optim.learning_rate=-1.0: expected more than 0"),
    "learning rate not a number": (["--optim.learning_rate=nan"], "optim.learning_rate=nan: expected more than 0"),
    "no eps": (["--optim.eps=0"], "optim.eps=0.0: expected more than 0"),
    "negative incorrect weight": (["--objective.incorrect_weight=-1"], "expected at least 0 and finite"),
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
    "no checkpoint kept": (["--checkpoint.keep=0"], "checkpoint.keep=0: expected at least 1"),
    "row too short": (["--data.sequence_length=1"], "sequence_length"),
    "rows shorter than every example": (["--data.sequence_length=8"], "sequence_length"),
    "no segments": (["--data.max_segments=0"], "max_segments"),
    "unknown tokenizer": (["--data.tokenizer=byts"], "bytes"),
    "no run folder": (["--run_dir="], "run_dir '': empty"),
    "run folder inside a file": (["--run_dir=pyproject.toml/run"], "'pyproject.toml' is a file"),
    "export over a file": (["--export=pyproject.toml"], "pyproject.toml exists and is not a model folder"),
    "no such model": (["--init_from=no/such/folder"], "no/such/folder"),
    "objective without its task": (["data.task:completion_task"], "needs the task 'mistake'"),
    "no such data file": (["data.source:jsonl", "--data.source.path=missing.jsonl"], "missing.jsonl"),
}

NAMES = "from mtjax.config import *\nfrom mtjax.config import read_file\nfrom mtjax.optim import OptimConfig\n"
NAMES += f"from dataclasses import replace\ntiny = read_file({TINY!r})\n"

# What a config file gives where another type is expected. The answer names line 6, the setting and the expectation.
TYPES = {
    "text for a count": ("config = replace(tiny, steps='60')", "steps='60': expected a whole number"),
    "fraction for a count": ("config = replace(tiny, batch_size=16.0)", "batch_size=16.0: expected a whole number"),
    "truth for a count": ("config = replace(tiny, chunk=True)", "chunk=True: expected a whole number"),
    "text for a rate": ("OptimConfig(learning_rate='1e-3')", "optim.learning_rate='1e-3': expected a number"),
    "misspelt schedule": (
        "config = replace(tiny, optim=OptimConfig(schedule='cosin'))",
        "unknown schedule 'cosin': did you mean 'cosine'? (known: constant, cosine, infinite, ",
    ),
    "settings as a dict": ("config = replace(tiny, optim={'b1': 0.5})", "optim={'b1': 0.5}: expected OptimConfig(...)"),
    "other settings": ("config = replace(tiny, mesh=tiny.optim)", "expected MeshSpec(...)"),
    "objective by name": (
        "config = replace(tiny, objective='nll')",
        "objective='nll': expected Aldr(...) or AlphaMath(...)",
    ),
    "objective not made": (
        "config = replace(tiny, objective=type(tiny.objective))",
        "expected Aldr(...) or AlphaMath(...)",
    ),
    "misspelt split": (
        "config = replace(tiny, data=replace(tiny.data, source=replace(tiny.data.source, split='trian')))",
        "data.source.split='trian': expected one of 'all', 'train', 'validation', 'test'; did you mean 'train'?",
    ),
    "misspelt setting": ("config = replace(tiny, stepz=3)", "Config has no setting 'stepz'; did you mean 'steps'?"),
}

FILES = {
    "no config in it": ("x = 1\n", "defines no `config = Config(...)`"),
    "syntax error": ("from mtjax.config import Config\nconfig = Config(\n", "line 2"),
    "unknown argument": ("from mtjax.optim import OptimConfig\nOptimConfig(learning_rat=1.0)\n", "learning_rat"),
    "failing import": ("import not_a_module\n", "line 1"),
    "bad value": ("from mtjax.optim import OptimConfig\nOptimConfig(b1=2.0)\n", "optim.b1=2.0: expected"),
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
    assert not list(tmp_path.iterdir())  # nothing half-written


@pytest.mark.parametrize("name", FILES)
def test_config_files(name, tmp_path, capsys):
    text, expected = FILES[name]
    file = tmp_path / "config.py"
    file.write_text(text)
    answer(capsys, train.main([str(file)]), expected)


def test_types_in_config_files(tmp_path):
    """In a process of its own: here, shape checks at run time would speak first."""
    for number, (text, _) in enumerate(TYPES.values()):
        (tmp_path / f"{number}.py").write_text(f"{NAMES}{text}\n")
    code = f"from mtjax import train\nprint(*[train.main([f'{tmp_path}/{{n}}.py']) for n in range({len(TYPES)})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2"] * len(TYPES)
    told = [line for line in done.stderr.splitlines() if "error: " in line]  # plugins of JAX may have a say too
    for number, (line, (_, expected)) in enumerate(zip(told, TYPES.values(), strict=True)):
        assert line.startswith(f"error: {tmp_path}/{number}.py, line 6: "), line
        assert expected in line


def test_types_of_ones_own_classes_and_lists_pass():
    own = dataclasses.make_dataclass("Own", [("power", float, 1)], frozen=True)  # a whole number is a number
    holds = dataclasses.make_dataclass(
        "Holds", [("objective", Nll | Dpo), ("names", tuple[str, ...]), ("free", Any, 1)]
    )
    check_types(holds(own(), ["a", "b"]))
    with pytest.raises(InputError, match=r"objective.power='2': expected a number"):
        check_types(holds(own("2"), ()))
    with pytest.raises(InputError, match=r"names=\('a', 1\): expected a tuple of text"):
        check_types(holds(own(), ("a", 1)))
    with pytest.raises(InputError, match=r"Own.power='2': expected a number"):
        check_types(own(power="2"), "Own")


def test_a_missing_config_names_the_nearest(capsys):
    answer(capsys, train.main(["configs/tinny.py"]), "did you mean 'tiny.py'")
    answer(capsys, recipe.main([TINY]), "defines no `recipe = Comparison(...)`")


def test_a_switch_may_be_given_a_value_as_messages_name_it():
    given = settings.load(TINY, ["--overwrite=True", "--tensorboard=False", "--data.pack=False", "--self_check=False"])
    assert (given.overwrite, given.tensorboard, given.data.pack, given.self_check) == (True, False, False, False)
    assert given == settings.load(TINY, ["--overwrite", "--no_tensorboard", "--data.no_pack", "--no_self_check"])


@pytest.mark.parametrize("off", ["--data.task.strip=False", "--data.task.no_strip", "--data.task.no-strip"])
@pytest.mark.parametrize("chosen", [[], ["data.task:mistake", "--data.task.decode_prefix=correct"]])
def test_a_switch_of_a_part_is_turned_off_whether_or_not_a_word_chooses_the_part(off, chosen):
    config = settings.load(TINY, ["--data.task.strip=True"])
    assert config.data.task.strip
    given = settings.parse(config, [*chosen, off], "train")
    assert not given.data.task.strip
    assert given.data.task.decode_prefix == "correct"


RECORD = {"question": "1 + 1 =", "answer": "2", "right": ["2"], "wrong": ["3"]}
CORRUPT = {
    "cut line": (json.dumps(RECORD)[:-3], "data.jsonl:2"),
    "unknown field": (json.dumps(RECORD | {"rihgt": ["2"]}), "rihgt"),
    "wrong type": (json.dumps(RECORD | {"right": "2"}), "data.jsonl:2"),
    "not a record": ("[1, 2]", "data.jsonl:2"),
    "half a character": (json.dumps(RECORD | {"question": "\ud800"}), "data.jsonl:2: the escape '\\ud800' is half"),
    "nothing to learn": (json.dumps({"question": "1 + 1 ="}), "data.jsonl:2: only a question"),
}
BYTES = {
    "not UTF-8": (json.dumps(RECORD).encode() + b'\n{"question": "\xff"}', "data.jsonl:2: byte 14 is not UTF-8"),
    "cut off at the end": (json.dumps(RECORD).encode() + b"\n" + json.dumps(RECORD).encode()[:30], "data.jsonl:2"),
    "empty": (b"", "holds no problem"),
    "blank": (b"\n \n", "holds no problem"),
}


def jsonl_run(tmp_path, content, *more):
    file = tmp_path / "data.jsonl"
    if content is not None:
        file.write_bytes(content)
    words = ["data.source:jsonl", f"--data.source.path={file}", "--data.tokenizer=bytes", "held_out:none"]
    here = [f"--run_dir={tmp_path / 'run'}", "--steps=1", "--no_tensorboard", "--mesh.data=8", "--batch_size=8"]
    return train.main([TINY, *words, *here, *more])


def around(line):
    """A file with this line, three times, between good ones."""
    return ("\n".join([json.dumps(RECORD), line, json.dumps(RECORD)] * 3) + "\n").encode()


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_data_names_file_and_line(name, tmp_path, capsys):
    line, expected = CORRUPT[name]
    answer(capsys, jsonl_run(tmp_path, around(line)), expected)


@pytest.mark.parametrize("name", BYTES)
def test_files_that_are_no_text_or_hold_nothing(name, tmp_path, capsys):
    content, expected = BYTES[name]
    answer(capsys, jsonl_run(tmp_path, content), expected)
    assert not (tmp_path / "run").exists()


def test_a_folder_is_no_data_file(tmp_path, capsys):
    (tmp_path / "data.jsonl").mkdir()
    answer(capsys, jsonl_run(tmp_path, None), "data.jsonl' is a folder; expected a file in it")


def test_corrupt_data_may_be_skipped_and_is_counted(tmp_path, capsys):
    assert jsonl_run(tmp_path, around("{"), "--data.on_error=skip") == 0
    said = capsys.readouterr().out
    assert "3 skipped" in said
    assert "3 records skipped; the first: " in said
    assert "data.jsonl:2: not JSON" in said


BATCH = ["--no_tensorboard", "--batch_size=8", "--data.source.count=20", "--held_out.source.count=20"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps with both checkpoints and an export; tests work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    words = [f"--run_dir={folder / 'run'}", f"--export={folder / 'hub'}", "--steps=2", "--checkpoint.every=1"]
    assert train.main([TINY, *BATCH, *words]) == 0
    return folder


def go_on(folder, *more):
    return train.main([TINY, *BATCH, f"--run_dir={folder}", "--steps=2", "--checkpoint.every=1", *more])


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


# What happens to the folder of the newest checkpoint.
TORN = {
    "arrays cut short": lambda folder: [cut(file) for file in (folder / "default" / "d").iterdir()],
    "arrays gone": lambda folder: shutil.rmtree(folder / "default" / "d"),
    "description gone": lambda folder: (folder / "default" / "_METADATA").unlink(),
    "all gone": lambda folder: shutil.rmtree(folder / "default"),
}


@pytest.mark.parametrize("name", TORN)
def test_a_torn_checkpoint_is_passed_over_and_written_again(name, trained, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    before = (folder / "metrics.jsonl").read_text().splitlines()
    TORN[name](folder / "checkpoints" / "2")
    capsys.readouterr()
    with pytest.raises(InputError, match=r"checkpoints/2 cannot be read .*; take another of the steps \[1, 2\]"):
        load_any(str(folder))
    assert go_on(folder) == 0
    said = capsys.readouterr()
    assert "trying the one before" in said.out
    assert "Traceback" not in said.err
    after = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("loss") for line in after] == [json.loads(line).get("loss") for line in before]
    assert load_any(str(folder)).step == 2  # written again, and whole
    assert {place.name for place in (folder / "checkpoints").iterdir()} >= {"1", "2", "2.torn"}


# What happens to a run's folder; what is typed; words of the answer.
RUNS = {
    "no checkpoint can be read": (
        lambda run: [shutil.rmtree(run / "checkpoints" / n / "default" / "d") for n in "12"],
        [],
        "can be read (steps [1, 2])",
    ),
    "another width": (
        lambda run: (run / "config.py").write_text((run / "config.py").read_text().replace("width=32", "width=16")),
        ["--model.width=16"],
        "is [39, 32] there and [39, 16] here",
    ),
    "another layer": (
        lambda run: (run / "config.py").write_text((run / "config.py").read_text().replace("layers=2", "layers=3")),
        ["--model.layers=3"],
        "is of another model or optimizer",
    ),
    "no snapshot": (
        lambda run: [(run / "config.py").unlink(), (run / "checkpoints" / "2" / METADATA).unlink()],
        [],
        "has checkpoints, but no config.py",
    ),
    "snapshot cut short, and no copy of it": (
        lambda run: [
            cut(run / "config.py"),
            (run / "snapshot.json").unlink(),
            (run / "checkpoints" / "2" / METADATA).unlink(),
        ],
        [],
        "the snapshot of the run is damaged",
    ),
    "fewer steps than are done": (lambda run: None, ["--steps=1"], "is trained to step 2 already, but steps=1"),
    "another start": (lambda run: None, ["--init_from=smollm2"], "init_from was None, is 'smollm2'"),
    "anew, with bad data": (
        lambda run: None,
        ["--overwrite", "--data.source.count=0"],
        "data.source.count=0: expected at least 1",
    ),
    "anew, in no run folder": (lambda run: (run / "config.py").write_text("x = 1"), ["--overwrite"], "no run folder"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_broken_run_is_refused_and_left_as_it_is(name, trained, tmp_path, capsys):
    spoil, words, expected = RUNS[name]
    folder = tmp_path / "run"
    shutil.copytree(trained / "run", folder)
    spoil(folder)
    before = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    capsys.readouterr()
    answer(capsys, go_on(folder, *words), expected)
    assert {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def drop(file, key):
    file.write_text(json.dumps({name: value for name, value in json.loads(file.read_text()).items() if name != key}))


def with_tensors(change):
    def spoil(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


# What happens to a Hugging Face folder that a run is to start from.
HUB = {
    "no tensor": (with_tensors(lambda tensors: tensors.pop("model.norm.weight")), "'model.norm.weight' is missing"),
    "another shape": (
        with_tensors(lambda tensors: tensors.update({"model.norm.weight": tensors["model.norm.weight"][:5]})),
        "has shape (5,); expected (32,)",
    ),
    "weights not finite": (
        with_tensors(lambda tensors: tensors.update({"model.norm.weight": tensors["model.norm.weight"] * np.nan})),
        "'model.norm.weight' has 32 NaN or infinite values of 32",
    ),
    "weights cut short": (lambda folder: cut(folder / "model.safetensors"), "is not a complete safetensors file"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors and no"),
    "no width": (lambda folder: drop(folder / "config.json", "hidden_size"), "hidden_size is None"),
    "no JSON": (lambda folder: cut(folder / "config.json"), "config.json is not JSON"),
    "an end that is no number": (
        lambda folder: (folder / "generation_config.json").write_text('{"eos_token_id": "x"}'),
        "generation_config.json: eos_token_id is 'x'; expected a token's number",
    ),
    "an index that is none": (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": ["a"]}'),
        "has no weight_map from tensor to file name",
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "cannot be loaded"),
    "tokenizer cut short": (lambda folder: cut(folder / "tokenizer.json"), "cannot be loaded"),
}


@pytest.mark.parametrize("name", HUB)
def test_a_broken_model_folder_is_refused(name, trained, tmp_path, capsys):
    spoil, expected = HUB[name]
    shutil.copytree(trained / "hub", tmp_path / "hub")
    spoil(tmp_path / "hub")
    capsys.readouterr()
    answer(capsys, go_on(tmp_path / "run", f"--init_from={tmp_path / 'hub'}", "--data.tokenizer=None"), expected)
    assert not (tmp_path / "run").exists()


@dataclasses.dataclass(frozen=True)
class Numbers:
    rate: Annotated[float, Gt(0), Lt(math.inf)] = 0.1
    count: Annotated[int, Ge(0), "0 means none"] = 0


def test_numbers_of_numpy_are_numbers_and_bounds_hold_for_them():
    check_types(Numbers(np.float32(0.5), np.int64(3)))
    with pytest.raises(InputError, match=r"^count=np.int64\(-1\): expected at least 0; 0 means none$"):
        check_types(Numbers(count=np.int64(-1)))
    with pytest.raises(InputError, match=r"^rate=inf: expected more than 0 and finite$"):
        check_types(Numbers(rate=math.inf))
    for truth in (True, np.bool_(True)):
        with pytest.raises(InputError, match="expected a number"):
            check_types(Numbers(rate=truth))


def test_an_export_that_is_a_link_leaves_nothing_behind(tmp_path):
    from mtjax.io.files import atomic_folder

    (tmp_path / "one").mkdir()
    (tmp_path / "latest").symlink_to("one")
    with atomic_folder(tmp_path / "latest") as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "latest" / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "one"]


@pytest.mark.parametrize("command", ["train", "generate", "mine", "inject"])
def test_ctrl_c_while_a_command_is_imported_is_one_line(command, tmp_path):
    """The interrupt comes where jax is imported, which takes longest."""
    (tmp_path / "jax.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    paths = os.pathsep.join([str(tmp_path), str(pathlib.Path(__file__).parents[1])])
    ask = [sys.executable, "-m", f"mtjax.{command}", "x"]
    done = subprocess.run(ask, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "interrupted\n")


def test_sigterm_while_a_command_is_imported_is_one_line(tmp_path):
    (tmp_path / "jax.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)")
    paths = os.pathsep.join([str(tmp_path), str(pathlib.Path(__file__).parents[1])])
    ask = [sys.executable, "-m", "mtjax.train", "x"]
    done = subprocess.run(ask, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        ExitCode.TERMINATED,
        "stopped  by SIGTERM; the same command starts again\n",
    )
