"""Fifty builds run, their daemon is killed and started: how long until each of them is followed again."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent.cli.client import Client
from bench import place
from bench.result import Result

BUILDS = 50
TURNS = 3
PROMISE = 2.0
COMMAND = "n=0; until [ -e released ]; do echo line $n; n=$((n+1)); sleep 1; done"


def measure() -> list[Result]:
    """Return how long it takes to attach to running builds, from the moment at which the daemon is up."""
    buildspec = json.dumps({"version": 0.2, "phases": {"build": {"commands": [COMMAND]}}})
    project = {
        "name": "many",
        "source": {"type": "NO_SOURCE", "buildspec": buildspec},
        "environment": {"type": "LINUX_CONTAINER", "image": place.image()},
        "agent": {"poll": 0},
    }
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch:
        home = Path(scratch)
        settings = f"builds: {{max_concurrent: {BUILDS}, stop_grace: 1s}}\n"
        with place.daemon(home, [project], settings) as first:
            last = first
            try:
                builds = begin(first, home)
                turns = []
                for _ in range(TURNS):
                    kill(last)
                    wait_for_output(builds)
                    last, *times = attach(last, builds)
                    turns.append(times)
            finally:
                end(last)
    whole, up = (statistics.median(column) for column in zip(*turns, strict=True))
    return [
        Result(
            f"attaching {BUILDS} running builds after kill -9, until each is followed",
            f"{whole - up:.2f} s",
            f"start of the process until it is up: {up:.2f} s",
            "",
            f"at most {PROMISE} s",
            whole - up <= PROMISE,
        )
    ]


def begin(daemon: place.Daemon, home: Path) -> list[Path]:
    """Start the builds; return their directories once each has printed something."""
    client = Client(home / "state")
    ids = [client.call("StartBuild", projectName="many")["build"]["id"] for _ in range(BUILDS)]
    builds = [home / "state" / "builds" / one.partition(":")[2] for one in ids]
    place.wait_until(lambda: all(printed(build) and spooled(build) > printed(build) for build in builds), "builds run")
    wait_for_output(builds)
    return builds


def kill(daemon: place.Daemon) -> None:
    """End the daemon as a power cut would."""
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait(60)


def wait_for_output(builds: list[Path]) -> None:
    """Wait until every container has printed something that nobody has read."""
    before = [printed(build) for build in builds]
    grown = lambda: all(printed(build) > size for build, size in zip(builds, before, strict=True))  # noqa: E731
    place.wait_until(grown, "output of every build")


def attach(dead: place.Daemon, builds: list[Path]) -> tuple[place.Daemon, float, float]:
    """Start a daemon; return it, and the seconds until every log goes on, and until it was up."""
    before = [spooled(build) for build in builds]
    told = dead.home / "daemon.log"
    size = told.stat().st_size
    with told.open("ab") as out:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*place.BUILDSPECD, "serve", "--config", str(dead.config)], cwd=place.ROOT, stdout=out, stderr=out
        )
    up = 0.0
    left = dict(zip(builds, before, strict=True))
    while left:
        if not up and b"starting" in told.read_bytes()[size:]:
            up = time.perf_counter() - begun
        left = {build: length for build, length in left.items() if spooled(build) <= length}
        if time.perf_counter() - begun > 120:
            sys.exit(f"bench: {len(left)} builds were not attached to")
        time.sleep(0.01)
    return place.Daemon(process, dead.home), time.perf_counter() - begun, up


def end(daemon: place.Daemon) -> None:
    """End the daemon that runs last, and the containers of its builds."""
    if daemon.process.poll() is None:
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(60)
    agent = (daemon.home / "state" / "agent-id").read_text().strip()
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"label=buildspecd.agent={agent}"]
    found = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split()
    if found:
        subprocess.run(["docker", "rm", "--force", "--volumes", *found], check=True, capture_output=True)


def printed(build: Path) -> int:
    """Return how much the container of a build has written."""
    return _size(build / "control" / "output")


def spooled(build: Path) -> int:
    """Return how much of that, and of the daemon's own lines, is in the log of a build."""
    return _size(build / "log" / "log")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


if __name__ == "__main__":
    for result in measure():
        print(result)
