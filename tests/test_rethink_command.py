"""`python -m mtjax.rethink`: numbers by hand against a scripted server, a folder end to end, stopped and run again."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import pytest

from mtjax import rethink
from mtjax.data.mistake_record import Mistake, to_lines
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode, InputError
from mtjax.mistakes.rethinking_evaluation import measure
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.runs.loading import load_any
from tests.devices import ONE_DEVICE
from tests.sampling.fake_server import FakeServer, error

QUESTIONS = {f"Q{n}?": str(n) for n in range(8)}
WORDS = ["--wording.solve=solve {question}", "--wording.ask=ask {question} {rationale} {mistakes}"]
WORDS += ["--wording.redo=redo {question} {rationale} {mistakes}", "--wording.answer=answer {question} {rationale}"]


def says(prompt, seed, i):
    """Q0 to Q3 are solved wrong at first; Q0 and Q1 are seen and mended, Q4 is right and made wrong, Q5 is unclear."""
    stage, question, *rest = prompt.removeprefix("user:").split()
    number = int(question[1:-1])
    if stage == "solve":
        return "wrong" if number < 4 else "right"
    if stage == "ask":
        mended = rest[0] in ("mended", "broken")
        return "No" if mended or number in (2, 3, 6, 7) else "Hm" if number == 5 else "Yes, it was"
    if stage == "redo":
        return "broken" if number == 4 else "mended"
    return str(number) if rest[0] in ("right", "mended") else "1000"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The questions, and mistakes of which one is of a question that is asked."""
    place = tmp_path_factory.mktemp("rethink")
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in QUESTIONS.items()]
    (place / "data.jsonl").write_text("\n".join(lines))
    made = lambda name, question: Mistake(
        id=name, kind="solution", problem_id=name, question=question, right_step="a", wrong_step="b", error_type="carry"
    )
    (place / "mistakes.jsonl").write_text(to_lines([made("x", "another"), made("y", "Q1?")]))
    return ["data.source:jsonl", f"--data.source.path={place / 'data.jsonl'}", f"--mistakes={place / 'mistakes.jsonl'}"]


def run(*words):
    return rethink.main([str(word) for word in words])


