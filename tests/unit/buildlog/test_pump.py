"""The pump, and what it does when the disk is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.buildlog.pump import DISK_PATIENCE, Pump
from agent.buildlog.tail import Tail
from agent.errors import DiskFull
from tests.unit.buildlog.parts import HandClock


class Taker:
    """Takes chunks; refuses the first *refusals* times, owing what it was given."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.data = b""

    def take(self, chunk: bytes) -> None:
        self.data += chunk
        if self.refusals:
            self.refusals -= 1
            raise DiskFull("no space left")


def pump_of(tmp_path: Path, taker: Taker, clock: HandClock) -> Pump:
    (tmp_path / "output").write_bytes(b"output\n")
    pump = Pump(Tail(tmp_path / "output", 0, clock), taker.take, clock)
    pump.start()
    return pump


def test_a_full_disk_that_is_freed_in_time_loses_and_doubles_nothing(tmp_path):
    taker, clock = Taker(refusals=5), HandClock()
    pump_of(tmp_path, taker, clock).drain()
    assert taker.data == b"output\n"
    assert clock.waits.count(1.0) == 5


def test_a_disk_that_stays_full_ends_the_drain_with_the_reason(tmp_path):
    taker = Taker(refusals=1 << 30)
    pump = pump_of(tmp_path, taker, HandClock())
    with pytest.raises(DiskFull):
        pump.drain()
    assert taker.refusals <= (1 << 30) - DISK_PATIENCE


def test_a_pump_that_is_abandoned_ends_on_a_full_disk_too(tmp_path):
    pump = pump_of(tmp_path, Taker(refusals=1 << 30), HandClock())
    pump.abandon()


def test_a_taker_that_breaks_is_heard_of_when_the_output_is_drained(tmp_path):
    def take(chunk: bytes) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "output").write_bytes(b"output\n")
    pump = Pump(Tail(tmp_path / "output", 0, HandClock()), take, HandClock())
    pump.start()
    with pytest.raises(OSError, match="Input/output error"):
        pump.drain()
