"""Copies of working trees."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from agent.errors import SourceNotFound
from agent.model.project import Source
from agent.source.directory import copy_directory
from agent.source.sources import Revision, Sources
from tests.fakes.repository import Repository, git


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


def test_uncommitted_and_ignored_files_come_along(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    tree = repository.work
    (tree / ".gitignore").write_text("*.log\n")
    (tree / "a.log").write_text("ignored")
    (tree / "dir" / "file").write_text("changed")
    revision = sources.fetch(Source(type="DIRECTORY", location=str(tree)), None, tmp_path / "ws", quiet)
    assert revision == Revision(repository.head, "refs/heads/main")
    assert (tmp_path / "ws" / "a.log").read_text() == "ignored"
    assert git(tmp_path / "ws", "status", "--porcelain") == git(tree, "status", "--porcelain")


def test_a_tree_without_git_has_no_version(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    found = sources.fetch(Source(type="DIRECTORY", location=f"file://{tmp_path}/tree"), None, tmp_path / "ws", quiet)
    assert found == Revision()


def test_links_stay_links_and_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (tree / "sub" / "run.sh").chmod(0o755)
    (tree / "abs").symlink_to("/etc/passwd")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "loop").symlink_to(".")
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "socket"))
        copy_directory(tree, tmp_path / "ws")
    copied = tmp_path / "ws"
    assert sorted(path.name for path in copied.iterdir()) == ["abs", "dangling", "loop", "sub"]
    assert (copied / "abs").readlink() == Path("/etc/passwd")
    assert (copied / "sub" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (copied / "sub" / "run.sh").stat().st_mtime_ns == (tree / "sub" / "run.sh").stat().st_mtime_ns


def test_the_agents_own_state_and_the_copy_itself_are_skipped(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    state = tree / ".buildspecd"
    (state / "builds").mkdir(parents=True)
    (state / "builds.db").write_text("x")
    (tree / "file").write_text("x")
    Sources(state / "mirrors", skip=[state]).fetch(
        Source(type="DIRECTORY", location=str(tree)), None, state / "builds" / "ws", quiet
    )
    assert [path.name for path in (state / "builds" / "ws").iterdir()] == ["file"]
    inside = tree / "out"
    copy_directory(tree, inside)
    assert not (inside / "out").exists()


def test_the_tree_is_left_as_it_was(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(3 << 20))
    (tree / "hole").touch()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tree.iterdir()}
    copy_directory(tree, tmp_path / "ws")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tree.iterdir()} == before
    assert (tmp_path / "ws" / "big").read_bytes() == (tree / "big").read_bytes()


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="nowhere"):
        copy_directory(tmp_path / "nowhere", tmp_path / "ws")
