"""The spool and its checkpoint."""

from __future__ import annotations

import pytest

from agent.buildlog.spool import CHECKPOINT, LOG, Spool, read_checkpoint


def test_what_was_not_committed_is_cut_off_when_it_is_opened_again(tmp_path):
    spool = Spool(tmp_path)
    spool.append(b"one\n")
    spool.commit(raw=4, covered=0, said={"a": [1]})
    spool.append(b"two\n")
    spool.close()
    again = Spool(tmp_path)
    assert (tmp_path / LOG).read_bytes() == b"one\n"
    assert (again.length, again.lines, again.checkpoint.raw, again.checkpoint.said) == (4, 1, 4, {"a": [1]})
    again.close()


def test_asides_of_a_killed_write_are_removed(tmp_path):
    aside = tmp_path / f".{CHECKPOINT}.abc"
    aside.write_bytes(b"{")
    Spool(tmp_path).close()
    assert not aside.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"raw": 0, "unknown": 1}', b"\xff"])
def test_a_damaged_checkpoint_costs_no_line_that_is_there(tmp_path, damage):
    spool = Spool(tmp_path)
    spool.append(b"one\ntwo\n")
    spool.commit(raw=8, covered=0, said={})
    spool.close()
    (tmp_path / CHECKPOINT).write_bytes(damage)
    again = Spool(tmp_path)
    assert (again.length, again.lines) == (8, 2)
    assert "damaged" in again.problem
    again.close()


def test_the_log_is_for_its_owner_alone(tmp_path):
    spool = Spool(tmp_path / "log")
    spool.commit(raw=0, covered=0, said={})
    for name in (LOG, CHECKPOINT):
        assert (tmp_path / "log" / name).stat().st_mode & 0o077 == 0
    spool.close()


def test_no_checkpoint_is_none(tmp_path):
    assert read_checkpoint(tmp_path) is None
