"""Config files: reading one as a Python module, and writing a tree of settings as one (a snapshot)."""

import ast
import contextlib
import dataclasses
import os
import pathlib
import re
import sys
import traceback
import types
from typing import Any

from mtjax.errors import InputError, suggest
from mtjax.io.hashing import digest
from mtjax.registry import CONFIG_MODULE, REGISTRIES
from mtjax.validation import check_types

SNAPSHOT = '"""What this run was started with; it is a config itself."""'
"""The first line of a run's snapshot."""

MOVED = {
    **dict.fromkeys(
        ["data.arithmetic", "data.hub", "data.jsonl", "data.mined", "data.readers", "data.tfds", "mistakes.source"],
        "data.sources",
    ),
    **dict.fromkeys(["data.chat_task", "data.pair_task"], "data.tasks"),
    "comparison.settings": "experiments.config",
    "data.prompts": "data.tasks",
    "evaluation.held_out_coverage": "training.monitors",
    "live_filter": "training.live_filter",
    "reference": "training.reference",
    "sharding": "distributed.sharding",
}
"""Where the settings classes of version 0.1 are now, so that its snapshots and config files are read until 0.3."""


CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
"""The configs that an installed package brings; in a checkout they are beside it."""


def shipped(path: pathlib.Path) -> pathlib.Path:
    """The file of mtjax's own that `configs/NAME.py` means where there is no such file; any other path as it is."""
    own = _own_configs() / path.name
    return own if path.parts[:-1] == ("configs",) and not path.exists() and own.is_file() else path


def _own_configs() -> pathlib.Path:
    return CONFIGS if CONFIGS.is_dir() else CONFIGS.parents[1] / "configs"


def read_module(file: str | pathlib.Path) -> Any:
    """Run a config file as a module; InputError with the line where it fails."""
    path = shipped(pathlib.Path(file))
    if path.is_dir():
        raise InputError(f"'{file}' is a folder; expected a config file, such as configs/tiny.py or RUN/config.py")
    if not path.is_file():
        folder = _own_configs() if path.parts[:-1] == ("configs",) and not path.parent.is_dir() else path.parent
        beside = [p.name for p in folder.glob("*.py")] if folder.is_dir() else []
        near = suggest(path.name, beside) if beside else f"there is none in '{path.parent}'"
        raise InputError(f"config file '{file}' does not exist; {near}")
    if path.suffix != ".py":
        raise InputError(f"config file '{file}' is not a Python file; its name must end in .py")
    text = with_new_names(path)  # differs for a file that was written for version 0.1
    return _run(path, file, text, complete=text.startswith(SNAPSHOT.encode()) or text != path.read_bytes())


def _name_of(source: bytes) -> str:
    """The name of a config file's module: of its content, so that copies are one module and an edited file another."""
    return f"{CONFIG_MODULE}{digest(source)[:12]}"


def _run(path: pathlib.Path, file: str | pathlib.Path, source: bytes, complete: bool = False) -> Any:
    """Run the text of a config file as a module; `complete` adds settings that version 0.1 did not have."""
    module: Any = types.ModuleType(_name_of(source))
    module.__file__, module.__source__ = str(path), source.decode(errors="replace")
    sys.modules[module.__name__] = module
    try:
        tree = ast.parse(source, str(path))
        if complete:
            vars(module)[_Complete.name] = _completed
            tree = ast.fix_missing_locations(_Complete().visit(tree))
        exec(compile(tree, str(path), "exec"), vars(module))
    except Exception as error:
        where = [entry.lineno for entry in traceback.extract_tb(error.__traceback__) if entry.filename == str(path)]
        line = getattr(error, "lineno", None) or (where[-1] if where else "?")
        raise InputError(f"{file}, line {line}: {_in_words(error)}") from error
    return module


def with_new_names(path: pathlib.Path) -> bytes:
    """The text of a config file, its modules of version 0.1 replaced by those of today, with a note if it is not a
    snapshot."""
    text = path.read_bytes()
    old = "|".join(re.escape(name) for name in MOVED)
    pattern = re.compile(rf"\bmtjax\.({old})\b".encode())
    found = {f"mtjax.{name.decode()} is now mtjax.{MOVED[name.decode()]}" for name in pattern.findall(text)}
    if found and not text.startswith(SNAPSHOT.encode()):
        print(f"note: {path} uses names of version 0.1, read until version 0.3: {'; '.join(sorted(found))}")
    return pattern.sub(lambda match: f"mtjax.{MOVED[match[1].decode()]}".encode(), text)


class _Complete(ast.NodeTransformer):
    """Wrap the class of every settings object in a file in `_completed`."""

    name = "_mtjax_completed"

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if node.keywords:
            node.func = ast.Call(ast.Name(self.name, ast.Load()), [node.func], [])
        return node


def _completed(kind: Any) -> Any:
    """A settings class that takes what a file of version 0.1 leaves out from `before`, what that version did."""
    before = getattr(kind, "before", {})
    if not before or not dataclasses.is_dataclass(kind):
        return kind
    make: Any = kind
    return lambda **values: make(**(before | values))


