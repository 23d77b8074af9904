"""Files of version 0.1 (tests/fixtures/v0_1) still do what they did: runs go on, records train, results are read.

Only what users see is called here: commands by their names, and `mtjax.config`. Numbers hold at 1e-4, since another
processor rounds otherwise; texts that were sampled must be the same.
"""

import json
import pathlib
import re
import runpy
import shutil
import sys
import warnings

import pytest

from mtjax.config import Config, load, read_file

FILES = pathlib.Path(__file__).parent / "fixtures" / "v0_1"
MINE = ["--data.source.count=40", "--samples=4", "--max_new_tokens=24", "--rows=8"]
"""How `mined` and, with --seed=1, `unfinished` were made."""


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of the old files, as the working directory: they name each other by relative paths."""
    place = tmp_path / "old"
    shutil.copytree(FILES, place)
    monkeypatch.chdir(place)
    return place


def run(command, *words, code=0):
    """`python -m mtjax.COMMAND WORDS` in this process; checks its exit code."""
    before, ended = sys.argv, 0
    sys.argv = [command, *words]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)  # it ran before
            runpy.run_module(f"mtjax.{command}", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        ended = stop.code or 0
    finally:
        sys.argv = before
    assert ended == code


def files(folder):
    return {str(path): path.read_bytes() for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def lines(file):
    return [json.loads(line) for line in pathlib.Path(file).read_text().splitlines()]


def flat(value, name=""):
    """The leaves of nested JSON by their dotted names, without times."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for part, own in parts for key, leaf in flat(own, f"{name}.{part}").items()}
    return {} if name.startswith((".time/", ".seconds")) else {name: value}


def assert_same(new, was):
    """Everything that was there is there, the same, numbers at 1e-4; new names may have come."""
    new, was = flat(new), flat(was)
    for name, value in was.items():
        assert name in new, f"{name} is gone"
        expected = pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value
        assert new[name] == expected, name


CHOSEN = ["--model.remat=none", "--micro_batches=1", "--chunk=128"]  # what a run chooses now, and was the default


@pytest.mark.parametrize(
    ("run_dir", "changes"),
    [
        ("tiny", ["--optim.schedule_steps=400", "--export=exported", *CHOSEN]),
        ("rise", ["--optim.schedule_steps=8", *CHOSEN]),
    ],
)
def test_config_files_and_snapshots_are_read_alike(old, run_dir, changes):
    """A snapshot is the config file, with what the command line and the first start settled."""
    snapshot = read_file(f"{run_dir}/config.py")
    assert isinstance(snapshot, Config)
    assert load(f"{run_dir}.py", [*changes, *CHOSEN]) == snapshot


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(("file", "last", "run_dir"), [("tiny.py", 404, "tiny"), ("rise/config.py", 12, "rise")])
def test_a_run_goes_on_with_the_same_numbers(old, capsys, file, last, run_dir):
    """By its config file or its snapshot, with the kept tokens and the kept log-probs of its reference."""
    before = files("reference") | files("tokens")
    run("train", file, f"--steps={last}", "--log_every=1")
    expected = lines(f"expected/{run_dir}.jsonl")
    found = lines(f"{run_dir}/metrics.jsonl")[-len(expected) :]
    for new, was in zip(found, expected, strict=True):
        assert_same(new, was)
    assert f"steps {last - 3} to {last}" in capsys.readouterr().out
    assert files("reference").items() <= before.items()  # used, neither made again nor added to
    assert before.items() <= (files("reference") | files("tokens")).items()  # examples are kept under another name now


@pytest.mark.usefixtures("one_device")
def test_a_run_answers_as_it_did(old, capsys):
    asked = [record["prompt"] for record in lines("expected/generate.jsonl")]
    for model in ("tiny", "exported"):  # the export is of the run's end
        run("generate", model, *asked, "--raw", "--json")  # version 0.1 asked a run without its template
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert_same(found, lines("expected/generate.jsonl"))
    run("generate", "tiny", *asked, "--raw", "--step=best", "--json")
    assert len(capsys.readouterr().out.splitlines()) == len(asked)


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(("run_dir", "step"), [("tiny", 401), ("rise", 9)])
def test_a_run_is_explained_as_it_was(old, capsys, run_dir, step):
    """The same metrics of the same examples with the same losses."""

    def told(text):
        metrics = re.search(r"^metrics (.*?)^key ", text, re.DOTALL | re.MULTILINE)[1].split()
        rows = [line for line in text.splitlines() if line.startswith("row ")]
        losses = [float(number) for number in re.findall(r"loss (\S+) nats", text)]
        return {"metrics": dict(zip(metrics[::2], map(float, metrics[1::2]), strict=True)), "rows": rows}, losses

    run("explain", run_dir, f"--step={step}", "--examples=2")
    found, losses = told(capsys.readouterr().out)
    was, losses_then = told(pathlib.Path(f"expected/explain_{run_dir}.txt").read_text())
    assert len(was["rows"]) == 2
    assert_same(found, was)
    assert losses == pytest.approx(losses_then, abs=0.011)  # printed with two digits: 7.79 here may be 7.80 elsewhere


