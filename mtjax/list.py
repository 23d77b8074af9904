"""List what can be chosen by name.

Prints the name of every registered method by kind, such as objective or source, with the first line of its
docstring and the paper that it comes from. `objectives` prints the page docs/objectives.md: formula, needs,
when to want it and source of every objective.
"""

import inspect
import re
import sys
from collections.abc import Sequence

import mtjax.config  # noqa: F401  every kind registers
import mtjax.evaluation.metrics  # noqa: F401
import mtjax.evaluation.rewards  # noqa: F401
import mtjax.mistakes.checks  # noqa: F401
import mtjax.mistakes.curation  # noqa: F401
import mtjax.mistakes.injectors  # noqa: F401  with the settings of training, every kind registers
import mtjax.model.families  # noqa: F401
import mtjax.model.merging  # noqa: F401
import mtjax.sampling.aggregation  # noqa: F401
import mtjax.sampling.search  # noqa: F401
from mtjax.errors import ExitCode, InputError, entry_point, suggest
from mtjax.io.progress import take_switches
from mtjax.objectives.base import needs_pass
from mtjax.registry import REGISTRIES, paper, summary


def listing(kinds: Sequence[str]) -> str:
    """The methods of some kinds as text: a heading for each kind, and a line or two for each method."""
    lines = []
    for kind in kinds:
        registry = REGISTRIES[kind]
        width = max(map(len, registry), default=0)
        lines.append(f"{kind} ({len(registry)})")
        for name, entry in registry.items():
            lines.append(f"  {name:<{width}}  {summary(entry)}")
            if found := paper(entry):
                lines.append(f"  {'':<{width}}  {found}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


FAMILIES = {
    "Likelihood": "Each target token has a loss of its own. [Confidence](confidence.md) compares some.",
    "Right and wrong texts": "Texts of both kinds, in pairs or not (the task completion with `polarities=both`).",
    "Pairs": "A chosen and a rejected text of one context (`data.task:pair`).",
    "Groups": "Candidates of one prompt with rewards (`data.task:group`); [groups](groups.md).",
}
"""The families of objectives in docs/objectives.md."""


def family(objective: type) -> str:
    """The family that an objective belongs to, by what it says of its data."""
    if (task := getattr(objective, "task", "")) in ("pair", "group"):
        return "Pairs" if task == "pair" else "Groups"
    return "Right and wrong texts" if getattr(objective, "by_polarity", False) else "Likelihood"


def objectives_page() -> str:
    """Every objective in one table by family, from the docstrings; the page docs/objectives.md."""
    lines = [
        "# Objectives",
        "",
        "Made by `python -m mtjax.list objectives > docs/objectives.md` from the docstrings of",
    ]
    lines += ["`mtjax/objectives/`. Settings and variants: `python -m mtjax.train CONFIG objective:NAME --help-all`."]
    cell = lambda text: " ".join(text.split()).replace("|", "\\|")
    for name, about in FAMILIES.items():
        lines += ["", f"## {name}", "", about, "", "| name | formula | needs | when to want it | source |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for key, entry in REGISTRIES["objective"].items():
            text = inspect.getdoc(entry) or ""
            part = lambda head, text=text: re.search(rf"^(?:{head})(.*?)(?=\n\n(?![ -])|\Z)", text, re.M | re.S)
            formula, want = part("Formula: "), part("(?=Want it|Use it)")
            needs = [word for word, has in (("a reference", entry().needs_reference),
                     ("a pass over the entire batch", needs_pass(entry()))) if has]  # fmt: skip
            needs = [f"the task `{entry.task}`"] * (entry.task not in ("any", "pair", "group")) + needs
            cells = [f"`{key}`", formula[1] if formula else "", ", ".join(needs), want[1] if want else "", paper(entry)]
            if family(entry) == name:
                lines.append(f"| {' | '.join(map(cell, cells))} |")
    return "\n".join(lines) + "\n"


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    words = take_switches(sys.argv[1:] if argv is None else argv)
    if words and words[0] in ("-h", "--help", "--help-all"):
        print(f"usage: python -m mtjax.list [KIND ...]\n\n{(__doc__ or '').strip()}")
        print(f"\nKIND is one of: objectives (the page), {', '.join(sorted(REGISTRIES))}")
        return ExitCode.DONE
    if list(words) == ["objectives"]:
        print(objectives_page(), end="")
        return ExitCode.DONE
    for kind in words:
        if kind not in REGISTRIES:
            raise InputError(f"unknown kind '{kind}': {suggest(kind, REGISTRIES)}")
    print(listing(words or sorted(REGISTRIES)), end="")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
