"""One grammar for all commands: sources, tasks and settings are named alike everywhere; help is short and complete."""

import re

import pytest

from mtjax import config, evaluate, explain, inject, mine, rethink, train
from mtjax.data.sources.arithmetic import Arithmetic
from mtjax.data.sources.gsm8k import Gsm8kSolutions
from mtjax.data.tasks import ChatTask, PairTask
from mtjax.errors import ExitCode
from mtjax.io.short_help import short_help
from mtjax.io.words import in_full
from tests.offered import CONFIGS, OPTIONS, help_of

TINY = str(CONFIGS / "tiny.py")
COMPLETION = ["data.task:completion"]
COMMANDS = {
    "train": lambda words: config.load(TINY, words),
    "mine": lambda words: mine.read_settings(["smollm2", *words])[1],
    "evaluate": lambda words: evaluate.read_settings(["smollm2", *words])[1],
    "rethink": lambda words: rethink.read_settings(["smollm2", *words])[1],
    "inject": inject.read_settings,
}
NEEDED = {"evaluate": COMPLETION}
SPELLINGS = [
    ["source:arithmetic", "--source.count=7"],
    ["data.source:arithmetic", "--data.source.count=7"],
    ["--data.source.count=7", "source:Arithmetic"],
    ["--source=arithmetic", "--data.source.count", "7"],
    ["--data.source=arithmetic", "--source.count=7"],
]


def data_of(settings):
    return getattr(settings, "data", settings)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("words", SPELLINGS, ids=" ".join)
def test_a_source_is_named_alike_in_every_command(command, words):
    found = data_of(COMMANDS[command]([*words, "--on_error=skip", *NEEDED.get(command, [])]))
    assert isinstance(found.source, Arithmetic)  # of configs/tiny.py with its own other settings
    assert found.source.count == 7
    assert found.on_error == "skip"
    found = data_of(COMMANDS[command]([*words, "--data.on_error=skip", *NEEDED.get(command, [])]))
    assert found.on_error == "skip"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["gsm8k_solutions", "gsm8k-solutions", "Gsm8kSolutions"])
def test_a_source_has_several_spellings(command, name):
    for before in ("source:", "data.source:", "--source=", "--data.source="):
        words = [f"{before}{name}", "--source.path=x.jsonl", *NEEDED.get(command, [])]
        assert data_of(COMMANDS[command](words)).source == Gsm8kSolutions(path="x.jsonl")


@pytest.mark.parametrize("command", ["mine", "evaluate"])
@pytest.mark.parametrize("before", ["task:", "data.task:", "--task=", "--data.task="])
def test_a_task_is_named_alike_in_every_command(command, before):
    for names, task in ((("pair", "pair_task", "pair-task", "PairTask"), PairTask), (("chat", "chat_task"), ChatTask)):
        for name in names:
            assert COMMANDS[command](["source:arithmetic", f"{before}{name}"]).data.task == task()
    assert config.load(TINY, ["objective:dpo", f"{before}pair_task"]).data.task == PairTask()


def test_only_what_a_command_has_gets_a_longer_or_shorter_name():
    assert in_full("--seed=3", mine.MineConfig) == "--seed=3"
    assert in_full("--tokenizer=bytes", mine.MineConfig) == "--tokenizer=bytes"  # its own, not data.tokenizer
    assert in_full("--tokenizer=bytes", config.Config) == "--data.tokenizer=bytes"
    assert in_full("--no_pack", config.Config) == "--data.no_pack"
    assert in_full("--data.seed=3", config.Config) == "--data.seed=3"
    assert in_full("source:x", explain.ExplainConfig) == "source:x"
    assert in_full("source", mine.MineConfig) == "source"  # a value, such as of --stop
    assert in_full("data/source:x", mine.MineConfig) == "data/source:x"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (
            ["mine", "smollm2", "source:arithmetics"],
            "data.source:arithmetics does not exist: did you mean 'arithmetic'",
        ),
        (["inject", "data.source:arithmetics"], "unknown source 'arithmetics'; did you mean 'arithmetic'"),
        (["train", TINY, "task:pairs"], "here it is data.task:pair"),
        (["mine", "smollm2", "task:pair"], "data.source:KIND"),
    ],
)
def test_wrong_names_are_answered_with_the_right_ones(argv, said, capsys):
    commands = {"mine": mine, "inject": inject, "train": train}
    assert commands[argv[0]].main(argv[1:]) == ExitCode.BAD_INPUT
    assert said in capsys.readouterr().err


HELP = {
    "train": ["train", TINY], "mine": ["mine", "smollm2"], "rethink": ["rethink", "smollm2"], "inject": ["inject"],
    "evaluate": ["evaluate", "smollm2"], "generate": ["generate"], "recipe": ["recipe", str(CONFIGS / "demo.py")],
    "explain": ["explain", TINY], "plan": ["plan", TINY, "--topology=h100-8"],
}  # fmt: skip


@pytest.mark.parametrize("command", HELP)
def test_help_is_short_and_has_every_setting_that_the_long_one_has(command, monkeypatch, capsys):
    monkeypatch.setattr("tests.offered.HELP", "--help")
    short = help_of(*HELP[command])
    monkeypatch.setattr("tests.offered.HELP", "--help-all")
    long = help_of(*HELP[command])
    assert short.startswith(f"usage: python -m mtjax.{command}")
    assert len(short.splitlines()) <= 135  # one line a setting, of which train has 103; the long one has 300 lines
    assert len(short.splitlines()) < len(long.splitlines())
    assert max(map(len, short.splitlines())) <= 120
    if command in ("explain", "plan"):  # the long one has those of the config too
        long = long[: long.index("One training run.")]
    names = [name.strip("-") for line in OPTIONS.findall(long) for name in line.split(", ")]
    options = {re.sub(r"^no_", "", name.rpartition(".")[2]) for name in names} - {"help"}
    assert {name for name in options if not re.search(rf"\b{name}\b", short)} == set()


def test_help_says_values_choices_and_first_sentences(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    said = short_help(config.load(TINY, ["--steps=77"]), "python -m mtjax.train X")
    assert re.search(r"^  --steps=77 +Number of updates", said, re.MULTILINE)
    assert "objective: Loss to minimise" in said
    assert "(now mistake_tuning)" in said
    assert "live_filter:{none, live_filter} (now none)" in said
    assert "\n  --optim.learning_rate=0.005 --optim.warmup_steps=10 " in said
    assert "not_kept" not in said


def test_explain_has_its_own_options_under_its_own_name():
    said = help_of("explain", TINY)
    assert "usage: python -m mtjax.explain" in said
    for option in ("--step", "--checkpoint", "--html", "--examples", "--tokens"):
        assert option in said


def test_help_lists_the_settings_of_what_is_chosen(capsys):
    for words, shown in (
        (["data.source:gsm8k", "--help"], "--data.source.path (required)"),
        (["--help", "source:tfds"], "(now tfds)"),
        (["task:pair", "search:best_of_n", "--help"], "--search.keep="),
    ):
        with pytest.raises(SystemExit) as stop:
            mine.main(["smollm2", *words])
        assert stop.value.code == 0
        assert shown in capsys.readouterr().out
