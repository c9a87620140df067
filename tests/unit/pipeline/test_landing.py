"""A source comes into the workspace whole, and never out of it, whatever the build's image has planted there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.pipeline.landing import land


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    (tmp_path / "fetched" / "sub").mkdir(parents=True)
    (tmp_path / "fetched" / "file").write_text("source")
    (tmp_path / "fetched" / ".git").mkdir()
    return tmp_path / "fetched"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside" / "acme").mkdir(parents=True)
    (tmp_path / "outside" / "precious").write_text("precious")
    return tmp_path / "outside"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("below", ["", "s3", "github.com/acme/web"])
def test_a_source_stands_where_it_belongs_and_nowhere_else(workspace: Path, fetched: Path, below: str) -> None:
    land(fetched, workspace, below)
    assert names(workspace / below) == [".git", "file", "sub"]
    assert not fetched.exists()


def test_what_stood_there_before_goes(workspace: Path, fetched: Path) -> None:
    (workspace / "a" / "b" / "old").mkdir(parents=True)
    land(fetched, workspace, "a/b")
    assert names(workspace / "a" / "b") == [".git", "file", "sub"]


def test_the_workspace_itself_keeps_its_identity(workspace: Path, fetched: Path) -> None:
    (workspace / "file").mkdir()
    (workspace / "file" / "old").touch()
    before = workspace.stat().st_ino
    land(fetched, workspace, "")
    assert workspace.stat().st_ino == before
    assert (workspace / "file").read_text() == "source"


@pytest.mark.parametrize("below", ["github.com/acme/web", "github.com/acme", "github.com"])
def test_a_link_on_the_way_leads_nobody_out(workspace: Path, fetched: Path, outside: Path, below: str) -> None:
    (workspace / "github.com").symlink_to(outside)
    land(fetched, workspace, below)
    assert names(outside) == ["acme", "precious"]
    assert names(outside / "acme") == []
    assert names(workspace / below) == [".git", "file", "sub"]
    assert not (workspace / "github.com").is_symlink()


def test_a_link_in_place_of_a_file_of_the_source_is_replaced(workspace: Path, fetched: Path, outside: Path) -> None:
    (workspace / "file").symlink_to(outside / "precious")
    (workspace / "sub").symlink_to(outside)
    land(fetched, workspace, "")
    assert (outside / "precious").read_text() == "precious"
    assert names(outside) == ["acme", "precious"]
    assert not (workspace / "sub").is_symlink()


def test_things_that_are_no_directories_are_out_of_the_way(workspace: Path, fetched: Path) -> None:
    os.mkfifo(workspace / "a")
    land(fetched, workspace, "a/b")
    assert stat.S_ISDIR((workspace / "a").stat().st_mode)
    assert names(workspace / "a" / "b") == [".git", "file", "sub"]
