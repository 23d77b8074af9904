"""The pages of the API reference: one for each package, or for each module where a package is large."""

import ast
import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent.parent
LARGE = 100
"""A package with more public names has a page for each of its modules."""

ABOUT = """# API reference

Every public name of mtjax, from its docstring: what it is, its formula, shapes, ranges, errors and source. A name of a
module without a leading underscore is public. Names that users import are listed in `tests/test_public_names.py`, and
stay where they are or move with a note in the changelog. `python -m mtjax.list` prints the methods that a config
chooses by name.

"""


class Module(NamedTuple):
    """A module with its public names."""

    name: str
    file: pathlib.Path
    summary: str
    names: tuple[str, ...]
    imported: tuple[str, ...]  # public names of other modules that can be imported from this one
    bound: frozenset[str]  # every name of its top level: also of constants and of what it imports


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every module of mtjax; a public name is a class or function of its top level without a leading underscore."""
    return tuple(_module(file) for file in sorted((ROOT / "mtjax").rglob("*.py")))


def _module(file: pathlib.Path) -> Module:
    parts = file.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(file.read_text())
    public = (
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
    )
    summary = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
    imports = (node for node in tree.body if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mtjax"))
    imported = (f"{node.module}.{name.name}" for node in imports for name in node.names if name.name[0].isupper())
    name = ".".join(parts).removesuffix(".__init__")
    return Module(name, file, summary, tuple(public), tuple(imported), frozenset(_bound(tree)))


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        else:
            yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def package_of(module: Module) -> str:
    """The package whose folder holds the module."""
    return module.name if module.file.name == "__init__.py" else module.name.rpartition(".")[0]


@functools.cache
def public_names() -> frozenset[str]:
    """The dotted names of all modules and their public names."""
    return frozenset(name for module in modules() for name in (module.name, *names_of(module)))


def names_of(module: Module) -> list[str]:
    """The dotted public names of a module."""
    return [f"{module.name}.{name}" for name in module.names]


@functools.cache
def pages() -> dict[str, str]:
    """The text of each page of the reference by its address."""
    packages: dict[str, list[Module]] = {}
    for module in modules():
        packages.setdefault(package_of(module), []).append(module)
    made = {"api/index.md": _index(packages)}
    for package, inside in packages.items():
        if sum(len(module.names) for module in inside) <= LARGE:
            made[f"api/{package}.md"] = _entry(inside[0], 1) + "\n".join(map(_entry, inside[1:]))
            continue
        listed = [f"- [`{module.name}`][{module.name}]: {module.summary}" for module in inside[1:]]
        made[f"api/{package}/index.md"] = f"{_entry(inside[0], 1)}\n## Modules\n\n" + "\n".join(listed)
        made |= {f"api/{module.name}.md": _entry(module, 1) for module in inside[1:]}
    return made


def _entry(module: Module, level: int = 2) -> str:
    """What makes mkdocstrings write about a module: its docstring and its public names."""
    is_package = module.file.name == "__init__.py"
    members = f"      members: [{', '.join(module.names)}]\n" * is_package
    shown = [name for name in module.imported if name in public_names() or name.rpartition(".")[2].isupper()]
    names = [f"[`{name.rpartition('.')[2]}`][{name}]" for name in shown] * is_package
    more = f"\nAlso imported from here: {', '.join(names)}.\n" if names else ""
    return f"::: {module.name}\n    options:\n      heading_level: {level}\n{members}{more}\n"


def _index(packages: dict[str, list[Module]]) -> str:
    rows = []
    for package, inside in sorted(packages.items()):
        count = sum(len(module.names) for module in inside)
        rows.append(f"| [`{package}`][{package}] | {inside[0].summary} | {count} |")
    return f"{ABOUT}| package | what it holds | public names |\n| --- | --- | --- |\n" + "\n".join(rows)


def page_of(name: str) -> str:
    """The page that documents a module."""
    places = (f"api/{name}.md", f"api/{name}/index.md", f"api/{name.rpartition('.')[0]}.md")
    return next(place for place in places if place in pages())
