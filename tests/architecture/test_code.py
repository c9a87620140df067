"""The rules of style that a machine can hold (docs/ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import errors
from tests.architecture.source import ROOT, calls, place, python, tree

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
BROAD_EXCEPTS = {
    "agent/daemon/supervisor.py": "a service loop that dies is restarted, whatever it died of",
    "agent/pipeline/route.py": "a build whose step breaks is a FAULT, whatever broke",
    "agent/web/server.py": "a request that breaks is answered 500, and the next one is served",
    "agent/cli/main.py": "a command that breaks says so in a sentence and exits 3",
}
"""The four places where anything at all may be caught, and why."""


def test_the_layers_hold() -> None:
    """What `lint-imports` checks: layers, pure values, one door per library."""
    tool = str(Path(sys.executable).parent / "lint-imports")  # in its own process: it reconfigures logging
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", python("agent"), ids=place)
def test_a_module_says_in_its_first_line_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(tree(path)) or ""
    first = text.split("\n", 1)[0]
    assert len(first) >= 15, f"{place(path)}: the first docstring line says what the module is for"
    assert not re.search(r"TODO|FIXME|XXX", path.read_text()), place(path)


def test_files_and_functions_stay_within_their_budget() -> None:
    over = []
    for path in python("agent"):
        lines = path.read_text().count("\n")
        if lines > MAX_FILE_LINES:
            over.append(f"{place(path)}: {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    over.append(f"{place(path, node.lineno)}: {node.name} has {length} lines")
    assert over == []


def test_everything_is_caught_in_four_named_places_alone() -> None:
    found = []
    for path in python("agent"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node) and not _raises_again(node):
                found.append(place(path, node.lineno))
    strangers = [where for where in found if where.partition(":")[0] not in BROAD_EXCEPTS]
    assert strangers == []
    assert len(found) <= len(BROAD_EXCEPTS)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    names = "" if handler.type is None else ast.unparse(handler.type)
    return handler.type is None or re.search(r"\b(Base)?Exception\b", names) is not None


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """Whether the block only tidies up and lets the error go on."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_only_the_kit_sleeps_and_no_test_does() -> None:
    sleepers = [
        place(path, line)
        for folder in ("agent", "tests")
        for path in python(folder)
        for name, line in calls(path)
        if name in ("time.sleep", "sleep") and not path.is_relative_to(ROOT / "agent" / "kit")
    ]
    assert sleepers == []


def test_no_test_patches_what_a_parameter_could_give() -> None:
    found = [
        place(path, line)
        for path in python("tests")
        for name, line in calls(path)
        if name in ("monkeypatch.setattr", "monkeypatch.setitem") or name.startswith("mocker.")
    ]
    found += [
        place(path, node.lineno)
        for path in python("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and "mock" in ast.unparse(node).split()[1].split(".")
    ]
    assert found == []


def test_every_error_stands_in_the_tree_that_errors_py_draws() -> None:
    drawn = set(re.findall(r"\b[A-Z]\w+\b", errors.__doc__ or ""))
    family = {"BuildspecdError"}
    size = 0
    while size < len(family):  # until no further descendant is found
        size = len(family)
        family |= {
            node.name
            for path in python("agent")
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ClassDef)
            and family & {ast.unparse(parent).rpartition(".")[2] for parent in node.bases}
        }
    assert family - drawn == set()
    assert {"UserError", "Unavailable", "AwsRefused"} <= family


def test_the_tests_mirror_the_rooms() -> None:
    rooms = {path.name for path in (ROOT / "agent").iterdir() if (path / "__init__.py").exists()}
    mirrored = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()} - {"__pycache__"}
    assert mirrored - rooms == set()


def test_the_names_of_tests_are_sentences() -> None:
    short = [
        f"{place(path, node.lineno)}: {node.name}"
        for path in python("tests")
        if path.name.startswith("test_")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and node.name.count("_") < 3
    ]
    assert short == []
