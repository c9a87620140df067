"""The transcript masks what the build registers, from the next byte on, in every form, also after a restart."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.buildlog.reading import read_log
from agent.buildlog.registrations import MOST_LINES
from agent.buildlog.transcript import EXCESSIVE, LOST, Transcript
from agent.kit.clock import SystemClock
from tests.unit.buildlog.test_registrations import append, record

Open = Callable[[], Transcript]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Open]:
    opened: list[Transcript] = []

    def open_log() -> Transcript:
        opened.append(
            Transcript(
                tmp_path / "log",
                secrets=["known-before"],
                sinks=(),
                clock=SystemClock(),
                raw=tmp_path / "output",
                registered=tmp_path / "registered",
            )
        )
        return opened[-1]

    yield open_log
    for transcript in opened:
        transcript.leave()


def log_of(tmp_path: Path) -> bytes:
    return read_log(tmp_path / "log", 0, 1 << 30)


def test_no_byte_that_is_printed_after_a_registration_shows_the_value(open_log: Open, tmp_path: Path) -> None:
    """The build prints each value right after it was registered, as fast as it can."""
    transcript = open_log()
    transcript.follow()
    values = [f"token-{index:04}-{index * 7919:08}" for index in range(300)]
    for value in values:
        append(tmp_path / "output", f"before {value[:5]}\n".encode())
        append(tmp_path / "registered", record(value))
        append(tmp_path / "output", f"{value}\n{base64.b64encode(value.encode()).decode()}\n".encode())
    transcript.drained()
    log = log_of(tmp_path)
    assert [value for value in values if value.encode() in log] == []
    assert log.count(b"***") == 2 * len(values)


def test_lines_of_the_agent_are_masked_too(open_log: Open, tmp_path: Path) -> None:
    transcript = open_log()
    append(tmp_path / "registered", record("made-meanwhile"))
    transcript.say("Error while executing command: curl -H made-meanwhile")
    transcript.plain("known-before, made-meanwhile")
    assert b"made-meanwhile" not in log_of(tmp_path)
    assert log_of(tmp_path).endswith(b"***, ***\n")


def test_a_daemon_that_takes_over_knows_what_was_registered(open_log: Open, tmp_path: Path) -> None:
    first = open_log()
    append(tmp_path / "registered", record("made-meanwhile"))
    first.say("one")
    first.leave()
    append(tmp_path / "output", b"made-meanwhile\n")
    second = open_log()
    second.follow()
    second.drained()
    assert log_of(tmp_path).endswith(b"one\n***\n")


def test_a_build_that_registers_too_much_is_not_shown_any_more(open_log: Open, tmp_path: Path) -> None:
    transcript = open_log()
    transcript.follow()
    append(tmp_path / "output", b"shown\n")
    _until_shown(tmp_path, b"shown\n")
    append(tmp_path / "registered", b"".join(record(f"secret-{index:05}") for index in range(MOST_LINES + 1)))
    append(tmp_path / "output", f"secret-{MOST_LINES:05}\n".encode())
    transcript.drained()
    transcript.leave()
    again = open_log()
    append(tmp_path / "output", b"more\n")
    again.follow()
    again.drained()
    again.say("the end")
    log = log_of(tmp_path).decode()
    assert log.startswith(f"shown\n\n{EXCESSIVE}\n[Container] ")
    assert log.endswith("the end\n")
    assert log.count(EXCESSIVE) == 1


def test_what_a_restarted_host_has_lost_is_not_shown_by_mistake(open_log: Open, tmp_path: Path) -> None:
    first = open_log()
    append(tmp_path / "registered", record("made-meanwhile"))
    first.say("one")
    first.leave()
    (tmp_path / "registered").unlink()  # the memory of the host
    append(tmp_path / "output", b"made-meanwhile\n")
    second = open_log()
    second.follow()
    second.drained()
    assert log_of(tmp_path).decode().endswith(f"one\n\n{LOST}\n")


def test_the_end_of_a_build_removes_the_registrations_and_nothing_is_withheld(open_log: Open, tmp_path: Path) -> None:
    transcript = open_log()
    transcript.follow()
    append(tmp_path / "registered", record("made-meanwhile"))
    append(tmp_path / "output", b"made-meanwhile\n")
    transcript.drained()
    (tmp_path / "registered").unlink()
    transcript.say("made-meanwhile")
    assert log_of(tmp_path).count(b"***") == 2
    assert LOST.encode() not in log_of(tmp_path)


def _until_shown(tmp_path: Path, text: bytes) -> None:
    pause, clock = threading.Event(), SystemClock()
    deadline = clock.monotonic() + 20
    while text not in log_of(tmp_path):
        assert clock.monotonic() < deadline
        pause.wait(0.01)
