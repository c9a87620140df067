"""The project's own files, as the tests of this folder read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ELSEWHERE = {".venv", ".git", ".cache", ".demo", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
_ELSEWHERE |= {".hypothesis", ".import_linter_cache"}


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the project, not what tools left beside it."""
    found = (path for path in ROOT.rglob("*") if not _ELSEWHERE & set(path.relative_to(ROOT).parts))
    return tuple(sorted(path for path in found if path.is_file()))


@cache
def python(folder: str) -> tuple[Path, ...]:
    """Return the Python files below *folder*."""
    return tuple(path for path in files() if path.suffix == ".py" and path.is_relative_to(ROOT / folder))


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of *path*."""
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, line: int = 0) -> str:
    """Return where that is, as an editor understands it."""
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def calls(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and line of every call in *path*."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno
