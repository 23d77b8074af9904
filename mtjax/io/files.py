"""Files and folders of this machine: writing a file atomically, and the cache folder."""

import os
import pathlib
import uuid

from etils import epath


def write_text(path: pathlib.Path | epath.Path, text: str) -> None:
    """Write a small file atomically: to a temporary file beside it, which is then renamed into place."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def cache_folder() -> pathlib.Path:
    """Where mtjax keeps what it can make again: `$XDG_CACHE_HOME/mtjax`, or `~/.cache/mtjax`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "mtjax"
