"""What metrics, events and preflight add to a build: the same build beside them and without them."""

from __future__ import annotations

import socket
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agent.cli.client import Client
from agent.torture.cloud import CloudProcess
from bench import place
from bench.result import Result

ROUNDS = 21
ADDRESSES = 3
"""What preflight connects to."""
_OFF = "events: {bus: null}\nmetrics: {namespace: null, prometheus: false}\n"
_ON = "metrics: {namespace: buildspecd, per_build: true}\n"
_SPEC = "version: 0.2\nphases: {build: {commands: ['true']}}\n"


def measure() -> list[Result]:
    """Return the median of what they add, over pairs of builds that run one after the other."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch, ExitStack() as stack:
        cloud = stack.enter_context(CloudProcess())
        listening = [stack.enter_context(_listener()) for _ in range(ADDRESSES)]
        there = {
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        clients = []
        for name, settings, preflight in (("off", _OFF, []), ("on", _ON, listening)):
            home = Path(scratch) / name
            stack.enter_context(place.daemon(home, [_project(preflight)], settings, there))
            clients.append(Client(home / "state"))
        off, on = clients
        pairs = [_pair(off, on, turn=bool(number % 2)) for number in range(ROUNDS + 1)][1:]
        place.wait_until(lambda: _told(cloud) >= ROUNDS, "the ends of all builds are told")
    added = statistics.median(with_it - without for without, with_it in pairs)
    plain, told = (statistics.median(times) for times in zip(*pairs, strict=True))
    return [
        Result(
            f"metrics, events and preflight of {ADDRESSES} addresses: added to a build",
            f"{added * 1000:.0f} ms",
            f"a build without: {plain * 1000:.0f} ms",
            f"{told / plain:.2f} x",
            "less than 50 ms",
            added < 0.05,
        )
    ]


def _project(preflight: list[str]) -> dict[str, Any]:
    return {
        "name": "web",
        "source": {"type": "NO_SOURCE", "buildspec": _SPEC},
        "environment": {"type": "LINUX_CONTAINER", "image": place.image(), "computeType": "BUILD_GENERAL1_SMALL"},
        "logsConfig": {"cloudWatchLogs": {"status": "DISABLED"}},
        "agent": {"preflight": preflight},
    }


def _pair(off: Client, on: Client, *, turn: bool) -> tuple[float, float]:
    """Run a build of each, the one without them first unless it is the others' *turn*."""
    if turn:
        told = _build(on)
        return _build(off), told
    return _build(off), _build(on)


def _build(client: Client) -> float:
    """Run a build; return the seconds from SUBMITTED to its end, as its record has them."""
    build = client.call("StartBuild", projectName="web")["build"]["id"]
    place.wait_until(lambda: client.build(build)["buildComplete"], "the build ends")
    ended = client.build(build)
    assert ended["buildStatus"] == "SUCCEEDED", ended
    return float(ended["endTime"]) - float(ended["startTime"])


def _told(cloud: CloudProcess) -> int:
    return sum(entry["Detail"].get("build-status") == "SUCCEEDED" for entry in cloud.events())


@contextmanager
def _listener() -> Iterator[str]:
    """Listen on a free port; the kernel takes the connections. Yield the address."""
    with socket.create_server(("127.0.0.1", 0), backlog=4 * ROUNDS) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


if __name__ == "__main__":
    for result in measure():
        print(result)
