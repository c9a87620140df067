"""A daemon with a hundred projects that has nothing to do."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench import place
from bench.result import Result

PROJECTS = 100
SECONDS = 60


def measure() -> list[Result]:
    """Return memory and processor share of an idle daemon."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch:
        home = Path(scratch)
        projects = []
        for number in range(PROJECTS):
            place.git("init", "--quiet", "--bare", f"{number}.git", at=home)
            projects.append(
                {
                    "name": f"project-{number}",
                    "source": {"type": "GIT", "location": f"file://{home}/{number}.git"},
                    "environment": {"type": "LINUX_CONTAINER", "image": place.image()},
                }
            )
        with place.daemon(home, projects) as daemon:
            time.sleep(5)
            before = daemon.cpu_seconds()
            time.sleep(SECONDS)
            share = (daemon.cpu_seconds() - before) / SECONDS
            resident = daemon.resident()
    return [
        Result("idle, 100 projects: memory", f"{resident:.0f} MB", "", "", "at most 110 MB", resident <= 110),
        Result("idle, 100 projects: processor", f"{share * 100:.2f} % of a core", "", "", "under 1 %", share < 0.01),
    ]


if __name__ == "__main__":
    for result in measure():
        print(result)
