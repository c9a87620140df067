"""180 MB of output in two million lines: through a daemon's masked log, against `docker run` into a pipe."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench import place
from bench.result import Result

LINES = 2_000_000
WRITE = f"yes {'x' * 89} | head -n {LINES}"
ROUNDS = 3


def measure() -> list[Result]:
    """Return the time for the output and how much the daemon's memory grew."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch:
        home = Path(scratch)
        project: dict[str, Any] = {
            "name": "loud",
            "source": {
                "type": "NO_SOURCE",
                "buildspec": f"version: 0.2\nphases:\n  build:\n    commands:\n      - {WRITE}\n",
            },
            "environment": {"type": "LINUX_CONTAINER", "image": place.image(), "computeType": "BUILD_GENERAL1_SMALL"},
        }
        with place.daemon(home, [project]) as daemon:
            build(daemon)
            before = daemon.resident()
            peak = Peak(daemon)
            ours = statistics.median(build(daemon) for _ in range(ROUNDS))
            growth = peak.stop() - before
    theirs = statistics.median(piped() for _ in range(ROUNDS))
    return [
        Result(
            "180 MB of output, 2 million lines, until it is in the log",
            f"{ours:.2f} s",
            f"docker run into a pipe: {theirs:.2f} s",
            f"{ours / theirs:.2f} x",
            "at most 1 x",
            ours <= theirs,
        ),
        Result(
            "the daemon's memory meanwhile", f"+{growth:.0f} MB", f"{before:.0f} MB", "", "+50 MB at most", growth < 50
        ),
    ]


def build(daemon: place.Daemon) -> float:
    """Run the loud build; return the seconds of the whole build."""
    started = daemon.ask("start", "loud")["id"]
    place.wait_until(lambda: daemon.ask("show", started)["buildComplete"], "the build ends", 300)
    ended = daemon.ask("show", started)
    assert ended["buildStatus"] == "SUCCEEDED", ended
    return float(ended["endTime"] - ended["startTime"])


def piped() -> float:
    """Return the seconds that the same output takes through `docker run`, container included."""
    begun = time.perf_counter()
    with subprocess.Popen(
        ["docker", "run", "--rm", "--network", "host", place.image(), "sh", "-c", WRITE], stdout=subprocess.PIPE
    ) as run:
        subprocess.run(["cat"], stdin=run.stdout, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


class Peak:
    """Looks at the daemon's memory ten times a second."""

    def __init__(self, daemon: place.Daemon) -> None:
        self._daemon = daemon
        self._stop = threading.Event()
        self._most = 0.0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self._most = max(self._most, self._daemon.resident())

    def stop(self) -> float:
        """Return the most that was seen, in MB."""
        self._stop.set()
        self._thread.join()
        return self._most


if __name__ == "__main__":
    for result in measure():
        print(result)
