"""Following a file that grows, or misbehaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.buildlog.tail import Tail
from agent.kit.service import StopToken
from tests.unit.buildlog.parts import HandClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output"


def test_a_file_that_comes_later_is_read_from_its_beginning(path):
    tail = Tail(path, 0, HandClock())
    assert tail.read(10) == b""
    path.write_bytes(b"hello")
    assert tail.read(10) == b"hello"
    tail.close()


def test_reading_goes_on_from_the_given_offset(path):
    path.write_bytes(b"0123456789")
    tail = Tail(path, 4, HandClock())
    assert tail.read(3) == b"456"
    assert tail.offset == 7
    tail.close()


def test_a_truncated_file_is_followed_from_its_end_and_noted(path):
    path.write_bytes(b"0123456789")
    tail = Tail(path, 0, HandClock())
    tail.read(10)
    path.write_bytes(b"abc")
    assert tail.read(10) == b""
    with path.open("ab") as file:
        file.write(b"new")
    assert tail.read(10) == b"new"
    assert "shrank from 10 to 3" in tail.problem
    tail.close()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), Path.mkdir])
def test_what_is_no_regular_file_is_never_read(path, make):
    make(path)
    tail = Tail(path, 0, HandClock())
    assert tail.read(100) == b""
    assert tail.size() == 0
    assert "no regular file" in tail.problem


def test_a_file_put_in_its_place_is_not_looked_at(path):
    path.write_bytes(b"real")
    tail = Tail(path, 0, HandClock())
    assert tail.read(2) == b"re"
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert tail.read(100) == b"al"
    tail.close()


def test_pauses_grow_from_10_to_100_ms_and_new_bytes_make_them_short_again(path):
    clock = HandClock()
    tail = Tail(path, 0, clock)
    for _ in range(10):
        tail.wait(StopToken())
    assert clock.waits[0] == pytest.approx(0.010)
    assert clock.waits[-1] == pytest.approx(0.100)
    path.write_bytes(b"x")
    tail.read(1)
    tail.wait(StopToken())
    assert clock.waits[-1] == pytest.approx(0.010)
    tail.close()
