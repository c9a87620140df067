"""Daemon: `buildspecd serve` as a process of its own, asked the way the command line asks it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.cli.client import Client
from agent.errors import BuildspecdError
from tests.images import docker
from tests.journey.waiting import PATIENCE, until

COMMAND = [sys.executable, "-m", "agent"]
ROOT = Path(__file__).resolve().parents[2]
KEPT = {"plan.json", "log"}
"""What an ended build may leave in its directory."""

Json = dict[str, Any]


def clean_environment(place: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nobody's AWS, git or Docker configuration is seen, and *extra*."""
    docker_host = {"DOCKER_HOST": os.environ["DOCKER_HOST"]} if "DOCKER_HOST" in os.environ else {}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "DOCKER_CONFIG": str(place / "no-docker-config"),
        "PYTHONPATH": str(ROOT),
        **docker_host,
        **(extra or {}),
    }


class Daemon:
    """One daemon below *place*. `environment` is added to a clean one; `settings` to those that keep it apart."""

    def __init__(
        self,
        place: Path,
        *,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        state: Path | None = None,
    ) -> None:
        self.place = place
        self.state = state or place / "state"
        self.runtime = Path("/dev/shm") / f"buildspecd-journey-{uuid.uuid4().hex[:12]}"
        self.config = place / "agent.yml"
        self.output = place / "daemon.log"
        self.environment = clean_environment(place, environment)
        self.projects = place / "projects.d"
        self.projects.mkdir(parents=True)
        document = {
            "state_dir": str(self.state),
            "runtime_dir": str(self.runtime),
            "http": {"listen": "127.0.0.1:0"},
            "builds": {"stop_grace": "1s"},
            "poll": {"every": "1s"},
            "log": {"format": "json"},
            **(settings or {}),
        }
        self.config.write_text(json.dumps(document))
        self.client = Client(self.state)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Daemon:
        """Start it, and wait until it answers."""
        self.launch()
        until(self._answers, "an answer of the daemon")
        return self

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it, and wait for nothing."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--config", str(self.config)],
                stdout=output,
                stderr=output,
                env=self.environment,
                cwd=self.place,
            )
        return self.process

    def restart(self) -> None:
        """End the process in order, and start another."""
        self._end()
        self.start()

    def stop(self) -> None:
        """End the process, the builds that it left behind, and its directory in memory."""
        self._end()
        for container in self.containers():
            docker("rm", "--force", "--volumes", container)
        shutil.rmtree(self.runtime, ignore_errors=True)

    def _end(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.said()}"
        try:
            self.client.call("State")
        except BuildspecdError:
            return False
        return True

    def said(self) -> str:
        """Return the daemon's own log."""
        return self.output.read_text(errors="replace")

    def agent_id(self) -> str:
        """Return the id that the daemon's containers are labelled with; empty before its first start."""
        file = self.state / "agent-id"
        return file.read_text().strip() if file.exists() else ""

    def containers(self, build: Json | None = None) -> list[str]:
        """Return the containers of this daemon, or of one build of it, running or not."""
        if not self.agent_id():
            return []
        label = f"buildspecd.build={build['id']}" if build else f"buildspecd.agent={self.agent_id()}"
        return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}").split()

    def cli(self, *words: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
        """Run a command of the command line against this daemon."""
        command = [*COMMAND, *words, "--config", str(self.config)]
        return subprocess.run(
            command, stdin=stdin, capture_output=True, env=self.environment, cwd=self.place, check=False, timeout=120
        )

    def project(self, image: str, **members: Any) -> str:
        """Write a project file, wait until the daemon knows it, and return the project's name.

        It is not polled, unless *members* say so.
        """
        name = members.pop("name", None) or f"p-{uuid.uuid4().hex[:10]}"
        options = {"poll": 0, **members.pop("agent", {})}
        environment = {
            "type": "LINUX_CONTAINER",
            "image": image,
            "computeType": "BUILD_GENERAL1_SMALL",
            **members.pop("environment", {}),
        }
        document = {
            "name": name,
            "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\n"},
            "artifacts": {"type": "NO_ARTIFACTS"},
            "environment": environment,
            "agent": options,
            **members,
        }
        aside = self.place / f"{name}.aside"
        aside.write_text(json.dumps(document))
        aside.rename(self.projects / f"{name}.json")
        until(lambda: self._knows(name), f"project {name}")
        return name

    def _knows(self, name: str) -> bool:
        state = next((one for one in self.client.call("GetProjects")["projects"] if one["name"] == name), None)
        if state is None:
            return False
        assert not [text for text in state["problems"] if "mistake" in text], state["problems"]
        assert "project" in state, state["problems"]
        return True

    def inline(self, image: str, *commands: str, **members: Any) -> str:
        """Make a project without a source that runs *commands* in BUILD; return its name."""
        return self.project(image, source={"type": "NO_SOURCE", "buildspec": buildspec(*commands)}, **members)

    def ask(self, project: str, **members: Any) -> Json:
        """Start a build with the members of `StartBuild`; return it as it is queued."""
        build: Json = self.client.call("StartBuild", projectName=project, **members)["build"]
        return build

    def build(self, project: str, **members: Any) -> Json:
        """Start a build and wait for its end."""
        return self.ended(self.ask(project, **members))

    def show(self, build: Json) -> Json:
        """Return a build as it stands now."""
        return self.client.build(build["id"])

    def ended(self, build: Json, seconds: float = PATIENCE) -> Json:
        """Wait for the end of a build; return it."""

        def look() -> Json | None:
            now = self.show(build)
            return now if now["buildComplete"] else None

        try:
            found = until(look, f"the end of {build['id']}", seconds)
        except AssertionError:
            raise AssertionError(
                f"no end: {self.show(build)}\n{self.text(build)[-2000:]}\n{self.said()[-3000:]}"
            ) from None
        assert found is not None
        return found

    def builds(self, project: str) -> list[Json]:
        """Return the builds of a project, the first one first."""
        found: list[Json] = self.client.call("ListBuildDetails", project=project)["builds"]
        return found[::-1]

    def nth(self, project: str, number: int) -> Json:
        """Wait for the *number*-th build of a project, and for its end."""
        return self.ended(until(lambda: self._numbered(project, number), f"build {number} of {project}"))

    def _numbered(self, project: str, number: int) -> Json | None:
        return next((build for build in self.builds(project) if build["buildNumber"] == number), None)

    def log(self, build: Json) -> bytes:
        """Return the log of a build as it is kept on the host."""
        return b"".join(self.client.log(build["id"]))

    def text(self, build: Json) -> str:
        """Return the log as text."""
        return self.log(build).decode(errors="replace")

    def until_said(self, build: Json, text: str) -> None:
        """Wait until the log of a running build holds *text*."""
        until(lambda: text in self.text(build), f"{text!r} in the log of {build['id']}")

    def root(self, build: Json) -> Path:
        """Return the directory of a build below the state directory."""
        return self.state / "builds" / build["id"].partition(":")[2]

    def workspace(self, build: Json) -> Path:
        """Return where the primary source of a running build lies, of a project with one source on no host."""
        return self.root(build) / "workspace"

    def assert_nothing_left(self, build: Json) -> None:
        """Promise 3: no container, workspace, control directory or secret outlives a build."""
        assert self.containers(build) == []
        root = self.root(build)
        assert {path.name for path in root.iterdir()} <= KEPT if root.exists() else True
        assert not (self.runtime / self.agent_id() / root.name).exists()


def buildspec(*commands: str, **sections: Any) -> str:
    """Return a buildspec that runs *commands* in BUILD, with other *sections*."""
    return json.dumps({"version": 0.2, "phases": {"build": {"commands": list(commands)}}, **sections})


def phase(build: Json, kind: str) -> Json:
    """Return one phase of a build."""
    return next((phase for phase in build["phases"] if phase["phaseType"] == kind), {})


def failure(build: Json) -> tuple[str, str, str]:
    """Return phase, status code and message of the first phase that went wrong."""
    bad = next(one for one in build["phases"] if one.get("phaseStatus", "SUCCEEDED") != "SUCCEEDED")
    context = bad["contexts"][0]
    return bad["phaseType"], context.get("statusCode", ""), context.get("message", "")
