"""Every command of README, docs, config headers, help and messages names a command, options and files that exist."""

import importlib.util
import pathlib
import re

import pytest

from mtjax import config
from mtjax.evaluation.config import EvaluateConfig
from mtjax.explain import ExplainConfig
from mtjax.io.words import as_registered, classes_in, fields, registry_of
from mtjax.merge import MergeConfig
from mtjax.model.merging import MERGES
from mtjax.plan import PlanConfig
from mtjax.select_experts import SelectExpertsConfig

ROOT = pathlib.Path(__file__).parent.parent
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile"]
FILES += [file for place in ("docs", "configs", "launch", "mtjax") for file in sorted((ROOT / place).rglob("*.*"))]
FILES = [file for file in FILES if file.suffix in (".md", ".py", ".sh", ".ipynb", ".yaml", "")]
COMMAND = re.compile(r"python -m mtjax\.(\w+)((?: +(?:\\\\?\n *)?[^\s`\"')|;&#>]+)*)")


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
    if name in ("train", "explain", "plan"):
        return [config.Config, *({"explain": [ExplainConfig], "plan": [PlanConfig]}.get(name, []))]
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


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 60
    assert {"train", "mine", "inject", "evaluate", "explain"} <= {name for name, _ in COMMANDS}


@pytest.mark.parametrize(("name", "text"), COMMANDS, ids=COMMANDS.values())
def test_a_documented_command_exists_with_its_options_and_files(name, text):
    if name in ("X", "COMMAND"):  # stands for any command
        return
    assert importlib.util.find_spec(f"mtjax.{name}"), f"there is no mtjax.{name}"
    words = [word for word in text.split() if not re.search(r"[{}$<>\[\]]|\.\.\.|^[A-Z_|]+[.,:;]?$", word)]
    missing = [word for word in words if word.startswith("configs/") and not (ROOT / word.rstrip(".,:")).exists()]
    assert not missing
    if not any(word.startswith("--") or ":" in word for word in words) or name == "list":
        return
    known = {option for cls in settings_of(name, words) for option in options(cls)} | {"help", "help-all", "help_all"}
    given = [word for word in as_registered(words, settings_of(name, words)[0]) if word.startswith("--")]
    names = [word[2:].split("=")[0].rstrip(".,:;") for word in given]
    assert not [option for option in names if re.sub(r"(^|\.)no_(?=\w+$)", r"\1", option) not in known | {""}]


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
