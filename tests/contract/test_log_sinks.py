"""What every LogSink promises; one suite for all of them, the fake of the tests included."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.buildlog.cloudwatch import CloudWatchSink
from agent.buildlog.console import ConsoleSink
from agent.buildlog.s3 import ObjectSink
from agent.buildlog.sink import LogSink, Stretch
from agent.buildlog.transcript import Transcript
from agent.kit.clock import SystemClock
from tests.unit.buildlog.parts import (
    HandClock,
    MemoryLedger,
    MemoryStore,
    RecordingSink,
    StrictAws,
    StrictLogs,
    moto_server,
)

LINES = ["first", "", "  spaced  ", "ünïcödé \u2713", "x" * 300_000, *(f"line {n}" for n in range(1_500)), "last"]
TEXT = "\n".join(LINES).encode() + b"\n"


@dataclass
class Place:
    """Somewhere a log can go: `open` makes a new sink for it, `text` returns what has arrived."""

    open: Callable[[], LogSink]
    text: Callable[[], bytes]
    can_tell: bool = True


@pytest.fixture(scope="module")
def aws_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(params=["memory", "console", "s3", "cloudwatch"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "console":
        stream = io.BytesIO()
        return Place(lambda: ConsoleSink(stream), stream.getvalue, can_tell=False)
    if request.param == "s3":
        store = MemoryStore()
        return Place(lambda: ObjectSink(store, "p/u.gz"), lambda: gzip.decompress(store.objects["p/u.gz"]))
    if request.param == "cloudwatch":
        return cloudwatch(StrictLogs(request.getfixturevalue("aws_url")))
    first = RecordingSink()

    def another() -> RecordingSink:
        sink = RecordingSink()
        sink.data = first.data
        return sink

    return Place(another, lambda: bytes(first.data))


def cloudwatch(logs: StrictLogs) -> Place:
    def text() -> bytes:
        joined = "\n".join("" if message == " " else message for message in logs.messages()) + "\n"
        return joined.replace("x\nx", "xx").encode()  # the line that is too long for one event

    return Place(lambda: CloudWatchSink(StrictAws(logs), group=logs.group, stream=logs.stream, clock=HandClock()), text)


def drive(sink: LogSink, log: Path, ledger: MemoryLedger, start: int, end: int) -> None:
    """Deliver from *start* to *end*, the end of the log, as a delivery does."""
    while start < end:
        reached = sink.deliver(Stretch(log, start, end, final=True), ledger)
        assert start < reached <= end
        start = reached


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(TEXT)
    return path


def test_every_byte_arrives_once_and_in_order(place, log):
    drive(place.open(), log, MemoryLedger(), 0, len(TEXT))
    assert place.text() == TEXT


def test_nothing_beyond_the_end_of_the_stretch_is_taken(place, log):
    with log.open("ab") as file:
        file.write(b"not committed yet\n")
    drive(place.open(), log, MemoryLedger(), 0, len(TEXT))
    assert place.text() == TEXT


def test_a_new_object_goes_on_where_the_old_one_stopped(place, log):
    ledger, half = MemoryLedger(), len(TEXT) - 4000
    sink = place.open()
    reached = 0
    if sink.pace.seconds is not None:
        while (now := sink.deliver(Stretch(log, reached, half, final=False), ledger)) > reached:
            reached = now
            if reached == half:
                break
    drive(place.open(), log, ledger, reached, len(TEXT))
    assert place.text() == TEXT


def test_a_stretch_given_again_because_the_agent_was_killed_is_not_doubled(place, log):
    if not place.can_tell:
        pytest.skip("a stream cannot be asked what it has printed")
    ledger = MemoryLedger()
    place.open().deliver(Stretch(log, 0, len(TEXT), final=True), ledger)
    drive(place.open(), log, ledger, 0, len(TEXT))
    assert place.text() == TEXT


def test_its_name_is_fit_for_a_file(place):
    assert re.fullmatch("[a-z0-9]{1,20}", place.open().name)


def test_a_transcript_delivers_everything_to_it(place, tmp_path):
    raw = tmp_path / "output"
    raw.write_bytes(TEXT)
    sink = place.open()
    transcript = Transcript(tmp_path / "build", secrets=[], sinks=[sink], clock=SystemClock(), raw=raw)
    transcript.follow()
    transcript.drained()
    totals = transcript.close(60)
    assert totals.problems == {}
    assert totals.delivered == {sink.name: len(TEXT)}
    assert place.text() == TEXT
