"""The console sink."""

from __future__ import annotations

import io
import os
from pathlib import Path

from agent.buildlog.console import ConsoleSink
from agent.buildlog.transcript import Transcript
from agent.kit.clock import SystemClock


def open_log(tmp_path: Path, sink: ConsoleSink) -> Transcript:
    return Transcript(tmp_path / "log", secrets=[], sinks=[sink], clock=SystemClock(), raw=tmp_path / "output")


def test_a_line_is_printed_while_the_build_runs(tmp_path):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream, os.fdopen(reading, "rb") as reader:
        transcript = open_log(tmp_path, ConsoleSink(stream))
        transcript.plain("live")
        assert reader.readline() == b"live\n"
        transcript.close(5)


def test_a_reader_that_went_away_is_no_problem(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        transcript = open_log(tmp_path, ConsoleSink(stream))
        transcript.plain("nobody reads this")
        transcript.plain("nor this")
        assert transcript.close(5).problems == {}


def test_a_stream_that_was_closed_is_no_problem(tmp_path):
    stream = io.BytesIO()
    stream.close()
    transcript = open_log(tmp_path, ConsoleSink(stream))
    transcript.plain("hello")
    assert transcript.close(5).problems == {}
