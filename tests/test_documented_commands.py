"""Every command of README, docs, config headers, help and messages names a command, options and files that exist."""

import importlib.util
import pathlib
import re
import tomllib

import pytest

from mtjax import config
from mtjax.evaluation.config import EvaluateConfig
from mtjax.experiments.sweep import SweepConfig
from mtjax.explain import ExplainConfig
from mtjax.io.command_line import split_options
from mtjax.io.words import CHOICE, as_registered, classes_in, fields, parts_of, registry_of
from mtjax.merge import MergeConfig
from mtjax.model.merging import MERGES
from mtjax.plan import PlanConfig
from mtjax.registry import REGISTRIES
from mtjax.runs.audit_settings import AuditConfig, SourceWords
from mtjax.runs.rounds.config import Rounds
from mtjax.select_experts import SelectExpertsConfig

ROOT = pathlib.Path(__file__).parent.parent
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"]
FILES += [file for place in ("docs", "configs", "launch", "mtjax") for file in sorted((ROOT / place).rglob("*.*"))]
FILES = [file for file in FILES if file.suffix in (".md", ".py", ".sh", ".ipynb", ".yaml", "")]
COMMAND = re.compile(r"python -m mtjax\.(\w+)((?: +(?:\\\\?\n *)?[^\s`\"')|;&#>]+)*)")
PLACEHOLDER = re.compile(r"[{}$<>\[\]]|\.\.\.|^[A-Z_|]+[.,:;]?$")  # A word that stands for one of the user's.
OVER_CONFIGS = {"train": [], "explain": [ExplainConfig], "plan": [PlanConfig], "sweep": [SweepConfig]}
"""Commands that take the settings of a config, with those of their own."""


def commands():
    """Each command once: its module's name, and the words behind it."""
    found = {}
    for file in FILES:
        text = re.sub(r"\\\n\s*", " ", file.read_text())
        for name, words in COMMAND.findall(text):
            found.setdefault((name, words.strip()), f"{file.relative_to(ROOT)}: python -m mtjax.{name}{words}")
    return found


def settings_of(name, words):
    """The settings classes of a command."""
    if name == "recipe":
        file = next((word for word in words if word.endswith(".py")), "configs/demo.py")
        return [type(config.read_module(ROOT / file).recipe)]
    if name in OVER_CONFIGS:
        return [config.Config, *OVER_CONFIGS[name]]
    if name == "rounds":
        return [Rounds]
    if name == "audit":
        return [AuditConfig, SourceWords]
    if name == "select_experts":
        return [EvaluateConfig, SelectExpertsConfig]
    if name == "merge":
        return [EvaluateConfig, MergeConfig, MERGES.get(words[0], MergeConfig)]
    module = importlib.import_module(f"mtjax.{name}")
    kinds = [kind for key, kind in vars(module).items() if key.lower() in (f"{name}config", f"{name}options")]
    return kinds or [kind for kind in vars(module).values() if getattr(kind, "__module__", "") == module.__name__][:1]


def options(cls, before=""):
    """The dotted names of all settings, those of every choice included."""
    for name, hint in fields(cls).items():
        yield before + name
        registry = registry_of(hint)
        for inner in registry.values() if registry is not None else classes_in(hint):
            yield from options(inner, f"{before}{name}.")


COMMANDS = commands()
OTHERS = {"none", ""} | {name for file in FILES for name in re.findall(r'\.register\("(\w+)"\)', file.read_text())}
"""Choices besides the registered ones: those of pages that show how to add a method."""


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 60
    assert {"train", "mine", "inject", "evaluate", "explain"} <= {name for name, _ in COMMANDS}


def faults(name, text):
    """What is wrong with a documented command, seen without running it."""
    if name in ("X", "COMMAND"):  # stands for any command
        return []
    if not importlib.util.find_spec(f"mtjax.{name}"):
        return [f"there is no mtjax.{name}"]
    words = [word for word in text.split() if not PLACEHOLDER.search(word)]
    plain = [word.rstrip(".,:") for word in words if word.startswith(("configs/", "docs/examples/", "launch/"))]
    found = [f"there is no {word}" for word in plain if not (ROOT / word).exists()]
    if name == "list":
        kinds = [word for word in words if re.fullmatch(r"[a-z_]+", word) and "[" not in text]
        return found + [f"no kind {word}" for word in kinds if word not in (*REGISTRIES, "objectives")]
    if not any(word.startswith("--") or ":" in word for word in words):
        return found
    kinds = settings_of(name, words)
    known = {option for cls in kinds for option in options(cls)} | {"help", "help-all", "help_all", "quiet"}
    known |= {"watch", "compare"} if name == "rounds" else set()
    full = as_registered(words, kinds[0])
    names = [word[2:].split("=")[0].rstrip(".,:;") for word in full if word.startswith("--")]
    names = [re.sub(r"(^|\.)no_(?=\w+$)", r"\1", option) for option in names]
    found += [f"no option --{option}" for option in names if option not in known | {""}]
    registries = {part: registry for cls in kinds for part, registry in parts_of(cls).items()}
    for choice in filter(None, map(CHOICE.fullmatch, (word.rstrip(".,;") for word in full))):
        registry = registries.get(choice[1])
        if choice[1] not in registries:
            found.append(f"no part {choice[1]}")
        elif registry is not None and not (choice[2].isupper() or registry.resolve(choice[2]) or choice[2] in OTHERS):
            found.append(f"no {choice[1]} called {choice[2]}")
    return found


