"""A thousand repositories behind HTTP, each looked at every 30 seconds, and a server that hangs."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import place
from bench.git_server import served
from bench.result import Result

REPOSITORIES = 1000
HANGING = 20
EVERY = 30
SECONDS = 90
_NEVER = [[{"type": "EVENT", "pattern": "PUSH"}, {"type": "HEAD_REF", "pattern": "^refs/heads/built$"}]]
"""Only pushes to the branch `built` start a build."""


def measure() -> list[Result]:
    """Return what polling costs, and how long a push takes to be seen beside a server that hangs."""
    with tempfile.TemporaryDirectory(prefix="buildspecd-bench-") as scratch, _server(Path(scratch)) as url:
        home = Path(scratch)
        projects = [_project(f"repo-{number}", f"{url}/{number}.git") for number in range(REPOSITORIES)]
        hanging = url.replace("127.0.0.1", "127.0.0.2")  # a host of its own
        projects += [_project(f"hang-{number}", f"{hanging}/hang/{number}.git") for number in range(HANGING)]
        # No pause ever grows here: every look is due every 30 seconds.
        with place.daemon(home, projects, f"poll: {{every: {EVERY}s, slowest: {EVERY}s}}\n") as daemon:
            time.sleep(EVERY * 2)  # every repository has been seen once
            before = daemon.cpu_seconds()
            time.sleep(SECONDS)
            share = (daemon.cpu_seconds() - before) / SECONDS
            resident = daemon.resident()
            seen = _seconds_to_see_a_push(daemon, home)
    return [
        Result(
            f"polling, {REPOSITORIES} repositories every {EVERY} s over HTTP: processor",
            f"{share * 100:.1f} % of a core",
            "",
            "",
            "under 15 %",
            share < 0.15,
        ),
        Result("polling: memory", f"{resident:.0f} MB", "", "", "at most 150 MB", resident <= 150),
        Result(
            f"polling: a push is seen, with {HANGING} repositories on a server that hangs",
            f"{seen:.0f} s",
            f"interval: {EVERY} s",
            f"{seen / EVERY:.1f} x",
            "at most 1.2 x",
            seen <= EVERY * 1.2,
        ),
    ]


def _seconds_to_see_a_push(daemon: place.Daemon, home: Path) -> float:
    place.git("branch", "built", "main", at=home / "git" / f"{REPOSITORIES // 2}.git")
    begun = time.monotonic()
    place.wait_until(lambda: daemon.ask("builds")["builds"], "a push is seen")
    return time.monotonic() - begun


def _project(name: str, location: str) -> dict[str, Any]:
    return {
        "name": name,
        "source": {
            "type": "GIT",
            "location": location,
            "buildspec": "version: 0.2\nphases: {build: {commands: [pwd]}}",
        },
        "environment": {"type": "LINUX_CONTAINER", "image": place.image()},
        "webhook": {"filterGroups": _NEVER},
    }


@contextmanager
def _server(scratch: Path) -> Iterator[str]:
    """Serve a thousand repositories; yield the address."""
    work, root = scratch / "work", scratch / "git"
    work.mkdir()
    place.git("init", "--quiet", "--initial-branch=main", at=work)
    (work / "README").write_text("one\n")
    place.git("add", ".", at=work)
    place.git("commit", "--quiet", "--message=one", at=work)
    place.git("clone", "--quiet", "--bare", str(work), str(root / "0.git"), at=work)
    for number in range(1, REPOSITORIES):
        shutil.copytree(root / "0.git", root / f"{number}.git")
    with served(root) as address:
        yield address


if __name__ == "__main__":
    for result in measure():
        print(result)
