"""`python -m mtjax.mine`: a folder and a server, killed and run again, and every misuse in one line."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import pytest

from mtjax import mine
from mtjax.data.sources.mined import FILE, Mined, read_mined
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from tests.devices import ONE_DEVICE
from tests.sampling.fake_server import FakeServer, error

PROBLEMS = ["data.source:arithmetic", "--data.source.count=12"]
QUICK = ["--samples=3", "--rows=8", "--max_new_tokens=6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random model with the arithmetic tokenizer, in a Hugging Face folder."""
    tokenizer = load_tokenizer("arithmetic")
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        width=16,
        layers=1,
        heads=2,
        kv_heads=1,
        head_dim=8,
        mlp_width=16,
        max_length=96,
    )
    model = make_language_model(shape)
    path = tmp_path_factory.mktemp("mine") / "model"
    huggingface.save(path, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=tokenizer)
    return str(path)


def run(*words):
    return mine.main([str(word) for word in words])


def process(*words, **environment):
    """The command in its own process on one device, as a user types it."""
    command = [sys.executable, "-m", "mtjax.mine", *map(str, words)]
    environment = {**os.environ, **ONE_DEVICE, **environment}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(job):
    """The exit code, once the process has ended; shows what it said when that is not 0."""
    said, _ = job.communicate()
    print(said if job.returncode else "")
    return job.returncode


def wait_for(out, lines):
    """Until so many records are there; whether they came."""
    for _ in range(3000):
        part = out / f"{FILE}.part"
        if (out / FILE).exists() or (part.exists() and part.read_bytes().count(b"\n") >= lines):
            return
        time.sleep(0.02)
    raise AssertionError("no records came")


def files(out):
    return {file.name: file.read_bytes() for file in sorted(pathlib.Path(out).iterdir())}


def test_end_to_end_with_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    ask = [folder, *PROBLEMS, *QUICK, f"--output={out}"]
    assert run(*ask) == ExitCode.DONE
    said = capsys.readouterr().out
    for name in (
        "problems",
        "all right",
        "mixed",
        "right",
        "unique wrong",
        "truncated",
        "unknown verdicts",
        "pairs possible",
    ):
        assert f"\n{name}  " in said
    mined = list(read_mined(str(out)))
    assert [one.number for one in mined] == list(range(12))
    assert all(one.drawn == 3 == sum(s.count for s in one.solutions) for one in mined)
    assert all(s.logprob < 0 < s.tokens for one in mined for s in one.solutions)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["settings"]["decode"]["max_new_tokens"] == 6
    assert len(manifest["settings"]["policy"]["fingerprint"]) == 32
    assert len(Mined(str(out)).problems().items) == 12
    before = files(out)
    assert run(*ask) == ExitCode.DONE
    assert "12 of 12 problems are there already" in capsys.readouterr().out
    assert run(*ask, "--seed=1") == ExitCode.BAD_INPUT
    assert "seed was 0, is 1" in capsys.readouterr().err
    assert run(*ask, "--temperature=0.5", "--data.source.high=30") == ExitCode.BAD_INPUT
    err = capsys.readouterr().err
    assert "decode.temperature was 1.0, is 0.5" in err
    assert "data.source.high was 20, is 30" in err
    assert files(out) == before
    assert run(*ask, "--seed=1", "--overwrite", "--mistakes") == ExitCode.DONE
    assert files(out)[FILE] != before[FILE]
    assert (out / "mistakes.jsonl").exists()


def test_killed_and_run_again_equals_run_through(folder, tmp_path, capsys):
    ask = [folder, "data.source:arithmetic", "--data.source.count=80", "--samples=3", "--rows=3", "--max_new_tokens=8"]
    through, killed = tmp_path / "through", tmp_path / "killed"
    job = process(*ask, f"--output={killed}", XLA_FLAGS=os.environ["XLA_FLAGS"])  # on as many devices as here
    wait_for(killed, 5)
    job.kill()
    job.communicate()
    assert not (killed / FILE).exists()
    assert run(*ask, f"--output={killed}") == ExitCode.DONE
    assert "problems are there already" in capsys.readouterr().out
    assert run(*ask, f"--output={through}") == ExitCode.DONE
    assert files(killed) == files(through)
    assert [mined.number for mined in read_mined(str(killed))] == list(range(80))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0, 1])
def test_killed_at_random_moments(folder, tmp_path, temperature):
    ask = [folder, "data.source:arithmetic", "--data.source.count=300", "--samples=2", "--rows=4", "--max_new_tokens=8"]
    ask += [f"--temperature={temperature}"]
    through, killed = tmp_path / "through", tmp_path / "killed"
    assert ended(process(*ask, f"--output={through}")) == 0
    rng, kills, part = random.Random(0), 0, killed / f"{FILE}.part"
    while not (killed / FILE).exists():
        there = part.read_bytes().count(b"\n") if part.exists() else 0
        job = process(*ask, f"--output={killed}")
        wait_for(killed, there + rng.randint(1, 90))
        time.sleep(rng.uniform(0, 0.3))
        kills += job.poll() is None
        job.kill()
        job.communicate()
    assert ended(process(*ask, f"--output={killed}")) == 0
    assert kills > 1
    assert files(killed) == files(through)


