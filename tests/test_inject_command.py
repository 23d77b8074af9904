"""`python -m mtjax.inject`: files, tables, refusals, kills, and a model that edits its own steps."""

import dataclasses
import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import pytest

from mtjax.data.mistake_record import read_mistakes
from mtjax.data.sources import InMemory
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.mistakes import Mistakes
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.inject import main, run
from mtjax.io.lock import locked
from mtjax.mistakes.formats import to_trl
from mtjax.mistakes.injection import OUTCOMES, InjectConfig
from mtjax.mistakes.self_edit import FENCE
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model

SOURCE = ["source:arithmetic", "--source.count=12"]


def files(folder):
    """The records and, without what it was called, the manifest."""
    return (pathlib.Path(folder) / "mistakes.jsonl").read_bytes(), (pathlib.Path(folder) / "manifest.json").read_bytes()


def test_files_table_and_manifest(tmp_path, capsys):
    assert main([*SOURCE, f"--output={tmp_path}/a", "--carry_forward"]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "type " in said
    assert "\nall " in said
    assert "operators " in said
    assert f"mistakes of 12 problems in {tmp_path}/a/mistakes.jsonl" in said
    mistakes = list(read_mistakes(f"{tmp_path}/a/mistakes.jsonl"))
    assert sum(m.kind == "step" for m in mistakes) == 12
    manifest = json.loads(files(tmp_path / "a")[1])
    assert manifest["records"] == len(mistakes)
    assert manifest["settings"]["seed"] == 0
    assert manifest["settings"]["shares"]["carry"] > 0
    assert all(set(counts) == set(OUTCOMES) for counts in manifest["yields"].values())
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["manifest.json", "mistakes.jsonl"]
    pairs = Mistakes(f"{tmp_path}/a/mistakes.jsonl").problems().items
    assert len(pairs) == 12
    assert {pair.kind for problem in pairs for pair in problem.pairs} == {"step", "full"}


def test_the_seed_decides_the_bytes(tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert main([*SOURCE, f"--output={tmp_path}/{name}", f"--seed={seed}", "--no_leak"]) == ExitCode.DONE
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")[0] != files(tmp_path / "c")[0]
    said = capsys.readouterr().out
    assert "leak" not in said
    assert "of 12 edits judged 0.0% stayed right, 0.0% could not be judged, 100.0% were proved wrong" in said
    assert "types that gave none: " in said
    assert "misread, " in said  # generated arithmetic has no words
    # What was left out can be asked for later.
    assert main([*SOURCE, f"--output={tmp_path}/a", "--seed=1"]) == ExitCode.DONE
    assert "leak of the surface" in capsys.readouterr().out
    assert files(tmp_path / "a")[0] == files(tmp_path / "b")[0]


def test_a_folder_takes_one_job_at_a_time(tmp_path, capsys):
    with locked(tmp_path / "a"):
        assert main([*SOURCE, f"--output={tmp_path}/a", "--no_leak"]) == ExitCode.BAD_INPUT
    assert "another process is at work" in capsys.readouterr().err
    assert main([*SOURCE, f"--output={tmp_path}/a", "--no_leak"]) == ExitCode.DONE


def test_a_folder_keeps_to_its_settings(tmp_path, capsys):
    here = [*SOURCE, f"--output={tmp_path}/a", "--no_leak"]
    assert main(here) == ExitCode.DONE
    before = files(tmp_path / "a")
    assert main(here) == ExitCode.DONE  # it is done: said again, nothing written
    assert files(tmp_path / "a") == before
    capsys.readouterr()
    assert main([*here, "--seed=3"]) == ExitCode.BAD_INPUT
    assert "seed was 0, is 3" in capsys.readouterr().err
    assert main([*here, "--source.seed=3"]) == ExitCode.BAD_INPUT
    assert "content was" in capsys.readouterr().err
    assert files(tmp_path / "a") == before
    assert main([*here, "--seed=3", "--overwrite"]) == ExitCode.DONE
    assert files(tmp_path / "a") != before
    # A damaged file is written again.
    assert main([*here, "--overwrite"]) == ExitCode.DONE
    (tmp_path / "a" / "mistakes.jsonl").write_text("half a li")
    assert main(here) == ExitCode.DONE
    assert files(tmp_path / "a") == before
    (tmp_path / "a" / "manifest.json").unlink()
    assert main(here) == ExitCode.BAD_INPUT
    assert "no manifest.json" in capsys.readouterr().err


def test_mined_solutions_and_mistakes_are_sources_too(tmp_path, capsys):
    main([*SOURCE, f"--output={tmp_path}/a", "--no_leak", "--carry_forward"])
    again = ["source:mistakes", f"--source.path={tmp_path}/a/mistakes.jsonl", f"--output={tmp_path}/b", "--no_leak"]
    assert main(again) == ExitCode.DONE
    solutions = {m.problem_id for m in read_mistakes(f"{tmp_path}/a/mistakes.jsonl") if m.kind == "solution"}
    assert {m.problem_id for m in read_mistakes(f"{tmp_path}/b/mistakes.jsonl")} == solutions
    said = capsys.readouterr().out
    assert len(solutions) == 12 or "have no right solution to edit" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no source of right solutions"),
        (["source:arithmetc"], "did you mean 'arithmetic'"),
        (["source:gsm8k", "--source.path=no_such.jsonl"], "no file 'no_such.jsonl'"),
        ([*SOURCE, "--per_probelm=3"], "--per_problem"),
        ([*SOURCE, "--sed=1"], "unknown setting --sed; did you mean --seed?"),
        ([*SOURCE, "--seed=x"], "--seed: 'x' is not a whole number; it is 0 without this option"),
        ([*SOURCE, "--per_problem=0"], "per_problem=0: expected at least 1"),
        ([*SOURCE, "--shares.value=-1"], "expected numbers >= 0"),
        ([*SOURCE, "--editor=self_edit"], "needs a model"),
        ([*SOURCE, "--model=smollm2"], "editor=rules asks none"),
        ([*SOURCE, "--editor=self_edit", "--model=smollm2", "--carry_forward"], "carry_forward"),
        ([*SOURCE, "--editor=self_edit", "--model=smolm2"], "did you mean 'smollm2'"),
        ([*SOURCE, "--output=FILE"], "is a file"),
        ([*SOURCE, "--output=FILE/a"], "cannot be used (Not a directory)"),
        (["source:gsm8k", "--source.path=FILE"], "holds no problem"),
        (["source:gsm8k", "--source.path=SVAMP"], "(or skip such records with --on_error=skip)"),
        (["source:svamp", "--source.path=SVAMP"], "for svamp add --source.solutions=equations"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text("")
    (tmp_path / "SVAMP").write_text('[{"ID": "a", "Body": "b", "Question": "q?", "Answer": 1}]')
    assert main(words) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_the_equations_of_svamp_are_edited_as_the_message_says(tmp_path, capsys):
    (tmp_path / "SVAMP").write_text(
        '[{"ID": "a", "Body": "A pack costs 76 dollars.", "Question": "How much are 2?", "Answer": 152.0, '
        '"Equation": "( 76.0 * 2.0 )"}]'
    )
    words = ["source:svamp", f"--source.path={tmp_path}/SVAMP", "--source.solutions=equations", "--no_leak"]
    assert main([*words, f"--output={tmp_path}/out"]) == 0
    assert json.loads((tmp_path / "out" / "mistakes.jsonl").read_text())["answer"] == "152"


def test_help_shows_the_defaults(capsys):
    for words, shown in ((["--help-all"], "source:gsm8k"), (["source:arithmetic", "--help-all"], "--shares.carry")):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        said = capsys.readouterr().out
        assert shown in said
        assert "(default: 6)" in said


def start(out, count, *options):
    words = ["source:arithmetic", f"--source.count={count}", f"--output={out}", "--no_leak", *options]
    return subprocess.Popen([sys.executable, "-m", "mtjax.inject", *words], stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing(tmp_path):
    count = 400
    assert start(tmp_path / "whole", count).wait() == 0
    rng = random.Random(0)
    for number in range(2):
        job = start(tmp_path / "killed", count)
        writing = lambda: [*(tmp_path / "killed").glob(".mistakes.jsonl.*.tmp")]
        before = len(writing())
        while len(writing()) == before and job.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.4)  # while it writes, or just behind
        job.send_signal(signal.SIGKILL)
        job.wait()
        assert number or job.returncode == -signal.SIGKILL
    assert start(tmp_path / "killed", count).wait() == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


class Editor:
    """A model that answers every request with a wrong sum, until it is stopped."""

    def __init__(self, stop_after=None):
        self.calls, self.stop_after = 0, stop_after

    def __call__(self, prompts):
        if self.stop_after is not None and self.calls >= self.stop_after:
            raise KeyboardInterrupt
        self.calls += 1
        steps = [prompt.split(FENCE)[5].strip() for prompt in prompts]
        return [f"{step}7\n{FENCE}\nDone." for step in steps]


def self_edit_settings(folder):
    source = InMemory(tuple(Arithmetic(count=10).problems().items))
    return InjectConfig(source=source, output=str(folder), editor="self_edit", model="scripted", chunk=3, leak=False)


def test_pairs_for_trl(tmp_path, capsys):
    assert main([*SOURCE, f"--output={tmp_path}/a", "--no_leak", "--carry_forward"]) == ExitCode.DONE
    before = files(tmp_path / "a")
    assert main([*SOURCE, f"--output={tmp_path}/a", "--no_leak", "--carry_forward", "--format=trl"]) == ExitCode.DONE
    assert files(tmp_path / "a") == before  # the records do not depend on the format
    assert f"{tmp_path}/a/trl.jsonl" in capsys.readouterr().out
    pairs = [json.loads(line) for line in (tmp_path / "a" / "trl.jsonl").read_text().splitlines()]
    assert pairs == [to_trl(mistake) for mistake in read_mistakes(f"{tmp_path}/a/mistakes.jsonl")]
    assert all(set(pair) == {"prompt", "chosen", "rejected"} for pair in pairs)


def test_self_editing_goes_on_where_it_was_stopped(tmp_path, capsys):
    whole, stopped = Editor(), Editor(stop_after=2)
    assert run(self_edit_settings(tmp_path / "a"), generate=whole) == ExitCode.DONE
    assert whole.calls == 4  # ten problems in chunks of three
    with pytest.raises(KeyboardInterrupt):
        run(self_edit_settings(tmp_path / "b"), generate=stopped)
    rest = Editor()
    assert run(self_edit_settings(tmp_path / "b"), generate=rest) == ExitCode.DONE
    assert (stopped.calls, rest.calls) == (2, 2)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    mistakes = list(read_mistakes(str(tmp_path / "a" / "mistakes.jsonl")))
    assert len(mistakes) == 10
    assert all(m.wrong_step == m.right_step + "7" and m.generator == "self_edit" for m in mistakes)
    assert {(m.verdict, m.judge) for m in mistakes} == {("proved", "equation")}
    assert "6 of 10 problems are there already" in capsys.readouterr().out
    other = dataclasses.replace(self_edit_settings(tmp_path / "c"), seed=1)
    assert run(other, generate=Editor()) == ExitCode.DONE
    assert files(tmp_path / "c")[0] != files(tmp_path / "a")[0]


def test_self_editing_with_a_model_of_its_own(tmp_path, capsys):
    tokenizer = load_tokenizer("bytes")
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, kv_heads=1, mlp_width=16, max_length=1024
    )
    model = make_language_model(shape)
    folder = tmp_path / "model"
    huggingface.save(folder, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=tokenizer)
    words = [
        "source:arithmetic",
        "--source.count=2",
        f"--output={tmp_path}/out",
        "--editor=self_edit",
        f"--model={folder}",
    ]
    assert main([*words, "--max_new_tokens=8", "--steps_per_problem=1", "--rows=2"]) == ExitCode.BAD_INPUT
    assert "no mistake was kept of 2 edits made (2 unparsed)" in capsys.readouterr().err  # it closes no fence
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["self_edits"]  # what the model wrote is kept
    manifest = json.loads((tmp_path / "out" / "self_edits" / "manifest.json").read_text())
    assert len(manifest["settings"]["policy"]["fingerprint"]) >= 32


@pytest.mark.parametrize(
    ("texts", "words", "said"),
    [
        (["Air scatters blue light.", "An apple is a fruit."], [], "no mistake was made: the right solutions hold no"),
        (["It ended in 1945, on May 8.\nIn 1945 all was over."], [], "--keep_unproved keeps them"),
        (["So 3 + 4 = 7"], ["--alpha=1"], "--alpha is too small"),
        (["So 3 + 4 = 8"], [], "has a false equation"),
    ],
)
def test_nothing_made_is_one_sentence_and_no_file(tmp_path, capsys, texts, words, said):
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps({"prompt": "Why?", "completion": text}) + "\n" for text in texts))
    command = ["source:jsonl", f"--source.path={source}", f"--output={tmp_path}/out"]
    assert main([*command, *words]) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert said in told.err
    assert "proved" not in told.out  # no table of zeros
    assert not (tmp_path / "out").exists()
    if "keep_unproved" in said:  # the way out works, in the same folder
        assert main([*command, "--keep_unproved"]) == ExitCode.DONE


def test_a_leak_above_the_limit_is_a_warning(tmp_path, capsys):
    many = ["source:arithmetic", "--source.count=60"]
    assert main([*many, f"--output={tmp_path}/a", "--false_equations=1"]) == ExitCode.DONE
    assert "warning: equation_check" in capsys.readouterr().out
    assert main([*many, f"--output={tmp_path}/b", "--false_equations=0"]) == ExitCode.DONE
    assert "equation_check of" not in capsys.readouterr().out
    assert main([*many, f"--output={tmp_path}/b", "--false_equations=1"]) == ExitCode.BAD_INPUT
    assert "false_equations was 0.0, is 1.0" in capsys.readouterr().err
