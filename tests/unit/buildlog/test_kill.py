"""A real process that writes a log is killed with SIGKILL, again and again, and nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from agent.buildlog.reading import log_length, read_log
from agent.buildlog.transcript import Transcript
from agent.kit.clock import SystemClock
from tests.unit.buildlog.parts import RecordingSink

SECRET = "hunter22-and-a-tail"

PROGRAM = """
import sys, threading
from pathlib import Path
from agent.buildlog import pump, transcript
from agent.buildlog.console import ConsoleSink
from agent.buildlog.transcript import Transcript
from agent.kit.clock import SystemClock
pump.CHUNK_BYTES, transcript.COMMIT_SECONDS = 1000, 0.0  # many small steps, so that many can be cut short
directory, raw, secret = sys.argv[1:]
log = Transcript(Path(directory), secrets=[secret], sinks=[ConsoleSink(sys.stdout.buffer)], clock=SystemClock(),
                 raw=Path(raw))
log.begin("phases")
for number in range(5):
    log.plain(f"said {number}")
log.follow()
threading.Event().wait()
"""


def test_killed_at_any_moment_the_log_is_byte_for_byte_the_same(tmp_path: Path):
    chance = random.Random(7)
    pieces = [b"a line of output\n", SECRET.encode(), b"hunter22-and", b"\xff\x00", b"more"]
    output = b"".join(chance.choice(pieces) for _ in range(100_000))
    raw, directory = tmp_path / "output", tmp_path / "log"
    rounds = 12
    part = len(output) // rounds
    for number in range(rounds):
        with raw.open("ab") as file:
            file.write(output[number * part : (number + 1) * part])
        run_until(directory, raw, log_length(directory) + chance.randrange(part // 2))
    with raw.open("ab") as file:
        file.write(output[rounds * part :])
    assert 0 < log_length(directory) < len(output) // 2

    sink = RecordingSink()
    log = Transcript(directory, secrets=[SECRET], sinks=[sink], clock=SystemClock(), raw=raw)
    log.begin("phases")
    for number in range(5):
        log.plain(f"said {number}")
    log.follow()
    log.drained()
    totals = log.close(30)
    said = b"".join(b"said %d\n" % number for number in range(5))
    expected = said + output.replace(SECRET.encode(), b"***")
    assert read_log(directory, 0, 1 << 30) == expected
    assert bytes(sink.data) == expected
    assert totals.lines == expected.count(b"\n") + (not expected.endswith(b"\n"))


def run_until(directory: Path, raw: Path, length: int) -> None:
    """Run the program until the log has *length* bytes, and kill it."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(directory), str(raw), SECRET],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert program.stdout is not None
    while log_length(directory) < length and program.stdout.read(500):
        pass
    program.send_signal(signal.SIGKILL)
    program.stdout.close()
    program.wait()