def _in_words(error: Exception) -> str:
    """What a config file did wrong: a setting of a wrong type, an unknown one, or whatever Python says."""
    if isinstance(error, InputError):
        return str(error)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "__post_init__":  # it failed on a value: find out which
            try:
                check_types(frame.f_locals["self"], type(frame.f_locals["self"]).__name__)
            except InputError as found:
                return str(found)
    if misspelt := re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)):
        ours = [vars(module) for name, module in list(sys.modules.items()) if name.startswith("mtjax")]
        kind = next((names[misspelt[1]] for names in ours if misspelt[1] in names), None)
        if dataclasses.is_dataclass(kind):
            hint = suggest(misspelt[2], [field.name for field in dataclasses.fields(kind)])
            return f"{misspelt[1]} has no setting '{misspelt[2]}'; {hint}"
    return f"{type(error).__name__}: {error}; fix the file"


def is_snapshot(file: str | pathlib.Path) -> bool:
    """Whether a file is the snapshot of a run."""
    path = pathlib.Path(file)
    return path.is_file() and path.read_text(errors="replace").startswith(SNAPSHOT)


def module_at(file: str | pathlib.Path, source: str | None = None) -> Any:
    """The module of a config file, run at most once: a snapshot's way to the classes that the file defines.

    `source` is the file's text at the first start of the run; the file need not exist any more. Without it, as in older
    snapshots, the file is read as it is now. Names that another config file has registered before stay that file's.
    """
    path = pathlib.Path(file)
    if source is None and not path.is_file():
        return read_module(path)  # says that it is missing
    text = with_new_names(path) if source is None else source.encode()
    if (loaded := sys.modules.get(_name_of(text))) is not None:
        return loaded
    with contextlib.ExitStack() as stack:
        for registry in REGISTRIES.values():
            stack.enter_context(registry.keeping())
        return _run(path, file, text)


def same_class(one: type, other: type) -> bool:
    """Whether two classes are the same, or of config files that define them, and all that they use, by the same text.

    Names, places and other contents of the files do not count.
    """
    if one is other:
        return True
    both = (one, other)
    if one.__qualname__ != other.__qualname__ or not all(cls.__module__.startswith(CONFIG_MODULE) for cls in both):
        return False
    return _definition(one) == _definition(other)


def _definition(cls: type) -> dict[str, str]:
    """The text of a config file's class, without layout and comments, and of what it uses of that file, by name."""
    top: dict[str, str] = {}
    uses: dict[str, set[str]] = {}
    for node in ast.parse(getattr(sys.modules.get(cls.__module__), "__source__", "")).body:
        bound = (
            [node.name]
            if hasattr(node, "name")
            else [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
        )
        for name in bound:
            top[name] = top.get(name, "") + ast.unparse(node)
            used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            uses[name] = uses.get(name, set()) | used
    found, todo = {}, [cls.__qualname__.partition(".")[0]]
    while todo:
        name = todo.pop()
        if name in top and name not in found:
            found[name] = top[name]
            todo += uses[name]
    return found


def snapshot(settings: Any) -> str:
    """A tree of settings as the text of a config file that defines an equal `config`.

    Data in memory are left out: their number and fingerprint stand for them. Registered classes are written by kind and
    name. Of classes that a config file defined, the snapshot holds the text of that file, so it may move, change or go.
    """
    modules: set[str] = {"mtjax.config"}
    body = _source(as_kept(settings), modules, 0)
    own: dict[str, Any] = {name: sys.modules[name] for name in sorted(modules) if name.startswith(CONFIG_MODULE)}
    lines = [f"import {name}" for name in sorted(modules - own.keys())]
    for name, module in own.items():
        text = "\n".join(f"    {line!r}" for line in module.__source__.splitlines(keepends=True))
        lines.append(f"{name} = mtjax.config.module_at(\n    {os.path.abspath(module.__file__)!r},\n{text},\n)")
    imports = "\n".join(lines)
    return f"{SNAPSHOT}\n\n{imports}\n\nconfig = {body}\n"


def as_kept(value: Any) -> Any:
    """A tree of settings as a snapshot holds it: what has a method `as_kept`, such as data in memory, as that gives."""
    if isinstance(value, tuple | list) and any(map(dataclasses.is_dataclass, value)):
        return type(value)(map(as_kept, value)) if type(value) in (tuple, list) else value
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    if hasattr(value, "as_kept"):
        return value.as_kept()
    before = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    after = {name: as_kept(part) for name, part in before.items()}
    new = {name: part for name, part in after.items() if part is not before[name] and part != before[name]}
    return dataclasses.replace(value, **new) if new else value


def _class_source(cls: type, modules: set[str]) -> str:
    """How a snapshot names a class: by its registry, or by its module."""
    kinds = REGISTRIES.items() if not cls.__module__.startswith(CONFIG_MODULE) else ()
    for kind, registry in kinds:
        if name := registry.name_of(cls):
            modules.add("mtjax.registry")
            return f"mtjax.registry.REGISTRIES[{kind!r}][{name!r}]"
    modules.add(cls.__module__)
    return f"{cls.__module__}.{cls.__qualname__}"


def _source(value: Any, modules: set[str], depth: int) -> str:
    """Python text of a tree of dataclasses, tuples and plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        pad, own = "    " * depth, {name: _source(getattr(value, name), modules, depth + 1) for name in names}
        body = "".join(f"{pad}    {name}={text},\n" for name, text in own.items())
        return f"{_class_source(type(value), modules)}(\n{body}{pad})"
    if isinstance(value, tuple | list):
        inner = "".join(_source(item, modules, depth) + ", " for item in value)
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, float):  # a NumPy number too
        return repr(float(value)) if abs(value) < float("inf") else f"float('{value}')"
    return repr(value)
