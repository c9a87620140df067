"""The transcript: one log out of what is said and what is printed, whatever happens to the agent."""

from __future__ import annotations

import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.aws import AwsRefused
from agent.buildlog.reading import read_log
from agent.buildlog.sink import Pace
from agent.buildlog.spool import CHECKPOINT, LOG
from agent.buildlog.stamps import stamp, stamped_at
from agent.buildlog.transcript import Transcript
from agent.errors import AwsUnavailable, DiskFull
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from tests.unit.buildlog.parts import START, FastClock, HandClock, RecordingSink

Open = Callable[..., Transcript]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def open_log(tmp_path: Path, raw: Path) -> Iterator[Open]:
    opened: list[Transcript] = []

    def open_log(*sinks, secrets=(), clock=None) -> Transcript:
        transcript = Transcript(
            tmp_path / "log",
            secrets=secrets,
            sinks=sinks,
            clock=clock or SystemClock(),
            raw=raw,
            chance=random.Random(1),
        )
        opened.append(transcript)
        return transcript

    yield open_log
    for transcript in opened:
        transcript.leave()


def text_of(tmp_path: Path) -> bytes:
    return read_log(tmp_path / "log", 0, 1 << 30)


def test_a_stamp_has_six_digits_in_utc():
    assert stamp(START) == "2024/08/03 05:12:48.197352"


def test_a_stamp_can_be_read_back():
    assert stamped_at(f"[Container] {stamp(START)} Entering phase BUILD".encode()) == 1_722_661_968_197
    assert stamped_at(b"[Container] 2019/01/01 00:00:00 old shape") == 1_546_300_800_000


@pytest.mark.parametrize("line", [b"", b"output", b"[Container] 2024/13/45 05:12:48.1 x", b"[Container] soon"])
def test_a_line_without_a_stamp_has_no_time(line):
    assert stamped_at(line) is None


def test_a_said_line_has_the_prefix_and_is_on_disk_at_once(open_log, tmp_path):
    open_log(clock=HandClock(START)).say("Entering phase BUILD")
    assert text_of(tmp_path) == b"[Container] 2024/08/03 05:12:48.197352 Entering phase BUILD\n"


def test_of_several_lines_only_the_first_has_the_prefix(open_log, tmp_path):
    open_log(clock=HandClock(START)).say("Running command a\nb")
    assert text_of(tmp_path) == b"[Container] 2024/08/03 05:12:48.197352 Running command a\nb\n"


def test_a_plain_line_has_no_prefix(open_log, tmp_path):
    transcript = open_log()
    transcript.plain("")
    transcript.plain("hello")
    assert text_of(tmp_path) == b"\nhello\n"


def test_said_lines_are_masked(open_log, tmp_path):
    transcript = open_log(secrets=["hunter22"])
    transcript.add_secrets(["tomato"])
    transcript.plain('Running command echo "hunter22 tomato"')
    assert text_of(tmp_path) == b'Running command echo "*** ***"\n'


def test_the_lines_of_a_step_that_runs_again_are_not_said_again(open_log, tmp_path):
    first = open_log()
    first.begin("provision")
    first.plain("one")
    first.begin("check out")
    first.plain("two")
    first.plain("three")
    first.leave()
    second = open_log()
    second.begin("check out")
    for line in ("two", "three", "four"):
        second.plain(line)
    second.begin("provision")
    second.plain("one")
    assert text_of(tmp_path) == b"one\ntwo\nthree\nfour\n"


def test_the_lines_of_a_step_that_is_tried_again_in_the_same_process_are_not_said_again(open_log, tmp_path):
    transcript = open_log()
    for _ in range(2):
        transcript.begin("check out")
        transcript.plain("one")
    assert text_of(tmp_path) == b"one\n"


def test_an_attempt_that_finds_half_of_its_work_done_says_what_is_new_and_only_that(open_log, tmp_path):
    first = open_log()
    first.begin("check out")
    for text in ("fetching", "10 %", "again", "again"):
        first.say(text)
    first.leave()
    second = open_log()
    second.begin("check out")
    for text in ("fetching", "again", "done", "again", "again"):
        second.say(text)
    second.close(1)
    said = [line.split(b" ", 3)[3] for line in read_log(tmp_path / "log", 0).splitlines()]
    assert said == [b"fetching", b"10 %", b"again", b"again", b"done", b"again"]


