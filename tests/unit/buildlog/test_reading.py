"""Reading a log back."""

from __future__ import annotations

from pathlib import Path

from agent.buildlog.reading import follow_log, log_length, read_log
from agent.buildlog.spool import CHECKPOINT, Spool
from agent.kit.service import StopToken
from tests.unit.buildlog.parts import HandClock


def commit(spool: Spool, data: bytes) -> None:
    spool.append(data)
    spool.commit(raw=0, covered=0, said={})


def test_only_what_is_committed_is_read(tmp_path):
    spool = Spool(tmp_path)
    commit(spool, b"one\n")
    spool.append(b"not yet\n")
    assert read_log(tmp_path, 0) == b"one\n"
    assert read_log(tmp_path, 2, 1) == b"e"
    assert read_log(tmp_path, 99) == b""
    spool.close()


def test_a_build_without_a_log_reads_as_nothing(tmp_path):
    assert read_log(tmp_path / "none", 0) == b""
    (tmp_path / CHECKPOINT).write_bytes(b"")
    assert log_length(tmp_path) == 0


def test_following_yields_what_comes_and_ends_with_the_build(tmp_path: Path):
    spool = Spool(tmp_path)
    script = [b"one\n", b"two\n", b"", b"three\n"]

    def complete() -> bool:
        if script:
            commit(spool, script.pop(0))
        return not script

    pieces = list(follow_log(tmp_path, complete=complete, clock=HandClock(), stop=StopToken()))
    assert pieces == [b"one\n", b"two\n", b"three\n"]
    spool.close()


def test_following_ends_when_it_is_told_to(tmp_path):
    stop = StopToken()
    stop.set()
    assert list(follow_log(tmp_path, complete=lambda: False, clock=HandClock(), stop=stop)) == []
