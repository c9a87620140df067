"""Git's index as we read and write it, against git's own reading."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from agent.source import workindex
from tests.fakes.repository import Repository, git

SECOND = 1_000_000_000


@pytest.fixture
def tree(repository: Repository) -> Path:
    """A work tree with names of every length that padding knows, and some that paths must not mistake."""
    names = {"x" * length: "1" for length in range(1, 12)}
    repository.commit("names", **names, **{"a__b": "1", "a.b": "2", "a-b__c": "3", "ü__ß": "4", "deep" * 60: "5"})
    return repository.work


def test_every_file_gets_the_time_and_git_sees_no_change(tree: Path) -> None:
    moment = time.time_ns() - 100 * SECOND
    assert workindex.count(tree / ".git" / "index") == len(git(tree, "ls-files").splitlines())
    workindex.retime(tree, tree / ".git" / "index", moment)
    assert {(tree / name).stat().st_mtime_ns for name in ("x", "a/b", "a-b/c", "ü/ß")} == {moment}
    assert git(tree, "diff-files", "--name-only") == ""
    (tree / "a" / "b").write_text("9")
    assert git(tree, "diff-files", "--name-only") == "a/b"
    assert git(tree, "status", "--porcelain") == "M a/b"


def test_no_link_is_followed_on_the_way_to_a_file(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_text("mine")
    before = (outside / "b").stat().st_mtime_ns
    (tree / "a" / "b").unlink()
    (tree / "a").rmdir()
    (tree / "a").symlink_to(outside)
    with pytest.raises(OSError):  # ELOOP or ENOTDIR, as the kernel likes
        workindex.retime(tree, tree / ".git" / "index", 0)
    assert (outside / "b").stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"", b"DIRC", b"XXXX\0\0\0\2\0\0\0\0", b"DIRC\0\0\0\4\0\0\0\0"])
@pytest.mark.parametrize("summed", [True, False])
def test_an_index_of_another_kind_is_refused_and_left_alone(tmp_path: Path, content: bytes, summed: bool) -> None:
    index = tmp_path / "index"
    content += hashlib.sha1(content).digest() if summed else b"\0" * 20
    index.write_bytes(content)
    for act in (lambda: workindex.check(index), lambda: workindex.retime(tmp_path, index, 0)):
        with pytest.raises(ValueError, match="index is"):
            act()
    assert index.read_bytes() == content


def test_there_may_be_no_index_at_all(tmp_path: Path) -> None:
    assert workindex.count(tmp_path / "index") == 0
