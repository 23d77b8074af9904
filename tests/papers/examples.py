"""The programs of docs/examples/papers as modules."""

import importlib.util

from tests.papers.table import ROOT


def example(name):
    """A program as a module; its `main` is not called."""
    file = ROOT / "docs" / "examples" / "papers" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
