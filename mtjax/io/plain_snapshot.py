"""The snapshot of a run folder: `config.py`, and `snapshot.json` with the same settings. Reading it runs no code.

`tree_of` reads the text of a snapshot (`config_file.snapshot`) as JSON data, which name mtjax's own settings classes
and nothing else, and `settings_of` makes the settings from them. Neither executes anything of the file.
"""

import ast
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
from typing import Any

from etils import epath

from mtjax.errors import InputError
from mtjax.io.config_file import CONFIG_MODULE, read_module, snapshot, with_new_names
from mtjax.io.files import cache_folder, write_text
from mtjax.registry import REGISTRIES

CODE, PLAIN = "config.py", "snapshot.json"  # The two files of a snapshot.
TRUST = "MTJAX_TRUST_CODE"
"""Environment variable: "1" lets every run folder that is opened run the code of its config.py."""
REGISTRY, OWN_FILE = "mtjax.registry.REGISTRIES", "mtjax.config.module_at"


class NeedsCode(Exception):
    """A file does more than list settings, or has settings of classes that it defines itself."""


def write_snapshot(folder: pathlib.Path | epath.Path, settings: Any) -> None:
    """Write the snapshot of settings into a folder.

    Where it needs code, such as an objective that a config file defines, a mark in this user's cache folder says that
    it comes from here, so that `read_snapshot` may run it.
    """
    text = snapshot(settings)
    write_text(folder / CODE, text)
    try:
        tree = tree_of(text)
        write_text(folder / PLAIN, json.dumps(tree, indent=1) + "\n")
    except NeedsCode:
        tree = {"files": True}
    if tree["files"]:
        with contextlib.suppress(OSError):  # without a cache folder the user is asked
            _mark(text).parent.mkdir(parents=True, exist_ok=True)
            _mark(text).touch()


def has_snapshot(folder: pathlib.Path) -> bool:
    """Whether a folder holds the settings of a run, in either of the two files."""
    return (folder / CODE).is_file() or ((folder / PLAIN).is_file() and (folder / "metrics.jsonl").is_file())


def read_snapshot(folder: pathlib.Path) -> Any:
    """The settings of a run folder, without running code that others may have written.

    They are read from config.py as plain data. Where that needs code, it is run if this user's training wrote the file
    or `MTJAX_TRUST_CODE=1`; otherwise snapshot.json is read, as where config.py is missing or damaged.

    Raises:
        InputError: damaged files, settings that mtjax does not have, or a snapshot that needs code.
    """
    file = folder / CODE
    try:
        text = with_new_names(file).decode("utf-8", "replace")
        return _settings(lambda: tree_of(text, str(file)), file)
    except NeedsCode as error:
        why = error
    except (InputError, FileNotFoundError) as error:
        if not (folder / PLAIN).is_file():
            raise
        state = "damaged" if isinstance(error, InputError) else "missing"
        with contextlib.suppress(NeedsCode, InputError):
            found = _settings(lambda: json.loads((folder / PLAIN).read_text("utf-8")), folder / PLAIN)
            print(f"note: {file} is {state}; settings are those of {PLAIN}", file=sys.stderr)
            return found
        raise InputError(f"{error}; bring {file} back") from error
    if os.environ.get(TRUST) == "1" or _mark(text).exists():
        return getattr(read_module(file), "config", None)
    if (folder / PLAIN).is_file():
        with contextlib.suppress(NeedsCode):
            found = _settings(lambda: json.loads((folder / PLAIN).read_text("utf-8")), folder / PLAIN)
            print(f"note: {file} needs code ({why}), which is not run; settings are those of {PLAIN}", file=sys.stderr)
            return found
    raise InputError(
        f"{file} needs code ({why}), and this user's training did not write it: it is not run. Read it, and if you "
        f"trust it, set the environment variable {TRUST}=1"
    )


def _settings(read: Any, file: pathlib.Path) -> Any:
    """The settings of what `read` gives, with the file's name before what is wrong with them."""
    try:
        return settings_of(read())
    except (ValueError, RecursionError) as error:  # InputError is one
        said = str(error)
        raise InputError(said if said.startswith(str(file)) else f"{file}: {said}") from error


def _mark(text: str) -> pathlib.Path:
    """The file whose existence says that this user's training wrote the text."""
    return cache_folder() / "own_snapshots" / hashlib.sha256(text.encode()).hexdigest()


