"""The rules of the house that no other tool checks: sizes, docstrings, encodings, list of rooms.

``make lint`` runs this file. Each violation is one line, ``path:line: sentence``, and the exit
status is 1 if there is any. CONTRIBUTING.md says why the limits are there.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from radon.complexity import cc_visit
from radon.visitors import Function

PACKAGE = "src/cmburden"
#: Folders of Python code whose functions and modules are measured.
MEASURED = (PACKAGE, "tools")
#: Folders in which ``# fmt: skip`` is counted.
FORMATTED = ("src", "tests", "tools", "workflow")

MOST_LINES_OF_A_FUNCTION = 60
MOST_COMPLEXITY = 15  # McCabe's, as radon counts
MOST_LINES_OF_A_MODULE = 450
#: All columns of all tables stand on one page.
LONG_MODULES = ("src/cmburden/core/tables.py",)
MOST_FORMATTER_SKIPS = 20
SKIP = "# fmt: " + "skip"
#: Modules whose ``open`` is another function, or reads bytes unless told otherwise.
OTHER_OPEN = ("os", "gzip", "tarfile", "zipfile", "Image")
#: What lies in the package beside the rooms.
FLAT_FILES = ("__init__.py", "__main__.py", "py.typed")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """Python files under ``folders`` of ``root``, sorted."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def long_functions(path: Path, tree: ast.Module) -> Iterator[str]:
    """Functions above the limit, from the line of ``def`` to the last line."""
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                limit = f"at most {MOST_LINES_OF_A_FUNCTION}"
                yield f"{path}:{node.lineno}: function {node.name} has {lines} lines, {limit}"


def complex_functions(path: Path, source: str) -> Iterator[str]:
    """Functions and methods above the limit of cyclomatic complexity."""
    for block in cc_visit(source):
        if isinstance(block, Function) and block.complexity > MOST_COMPLEXITY:
            limit = f"at most {MOST_COMPLEXITY}"
            name = f"function {block.name} has complexity {block.complexity}, {limit}"
            yield f"{path}:{block.lineno}: {name}"


def texts_without_encoding(path: Path, tree: ast.Module) -> Iterator[str]:
    """Text that is read or written in the encoding of the locale, which differs by machine."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
            continue
        if _is_text_file(node):
            yield f'{path}:{node.lineno}: text without encoding: give encoding="utf-8"'


def _is_text_file(call: ast.Call) -> bool:
    """True for ``read_text``, ``write_text``, and ``open`` in a mode of text."""
    if isinstance(call.func, ast.Name):
        is_open, place = call.func.id == "open", 1
    elif isinstance(call.func, ast.Attribute):
        if call.func.attr in ("read_text", "write_text"):
            return True
        of_library = isinstance(call.func.value, ast.Name) and call.func.value.id in OTHER_OPEN
        is_open, place = call.func.attr == "open" and not of_library, 0
    else:
        return False
    modes = [k.value for k in call.keywords if k.arg == "mode"] + call.args[place : place + 1]
    binary = any(isinstance(m, ast.Constant) and "b" in str(m.value) for m in modes)
    return is_open and not binary


def module_faults(path: Path, source: str, tree: ast.Module) -> Iterator[str]:
    """A module that is too long, or that does not say what it is for."""
    lines = len(source.splitlines())
    if lines > MOST_LINES_OF_A_MODULE and path.as_posix() not in LONG_MODULES:
        yield f"{path}:1: module has {lines} lines, at most {MOST_LINES_OF_A_MODULE}"
    if not ast.get_docstring(tree):
        yield f"{path}:1: module has no docstring"


def measured_faults(root: Path) -> Iterator[str]:
    """Faults of functions and modules under ``MEASURED``."""
    for file in python_files(root, MEASURED):
        path, source = file.relative_to(root), file.read_text(encoding="utf-8")
        tree = ast.parse(source)
        yield from module_faults(path, source, tree)
        yield from texts_without_encoding(path, tree)
        yield from long_functions(path, tree)
        yield from complex_functions(path, source)


def formatter_skips(root: Path) -> Iterator[str]:
    """All places where the formatter is switched off, if there are more than the limit."""
    places = [
        f"{file.relative_to(root)}:{number}"
        for file in python_files(root, FORMATTED)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if SKIP in line
    ]
    if len(places) > MOST_FORMATTER_SKIPS:
        limit = f"{len(places)} in all, at most {MOST_FORMATTER_SKIPS}"
        yield from (f"{place}: the formatter is switched off ({limit})" for place in places)


def rooms_with_a_floor(root: Path) -> set[str]:
    """Names of the rooms in the import contract of ``pyproject.toml``."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    return {room.strip() for layer in layers for room in layer.split("|")}


def listing_faults(root: Path) -> Iterator[str]:
    """Differences between the package's folder and the rooms of the contract."""
    package = root / PACKAGE
    rooms = rooms_with_a_floor(root)
    entries = [entry for entry in sorted(package.iterdir()) if entry.name != "__pycache__"]
    for entry in entries:
        path = entry.relative_to(root)
        if entry.is_dir() and entry.name not in rooms:
            yield f"{path}:1: the room has no floor in pyproject.toml"
        elif entry.is_file() and entry.name not in FLAT_FILES:
            yield f"{path}:1: the file lies beside the rooms, not in one"
    for room in sorted(rooms - {entry.name for entry in entries if entry.is_dir()}):
        yield f"pyproject.toml:1: room {room} has a floor, but no folder in {PACKAGE}"


def face_faults(root: Path) -> Iterator[str]:
    """Rooms whose ``__init__.py`` is missing or holds anything but a docstring."""
    for room in sorted(rooms_with_a_floor(root)):
        folder = root / PACKAGE / room
        face = folder / "__init__.py"
        if not folder.is_dir():
            continue
        if not face.exists():
            yield f"{folder.relative_to(root)}:1: the room has no __init__.py"
            continue
        # A missing docstring is a fault of the module, which `module_faults` reports.
        body = ast.parse(face.read_text(encoding="utf-8")).body
        code = body[1:] if body and _is_text(body[0]) else body
        if code:
            yield f"{face.relative_to(root)}:{code[0].lineno}: a room's __init__.py holds no code"


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def faults(root: Path) -> list[str]:
    """All violations in the checkout ``root``, as ``path:line: sentence``."""
    return [
        *measured_faults(root),
        *formatter_skips(root),
        *listing_faults(root),
        *face_faults(root),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print all violations; 1 if there is any, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("root", nargs="?", type=Path, default=here, help="the checkout")
    violations = faults(parser.parse_args(arguments).root)
    print("\n".join(violations) or "The house is in order.")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
