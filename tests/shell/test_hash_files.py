"""`codebuild-hash-files`: one recipe, whatever the image has to compute it with."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

import agent
from tests.shell.commands import SHELLS, Commands

TOOLS = ["sha256sum", "shasum", "openssl", "busybox", "perl", "python3"]
NAMES = ["a.txt", "-b.txt", "a-b/c.txt", "a/b.txt", "a/new\nline.txt", "back\\slash.txt", "sp ace.txt", "empty"]


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(tmp_path_factory.mktemp("commands"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in NAMES:
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("" if name == "empty" else name)
    return tmp_path / "tree"


def recipe(tree: Path, names: list[str]) -> str:
    """The recipe of docs/COMPATIBILITY.md."""
    digests = (hashlib.sha256((tree / name).read_bytes()).digest() for name in sorted(names, key=str.encode))
    return hashlib.sha256(b"".join(digests)).hexdigest()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_hash_is_that_of_the_digests_in_the_order_of_the_paths(commands: Commands, tree: Path, shell: str) -> None:
    done = commands.run(shell, "codebuild-hash-files", "**/*", "*.txt", cwd=tree)
    assert done.stdout.decode() == recipe(tree, NAMES) + "\n", done.stderr
    alone = commands.run(shell, "codebuild-hash-files", "a-b/c.txt", "missing", cwd=tree)
    assert alone.stdout.decode() == recipe(tree, ["a-b/c.txt"]) + "\n"


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_comes_to_the_same_hash_with_nothing_else_in_the_image(
    commands: Commands, tree: Path, tool: str
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool} here")
    shell = "dash" if tool == "busybox" else "ash"  # busybox itself would take its other programs for there
    done = commands.run(shell, "codebuild-hash-files", "**/*", cwd=tree, tools=[tool])
    assert done.stdout.decode() == recipe(tree, NAMES) + "\n", done.stderr


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_an_image_without_any_tool_is_told_so(commands: Commands, tree: Path, shell: str) -> None:
    done = commands.run(shell, "codebuild-hash-files", "a.txt", cwd=tree, tools=["sort"])
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"sha256sum" in done.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_no_match_fails_so_that_no_key_loses_its_hash_in_silence(commands: Commands, tree: Path, shell: str) -> None:
    done = commands.run(shell, "codebuild-hash-files", "*.lock", cwd=tree)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no file matches *.lock" in done.stderr


def test_the_recipe_of_the_documentation_gives_the_same(commands: Commands, tree: Path) -> None:
    page = (Path(agent.__file__).parent.parent / "docs" / "COMPATIBILITY.md").read_text()
    line = next(line for line in page.splitlines() if line.strip().startswith("python3 -c "))
    done = subprocess.run(
        ["sh", "-c", line.replace("FILE...", '"$@"'), "sh", *NAMES], cwd=tree, capture_output=True, check=True
    )
    assert done.stdout == commands.run("dash", "codebuild-hash-files", "**/*", cwd=tree).stdout


def test_more_files_than_one_command_line_takes_are_hashed_together(commands: Commands, tmp_path: Path) -> None:
    names = [f"{index:04}-{'x' * 60}" for index in range(1500)]
    for name in names:
        (tmp_path / name).write_text(name)
    done = commands.run("dash", "codebuild-hash-files", "*-x*", cwd=tmp_path)
    assert done.stdout.decode().strip() == recipe(tmp_path, names)
