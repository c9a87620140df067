"""DirectoryStore beyond the contract that all stores share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.errors import UploadRefused, UserError
from agent.objects.directory import DirectoryStore
from agent.objects.store import Upload


def test_a_name_that_is_file_and_folder_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    store = DirectoryStore(tmp_path / "store")
    store.put("a", source, Upload())
    with pytest.raises(UploadRefused, match="a/b"):
        store.put("a/b", source, Upload())


def test_the_store_keeps_its_own_directory_to_itself(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="buildspecd"):
        DirectoryStore(tmp_path).put(".buildspecd/meta/x", tmp_path / "source", Upload())


def test_metadata_of_another_file_is_not_believed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    store = DirectoryStore(tmp_path / "store")
    store.put("k", source, Upload(metadata={"digest": "1"}))
    (tmp_path / "new").write_bytes(b"changed by hand")
    (tmp_path / "new").replace(tmp_path / "store" / "k")
    head = store.head("k")
    assert head is not None
    assert head.metadata == {}


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    aside = tmp_path / "store" / ".buildspecd" / "aside"
    aside.mkdir(parents=True)
    old, young = aside / "old", aside / "young"
    old.touch()
    young.touch()
    os.utime(old, (1, 1))
    (tmp_path / "source").write_bytes(b"x")
    DirectoryStore(tmp_path / "store").put("k", tmp_path / "source", Upload())
    assert [path.name for path in aside.iterdir()] == ["young"]
