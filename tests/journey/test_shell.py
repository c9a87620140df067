"""`buildspecd shell`: somebody looks into a build that waits at a breakpoint, on a real terminal, and lets it go on."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.images import docker
from tests.journey.daemon import COMMAND, Daemon, Json, buildspec
from tests.journey.waiting import PATIENCE, until

pytestmark = pytest.mark.docker
SECRET = "v3ry-s3cret-value-of-a-build"


class Terminal:
    """A user at a terminal who has typed `buildspecd shell ...`."""

    def __init__(self, daemon: Daemon, *words: str, rows: int = 31, columns: int = 97) -> None:
        self.screen, mine = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(mine)
        self.mine = mine
        self.process = subprocess.Popen(
            [*COMMAND, "shell", *words, "--config", str(daemon.config)],
            stdin=mine,
            stdout=mine,
            stderr=mine,
            env={**daemon.environment, "TERM": "vt220"},
            cwd=daemon.place,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def read(self) -> bytes:
        """Return all that has been on the screen."""
        while select.select([self.screen], [], [], 0)[0]:
            self.seen += os.read(self.screen, 1 << 16)
        return self.seen

    def until_shown(self, text: str) -> None:
        try:
            until(lambda: text.encode() in self.read(), text)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in {self.seen!r}") from None

    def end(self) -> int:
        """Return the exit status; the terminal must be as it was."""
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self.mine) == self.before
        os.close(self.mine)
        os.close(self.screen)
        return code


def paused(daemon: Daemon, image: str, *commands: str, **members: object) -> Json:
    """Start a build that may be debugged; return it when it waits."""
    variables = [{"name": "FROM_PROJECT", "value": SECRET, "type": "PLAINTEXT"}]
    project = daemon.project(
        image,
        source={"type": "NO_SOURCE", "buildspec": buildspec(*commands, **members)},
        environment={"environmentVariables": variables},
    )
    build = daemon.ask(project, debugSessionEnabled=True)
    daemon.until_said(build, "To go on: run codebuild-resume")
    return build


def told_of(session: str) -> str:
    """Return what the engine tells of a process that was started in a container."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))
    connection.request("GET", f"/exec/{session}/json")
    answer = connection.getresponse()
    assert answer.status == 200
    told = answer.read().decode()
    connection.close()
    return told


def test_a_user_sees_what_the_build_sees_and_lets_it_go_on(daemon: Daemon, debian: str) -> None:
    build = paused(
        daemon,
        debian,
        "useradd worker; mkdir -p far/away",
        "export MADE='two\nlines'; cd far && cd away && codebuild-breakpoint && cat left-behind",
    )
    terminal = Terminal(daemon, build["id"])
    terminal.type('echo "[$MADE|$FROM_PROJECT|$(id -u)|${PWD##*/}|$(stty size)|$TERM|$0]"\r')
    terminal.until_shown(f"lines|{SECRET}|0|away|31 97|vt220|")
    assert b"bash]" in terminal.read()
    terminal.resize(22, 66)
    os.killpg(terminal.process.pid, signal.SIGWINCH)
    until(lambda: terminal.type("stty size\r") or b"22 66" in terminal.read(), "the new size of the terminal")
    shown = daemon.show(build)
    assert shown["debugSession"] == {"sessionEnabled": True, "sessionTarget": build["id"]}
    until(lambda: "pausedSince" in daemon.show(build)["buildspecd"], "the record that says so")
    assert "codebuild-resume" in daemon.cli("show", build["id"]).stdout.decode()
    # What is visible to everybody who may ask the engine holds nothing of the build's.
    container = daemon.containers(build)[0]
    sessions = json.loads(docker("inspect", container))[0]["ExecIDs"]
    assert sessions
    assert SECRET not in docker("inspect", container) + "".join(map(told_of, sessions))
    terminal.type("echo from-outside > left-behind; codebuild-resume; exit 3\r")
    assert terminal.end() == 3
    ended = daemon.ended(build)
    assert ended["buildStatus"] == "SUCCEEDED"
    assert "from-outside" in daemon.text(build)
    assert "pausedSince" not in ended["buildspecd"]
    gone = daemon.cli("shell", build["id"])
    assert gone.returncode == 2
    assert b"has ended: SUCCEEDED" in gone.stderr


def test_commands_and_pipes_work_without_a_terminal(daemon: Daemon, busybox: str, tmp_path: Path) -> None:
    build = paused(daemon, busybox, "true", "A=1 && codebuild-breakpoint", **{"run-as": "u1"})
    uuid = build["id"].partition(":")[2]
    done = daemon.cli("shell", uuid[:8], "--", "sh", "-c", 'echo "$A $(id -un) $FROM_PROJECT"; echo wrong >&2; exit 7')
    assert (done.returncode, done.stdout.decode(), done.stderr) == (7, f"1 u1 {SECRET}\n", b"wrong\n")
    data = os.urandom(3 << 20)
    command = [*COMMAND, "shell", build["arn"], "--config", str(daemon.config), "--", "cat"]
    copied = subprocess.run(command, input=data, capture_output=True, env=daemon.environment, timeout=60, check=True)
    assert copied.stdout == data
    script = subprocess.run(
        command[:-2], input=b"echo in $A; codebuild-resume\n", capture_output=True, env=daemon.environment, timeout=60
    )
    assert script.stdout == b"in 1\n", script.stderr
    assert daemon.ended(build)["buildStatus"] == "SUCCEEDED"


def test_a_terminal_is_restored_whatever_ends_the_session(daemon: Daemon, busybox: str) -> None:
    build = paused(daemon, busybox, "codebuild-breakpoint")
    killed = Terminal(daemon, build["id"])
    killed.type("echo rea''dy\r")
    killed.until_shown("ready")
    killed.process.terminate()
    assert killed.end() == 128 + signal.SIGTERM
    left = Terminal(daemon, build["id"])
    left.type("echo rea''dy\r")
    left.until_shown("ready")
    daemon.client.call("StopBuild", id=build["id"])
    assert daemon.ended(build)["buildStatus"] == "STOPPED"
    assert left.end() in (137, 143)
    daemon.assert_nothing_left(build)


def test_who_may_not_get_in_is_told_why(daemon: Daemon, busybox: str, tmp_path: Path) -> None:
    nobody = daemon.cli("shell", "no-such-build")
    assert (nobody.returncode, b"no-such-build" in nobody.stderr) == (2, True)
    queued = daemon.cli("shell", "0" * 36)
    assert queued.returncode == 2
    assert b"Traceback" not in nobody.stderr + queued.stderr
    away = subprocess.run(
        [*COMMAND, "shell", "x", "--config", str(daemon.config)],
        env={**daemon.environment, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        capture_output=True,
        check=False,
    )
    assert away.returncode == 3
    assert b"docker info" in away.stderr