@pytest.mark.parametrize(("name", "text"), COMMANDS, ids=COMMANDS.values())
def test_a_documented_command_exists_with_its_options_choices_and_files(name, text):
    assert not faults(name, text)


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("trian configs/tiny.py", "there is no mtjax.trian"),
        ("train configs/tinny.py", "there is no configs/tinny.py"),
        ("train configs/tiny.py --optim.lerning_rate=1", "no option --optim.lerning_rate"),
        ("train configs/tiny.py objective:nlll", "no objective called nlll"),
        ("train configs/tiny.py tracker:wandbb", "no tracker called wandbb"),
        ("mine RUN --sampels=4", "no option --sampels"),
        ("list objectiv", "no kind objectiv"),
        ("plot runs/tiny --metric=loss", "no option --metric"),
        ("sweep configs/tiny.py --sedes=3", "no option --sedes"),
    ],
)
def test_a_dead_command_is_found(command, fault):
    name, _, text = command.partition(" ")
    assert faults(name, text) == [fault]


def whole(name, text):
    """The words of a command that is written out in full, with a config of ours for one of the user's; else None."""
    words = text.split()
    if name not in ("train", "explain", "plan", "sweep") or any(PLACEHOLDER.search(word) for word in words[1:]):
        return None
    if not words or not (words[0].startswith("configs/") or words[0] == "CONFIG") or "--help" in text:
        return None
    if any(name in text for name in OTHERS - {""} - {name for registry in REGISTRIES.values() for name in registry}):
        return None  # a method that a page adds
    return [str(ROOT / "configs" / "tiny.py") if words[0] == "CONFIG" else str(ROOT / words[0]), *words[1:]]


WHOLE = {shown: words for (name, text), shown in COMMANDS.items() if (words := whole(name, text))}


@pytest.mark.parametrize(  # tyro needs a third of a second for each: every eighth by default
    "shown", [pytest.param(shown, marks=() if n % 8 == 0 else pytest.mark.slow) for n, shown in enumerate(WHOLE)]
)
def test_a_command_that_is_written_out_is_understood_by_training(shown, monkeypatch):
    monkeypatch.chdir(ROOT)
    file, *words = WHOLE[shown]
    for kind in (ExplainConfig, PlanConfig, SweepConfig):
        if f"mtjax.{kind.__name__.removesuffix('Config').lower()} " in shown:
            _, words = split_options(kind, words, "command")
    assert config.load(file, words)


def test_other_commands_name_targets_scripts_and_extras_that_exist():
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for file in FILES:
        text = file.read_text()
        fenced = (
            "\n".join(re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)) if file.suffix == ".md" else ""
        )
        used = re.findall(r"^make ([a-z][\w-]*)", fenced, re.MULTILINE) + re.findall(r"`make ([a-z][\w-]*)`", text)
        assert not set(used) - targets, file
        named = re.findall(r"pip install[^\n`]*?['\"](?:mtjax|\.)\[([\w,]+)\]", text)
        assert not {name for group in named for name in group.split(",")} - extras.keys(), file
        scripts = re.findall(r"(?<![\w/.])launch/[\w.]+\.(?:sh|py|yaml|Dockerfile)", text)
        assert not [name for name in scripts if not (ROOT / name).is_file()], file


def heading(text):
    """The address of a heading within its page, as hosts of repositories make it."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def test_links_lead_to_files_and_headings():
    lost = []
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
            name, _, place = link.partition("#")
            file = page.parent / name if name else page
            if not file.exists():
                lost.append((page.name, link))
            elif place and file.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                lost += [(page.name, link)] if place not in map(heading, headings) else []
    assert lost == []
