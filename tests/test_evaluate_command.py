"""The evaluate command: by hand on a scripted model, end to end on a folder, and its refusals."""

import json

import jax
import pytest

from mtjax.data.batches import DataConfig
from mtjax.data.sources import InMemory
from mtjax.data.tasks import CompletionTask, MistakeTask
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode, InputError
from mtjax.evaluate import evaluate, main, read_settings, save, table_of
from mtjax.evaluation.config import EvaluateConfig
from mtjax.model import huggingface
from mtjax.model.decoder import DecoderConfig
from mtjax.model.language_model import make_language_model
from mtjax.reporting.report import format_table
from mtjax.runs.loading import Loaded
from mtjax.sampling.config import SamplingConfig
from tests.evaluation.scripted import bigram_model, script

pytestmark = pytest.mark.usefixtures("one_device")

RECORDS = (
    {"id": "a", "question": "3 + 4 =", "answer": "7", "right": ["Answer: 7"], "wrong": ["Answer: 3"]},
    {"id": "b", "question": "4 + 3 =", "answer": "7", "right": ["Answer: 7"]},
)
# The prefix ends the prompt, so that a model that sees one token back can tell the two apart.
TASK = MistakeTask(decode_prefix="correct", prefix_in="prompt", template="{question}", loss_on="rationale")


def settings(task=TASK, records=RECORDS, **options):
    data = DataConfig(source=InMemory(records), task=task, tokenizer="arithmetic", sequence_length=32)
    return EvaluateConfig(data=data, sampling=SamplingConfig(samples=2, max_new_tokens=6), rows=4, **options)


@pytest.fixture(scope="module")
def scripted():
    tokenizer = load_tokenizer("arithmetic")
    right = script(tokenizer, "Answer: 7", after="[CORRECT RATIONALE]")["table"]
    wrong = script(tokenizer, "Answer: 3", after="[INCORRECT RATIONALE]")["table"]
    answer = tokenizer.encode("Answer: ").ids[0]
    # Behind "Answer: " a bigram cannot know the prefix any more: 7 with 3/4 and 3 with 1/4.
    table = jax.numpy.maximum(right, wrong)
    table = table.at[answer, tokenizer.encode("7").ids[0]].set(jax.numpy.log(0.75))
    table = table.at[answer, tokenizer.encode("3").ids[0]].set(jax.numpy.log(0.25))
    return Loaded(bigram_model(tokenizer.vocab_size), {"table": table}, tokenizer)


def test_numbers_by_hand(scripted):
    outcome = evaluate(scripted, settings())
    assert outcome.numbers["right"]["greedy"].mean == 1  # greedy says 7 behind either prefix
    assert outcome.gap is not None
    difference = outcome.numbers["right"]["pass@1"].mean - outcome.numbers["wrong"]["pass@1"].mean
    assert outcome.gap.mean == pytest.approx(difference)
    # Three predicted tokens of a right answer: "Answer: " and the end for certain, 7 with 3/4; of the wrong one 1/4.
    bits = {name: interval.mean for name, interval in outcome.likelihood.items()}
    assert bits["nats_per_answer"] == pytest.approx(0.287682, abs=1e-5)  # -ln 3/4
    assert bits["nats_per_token"] == pytest.approx(0.287682 / 3, abs=1e-5)
    assert bits["nats_per_answer_wrong"] == pytest.approx(1.386294, abs=1e-5)  # -ln 1/4
    text = format_table(table_of(outcome, "caption"))
    assert "right prefix" in text
    assert "gap" in text


