"""Push to a watched repository until the first command runs, against Docker's own create + start."""

from __future__ import annotations

import datetime
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import place
from bench.result import Result

ROUNDS = 9
_FIRST = re.compile(r"^\[Container\] (\S+ \S+) Running command ", re.MULTILINE)


def measure() -> list[Result]:
    """Return the median of several pushes and of several bare containers."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch:
        home = Path(scratch)
        place.git("init", "--quiet", "--bare", "--initial-branch=main", "web.git", at=home)
        place.git("clone", "--quiet", "web.git", "web", at=home)
        project = {
            "name": "web",
            "source": {"type": "GIT", "location": f"file://{home}/web.git"},
            "environment": {"type": "LINUX_CONTAINER", "image": place.image(), "computeType": "BUILD_GENERAL1_SMALL"},
        }
        with place.daemon(home, [project]) as daemon:
            pushes = [push(daemon, home / "web", number) for number in range(ROUNDS)]
        floors = [floor() for _ in range(ROUNDS)]
    middle, least = statistics.median(pushes[1:]), statistics.median(floors)
    return [
        Result(
            "push to first command, median",
            f"{middle * 1000:.0f} ms",
            f"docker create + start: {least * 1000:.0f} ms",
            f"{middle / least:.1f} x",
            "at most 1.0 s and 4 x",
            middle <= 1.0 and middle <= 4 * least,
        )
    ]


def push(daemon: place.Daemon, work: Path, number: int) -> float:
    """Push one commit; return the seconds from the start of `git push` to the log line of the first command."""
    (work / "buildspec.yml").write_text("version: 0.2\nphases:\n  build:\n    commands:\n      - echo first\n")
    (work / "number").write_text(str(number))
    place.git("add", "--all", at=work)
    place.git("commit", "--quiet", "-m", str(number), at=work)
    begun = time.time()
    place.git("push", "--quiet", "origin", "HEAD:main", at=work)
    place.wait_until(lambda: len(daemon.ask("builds")["builds"]) > number, "the push starts a build")
    build = daemon.ask("builds")["builds"][0]["id"]
    place.wait_until(lambda: daemon.ask("show", build)["buildComplete"], "the build ends")
    found = _FIRST.search(daemon.log(build))
    assert found is not None, daemon.log(build)
    stamp = datetime.datetime.strptime(found[1], "%Y/%m/%d %H:%M:%S.%f").replace(tzinfo=datetime.UTC)
    return stamp.timestamp() - begun


def floor() -> float:
    """Return the seconds that create + start of the same container take through Docker's own client library."""
    import docker

    client = docker.from_env()
    begun = time.perf_counter()
    container = client.containers.create(
        place.image(), ["/bin/sh", "-c", "echo first"], network_mode="host", log_config={"Type": "none"}
    )
    container.start()
    taken = time.perf_counter() - begun
    container.remove(force=True)
    return taken


if __name__ == "__main__":
    subprocess.run(["docker", "info"], check=True, capture_output=True)
    for result in measure():
        print(result)
