"""Place: a scratch daemon with its projects, and the plain `docker` that it is compared with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILDSPECD = [sys.executable, "-m", "agent"]
IMAGE = "buildspecd-bench/busybox:1"


def image() -> str:
    """Return an image with nothing but busybox; made when it is not there."""
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode == 0:
        return IMAGE
    busybox = shutil.which("busybox") or sys.exit("bench: busybox-static is missing")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for name in ("bin", "tmp", "root", "etc"):
            (tree / name).mkdir()
        shutil.copy(busybox, tree / "bin" / "busybox")
        for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True).stdout.split():
            if applet != "busybox":
                (tree / "bin" / applet).symlink_to("busybox")
        tar = subprocess.run(["tar", "-C", scratch, "-c", "."], capture_output=True, check=True).stdout
        subprocess.run(["docker", "import", "-", IMAGE], input=tar, check=True, capture_output=True)
    return IMAGE


def git(*words: str, at: Path) -> str:
    """Run git; return what it printed."""
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    return subprocess.run(["git", *who, *words], cwd=at, check=True, capture_output=True, text=True).stdout.strip()


def run_tree(directory: Path, *options: str) -> float:
    """Return the seconds that `buildspecd run` takes, its log thrown away."""
    begun = time.perf_counter()
    subprocess.run(
        [*BUILDSPECD, "run", str(directory), "-i", image(), *options],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - begun


@dataclass(frozen=True)
class Daemon:
    """A running `buildspecd serve` and its configuration."""

    process: subprocess.Popen[bytes]
    home: Path

    @property
    def config(self) -> Path:
        return self.home / "agent.yml"

    def ask(self, *words: str) -> Any:
        """Return the JSON answer of a command."""
        done = subprocess.run(
            [*BUILDSPECD, *words, "--json", "--config", str(self.config)], cwd=ROOT, check=True, capture_output=True
        )
        return json.loads(done.stdout)

    def log(self, build: str) -> str:
        """Return the log of a build."""
        done = subprocess.run(
            [*BUILDSPECD, "logs", build, "--config", str(self.config)], cwd=ROOT, check=True, capture_output=True
        )
        return done.stdout.decode(errors="replace")

    def resident(self) -> float:
        """Return the resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """Return the processor time that the daemon has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def daemon(
    home: Path, projects: list[dict[str, Any]], settings: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """Run a daemon with *projects*, and *settings* as further lines of its agent.yml, until the block ends.

    *environment* is added to that of this process.
    """
    (home / "projects.d").mkdir(parents=True, exist_ok=True)
    for project in projects:
        (home / "projects.d" / f"{project['name']}.json").write_text(json.dumps(project))
    runtime = Path(tempfile.mkdtemp(prefix="buildspecd-bench-", dir="/dev/shm"))
    (home / "agent.yml").write_text(
        f'state_dir: {home}/state\nruntime_dir: {runtime}\nhttp: {{listen: "127.0.0.1:0"}}\n{settings}'
    )
    with (home / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [*BUILDSPECD, "serve", "--config", str(home / "agent.yml")],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
    try:
        running = Daemon(process, home)
        wait_until(lambda: answers(running), "the daemon answers")
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(runtime, ignore_errors=True)


def answers(running: Daemon) -> bool:
    """Whether the daemon takes commands."""
    if running.process.poll() is not None:
        sys.exit((running.home / "daemon.log").read_text())
    try:
        running.ask("builds")
    except subprocess.CalledProcessError:
        return False
    return True


def wait_until(true: Any, what: str, seconds: float = 120) -> None:
    """Poll until *true()*; end the benchmark when it never is."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            sys.exit(f"bench: waited in vain: {what}")
        time.sleep(0.02)
