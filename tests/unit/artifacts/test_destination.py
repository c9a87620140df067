"""ZIP, single files and unpacked artifacts."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from pathlib import Path

import pytest

from agent.artifacts.destination import deliver, unpack_to
from agent.artifacts.package import write_zip
from agent.artifacts.select import select
from agent.artifacts.selection import Selection
from agent.buildspec.plan import ArtifactPlan
from agent.errors import BuildspecdError, UserError
from agent.kit.beyond import Beyond
from agent.kit.tree import Tree
from agent.model.project import Artifacts
from agent.objects.directory import DirectoryStore


def _select(root: Path, *, keep_links: bool = False) -> Selection:
    beyond = Beyond(Tree(root, "/src"), None, root.parent)
    return select(ArtifactPlan(files=("**/*",)), beyond, lambda _: None, keep_links=keep_links)


def _fill(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin/run").write_text("#!/bin/sh")
    (root / "bin/run").chmod(0o755)
    (root / "-rf ü").write_text("x" * 100_000)
    (root / "empty").touch()
    (root / "link").symlink_to("bin/run")
    return root


def test_the_same_files_give_the_same_zip(tmp_path: Path) -> None:
    one = write_zip(_select(_fill(tmp_path / "one")), tmp_path / "1.zip")
    two_root = _fill(tmp_path / "two")
    os.utime(two_root / "bin/run", (1, 1))
    two = write_zip(_select(two_root), tmp_path / "2.zip")
    assert one.file.read_bytes() == two.file.read_bytes()
    assert one.sha256 == hashlib.sha256(one.file.read_bytes()).hexdigest() == two.sha256
    assert one.md5 == hashlib.md5(one.file.read_bytes()).hexdigest()
    assert one.size == one.file.stat().st_size


def test_a_zip_keeps_names_modes_and_links(tmp_path: Path) -> None:
    root = _fill(tmp_path / "src")
    package = write_zip(_select(root, keep_links=True), tmp_path / "x.zip")
    with zipfile.ZipFile(package.file) as archive:
        assert archive.testzip() is None
        found = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert list(found) == ["-rf ü", "bin/run", "empty", "link"]
        assert found["bin/run"] == stat.S_IFREG | 0o755
        assert stat.S_ISLNK(found["link"])
        assert archive.read("link") == b"bin/run"
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_file_swapped_for_a_link_after_it_was_chosen_is_not_read(tmp_path: Path) -> None:
    root = _fill(tmp_path / "src")
    chosen = _select(root)
    (root / "empty").unlink()
    (root / "empty").symlink_to("/etc/passwd")
    with pytest.raises(BuildspecdError, match="empty was removed or replaced"):
        write_zip(chosen, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_zip_goes_to_its_key_with_its_sums(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    settings = Artifacts(type="S3", packaging="ZIP", artifact_identifier="docs", override_artifact_name=True)
    record = deliver(
        _select(_fill(tmp_path / "src")), settings, store,
        key="p/x.zip", build_arn="arn:b", encryption_key=None, scratch=tmp_path,
    )  # fmt: skip
    stored = store.head("p/x.zip")
    assert stored is not None
    assert stored.metadata == {
        "codebuild-buildarn": "arn:b",
        "codebuild-content-md5": record.md5sum,
        "codebuild-content-sha256": record.sha256sum,
    }
    assert record.location == f"file://{tmp_path}/store/p/x.zip"
    assert (record.artifact_identifier, record.override_artifact_name) == ("docs", True)
    assert record.encryption_disabled is False
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src", "store"]


def test_without_packaging_every_file_is_an_object(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    selection = _select(_fill(tmp_path / "src"))
    settings = Artifacts(type="S3")
    record = deliver(selection, settings, store, key="P/out", build_arn="arn:b", encryption_key=None, scratch=tmp_path)
    assert {stored.key for stored in store.list("")} == {"P/out/-rf ü", "P/out/bin/run", "P/out/empty", "P/out/link"}
    assert record.location == f"file://{tmp_path}/store/P/out"
    assert (record.md5sum, record.sha256sum) == (None, None)
    head = store.head("P/out/bin/run")
    assert head is not None
    assert head.metadata == {"codebuild-buildarn": "arn:b"}
    deliver(selection, settings, store, key="", build_arn="arn:b", encryption_key=None, scratch=tmp_path)
    assert store.head("bin/run") is not None


def test_unpacking_copies_files_modes_and_links_and_can_be_repeated(tmp_path: Path) -> None:
    selection = _select(_fill(tmp_path / "src"), keep_links=True)
    for _ in range(2):
        assert unpack_to(selection, tmp_path / "out") == 4
    assert (tmp_path / "out/bin/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out/link").readlink() == Path("bin/run")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["-rf ü", "bin", "empty", "link"]


def test_unpacking_never_writes_through_a_link(tmp_path: Path) -> None:
    selection = _select(_fill(tmp_path / "src"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/bin").symlink_to(elsewhere)
    (tmp_path / "out/empty").symlink_to(elsewhere / "planted")
    with pytest.raises(UserError, match="not a directory of its own"):
        unpack_to(selection, tmp_path / "out")
    (tmp_path / "out/bin").unlink()
    unpack_to(selection, tmp_path / "out")
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "out/empty").is_symlink()


def test_what_a_killed_run_left_half_copied_goes_with_the_next_and_nothing_else_does(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "bin").mkdir(parents=True)
    for name in (".buildspecd-unfinished-abcd_123", "bin/.buildspecd-unfinished-00000000"):
        (out / name).write_text("half")
    (out / ".buildspecd-unfinished-abcd_123.link").symlink_to("/nowhere")
    kept = {".buildspecd-unfinished-mine", ".artifact-abcdefgh"}
    for name in kept:
        (out / name).write_text("a file of the user's")
    (out / ".buildspecd-unfinished-ddddeeee").mkdir()
    (out / ".buildspecd-unfinished-ffffffff").symlink_to(tmp_path / "src")
    unpack_to(_select(_fill(tmp_path / "src")), out)
    hidden = {path.name for path in out.iterdir() if path.name.startswith(".")}
    assert hidden == kept | {".buildspecd-unfinished-ddddeeee", ".buildspecd-unfinished-ffffffff"}
    assert [path.name for path in (out / "bin").iterdir()] == ["run"]