@pytest.mark.usefixtures("one_device")
def test_a_run_is_measured_as_it_was(old, capsys):
    run("evaluate", "tiny", "--samples=4", "--limit=8", "--k", "1", "2", "4", "--output=again")
    new, was = (json.loads(pathlib.Path(f"{name}/evaluation.json").read_text()) for name in ("again", "evaluated"))
    for part in ("likelihood", "step", "problems"):
        assert_same(new[part], was[part])
    # The same seed draws other answers since the sampling engine; those of before are read, and measured alike.
    for part in ("metrics", "gap"):
        found, before = flat(new[part]), flat(was[part])
        assert found.keys() >= before.keys()
        for name in [name.removesuffix(".mean") for name in before if name.endswith(".mean")]:
            assert before[f"{name}.low"] - 0.1 <= found[f"{name}.mean"] <= before[f"{name}.high"] + 0.1, name
    problems = [[one["problem"] for one in lines(f"{name}/samples.jsonl")] for name in ("again", "evaluated")]
    assert problems[0] == problems[1]


@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize(
    ("file", "kind", "path", "counted"),
    [
        ("tiny.py", "mined", "mined", "97 examples"),
        ("rise.py", "mistakes", "mined/mistakes.jsonl", "54 examples"),
        ("rise.py", "mistakes", "injected/mistakes.jsonl", "71 examples"),
    ],
)
def test_records_are_trained_on(old, capsys, file, kind, path, counted):
    """Each kind of record as a source; with the settings of the runs above, so that little is compiled anew."""
    end = {"tiny.py": 400, "rise.py": 8}[file]
    words = [f"data.source:{kind}", f"--data.source.path={path}", f"--optim.schedule_steps={end}", "--steps=1"]
    run("train", file, *words, "--run_dir=new", "--reference.cache_dir=new/reference", "--data.cache_dir=None")
    assert f"data     {counted}" in capsys.readouterr().out


def test_a_finished_mine_is_read_not_repeated(old, capsys):
    before = files("mined")
    run("mine", "tiny", *MINE, "--mistakes", "--output=mined")
    assert "40 of 40 problems are there already" in capsys.readouterr().out
    assert files("mined") == before
    run("mine", "tiny", *MINE, "--output=mined", "--temperature=0.5", code=2)
    assert "decode.temperature was 1.0, is 0.5" in capsys.readouterr().err


def test_a_killed_mine_goes_on_and_ends_the_same(old, capsys):
    there = pathlib.Path("unfinished/solutions.jsonl.part").read_bytes().count(b"\n")  # the rest is torn
    run("mine", "tiny", *MINE, "--seed=1", "--output=unfinished")
    assert f"{there} of 40 problems are there already" in capsys.readouterr().out
    expected = lines("expected/unfinished.jsonl")
    found = {one["id"]: one for one in lines("unfinished/solutions.jsonl")}
    assert found.keys() == {one["id"] for one in expected}
    # What was there is kept to the letter; the same seed draws other answers for the rest since the sampling engine.
    for was in expected[:there]:
        new = found[was["id"]]
        assert [one["text"] for one in new["solutions"]] == [one["text"] for one in was["solutions"]]
    run("transitions", "mined", "unfinished")
    assert "40 problems" in capsys.readouterr().out


def test_an_injection_is_read_not_repeated(old, capsys):
    before = files("injected")
    words = ["--source.count=40", "--source.seed=5", "--source.split=train", "--source.min_operands=2"]
    run("inject", "--output=injected", "--carry_forward", "source:arithmetic", *words, "--source.max_operands=3")
    assert files("injected") == before
    assert "71 mistakes of 40 problems" in capsys.readouterr().out


def test_rethinking_is_read_not_repeated(old, capsys):
    before = files("rethink")
    words = ["--mistakes=injected/mistakes.jsonl", "--block.types=2", "--output=rethink", "--k=1", "--max_new_tokens=8"]
    words += ["data.source:arithmetic", "--data.source.count=6", "--temperature=1", "--unparsable=yes"]
    run("rethink", "bytes", *words)
    assert "6 of 6 questions are there already" in capsys.readouterr().out
    assert files("rethink") == before


@pytest.mark.usefixtures("one_device")
def test_the_kept_parts_of_a_comparison_give_the_same_results(old, capsys):
    before = files("comparison")
    run("recipe", "comparison.py")
    new, was = (
        json.loads(pathlib.Path(name).read_text()) for name in ("comparison/results.json", "expected/comparison.json")
    )
    for results in (new, was):  # numbers stay, words may change: docs/decisions/results_keep_numbers_not_words.md
        results.pop("verdict")
        results["settings"]["model"].pop("remat")  # auto now; the results keep what it was
        injection = results.pop("injection")  # other edits of the same solutions: sizes stay plausible, equations true
        assert injection["pairs"] > 0
        for claim in results["claims"]:
            claim.pop("shown")
    assert_same(new, was)
    assert files("comparison").items() >= before.items()
    assert pathlib.Path("comparison/report.html").exists()