def test_numbers_by_hand(data, tmp_path, capsys):
    fake = FakeServer(say=says)
    with fake.running() as url:
        ask = [url, *data, *WORDS, "--k=2", f"--output={tmp_path / 'out'}", "--together=3"]
        assert run(*ask) == ExitCode.DONE
        said = capsys.readouterr().out
        asked = len(fake.requests)
        assert run(*ask) == ExitCode.DONE
        assert len(fake.requests) == asked + 1  # the list of models
    assert "note: 1 mistakes are not shown, since their questions are asked" in said
    records = [json.loads(line) for line in (tmp_path / "out" / "rethinking.jsonl").read_text().splitlines()]
    assert [record["number"] for record in records] == list(range(8))
    by_number = {record["number"]: record for record in records}
    assert by_number[0]["rationales"] == ["wrong", "mended"]
    assert (by_number[0]["before"], by_number[0]["after"], by_number[0]["ended"]) == ("wrong", "right", "no")
    assert (by_number[4]["before"], by_number[4]["after"]) == ("right", "wrong")
    assert by_number[5]["ended"] == "unparsable"
    # Solve, ask, answer for five questions; solve, ask, redo, ask, answer for Q0, Q1 and Q4: 5 * 3 + 3 * 5 = 30 calls.
    assert sum(record["calls"] for record in records) == 30
    assert asked == 1 + 30 + 3  # the models, the loop, and the first answers of the three that were worked out anew
    metrics = json.loads((tmp_path / "out" / "rethinking.json").read_text())["metrics"]
    means = {name: interval["mean"] for name, interval in metrics.items()}
    assert means == {
        "before": 0.5,  # Q4 to Q7
        "after": 5 / 8,  # Q0, Q1, Q5, Q6, Q7
        "difference": 1 / 8,
        "calls": 30 / 8,
        "rounds": 3 / 8,
        "ended: no": 7 / 8,
        "ended: limit": 0,
        "ended: unparsable": 1 / 8,
        "wrong to right": 2 / 8,
        "right to wrong": 1 / 8,
        "unknown before": 0,
        "unknown after": 0,
    }
    assert metrics["before"]["low"] < 0.5 < metrics["before"]["high"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "Question: another" in manifest["about"]["shown"]
    assert "Q1?" not in manifest["about"]["shown"]
    assert "8 questions, k = 2, at most 6 calls each; 95% bootstrap intervals" in said


def test_the_limit_and_what_unparsable_counts_as(data, tmp_path):
    fake = FakeServer(say=says)
    with fake.running() as url:
        ask = [url, *data, *WORDS, "--k=1", "--unparsable=yes", f"--output={tmp_path / 'out'}"]
        assert run(*ask) == ExitCode.DONE
    records = [json.loads(line) for line in (tmp_path / "out" / "rethinking.jsonl").read_text().splitlines()]
    assert [record["ended"] for record in records] == ["limit", "limit", "no", "no", "limit", "limit", "no", "no"]
    assert {record["calls"] for record in records} == {3, 4}
    prompts = [body["messages"][0]["content"] for path, body in fake.requests if body]
    assert [prompt.split()[0] for prompt in prompts].count("redo") == 4


def test_unknown_is_not_right_and_is_counted():
    row = {"before": "unknown", "after": "right", "calls": 3, "rationales": ["a"], "ended": "no"}
    found = measure([row, {**row, "before": "right", "after": "unknown"}])
    assert (found["before"].mean, found["after"].mean, found["unknown before"].mean) == (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random model with the bytes tokenizer, which can read any prompt."""
    tokenizer = load_tokenizer("bytes")
    shape = DecoderConfig(vocab_size=tokenizer.vocab_size, width=16, layers=1, heads=2, kv_heads=1, mlp_width=16)
    model = make_language_model(shape)
    path = tmp_path_factory.mktemp("rethink") / "model"
    huggingface.save(path, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=tokenizer)
    return str(path)


def test_end_to_end_with_a_folder(folder, data, tmp_path, capsys):
    brief = [word.replace(" {mistakes}", "") for word in WORDS]  # prompts of one length compile once
    ask = [folder, *data, *brief, "--limit=3", "--max_new_tokens=8", "--k=1", "--temperature=1", "--rows=8"]
    ask += ["--unparsable=yes"]
    assert run(*ask, f"--output={tmp_path / 'command'}") == ExitCode.DONE
    said = capsys.readouterr().out
    for name in ("before", "after", "difference", "calls", "ended: no"):
        assert f"\n{name} " in said
    record = json.loads((tmp_path / "command" / "rethinking.jsonl").read_text().splitlines()[0])
    assert (record["calls"], record["ended"], len(record["rationales"])) == (4, "limit", 2)

    loaded = load_any(folder)  # from here on with one model, compiled once
    job = lambda *words: rethink.run(*rethink.read_settings([*ask, *words]), lambda text: None, loaded)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert job(f"--output={tmp_path / name}", f"--seed={seed}") == ExitCode.DONE
    a, b, c = ((tmp_path / name / "rethinking.jsonl").read_bytes() for name in "abc")
    assert a == b != c
    with pytest.raises(InputError, match="seed was 0, is 1"):
        job(f"--output={tmp_path / 'a'}", "--seed=1")
    with pytest.raises(InputError, match="tokens; the model's 2048 leave 8 before an answer of 2040: show fewer"):
        job("--max_new_tokens=2040")


def test_stopped_and_run_again(data, tmp_path):
    """SIGTERM and Ctrl-C while the server hangs: groups that are whole stay, and nothing of them is asked again."""
    gate = [0]

    def trouble(fake, path, body, number):
        if body is not None and number >= gate[0]:
            fake.over.wait(20)

    out = tmp_path / "out"
    fake = FakeServer(trouble, say=says)
    with fake.running() as url:
        ask = [url, *data, *WORDS, "--k=1", "--together=2", f"--output={out}", "--server.concurrency=2"]
        # One group is solve 2, ask 2, redo, answer 2 and, for what was worked out anew, the first answers again.
        for sent, code, whole in ((signal.SIGTERM, 75, 2), (signal.SIGINT, 130, 4)):
            gate[0] = len(fake.requests) + 1 + (2 + 2 + 2 + 2 + 2 if whole == 2 else 2 + 2 + 2)
            command = [sys.executable, "-m", "mtjax.rethink", *map(str, ask)]
            job = subprocess.Popen(command, env={**os.environ, **ONE_DEVICE}, stdout=subprocess.PIPE, text=True)
            part = out / "rethinking.jsonl.part"
            for _ in range(2000):
                if part.exists() and part.read_bytes().count(b"\n") >= whole:
                    break
                time.sleep(0.02)
            job.send_signal(sent)
            said, _ = job.communicate(timeout=30)
            assert job.returncode == code
            assert f"stopped with {whole} of 8 questions" in said
        gate[0], before = 10**9, len(fake.requests)
        assert run(*ask) == ExitCode.DONE
    later = {body["messages"][0]["content"].split()[1] for _, body in fake.requests[before:] if body}
    assert later == {"Q4?", "Q5?", "Q6?", "Q7?"}
    records = [json.loads(line) for line in (out / "rethinking.jsonl").read_text().splitlines()]
    assert [record["number"] for record in records] == list(range(8))


def test_a_config_file_says_which_questions(data):
    """Its held-out source, as a run's own snapshot does; the mistakes are still to be named."""
    name, config = rethink.read_settings(["smollm2", "configs/tiny.py", data[-1], "--k=2"])
    assert (name, config.k, config.data.source.split) == ("smollm2", 2, "test")
    assert config.mistakes == data[-1].removeprefix("--mistakes=")
    with pytest.raises(InputError, match="say which mistakes"):
        rethink.run(*rethink.read_settings(["smollm2", "configs/tiny.py"]))


def test_a_model_that_is_no_run_needs_no_folder(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with FakeServer(say=says).running() as url:
        assert run(url, *data, *WORDS) == ExitCode.DONE
    assert "wrote" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smolm2"], "did you mean 'smollm2'"),
        (["FOLDER", "--mistakes=x"], "say which problems"),
        (["FOLDER", "data.source:arithmetic"], "say which mistakes to show: --mistakes=FILE"),
        (["FOLDER", "DATA", "--k=-1"], "k=-1: expected at least 0"),
        (["FOLDER", "DATA", "--block.types=0"], "block.types=0"),
        (["FOLDER", "DATA", "--level=2"], "level=2"),
        (["FOLDER", "DATA", "--mistakes=missing.jsonl"], "missing.jsonl"),
        (["FOLDER", "DATA", "--block.longest=1"], "no mistake record can be shown"),
        (["FOLDER", "DATA", "--roudns=3"], "--roudns"),
        (["FOLDER", "DATA", "--temperature=-1"], "temperature=-1"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(folder, data, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    full = [part for word in words for part in ({"FOLDER": [folder], "DATA": data}.get(word, [word]))]
    assert run(*full) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_refused_prompt_is_said(data, capsys):
    fake = FakeServer(lambda fake, path, body, number: (_ for _ in ()).throw(error(400, "too long")) if body else None)
    with fake.running() as url:
        assert run(url, *data) == ExitCode.BAD_INPUT
    assert "refuses a prompt (status 400: too long): show fewer or shorter mistakes" in capsys.readouterr().err


def test_help_names_the_settings(folder, capsys):
    assert run("--help") == ExitCode.DONE
    assert "calls per question" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run(folder, "--help")
    assert stop.value.code == 0
    assert "--block.per_type" in capsys.readouterr().out
