"""The first signal asks, the second one ends; in a process of its own, since signals are the whole process's."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from agent.cli.signals import stopping_on_signals
from agent.kit.service import StopToken
stop = StopToken()
with stopping_on_signals(stop, "stopping"):
    print("ready", flush=True)
    stop.wait(20)
    print("asked", flush=True)
    if sys.argv[1] == "stubborn":
        StopToken().wait(20)
print("ended", flush=True)
"""


_HEEDED = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
"""Whoever runs the tests under nohup passes on that it ignores HUP."""


def started(mode: str, prefix: str = _HEEDED) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", prefix + SCRIPT, mode], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_stop_and_says_so(number: signal.Signals) -> None:
    process = started("polite")
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, b"asked\nended\n", b"stopping\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    process = started("stubborn")
    process.send_signal(number)
    assert process.stdout
    assert process.stdout.readline() == b"asked\n"
    process.send_signal(number)
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, output) == (128 + number, b"")


def test_a_hangup_that_was_ignored_stays_ignored() -> None:
    process = started("polite", "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == b"asked\nended\n"
