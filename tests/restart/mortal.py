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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from agent.store.database import Database
from agent.store.queue import Queue

SECRET = "correct-horse-battery"
_EFFECTS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"}
    | {"subprocess.Popen", "shutil.rmtree"}
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Fate:
    """Counts the effects of the threads that travel, and ends the process ahead of the chosen one."""

    def __init__(self, point: int) -> None:
        self.left = point
        self.lock = threading.Lock()
        sys.addaudithook(self._hear)

    def meet(self) -> None:
        """Count one effect that is about to happen."""
        # Not those of the log's threads: tests/unit/buildlog/test_kill.py is for them.
        if threading.current_thread().name not in ("MainThread", "prefetch"):
            return
        with self.lock:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EFFECTS or (event == "open" and _writes(*arguments)):
            self.meet()


def _writes(path: object, _mode: object, flags: object) -> bool:
    """Whether a file is opened to be changed; how often the driver's FIFO is tried depends on chance."""
    return isinstance(flags, int) and bool(flags & _WRITING) and not str(path).endswith("/go")


class MortalDatabase(Database):
    """A database each of whose statements, and the end of each of whose transactions, may be the last thing."""

    def __init__(self, path: Path, fate: Fate) -> None:
        self._fate = fate
        super().__init__(path)

    def execute(self, sql: str, *values: object) -> int:
        self._fate.meet()
        return super().execute(sql, *values)

    @contextmanager
    def transaction(self, *, lasting: bool = False) -> Iterator[None]:
        with super().transaction(lasting=lasting):
            yield
            self._fate.meet()
        self._fate.meet()


class RemoteEngine:
    """The engine of the test, called through a socket. Not only its calls may be the last thing, but their answers."""

    def __init__(self, connection: Connection, fate: Fate) -> None:
        self._connection = connection
        self._fate = fate

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._fate.meet()
            self._connection.send((name, arguments))
            kind, answer = self._connection.recv()
            self._fate.meet()
            if kind == "error":
                raise answer
            return answer

        return call


def walk(state: Path, build_id: str, point: int) -> str:
    """Take the stored build along its route, as the daemon's scheduler does; return how it ended."""
    estate = Estate.at(state, state / "runtime")
    fate = Fate(point)
    workshop = Workshop(Settings(state_dir=state, runtime_dir=state / "runtime"), estate)
    with Client((state / "engine").read_text(), "AF_UNIX") as connection:
        workshop.engine = RemoteEngine(connection, fate)  # type: ignore[assignment]
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