def test_output_is_masked_and_stands_between_what_was_said_before_and_after(open_log, tmp_path, raw):
    sink = RecordingSink()
    transcript = open_log(sink, secrets=["hunter22"])
    transcript.plain("before")
    raw.write_bytes(b"pass hunter22\n")
    transcript.follow()
    transcript.drained()
    transcript.plain("after")
    totals = transcript.close(10)
    assert text_of(tmp_path) == bytes(sink.data) == b"before\npass ***\nafter\n"
    assert (totals.bytes, totals.lines) == (22, 3)
    assert totals.delivered == {"memory": 22}
    assert totals.problems == {}


def test_a_said_line_begins_a_line_even_when_the_output_ended_without_one(open_log, tmp_path, raw):
    transcript = open_log()
    raw.write_bytes(b"no newline")
    transcript.follow()
    transcript.drained()
    transcript.plain("after")
    assert text_of(tmp_path) == b"no newline\nafter\n"


def test_a_last_line_without_newline_counts(open_log, raw):
    transcript = open_log()
    raw.write_bytes(b"a\nb")
    transcript.follow()
    transcript.drained()
    assert transcript.close(1).lines == 2


@pytest.mark.parametrize(
    "output",
    [
        b"\0" * 3_000_000,
        b"\xff\xfe\x80" * 500_000,
        b"x" * 10_000_000 + b"\n",
        bytes(range(256)) * 1000,
        b"",
    ],
    ids=["NUL", "invalid UTF-8", "a line of 10 MB", "every byte", "nothing"],
)
def test_any_output_arrives_as_it_is(open_log, raw, output):
    sink = RecordingSink()
    transcript = open_log(sink, secrets=["hunter22"])
    raw.write_bytes(output)
    transcript.follow()
    transcript.drained()
    transcript.close(20)
    assert bytes(sink.data) == output


def test_a_container_that_printed_nothing_at_all_is_no_problem(open_log):
    transcript = open_log()
    transcript.follow()
    transcript.drained()
    assert transcript.close(1).problems == {}


def test_output_that_a_build_replaced_by_a_link_is_not_read(open_log, raw, tmp_path):
    raw.symlink_to("/etc/passwd")
    transcript = open_log()
    transcript.follow()
    transcript.drained()
    assert text_of(tmp_path) == b""
    assert "no regular file" in transcript.close(1).problems["output"]


def test_a_restart_in_the_middle_of_the_output_loses_and_doubles_nothing(open_log, tmp_path, raw):
    generator = random.Random(4)
    secret = "hunter22-and-more"
    full = b"".join(
        generator.choice([b"line\n", secret.encode(), b"hunter2", b" text "]) for _ in range(400)
    )  # fmt: skip
    sink_data = b""
    for end in range(0, len(full), 97):
        raw.write_bytes(full[:end])
        sink = RecordingSink()
        sink.data += sink_data
        clock = PumpWatch()
        transcript = open_log(sink, secrets=[secret], clock=clock)
        transcript.follow()
        clock.caught_up.wait()
        transcript.leave()
        sink_data = bytes(sink.data)
    raw.write_bytes(full)
    sink = RecordingSink()
    sink.data += sink_data
    transcript = open_log(sink, secrets=[secret])
    transcript.follow()
    transcript.drained()
    totals = transcript.close(10)
    expected = full.replace(secret.encode(), b"***")
    assert text_of(tmp_path) == bytes(sink.data) == expected
    assert totals.lines == expected.count(b"\n") + (not expected.endswith(b"\n"))


class PumpWatch(SystemClock):
    """Tells when the pump has read all there is."""

    def __init__(self) -> None:
        self.caught_up = threading.Event()

    def wait(self, seconds: float, stop: StopToken) -> bool:
        if threading.current_thread().name == "log-pump":
            self.caught_up.set()
        return super().wait(seconds, stop)


def test_following_and_draining_again_adds_nothing(open_log, tmp_path, raw):
    raw.write_bytes(b"once\n")
    transcript = open_log()
    for _ in range(2):
        transcript.follow()
        transcript.follow()
        transcript.drained()
    assert text_of(tmp_path) == b"once\n"


def test_a_dead_sink_delays_neither_the_build_nor_the_other_sinks(open_log, raw):
    dead, alive = RecordingSink("dead"), RecordingSink("alive")
    dead.gate.clear()
    transcript = open_log(dead, alive, clock=FastClock())
    raw.write_bytes(b"output\n")
    transcript.follow()
    transcript.drained()
    totals = transcript.close(20)
    dead.gate.set()
    assert bytes(alive.data) == b"output\n"
    assert totals.delivered == {"dead": 0, "alive": 7}
    assert totals.problems == {"dead": "7 of 7 bytes were not delivered in time"}


