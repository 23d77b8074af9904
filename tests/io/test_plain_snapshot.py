"""A snapshot is read as data: equal settings for every config here, no code of others is run, damage is one line."""

import dataclasses
import json
import pathlib
import sys

import pytest

from mtjax.config import as_kept, read_file, read_run, snapshot, write_snapshot
from mtjax.data.problem import Problem
from mtjax.data.sources import InMemory, Mixture
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.errors import InputError
from mtjax.io.plain_snapshot import CODE, PLAIN, TRUST, NeedsCode, settings_of, tree_of
from mtjax.objectives.regularizers import REGULARIZERS
from mtjax.runs.folder import changed

ROOT = pathlib.Path(__file__).parents[2]
TINY = ROOT / "configs" / "tiny.py"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Marks of own snapshots go to a cache folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(TRUST, raising=False)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def configs():
    """The configs of training runs in the folder `configs`."""
    files = sorted((ROOT / "configs").glob("*.py"))
    return [file for file in files if "\nconfig = " in file.read_text()]


@pytest.mark.parametrize("file", configs(), ids=lambda file: file.stem)
def test_both_files_give_the_settings(file, run):
    config = read_file(file)
    config = dataclasses.replace(config, regularizers=(REGULARIZERS["z_loss"](weight=1e-4),), stop=("a\n", "'\"\\"))
    write_snapshot(run, config)
    assert read_run(run) == config == read_file(run / CODE)
    assert settings_of(json.loads((run / PLAIN).read_text())) == config


def test_numbers_that_json_does_not_have():
    text = "config = (float('-inf'), 1e-05, -3, [None, True], )"
    assert settings_of(tree_of(text)) == (-float("inf"), 1e-5, -3, [None, True])
    json.dumps(tree_of(text), allow_nan=False)


@pytest.mark.parametrize("folder", ["tiny", "rise", "unfinished"])
def test_runs_of_version_0_1_are_read_without_code(folder):
    place = ROOT / "tests" / "fixtures" / "v0_1" / folder
    if (place / CODE).is_file():
        assert read_run(place) == read_file(place / CODE)


PAYLOADS = [
    "import os\nos.system('touch {mark}')\n",
    "__import__('pathlib').Path('{mark}').touch()\n",
    "open('{mark}', 'w')\n",
    "from pathlib import Path\nPath('{mark}').touch()\n",
    "def f(x=open('{mark}', 'w')): pass\n",
    "x = [open('{mark}', 'w')]\n",
]


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("at", [0, 10**9])
def test_code_in_the_config_of_a_run_is_not_run(payload, at, run, tmp_path, capsys):
    write_snapshot(run, read_file(TINY))
    mark, text = tmp_path / "mark", (run / CODE).read_text()
    (run / CODE).write_text(text[:at] + "\n" + payload.format(mark=mark) + text[at:])
    assert read_run(run) == read_file(TINY)  # from snapshot.json
    assert "needs code (line" in capsys.readouterr().err
    (run / PLAIN).unlink()
    with pytest.raises(InputError, match=f"needs code .*{TRUST}=1"):
        read_run(run)
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        "mtjax.config.pathlib.Path(x='{mark}')", "mtjax.config.read_file(file='{file}')", "eval('1')",
        "mtjax.io.files.write_text(path='{mark}', text='')", "open(file='{mark}', mode='w')", "[x for x in (1,)]",
        "mtjax.registry.REGISTRIES['task'].find(name='chat')", "mtjax.registry.Registry(kind='x')", "f'{{1}}'",
        "__import__('os').system('x')", "(lambda: 1)()",
    ],
)  # fmt: skip
def test_only_settings_are_made(value, run, tmp_path):
    mark, file = tmp_path / "mark", tmp_path / "evil.py"
    file.write_text(f"open({str(mark)!r}, 'w')")
    text = snapshot(read_file(TINY)).replace("export=None", f"export={value.format(mark=mark, file=file)}")
    (run / CODE).write_text(text)
    with pytest.raises(InputError, match="needs code"):
        read_run(run)
    tree = {"files": {}, "config": {"class": value.split("(")[0], "settings": {}}}
    with pytest.raises((NeedsCode, InputError)):
        settings_of(tree)
    assert not mark.exists()


