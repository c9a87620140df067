"""Subject: the daemon under torture, a process of its own in directories of its own, started again and again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.errors import BuildspecdError
from agent.torture.asking import Asking

PACKAGE = Path(__file__).resolve().parents[2]
FAREWELL_SECONDS = 60.0
CANNOT_START = BuildspecdError.exit_code
Json = dict[str, Any]


@dataclass(frozen=True)
class Ground:
    """The directories of one run, all below *place* but for the one in memory."""

    place: Path
    runtime: Path

    @property
    def state(self) -> Path:
        return self.place / "state"

    @property
    def repositories(self) -> Path:
        return self.place / "git"

    @property
    def projects(self) -> Path:
        return self.place / "projects.d"

    @property
    def config(self) -> Path:
        return self.place / "agent.yml"

    @property
    def log(self) -> Path:
        """The logs of all daemons, one behind the other."""
        return self.place / "daemon.log"

    @property
    def agent_id(self) -> str:
        """What the daemon's containers are labelled with; empty ahead of its first start."""
        file = self.state / "agent-id"
        return file.read_text().strip() if file.exists() else ""

    def make(self) -> None:
        """Make the directories."""
        for directory in (self.state, self.repositories, self.projects):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def settings(ground: Ground) -> Json:
    """Return the settings of the daemon under torture."""
    return {
        "state_dir": str(ground.state),
        "runtime_dir": str(ground.runtime),
        "http": {"listen": "127.0.0.1:0"},
        "builds": {"max_concurrent": 3, "stop_grace": "1s"},
        "poll": {"every": "1s", "slowest": "1s"},
        "host": {"watch_interruptions": "off"},
        "disk": {"reserve": "16MiB"},
        "log": {"format": "json"},
    }


@dataclass
class Subject:
    """One daemon after the other. `killed` counts SIGKILLs; `died` says what ended by itself, which none should."""

    ground: Ground
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    killed: int = 0
    died: list[str] = field(default_factory=list)
    excused_until: float = 0.0
    """Until when (monotonic) a daemon may end by itself: its settings are broken on purpose."""
    roomless_until: float = 0.0
    """Until when (monotonic) a daemon that has not begun to answer may say that it cannot start: the disk is full."""
    answered: bool = False

    @property
    def client(self) -> Asking:
        return Asking(self.ground.state)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def start(self) -> None:
        """Start a daemon, unless one runs."""
        if not self.alive:
            self.answered = False
            self.process = self.launch()
            self.starts += 1

    def launch(self) -> subprocess.Popen[bytes]:
        """Start a daemon on the same directories."""
        with self.ground.log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "agent", "serve", "--config", str(self.ground.config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**clean_environment(self.ground.place), **self.environment},
                cwd=self.ground.place,
                start_new_session=True,
            )

    def kill(self) -> bool:
        """Kill it; return whether it lived."""
        if self.process is None or self.process.poll() is not None:
            return False
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.killed += 1
        return True

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal; return whether it lived."""
        if not self.alive or self.process is None:
            return False
        self.process.send_signal(number)
        return True

    def terminate(self) -> int | None:
        """End it in order and return its exit code; None: it did not end in time, and was killed."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
        try:
            code: int | None = self.process.wait(FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        self.process = None
        return code

    def tend(self) -> None:
        """Start it again when it ended by itself, and remember that it did."""
        if self.process is not None and self.process.poll() is not None:
            code, self.process = self.process.returncode, None
            roomless = code == CANNOT_START and not self.answered and time.monotonic() < self.roomless_until
            if time.monotonic() > self.excused_until and not roomless:
                self.died.append(f"start {self.starts} ended by itself with {code}")
            self.start()

    def ask(self, operation: str, **members: Any) -> Json | None:
        """Run an operation; None where nobody answers, or not with yes."""
        with suppress(BuildspecdError):
            answer = self.client.call(operation, **members)
            self.answered = True
            return answer
        return None

    def builds(self, project: str, status: str | None = None) -> list[Json]:
        """Return builds of a project, the first one first; none where nobody answers."""
        answer = self.ask("ListBuildDetails", project=project, status=status, limit=1000)
        return list(answer["builds"])[::-1] if answer else []

    def children(self) -> list[tuple[int, str]]:
        """Return process id and name of each child of the daemon."""
        return [(pid, name) for pid, name, parent in _processes() if parent == self.pid and self.pid]

    def size(self) -> tuple[int, int]:
        """Return how many KiB of memory the daemon takes, and how many files it has open."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        rss = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), "0")
        return int(rss), len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


def clean_environment(place: Path) -> dict[str, str]:
    """Return an environment in which nobody's AWS, git or Docker configuration is seen."""
    docker = {
        name: os.environ[name]
        for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
        if name in os.environ
    }
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "DOCKER_CONFIG": str(place / "no-docker-config"),
        "PYTHONPATH": str(PACKAGE),
        **docker,
    }


def write_project(ground: Ground, document: Mapping[str, Any]) -> None:
    """Write a project's file, whole or not at all."""
    aside = ground.place / f"{document['name']}.aside"
    aside.write_text(json.dumps(document))
    aside.rename(ground.projects / f"{document['name']}.json")


def remove_tree(path: Path) -> None:
    """Remove a directory, however much of it is there."""
    shutil.rmtree(path, ignore_errors=True)


def _processes() -> list[tuple[int, str, int]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                head, _, tail = (entry / "stat").read_text().rpartition(")")
                found.append((int(entry.name), head.partition("(")[2], int(tail.split()[1])))
    return found
