"""Webhooks and `kill -9`: what was answered is there, and what was delivered again is there once."""

from __future__ import annotations

import http.client
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.store.builds import Builds
from agent.store.database import Database
from tests.fakes import hooks
from tests.fakes.hook_server import PROJECTS, SECRET
from tests.fakes.hooks import body_of
from tests.journey.waiting import until

ROOT = Path(__file__).resolve().parents[2]
DELIVERIES = 300


def start(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    (directory / "port").unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-m", "tests.fakes.hook_server", str(directory)], cwd=ROOT)
    until(lambda: (directory / "port").exists(), "the server")
    return process, int((directory / "port").read_text())


def deliver(port: int, number: int) -> int:
    """Send delivery *number*; return the status of the answer, 0 where there was none."""
    body = body_of(
        hooks.github_push(
            f"refs/heads/b{number}", after=f"{number + 1:040x}", url=f"https://github.com/octo/p{number % PROJECTS}"
        )
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/hooks/github", body, hooks.github_headers("push", body, SECRET, f"d{number}"))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_a_burst_of_deliveries_loses_none_that_was_answered_when_the_daemon_is_killed(tmp_path: Path) -> None:
    process, port = start(tmp_path)
    answered: list[int] = []

    def send(number: int) -> None:
        if deliver(port, number) == 202:
            answered.append(number)
        if len(answered) == DELIVERIES // 2:
            process.kill()

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(send, range(DELIVERIES)))
    process.wait(10)
    assert DELIVERIES // 2 <= len(answered) < DELIVERIES
    stored = {
        int(build.source_version or "0", 16) - 1 for build in Builds(Database(tmp_path / "agent.db")).list(limit=1000)
    }
    assert set(answered) <= stored

    process, port = start(tmp_path)
    try:
        with ThreadPoolExecutor(32) as pool:
            statuses = list(pool.map(lambda number: deliver(port, number), range(DELIVERIES)))
    finally:
        process.kill()
        process.wait(10)
    assert set(statuses) <= {200, 202}
    builds = [build.source_version for build in Builds(Database(tmp_path / "agent.db")).list(limit=1000)]
    assert len(builds) == len(set(builds)) == DELIVERIES
