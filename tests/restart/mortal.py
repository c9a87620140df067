"""A process that takes builds along the real route and dies, by SIGKILL, at the point that it is told.

Run as a program it waits for lines `STATE BUILD POINT` on standard input. For each it forks; the child opens the state
directory, makes a Job of the stored build, and travels. Ahead of its POINTth effect (a change of a file, a statement of
the database, a call of the engine, a process that it starts) it kills itself; point 0 never comes. Only the files and
the engine, which lives in the test, outlive it. The answers are `pid N` and `ended STATUS`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from agent.app.workshop import Workshop
from agent.daemon.estate import Estate
from agent.kit.service import StopToken
from agent.pipeline.recorder import Recorder
from agent.pipeline.route import travel
from agent.settings.schema import Settings
from agent.source.git import preload
from agent.store.builds import Builds
from agent.store.queue import Queue
from tests.fakes.fate import Fate, Mortal, MortalDatabase

SECRET = "correct-horse-battery"


def mortal(point: int) -> Fate:
    """Return the fate of this very process; only what the threads that travel do counts."""
    # Not what those of the log do: tests/unit/buildlog/test_kill.py is for them.
    travels = lambda: threading.current_thread().name in ("MainThread", "prefetch")  # noqa: E731
    return Fate(point, end=lambda: os.kill(os.getpid(), signal.SIGKILL), concerns=travels)


class RemoteEngine:
    """The engine of the test, called through a socket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._connection.send((name, arguments))
            kind, answer = self._connection.recv()
            if kind == "error":
                raise answer
            return answer

        return call


def walk(state: Path, build_id: str, point: int) -> str:
    """Take the stored build along its route, as the daemon's scheduler does; return how it ended."""
    estate = Estate.at(state, state / "runtime")
    fate = mortal(point)
    workshop = Workshop(Settings(state_dir=state, runtime_dir=state / "runtime"), estate)
    with fate.watching(), Client((state / "engine").read_text(), "AF_UNIX") as connection:
        workshop.engine = Mortal(RemoteEngine(connection), fate)  # type: ignore[assignment]
        workshop.database = MortalDatabase(estate.database, fate)
        workshop.recorder = Recorder(workshop.database, workshop.clock)
        workshop.__dict__["tools"] = replace(workshop.tools, parameters=lambda names: dict.fromkeys(names, SECRET))
        build = Builds(workshop.database).get(build_id)
        assert build is not None
        if build.complete:
            return str(build.status)
        job = workshop.new_job(build, StopToken())
        job.stop_reason = Queue(workshop.database).stop_reason(build_id)
        if job.stop_reason:
            job.stop_asked.set()
        return str(travel(job))


def main() -> None:
    """Serve until standard input ends."""
    preload()
    for line in sys.stdin:
        state, build_id, point = line.split()
        child = os.fork()
        if child == 0:
            sys.stdout = sys.stderr
            status = walk(Path(state), build_id, int(point))
            os.write(1, f"ended {status}\n".encode())
            os._exit(0)
        print(f"pid {child}", flush=True)
        _, how = os.waitpid(child, 0)
        if how:
            print(f"ended {'' if os.WIFSIGNALED(how) else 'BROKEN'}", flush=True)


if __name__ == "__main__":
    main()