def tree_of(text: str, file: str = "snapshot") -> dict[str, Any]:
    """The snapshot in `text` as JSON data: `{"files": {module: file of the user's own classes}, "config": ...}`.

    Settings are `{"class": name, "settings": {...}}`, with the name of a registered class as `objective:nll`; a tuple
    is `{"tuple": [...]}`, and what JSON does not have is `{"float": "inf"}`.

    Raises:
        NeedsCode: a line of another kind.
        InputError: the text is not Python.
    """
    try:
        lines = ast.parse(text, file).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # of a null byte, of deep nesting
        raise InputError(f"{file}, line {getattr(error, 'lineno', '?')}: {type(error).__name__}: {error}") from error
    files, config = {}, None
    for line in lines:
        match line:
            case ast.Import() | ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id="config")], value=value):
                config = _plain(value)
            case ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=func, args=[ast.Constant(value=own), *source])
            ):
                if ast.unparse(func) != OWN_FILE:
                    raise NeedsCode(f"line {line.lineno}: {ast.unparse(line):.60}")
                files[name] = "" if source else own  # a snapshot that holds the file's text does not need the file
            case _:
                raise NeedsCode(f"line {line.lineno}: {ast.unparse(line):.60}")
    if config is None:
        raise NeedsCode("it has no line `config = ...`")
    return {"files": files, "config": config}


def _plain(value: ast.expr) -> Any:
    """A value of a snapshot as JSON data."""
    match value:
        case ast.Constant(value=None | bool() | int() | float() | str() as found):
            return found
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as found)):
            return -found
        case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str() as found)], keywords=[]):
            return {"float": found}
        case ast.Tuple(elts=items):
            return {"tuple": [_plain(item) for item in items]}
        case ast.List(elts=items):
            return [_plain(item) for item in items]
        case ast.Call(func=func, args=[], keywords=words) if all(word.arg for word in words):
            return {"class": _class_name(func), "settings": {str(word.arg): _plain(word.value) for word in words}}
    raise NeedsCode(f"line {value.lineno}: {ast.unparse(value):.60}")


def _class_name(func: ast.expr) -> str:
    match func:
        case ast.Subscript(
            value=ast.Subscript(value=registry, slice=ast.Constant(value=str() as kind)),
            slice=ast.Constant(value=str() as name),
        ) if ast.unparse(registry) == REGISTRY:
            return f"{kind}:{name}"
        case ast.Attribute():
            name = ast.unparse(func)
            if all(part.isidentifier() for part in name.split(".")):
                return name
    raise NeedsCode(f"line {func.lineno}: {ast.unparse(func):.60}")


def settings_of(tree: Any) -> Any:
    """The settings that `tree_of` gave.

    A user's own class is found if its config file is loaded already, as in a run that is resumed by that file.

    Raises:
        NeedsCode: a class that is neither mtjax's nor in a loaded config file.
        InputError: settings that mtjax does not have, or bad values.
    """
    if not isinstance(tree, dict) or not isinstance(tree.get("files"), dict):
        raise InputError("a snapshot lists `files` and `config`")
    return _made(tree.get("config"), tree["files"])


def _made(value: Any, files: dict[str, str]) -> Any:
    match value:
        case {"class": str() as name, "settings": dict() as settings}:
            cls = _class(name, files)
            unknown = settings.keys() - {field.name for field in dataclasses.fields(cls) if field.init}
            if unknown:
                raise InputError(f"{cls.__name__} has no setting {min(unknown)!r}")
            before = getattr(cls, "before", {})  # values of settings that came after the snapshot was written
            try:
                return cls(**(dict(before) | {key: _made(item, files) for key, item in settings.items()}))
            except TypeError as error:
                raise InputError(f"{cls.__name__}: {error}") from error
        case {"tuple": list() as items}:
            return tuple(_made(item, files) for item in items)
        case {"float": str() as number}:
            return float(number)
        case list():
            return [_made(item, files) for item in value]
        case dict():
            raise InputError(f"a snapshot has no {value!r:.60}")
    return value


def _class(name: str, files: dict[str, str]) -> Any:
    """The settings class of this name, looked up and never imported."""
    kind, colon, entry = name.partition(":")
    if colon:
        if entry not in REGISTRIES.get(kind, {}):
            raise NeedsCode(f"the {kind} '{entry}' is not mtjax's own")
        return REGISTRIES[kind][entry]
    module, found = name, None
    while "." in module and found is None:
        module = module.rpartition(".")[0]
        found = sys.modules.get(module) or (_loaded(files[module]) if files.get(module) else None)
    for part in name.removeprefix(f"{module}.").split("."):
        found = getattr(found, part, None)
    ours = getattr(found, "__module__", "").startswith("mtjax.") or module in files
    if not (isinstance(found, type) and dataclasses.is_dataclass(found) and ours):
        raise NeedsCode(f"{name} is not a class of mtjax's settings")
    return found


def _loaded(file: Any) -> Any:
    """The module of a config file that was read already; None if it was not."""
    place = pathlib.Path(str(file)).resolve()
    own = (module for name, module in list(sys.modules.items()) if name.startswith(CONFIG_MODULE))
    return next((one for one in own if pathlib.Path(str(one.__file__)).resolve() == place), None)