def test_files_hold_every_sample_and_every_number(scripted, tmp_path):
    outcome = evaluate(scripted, settings(CompletionTask(template="{question}"), limit=1))
    assert list(outcome.evaluations) == ["plain"]
    save(outcome, {"model": "scripted"}, tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    assert [(line["problem"], line["kind"], line["number"]) for line in lines] == [
        ("a", "sample", 0),
        ("a", "sample", 1),
        ("a", "greedy", 0),
    ]
    assert {line["verdict"] for line in lines} <= {"right", "wrong", "unknown"}
    numbers = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert numbers["model"] == "scripted"
    assert set(numbers["metrics"]["plain"]["pass@1"]) == {"mean", "low", "high", "level"}
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["evaluation.json", "samples.jsonl"]


def test_problems_without_solutions_have_no_likelihood_and_it_is_said(scripted):
    records = ({"id": "a", "question": "3 + 4 =", "answer": "7"},)
    outcome = evaluate(scripted, settings(records=records))
    assert outcome.likelihood == {}
    assert any("no solutions" in note for note in outcome.notes)


def test_a_prompt_that_leaves_no_room_is_refused(scripted):
    loaded = scripted._replace(model=bigram_model(scripted.tokenizer.vocab_size, max_length=4))
    with pytest.raises(InputError, match="room for 4"):
        evaluate(loaded, settings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
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
    path = tmp_path_factory.mktemp("evaluate") / "model"
    huggingface.save(path, model, jax.jit(model.init)(jax.random.key(0)), tokenizer=tokenizer)
    return str(path)


PROBLEMS = ["data.source:arithmetic", "--data.source.count=3", "data.task:completion_task"]


def test_end_to_end_on_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--samples=2", "--max_new_tokens=4", "--rows=8", f"--output={out}"]
    assert main([folder, *PROBLEMS, *options]) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "3 problems of Arithmetic, 2 samples each" in said
    for name in ("greedy", "pass@1", "pass@2", "maj@2", "nats_per_token", "unknown"):
        assert f"\n{name} " in said
    assert json.loads((out / "evaluation.json").read_text())["settings"]["samples"] == 2
    assert len((out / "samples.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smolm2"], "did you mean 'smollm2'"),
        (["http://localhost:8000/v1"], "evaluate needs a model, not a server"),
        (["FOLDER"], "give a config file, or data.source:KIND"),
        (["FOLDER", "data.source:arithmetic"], "a choice is missing: expected one of data.task:"),
        (["FOLDER", *PROBLEMS, "--smaples=3"], "did you mean --samples?"),
        (["FOLDER", *PROBLEMS, "--samples=2", "--k", "1", "4"], "k=4: expected 1 to samples=2"),
        (["FOLDER", *PROBLEMS, "--limit=0"], "limit=0"),
        (["FOLDER", *PROBLEMS, "--aggregation=majorty"], "did you mean 'majority'"),
        (["FOLDER", *PROBLEMS, "grader:stesp"], "did you mean 'steps'"),
        (["FOLDER", *PROBLEMS, "--samples=x"], "--samples"),
        (["FOLDER", "no_such_config.py"], "no_such_config.py"),
        (["FOLDER", *PROBLEMS, "--step=3"], "only a run folder has steps"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, capsys, words, said):
    assert main([folder if word == "FOLDER" else word for word in words]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_settings_of_a_config_file_are_its_held_out_source(folder, tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        "from mtjax.config import Config, HeldOut\n"
        "from mtjax.data.sources.arithmetic import Arithmetic\n"
        "from mtjax.data.batches import DataConfig\n"
        "from mtjax.data.tasks import MistakeTask\n"
        "data = DataConfig(source=Arithmetic(count=5), task=MistakeTask(decode_prefix='correct'), tokenizer='bytes')\n"
        "config = Config(data=data, held_out=HeldOut(source=Arithmetic(count=7, split='test')))\n"
    )
    _, config = read_settings([folder, str(file), "--samples=4"])
    assert (config.data.source.count, config.data.source.split) == (7, "test")
    assert config.ks == (1, 4)


def test_help_names_the_settings(folder, capsys):
    assert main(["--help"]) == ExitCode.DONE
    assert "MODEL is a run folder" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main([folder, *PROBLEMS, "--help"])
    assert stop.value.code == 0
    assert "--samples" in capsys.readouterr().out
