"""DPO on conversational pairs: the loss starts at log 2, and every command asks the run in the chat of training."""

import json
import math
import pathlib

import pytest

from mtjax import evaluate, generate, mine, rethink, train
from mtjax.data.mistake_record import Mistake, to_lines
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.sampling.texts import TokenSample
from tests.devices import only_one_device

CONFIG = pathlib.Path(__file__).parent.parent / "configs" / "tiny_dpo_chat.py"
SYSTEM = {"role": "system", "content": "Add."}
TURNS = [
    {"role": "user", "content": "1 + 1"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2 + 2"},
]
SIDES = {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", "Answer: 4"), ("rejected", "5"))}
SMALL = ["--model.width=16", "--model.layers=1", "--model.mlp_width=16", "--model.max_length=128"]
FEW = ["--samples=1", "--max_new_tokens=3"]


def asked_of(question):
    return f"system: Add.\nuser: {question}\nassistant: "


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("chat")
    records = [{"prompt": [SYSTEM, *TURNS], **SIDES}, {"prompt": TURNS[:1], **SIDES}] * 4
    (place / "pairs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    words = ["data.source:jsonl", f"--data.source.path={place / 'pairs.jsonl'}", "--data.task.system=Add.", *SMALL]
    words += ["--data.sequence_length=128", "--batch_size=2", "--steps=1", "--tensorboard=False"]
    with only_one_device():
        ended = train.main([str(CONFIG), *words, f"--run_dir={place / 'run'}", f"--export={place / 'export'}"])
    assert ended == ExitCode.DONE
    return place / "run"


@pytest.fixture(autouse=True)
def alone():
    with only_one_device():
        yield


@pytest.fixture
def asked(monkeypatch):
    """What the model reads from now on; it answers "4" without being compiled."""
    read, tokenizer = [], load_tokenizer("bytes")

    def sample_texts(model, params, tokenizer_, prompts, config, seed, **options):
        read.extend(one if isinstance(one, str) else tokenizer.decode(one).removeprefix("<|bos|>") for one in prompts)
        return [[TokenSample("4", (52, tokenizer.end_id), -1.0, -1.0, True)] * config.samples for _ in prompts]

    def stream_texts(model, params, tokenizer_, ids, config, seed, **options):
        rows = sample_texts(model, params, tokenizer_, ids, config, seed)
        return ((place, number, one) for place, row in enumerate(rows) for number, one in enumerate(row))

    for place in ("sampling.texts", "evaluation.evaluator"):
        monkeypatch.setattr(f"mtjax.{place}.sample_texts", sample_texts)
    monkeypatch.setattr("mtjax.sampling.local.stream_texts", stream_texts)
    return read


def test_the_loss_starts_at_log_2(run):
    first = next(
        line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if line["step"] == 1
    )
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_every_command_asks_as_in_training(run, asked, tmp_path, capsys):
    assert generate.main([str(run), "1 + 1", "--max_new_tokens=3", "--json"]) == ExitCode.DONE
    of_run = json.loads(capsys.readouterr().out)
    assert asked == [asked_of("1 + 1")] == [of_run["read"]]
    assert generate.main([str(run.parent / "export"), "1 + 1", "--max_new_tokens=3", "--json"]) == ExitCode.DONE
    of_export = json.loads(capsys.readouterr().out)  # its template writes the begin token that training adds
    assert of_export | {"read": of_export["read"].removeprefix("<|bos|>")} == of_run
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"question": "2 + 2", "answer": "4"}) + "\n")
    source = ["data.source:jsonl", f"--data.source.path={problems}"]
    for command, more in ((mine, []), (evaluate, ["--metrics=coverage"])):
        asked.clear()
        assert (
            command.main([str(run), *source, *FEW, *more, f"--output={tmp_path / command.__name__}"]) == ExitCode.DONE
        )
        assert set(asked) == {asked_of("2 + 2")}
    asked.clear()
    shown = Mistake(
        id="a", kind="solution", problem_id="a", question="9 + 9", right_step="1", wrong_step="2", error_type="carry"
    )
    (tmp_path / "mistakes.jsonl").write_text(to_lines([shown]))
    plain = [f"--wording.{name}={{question}}" for name in ("solve", "ask", "redo", "answer")]
    words = [
        str(run),
        *source,
        f"--mistakes={tmp_path / 'mistakes.jsonl'}",
        f"--output={tmp_path / 'rethought'}",
        *plain,
    ]
    assert rethink.main([*words, "--max_new_tokens=3", "--k=0"]) == ExitCode.DONE
    assert asked
    assert all(text.startswith("system: Add.\nuser: ") and text.endswith("\nassistant: ") for text in asked)