@pytest.mark.slow
def test_a_server_that_is_asked_by_jobs_that_die_three_ways(tmp_path, capsys):
    """SIGKILL, SIGTERM (0), Ctrl-C (130) while requests hang, then the rest: nothing that is there is asked again."""
    gate = [3]  # so many problems are answered, the others hang

    def trouble(fake, path, body, number):
        if body is not None and sum(path_ != "/v1/models" for path_, _ in fake.requests) > gate[0]:
            fake.over.wait(20)

    fake, out = FakeServer(trouble, say=lambda prompt, seed, i: f"Answer: {i}"), tmp_path / "out"
    with fake.running() as url:
        ask = [url, *PROBLEMS, "--samples=2", f"--output={out}", "--server.concurrency=2"]
        for sent, code in (
            (signal.SIGKILL, -9),
            (signal.SIGTERM, ExitCode.STOPPED),
            (signal.SIGINT, ExitCode.INTERRUPTED),
        ):
            there = len(prompts_in(out))
            gate[0] = len([path for path, _ in fake.requests if path != "/v1/models"]) + 3
            job = process(*ask)
            wait_for(out, there + 3)
            job.send_signal(sent)
            said, _ = job.communicate(timeout=30)
            assert job.returncode == code, said
            assert sent == signal.SIGKILL or f"stopped with {there + 3} of 12 problems" in said
        there = prompts_in(out)
        assert len(there) == 9
        gate[0], before = 10**9, len(fake.requests)
        assert run(*ask) == ExitCode.DONE
        asked = [body["prompt"] for path, body in fake.requests[before:] if body]
        assert len(asked) == 3
        assert not set(asked) & there
    mined = list(read_mined(str(out)))
    assert [one.number for one in mined] == list(range(12))
    assert all([solution.text for solution in one.solutions] == ["Answer: 0", "Answer: 1"] for one in mined)
    assert sorted(files(out)) == ["manifest.json", FILE]
    assert json.loads((out / "manifest.json").read_text())["settings"]["policy"]["model"] == "tiny"
    assert f"wrote {out / FILE}" in capsys.readouterr().out


def prompts_in(out):
    """Questions, as prompts, of the records that are there."""
    part = out / f"{FILE}.part"
    lines = part.read_text().splitlines() if part.exists() else []
    return {json.loads(line[line.index("{") :])["question"] + "\n" for line in lines}  # behind its checksum


def test_a_server_may_move_but_its_model_may_not_change(tmp_path, capsys):
    out = tmp_path / "out"
    fake = FakeServer(lambda fake, path, body, number: None if number < 5 else (_ for _ in ()).throw(error(401, "no")))
    with fake.running() as url:
        assert run(url, *PROBLEMS, f"--output={out}", "--server.concurrency=1") == ExitCode.BAD_INPUT
        assert "wants an API key" in capsys.readouterr().err
    assert len(prompts_in(out)) == 4
    with FakeServer(models=("other",)).running() as url:
        assert run(url, *PROBLEMS, f"--output={out}") == ExitCode.BAD_INPUT
        assert "policy.model was 'tiny', is 'other'" in capsys.readouterr().err
    with FakeServer().running() as url:
        assert run(url, *PROBLEMS, f"--output={out}", "--server.timeout=9") == ExitCode.DONE
    assert len(list(read_mined(str(out)))) == 12


