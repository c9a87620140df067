"""`codebuild-glob-search` against the globs of the host, under three shells, with and without find and sort."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.kit.globs import Globs, tidy
from agent.kit.tree import Tree
from tests.shell.commands import SHELLS, Commands

MINE = ("sort",)
"""An image without find: the shell walks the tree."""


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(tmp_path_factory.mktemp("commands"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with awkward names."""
    for name in ("a.js", "-g.js", ".dot", "a-b/x.js", "a/x.js", "a/b/c.js", ".h/y.js", "s p/*.js", "new\nline/z\v.js"):
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    root = tmp_path / "tree"
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "link.js").symlink_to("x.js")
    (root / "a" / "dead.js").symlink_to("nothing")
    os.mkfifo(root / "a" / "fifo.js")
    return root


def found(commands: Commands, shell: str, tree: Path, *globs: str, tools: tuple[str, ...] | None = None) -> list[str]:
    done = commands.run(shell, "codebuild-glob-search", *globs, cwd=tree, tools=tools)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("utf-8", "surrogateescape").splitlines(keepends=False)


@pytest.mark.parametrize("tools", [None, MINE, ()], ids=["find", "no find", "nothing"])
@pytest.mark.parametrize("shell", SHELLS)
def test_files_come_each_once_in_the_order_of_the_bytes(
    commands: Commands, tree: Path, shell: str, tools: tuple[str, ...] | None
) -> None:
    done = commands.run(shell, "codebuild-glob-search", "**/*.js", "a/*", "*.js", cwd=tree, tools=tools)
    names = ["-g.js", ".h/y.js", "a-b/x.js", "a.js", "a/b/c.js", "a/link.js", "a/x.js", "new\nline/z\v.js", "s p/*.js"]
    assert done.stdout.decode() == "".join(f"{name}\n" for name in names)


@pytest.mark.parametrize("tools", [None, MINE], ids=["find", "no find"])
@pytest.mark.parametrize("shell", SHELLS)
def test_globs_of_every_kind_lead_where_they_say(
    commands: Commands, tree: Path, shell: str, tools: tuple[str, ...] | None
) -> None:
    def look(*globs: str) -> list[str]:
        return found(commands, shell, tree, *globs, tools=tools)

    assert look("-g.js") == ["-g.js"]
    assert look("./a//b/../b/*.js") == ["a/b/c.js"]
    assert look("../tree/a/?.js") == ["../tree/a/x.js"]
    assert look(f"{tree}/a/**/c*") == [f"{tree}/a/b/c.js"]
    assert look("s p/[*].js") == ["s p/*.js"]
    assert look("a/loop/a.js") == ["a/loop/a.js"]
    assert look("a/**/a.js") == []
    assert look("{a,b}.js", "a/", "a", "", ".", "missing", "missing/**/*") == []
    assert look("--", ".d*") == [".dot"]


def test_nothing_found_is_said_on_standard_error_and_is_no_failure(commands: Commands, tree: Path) -> None:
    done = commands.run("dash", "codebuild-glob-search", "*.py", cwd=tree)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"no files were found" in done.stderr
    assert commands.run("dash", "codebuild-glob-search", cwd=tree).returncode == 2


def test_a_directory_that_cannot_be_read_is_told(commands: Commands, tree: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv, to become somebody who may not read")
    (tree / "a").chmod(0)
    for directory in (tree, *tree.parents[:-1]):
        if directory != Path("/tmp"):
            directory.chmod(0o755)
    for folder in (commands.user, *commands.user.parents[:-1]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    for tools in (None, MINE):
        line = ["setpriv", "--reuid=65534", "--clear-groups", "dash", commands.user / "bin" / "codebuild-hash-files"]
        done = subprocess.run(
            [*line, "**/*.js"], cwd=tree, capture_output=True, env={"PATH": os.environ["PATH"]}, check=False
        )
        assert done.returncode == 1, tools
        assert b"cannot be read" in done.stderr


component = st.sampled_from(
    [
        "*",
        "**",
        "**",
        "?",
        "a",
        "b",
        "a*",
        "*b",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]?",
        ".x",
        ".*",
        "{a,b}",
        "**a",
        "..",
        ".",
    ]
)
pattern = st.lists(component, min_size=1, max_size=5).map("/".join)
name = st.sampled_from(["a", "b", "ab", ".x", "a b", "-", "a\nb", "[a]", "c"])


@functools.cache
def _session_commands() -> Commands:
    return Commands(Path(tempfile.mkdtemp(prefix="globs-")))


@pytest.fixture(scope="module", autouse=True)
def _swept() -> Iterator[None]:
    yield
    shutil.rmtree(_session_commands().root)


def _expected(root: Path, text: str) -> list[str]:
    word = tidy(text)
    if word.startswith("..") or not word or word.endswith("/"):
        return []
    names = (name for name, _, _ in Tree(root, "/seen").walk("", Globs([word])))
    return sorted((name for name in names if (root / name).is_file()), key=os.fsencode)


@settings(max_examples=20, deadline=None)
@given(
    files=st.lists(st.lists(name, min_size=1, max_size=4).map("/".join), max_size=12),
    patterns=st.lists(pattern, min_size=6, max_size=6),
)
@example(files=["a", "b", "c", "-", "a b/b"], patterns=["[^b]", "[!b]", "**/[^a]", "[^^]", "[^-]", "[[^]"])
@example(
    files=["a/b/c", "a/a/b", "b/a/b/a/c"], patterns=["**/a/**/b/**", "a/**/**/b", "**/a/**", "**/../a", "*/**/c", "a"]
)
def test_the_shells_and_the_host_find_the_same(files: list[str], patterns: list[str]) -> None:
    script = _session_commands()
    probe = script.user / "bin" / "probe"
    if not probe.exists():
        probe.write_text(
            'cb_globs=${0%/*}/../lib/globs.sh\n. "$cb_globs"\n'
            'for word; do cb_search "$word"; cb_unescape "$cb_found"; printf "%s\\n--\\n" "$cb_text"; done\n'
        )
    patterns = [text for text in patterns if not tidy(text).startswith("..")]
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for file in files:
            path = root / file
            if not any(parent.is_file() for parent in path.parents) and not path.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        expected = "".join("\n".join(_expected(root, text)) + "\n--\n" for text in patterns)
        for shell in SHELLS:
            for tools in (None, MINE):
                done = script.run(shell, "probe", *patterns, cwd=root, tools=tools)
                assert done.stdout.decode() == expected, (shell, tools, patterns)