def test_a_sink_that_fails_is_tried_again_until_it_has_everything(open_log):
    sink = RecordingSink()
    sink.script = [AwsUnavailable("down"), OSError("broken"), AwsRefused("no", reason="AccessDenied", text="no")]
    transcript = open_log(sink, clock=FastClock(1000))
    transcript.plain("hello")
    totals = transcript.close(1000)
    assert bytes(sink.data) == b"hello\n"
    assert totals.problems == {}


def test_a_sink_that_stays_refused_is_a_problem_in_the_totals(open_log):
    sink = RecordingSink()
    sink.script = [AwsRefused("logs: AccessDenied", reason="AccessDenied", text="no")] * 10_000
    transcript = open_log(sink, clock=FastClock(1000))
    transcript.plain("hello")
    totals = transcript.close(30)
    assert totals.problems == {"memory": "6 of 6 bytes were not delivered in time: logs: AccessDenied"}
    assert 2 < sink.calls < 100


def test_a_log_that_was_closed_too_early_is_delivered_by_closing_it_again(open_log):
    sink = RecordingSink()
    sink.script = [AwsUnavailable("down")] * 10_000
    transcript = open_log(sink, clock=FastClock(1000))
    transcript.plain("hello")
    transcript.close(1)
    sink.script.clear()
    later = open_log(again := RecordingSink())
    assert later.close(10).problems == {}
    assert bytes(again.data) == b"hello\n"


def test_a_sink_goes_on_from_its_own_offset_after_a_restart(open_log):
    slow, quick = RecordingSink("slow", Pace(seconds=None)), RecordingSink("quick")
    first = open_log(slow, quick)
    first.plain("one")
    first.leave()
    slow_again, quick_again = RecordingSink("slow"), RecordingSink("quick")
    quick_again.data += quick.data
    second = open_log(slow_again, quick_again)
    second.plain("two")
    second.close(10)
    assert bytes(slow_again.data) == bytes(quick_again.data) == b"one\ntwo\n"
    assert bytes(slow.data) == b""


def test_a_sink_for_the_whole_log_is_called_only_at_the_end(open_log):
    sink = RecordingSink(pace=Pace(seconds=None))
    transcript = open_log(sink)
    transcript.plain("one")
    transcript.plain("two")
    assert sink.calls == 0
    transcript.close(10)
    assert bytes(sink.data) == b"one\ntwo\n"


def test_a_spoilt_offset_file_means_delivering_again_and_saying_so(open_log, tmp_path):
    first = open_log(RecordingSink())
    first.plain("one")
    first.close(10)
    (tmp_path / "log" / "memory.offset").write_bytes(b"")
    sink = RecordingSink()
    totals = open_log(sink).close(10)
    assert bytes(sink.data) == b"one\n"
    assert "damaged" in totals.problems["memory"]


def test_totals_can_be_asked_for_at_any_time(open_log):
    transcript = open_log()
    transcript.plain("one")
    assert transcript.totals().bytes == 4
    assert transcript.close(1) is transcript.close(1)
    assert transcript.totals().bytes == 4


def test_a_full_disk_is_said_so_and_leaves_the_log_whole(open_log, tmp_path):
    transcript = open_log()
    transcript.plain("one")
    spool = transcript._spool
    good = spool._file
    spool._file = full = os.open("/dev/full", os.O_RDWR)
    with pytest.raises((DiskFull, OSError)):
        transcript.plain("two")
    spool._file = good
    transcript.plain("three")
    assert text_of(tmp_path) == b"one\nthree\n"
    os.close(full)


def test_a_log_that_is_whole_needs_no_room_to_be_closed(open_log, tmp_path):
    transcript = open_log()
    transcript.plain("one")
    before = (tmp_path / "log" / CHECKPOINT).stat().st_ino
    assert transcript.close(1).problems == {}
    assert (tmp_path / "log" / CHECKPOINT).stat().st_ino == before  # synced, and not written anew


def test_nothing_but_the_named_files_is_left_in_the_directory(open_log, tmp_path):
    transcript = open_log(RecordingSink())
    transcript.plain("one")
    transcript.close(10)
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [CHECKPOINT, LOG, "memory.offset"]


def test_lines_said_by_many_threads_stay_whole(open_log, tmp_path, raw):
    raw.write_bytes(b"output line\n" * 1000)
    transcript = open_log()
    transcript.follow()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: transcript.say(f"line {number}"), range(40)))
    transcript.drained()
    lines = text_of(tmp_path).decode().splitlines()
    said = [line for line in lines if re.fullmatch(r"\[Container\] \S+ \S+ line \d+", line)]
    assert len(said) == 40
    assert lines.count("output line") == 1000