def test_a_module_of_a_foreign_snapshot_is_not_imported(run, tmp_path):
    file, mark = tmp_path / "own.py", tmp_path / "mark"
    file.write_text(f"open({str(mark)!r}, 'w')\nclass Halved: ...")
    text = snapshot(read_file(TINY)).replace(
        "\nconfig =", f"\nmtjax_config_own = mtjax.config.module_at({str(file)!r})\n\nconfig ="
    )
    (run / CODE).write_text(text.replace("export=None", "export=mtjax_config_own.Halved()"))
    with pytest.raises(InputError, match=f"is not a class of mtjax's settings.*{TRUST}=1"):
        read_run(run)
    assert not mark.exists()


OWN = """
import dataclasses
from mtjax.config import read_file
from mtjax.objectives.nll import Nll

@dataclasses.dataclass(frozen=True)
class Halved(Nll):
    factor: float = 0.5

config = dataclasses.replace(read_file({tiny!r}), objective=Halved())
"""


def test_own_classes_need_the_code_of_their_own_user(run, tmp_path, monkeypatch):
    file = tmp_path / "own.py"
    file.write_text(OWN.format(tiny=str(TINY)))
    config = read_file(file)
    write_snapshot(run, config)
    assert read_run(run).objective == config.objective  # the file is loaded, as where a run is resumed
    loaded = [name for name, module in sys.modules.items() if getattr(module, "__file__", "") == str(file)]
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    assert read_run(run).objective.factor == 0.5  # this user's training wrote it: run as before
    for name in loaded:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with pytest.raises(InputError, match=f"did not write it.*{TRUST}=1"):
        read_run(run)
    monkeypatch.setenv(TRUST, "1")
    assert read_run(run).objective.factor == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config = mtjax.config.Config(", "config.py, line 1: SyntaxError"),
        ("", "it has no line `config"),
        ("config = 3", r"has no config of a run \(found int\)"),
        ("\0", "config.py"),
        ("config = " + "[" * 1000 + "]" * 1000, "config.py"),
    ],
)
def test_damage_is_one_line(text, said, run):
    (run / CODE).write_text(text)
    with pytest.raises(InputError, match=said) as found:
        read_run(run)
    assert "\n" not in str(found.value)


def test_a_setting_that_does_not_exist_and_a_bad_value_are_named(run):
    text = snapshot(read_file(TINY))
    for old, new, said in (
        ("    steps=60", "    stepps=60", "config.py: Config has no setting 'stepps'"),
        ("    steps=60", "    steps=0", "config.py: steps=0: expected at least 1"),
    ):
        (run / CODE).write_text(text.replace(old, new))
        with pytest.raises(InputError, match=said):
            read_run(run)


# Data in memory.

ITEMS = tuple(Problem(f"p{n}", f"question {n}", answer=str(n), right=(f"private {n}",)) for n in range(400))


def in_memory(items):
    tiny = read_file(TINY)
    held_out = dataclasses.replace(tiny.held_out, source=Mixture((InMemory(items), Arithmetic(count=3)), (1.0, 1.0)))
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, source=InMemory(items)), held_out=held_out)


def test_data_in_memory_are_not_in_the_snapshot(run):
    config = in_memory(ITEMS)
    write_snapshot(run, config)
    assert max((run / name).stat().st_size for name in (CODE, PLAIN)) < 9_000
    assert "private" not in (run / CODE).read_text() + (run / PLAIN).read_text()
    kept = read_run(run)
    assert changed(as_kept(kept), as_kept(config)) == {}
    assert changed(as_kept(config), as_kept(config)) == {}  # a snapshot of an earlier version holds the items
    other = changed(kept, as_kept(in_memory(ITEMS[:-1])))
    assert list(other) == ["data.source.not_kept", "held_out.source.sources[0].not_kept"]
    with pytest.raises(InputError, match=r"were in memory \(400 items, content .*data.source:jsonl"):
        kept.data.source.problems()
    assert as_kept(read_file(TINY)) == read_file(TINY)
