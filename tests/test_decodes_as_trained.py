"""Every command that decodes a run asks it as it was trained: template, prefix, stop texts and end tokens.

One run of one step stands for all; what the model reads is seen where the compiled loop takes its prompts.
"""

import dataclasses
import json
import pathlib

import pytest

from mtjax import evaluate, generate, mine, rethink, train
from mtjax.config import read_run
from mtjax.data.mistake_record import Mistake, to_lines
from mtjax.data.tokenizer import load_tokenizer
from mtjax.errors import ExitCode
from mtjax.runs.export import card_of
from mtjax.sampling import texts
from tests.devices import only_one_device

TINY = pathlib.Path(__file__).parent.parent / "configs" / "tiny.py"
RIGHT, WRONG = "[CORRECT RATIONALE]\n", "[INCORRECT RATIONALE]\n"
FRAME = "Step 1: {question} =\n"
FEW = ["--samples=1", "--max_new_tokens=3", "--limit=2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A mistake-tuned run whose template is its own, with a stop text, measured with pass@k and exported."""
    place = tmp_path_factory.mktemp("as_trained")
    words = [f"--run_dir={place / 'run'}", f"--export={place / 'export'}", "--steps=1", f"--data.task.template={FRAME}"]
    words += [
        "--stop",
        "Step 9: ",
        "coverage:coverage_config",
        "coverage.source:arithmetic",
        "--coverage.source.count=2",
    ]
    words += ["--coverage.samples=1", "--coverage.max_tokens=3", "--tensorboard=False"]
    with only_one_device(), pytest.MonkeyPatch.context() as patch:
        asked = watch(patch)
        assert train.main([str(TINY), *words]) == ExitCode.DONE
    assert_framed(asked, RIGHT)
    assert {stop for _, stop in asked} == {("Step 9: ",)}
    return place / "run"


@pytest.fixture(autouse=True)
def alone():
    with only_one_device():
        yield


def watch(patch):
    """What is decoded from now on: (text that the model reads, stop texts) for each prompt."""
    asked, tokenizer = [], load_tokenizer("arithmetic")

    def watched(before):
        def call(model, params, tokenizer_, prompts, config, seed, **options):
            read = [one if isinstance(one, str) else tokenizer.decode(one) for one in prompts]
            asked.extend((text, config.stop) for text in read)
            return before(model, params, tokenizer_, prompts, config, seed, **options)

        return call

    patch.setattr("mtjax.sampling.local.stream_texts", watched(texts.stream_texts))
    for place in ("sampling.texts", "evaluation.evaluator", "training.monitors"):
        patch.setattr(f"mtjax.{place}.sample_texts", watched(texts.sample_texts))
    return asked


@pytest.fixture
def asked(monkeypatch):
    return watch(monkeypatch)


def assert_framed(asked, *prefixes):
    """Every prompt stands in the run's template, followed by one of the prefixes, each of which occurs."""
    before, after = FRAME.split("{question}")
    assert asked
    assert all(
        text.startswith(before) and text.endswith(tuple(after + prefix for prefix in prefixes)) for text, *_ in asked
    )
    assert all(any(text.endswith(after + prefix) for text, *_ in asked) for prefix in prefixes)


def test_generate_says_what_the_model_reads(run, asked, capsys):
    assert generate.main([str(run), "1 + 1", "--max_new_tokens=3", "--json"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert json.loads(said.out)["read"] == "Step 1: 1 + 1 =\n[CORRECT RATIONALE]\n" == asked[-1][0]
    assert asked[-1][1] == ("Step 9: ",)
    assert r"note: the model reads 'Step 1: {prompt} =\n[CORRECT RATIONALE]\n' (task mistake), as in its" in said.err
    assert "--prefix=wrong" in said.err
    assert generate.main([str(run), "1 + 1", "--max_new_tokens=3", "--json", "--prefix=wrong"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["read"] == "Step 1: 1 + 1 =\n[INCORRECT RATIONALE]\n"
    assert generate.main([str(run), "1 + 1", "--max_new_tokens=3", "--json", "--raw", "--stop", "7"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert json.loads(said.out)["read"] == "1 + 1"
    assert "warning: the prompt '1 + 1' does not end in" in said.err
    assert asked[-1][1] == ("7",)
    assert generate.main([str(run), "1 + 1", "--prefix=left"]) == ExitCode.BAD_INPUT
    assert "prefix='left'" in capsys.readouterr().err


def test_raw_with_the_whole_text_gives_the_same_tokens(run, capsys):
    ask = ["--max_new_tokens=6", "--json"]
    assert generate.main([str(run), "12 + 5", *ask]) == ExitCode.DONE
    assert generate.main([str(run), "Step 1: 12 + 5 =\n[CORRECT RATIONALE]\n", "--raw", *ask]) == ExitCode.DONE
    one, other = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert one["tokens"] == other["tokens"]
    assert one["read"] == other["read"]


def test_the_card_of_the_export_shows_the_prompts(run):
    card = (run.parent / "export" / "README.md").read_text()
    assert "    Step 1: {prompt} =\n    [CORRECT RATIONALE]\n" in card
    assert "With the prefix `wrong` it reads:\n\n    Step 1: {prompt} =\n    [INCORRECT RATIONALE]\n" in card
    assert "An answer ends before `'Step 9: '`." in card


def test_the_export_is_asked_as_the_run(run, asked, capsys):
    ask = ["12 + 5", "--max_new_tokens=6", "--json"]
    assert generate.main([str(run), *ask]) == generate.main([str(run.parent / "export"), *ask]) == ExitCode.DONE
    one, other = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert one == other


@pytest.mark.parametrize("config", [[], [str(TINY)]])
def test_mine_and_evaluate_keep_the_runs_prompts_for_the_problems_of_another_config(run, asked, config, tmp_path):
    """The template of configs/tiny.py is another one, which the run has never seen."""
    assert mine.main([str(run), *config, *FEW, f"--output={tmp_path / 'mined'}"]) == ExitCode.DONE
    assert_framed(asked, RIGHT)
    asked.clear()
    assert (
        evaluate.main([str(run), *config, *FEW, f"--output={tmp_path / 'out'}", "--metrics=coverage"]) == ExitCode.DONE
    )
    assert_framed(asked, RIGHT, WRONG)
    assert {stop for _, stop in asked} == {("Step 9: ",)}


def test_another_task_is_an_explicit_choice_that_is_said(run, asked, tmp_path, capsys):
    words = [str(run), "data.task:completion", *FEW, f"--output={tmp_path / 'mined'}", "--stop", "Step 8: "]
    assert mine.main(words) == ExitCode.DONE
    assert not any("RATIONALE" in text for text, *_ in asked)
    assert {stop for _, stop in asked} == {("Step 8: ",)}
    said = capsys.readouterr().out
    assert "warning: the prompts are those of the task completion as given here" in said
    assert "whose prefix is missing" in said


def test_rethink_asks_in_the_runs_format(run, asked, tmp_path, capsys):
    shown = Mistake(
        id="a", kind="solution", problem_id="a", question="9 + 9", right_step="1", wrong_step="2", error_type="carry"
    )
    (tmp_path / "mistakes.jsonl").write_text(to_lines([shown]))
    plain = [f"--wording.{name}={{question}}" for name in ("solve", "ask", "redo", "answer")]
    words = [f"--mistakes={tmp_path / 'mistakes.jsonl'}", f"--output={tmp_path / 'out'}", *plain]
    assert rethink.main([str(run), *words, *FEW[1:], "--k=0"]) == ExitCode.DONE
    assert_framed(asked, RIGHT)
    assert {stop for _, stop in asked} == {("Step 9: ",)}
    asked.clear()
    assert rethink.main([str(run), *words, *FEW[1:], "--k=0", "--raw"]) == ExitCode.BAD_INPUT  # other prompts
    assert rethink.main([str(run), *words, *FEW[1:], "--k=0", "--raw", "--overwrite"]) == ExitCode.DONE
    assert "warning: --raw leaves out the prefix after which this run learnt to answer" in capsys.readouterr().out
    assert not any("RATIONALE" in text for text, *_ in asked)


def test_verbose_shows_what_the_model_reads(run, capsys, tmp_path):
    read = "Step 1: 1 + 1 =\\n[CORRECT RATIONALE]\\n"
    assert generate.main([str(run), "1 + 1", "--max_new_tokens=3", "--verbose"]) == ExitCode.DONE
    assert f"reads    1 of 1: '{read}'" in capsys.readouterr().err
    words = [str(run), *FEW, f"--output={tmp_path / 'out'}", "--metrics=coverage", "--verbose"]
    assert evaluate.main(words) == ExitCode.DONE
    said = capsys.readouterr().err
    assert "reads    2 of 2: 'Step 1: " in said
    assert "[INCORRECT RATIONALE]" in said
    assert generate.main([str(run), "1 + 1", "--max_new_tokens=3"]) == ExitCode.DONE
    assert "reads    " not in capsys.readouterr().err


def test_the_card_of_an_evaluated_run_shows_its_numbers(run):
    assert evaluate.main([str(run), *FEW, "--metrics=coverage"]) == ExitCode.DONE
    found = json.loads((run / "evaluation" / "evaluation.json").read_text())["metrics"]["right"]["pass@1"]
    card = card_of(dataclasses.replace(read_run(run), run_dir=str(run)), 1)
    assert f"- right, pass@1: {found['mean']:.4g} [{found['low']:.4g}, {found['high']:.4g}]" in card
