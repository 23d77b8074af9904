"""List what can be chosen by name.

Prints the name of every registered method by kind, such as objective or source, with the first line of its
docstring and the paper that it comes from.
"""

import sys
from collections.abc import Sequence

import mtjax.config  # noqa: F401  every kind registers
import mtjax.evaluation.metrics  # noqa: F401
import mtjax.mistakes.injectors  # noqa: F401  with the settings of training, every kind registers
import mtjax.model.families  # noqa: F401
import mtjax.sampling.aggregation  # noqa: F401
import mtjax.sampling.search  # noqa: F401
from mtjax.errors import ExitCode, InputError, entry_point, suggest
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


@entry_point
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in ("-h", "--help", "--help-all"):
        print(f"usage: python -m mtjax.list [KIND ...]\n\n{(__doc__ or '').strip()}")
        print(f"\nKIND is one of: {', '.join(sorted(REGISTRIES))}")
        return ExitCode.DONE
    for kind in words:
        if kind not in REGISTRIES:
            raise InputError(f"unknown kind '{kind}': {suggest(kind, REGISTRIES)}")
    print(listing(words or sorted(REGISTRIES)), end="")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