def test_the_task_chooses_the_interface(tmp_path):
    fake = FakeServer()
    with fake.running() as url:
        ask = [url, *PROBLEMS, "--samples=1", "--limit=1"]
        assert run(*ask, f"--output={tmp_path / 'a'}", "data.task:chat_task", "--data.task.system=be brief") == 0
        assert run(*ask, f"--output={tmp_path / 'b'}", "--server.api=chat") == 0
        assert run(*ask, f"--output={tmp_path / 'c'}") == 0
    a, b, c = ((path, body) for path, body in fake.requests if body)
    assert (a[0], c[0]) == ("/v1/chat/completions", "/v1/completions")
    assert [message["role"] for message in a[1]["messages"]] == ["system", "user"]
    assert b[1]["messages"][0]["content"] == c[1]["prompt"].strip()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smolm2"], "did you mean 'smollm2'"),
        (["FOLDER", "--output=x"], "say which problems"),
        (["FOLDER", *PROBLEMS, "data.task:caht_task", "--output=x"], "did you mean 'chat'"),
        (["FOLDER", "data.source:arithmetc", "--output=x"], "did you mean 'arithmetic'"),
        (["FOLDER", *PROBLEMS], "--output=FOLDER"),
        (["FOLDER", *PROBLEMS, "--smaples=3"], "--samples"),
        (["FOLDER", *PROBLEMS, "--samples=0"], "samples=0: expected at least 1"),
        (["FOLDER", *PROBLEMS, "--samples=x"], "--samples"),
        (["FOLDER", *PROBLEMS, "--temperature=-1", "--output=x"], "temperature=-1.0"),
        (["FOLDER", *PROBLEMS, "--max_new_tokens=500", "--output=x"], "the model's 96 leave 0"),
        (["FOLDER", *PROBLEMS, "--output=FOLDER/config.json"], "is a file"),
        (["FOLDER", "no_such_config.py"], "no_such_config.py"),
        (["FOLDER", *PROBLEMS, "--output=x", "--step=3"], "only a run folder has steps"),
        (["FOLDER", "data.source:jsonl", "--data.source.path=missing.jsonl", "--output=x"], "missing.jsonl"),
        (["http://", *PROBLEMS, "--output=x"], "expected http(s)://host"),
        (["http://localhost:1/v1", *PROBLEMS, "--output=x", "--server.retries=0"], "failed 1 times in a row"),
        (["http://localhost:1/v1", *PROBLEMS, "--output=x", "--server.concurrency=0"], "server.concurrency=0"),
        (["--samples=3"], "stands where the model or URL belongs"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(folder, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert run(*(word.replace("FOLDER", folder) if word != "--output=FOLDER" else word for word in words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "x" / FILE).exists()


def test_problems_without_an_answer_are_refused(folder, tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    data.write_text('{"question": "1 + 1 =", "answer": "2"}\n{"question": "1 + 2 =", "wrong": ["Answer: 4"]}\n')
    words = ["data.source:jsonl", f"--data.source.path={data}", f"--output={tmp_path / 'out'}"]
    assert run(folder, *words) == ExitCode.BAD_INPUT
    assert "problem data.jsonl:2 has no answer to compare with (1 of 2" in capsys.readouterr().err


def test_settings_of_a_config_file_are_its_training_source(folder, tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        "from mtjax.config import Config, HeldOut\n"
        "from mtjax.data.sources.arithmetic import Arithmetic\n"
        "from mtjax.data.batches import DataConfig\n"
        "from mtjax.data.tasks import MistakeTask\n"
        "data = DataConfig(source=Arithmetic(count=5), task=MistakeTask(decode_prefix='correct'), tokenizer='bytes')\n"
        "config = Config(data=data, held_out=HeldOut(source=Arithmetic(count=7, split='test')))\n"
    )
    name, config = mine.read_settings([folder, str(file), "--samples=4"])
    assert (name, config.sampling.samples, config.data.source.count, config.tokenizer) == (folder, 4, 5, "bytes")
    assert config.data.task.decode_prefix == "correct"
    _, config = mine.read_settings(["http://h/v1", str(file)])
    assert config.tokenizer is None


def test_help_names_the_settings(folder, capsys):
    assert run("--help") == ExitCode.DONE
    assert "MODEL_OR_URL is a run folder" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run(folder, "--help")
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--server.api_key_variable" in said
    assert "--samples=8 " in said


@pytest.mark.slow
def test_a_run_is_mined_into_its_own_folder(tmp_path, capsys):
    """The snapshot gives problems, task and tokenizer; what is mined is a source of the next run."""
    from mtjax import train

    tiny, place = str(pathlib.Path(__file__).parent.parent / "configs" / "tiny.py"), tmp_path / "run"
    assert train.main([tiny, f"--run_dir={place}", "--steps=2", "--no_tensorboard"]) == ExitCode.DONE
    assert run(place, "--data.source.count=6", "--samples=2", "--rows=8", "--mistakes") == ExitCode.DONE
    assert "wrote" in capsys.readouterr().out
    mined = list(read_mined(str(place / "mined")))
    assert [one.number for one in mined] == list(range(6))
    manifest = json.loads((place / "mined" / "manifest.json").read_text())
    assert manifest["about"]["step"] == 2
    assert manifest["settings"]["data"]["task"]["kind"] == "MistakeTask"
    assert run(place, "--data.source.count=6", "--samples=2", "--rows=8", "--step=1") == ExitCode.BAD_INPUT


def test_equal_samples_are_said(tmp_path, capsys):
    fake = FakeServer(say=lambda prompt, seed, i: "Answer: 1")
    with fake.running() as url:
        assert run(url, *PROBLEMS, "--samples=2", f"--output={tmp_path / 'a'}", "--temperature=0.7") == ExitCode.DONE
        assert "all samples were equal for 12 of 12 problems, though temperature=0.7" in capsys.readouterr().out
        assert run(url, *PROBLEMS, "--samples=2", f"--output={tmp_path / 'b'}", "--temperature=0") == ExitCode.DONE
        assert run(url, *PROBLEMS, "--samples=1", f"--output={tmp_path / 'c'}") == ExitCode.DONE
    for name, fake in (("d", FakeServer()), ("e", FakeServer(say=lambda prompt, seed, i: ""))):
        with fake.running() as url:
            assert run(url, *PROBLEMS, "--samples=2", f"--output={tmp_path / name}") == ExitCode.DONE
    assert "were equal" not in capsys.readouterr().out
