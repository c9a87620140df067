"""Runs whole builds in this process, on the daemon's own route and in real containers, and tells what came of them."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.app.workshop import Workshop
from agent.daemon.estate import Estate
from agent.daemon.intake import Identity
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.phase import Phase, PhaseType
from agent.model.project import (
    AgentOptions,
    CloudWatchLogs,
    Environment,
    EnvironmentVariable,
    LogsConfig,
    Project,
    Source,
)
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.job import Job
from agent.pipeline.route import travel
from agent.settings.schema import AwsSettings, BuildsSettings, Settings
from tests import images

STAMP = re.compile(r"\[Container\] (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6}) ")
REGION, ACCOUNT = "eu-west-1", "123456789012"
QUIET = LogsConfig(cloud_watch_logs=CloudWatchLogs(status="DISABLED"))


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return as soon as *condition* holds; fail when it does not in time."""
    pause, clock = threading.Event(), SystemClock()
    deadline = clock.monotonic() + seconds
    while not condition():
        assert clock.monotonic() < deadline, "waited in vain"
        pause.wait(0.005)


def spec(**sections: Any) -> str:
    """Return a buildspec of version 0.2 as JSON; `install`, `pre_build`, `build` and `post_build` are phases.

    A phase is a list of commands, or a mapping of its keys. `_` in a section's name stands for `-`.
    """
    phases = {name: sections.pop(name) for name in ("install", "pre_build", "build", "post_build") if name in sections}
    document: dict[str, Any] = {"version": 0.2}
    document |= {name.replace("_", "-"): value for name, value in sections.items()}
    document["phases"] = {
        name: {"commands": value} if isinstance(value, list) else value for name, value in phases.items()
    }
    return json.dumps(document)


@dataclass(frozen=True)
class Ended:
    """A build that has ended: its record, and its log as the user saw it."""

    build: Build
    log: str
    place: Path

    @property
    def source(self) -> str:
        """CODEBUILD_SRC_DIR, as the log tells it."""
        return next(line.partition("=")[2] for line in self.lines if line.startswith("CODEBUILD_SRC_DIR="))

    @cached_property
    def lines(self) -> list[str]:
        """The agent's own lines without their time, and without how long a search took."""
        log = re.sub(r"(discovery took) \d+\.\d{6} (?=seconds)", r"\1 <n> ", self.log)
        return [STAMP.sub("", line) for line in log.splitlines() if STAMP.match(line)]

    @cached_property
    def output(self) -> list[str]:
        """What commands printed: the lines without the agent's prefix, but for empty ones."""
        return [line for line in self.log.splitlines() if line and not STAMP.match(line)]

    def said_after(self, line: str) -> list[str]:
        """Return the agent's lines behind the first one that is *line*."""
        return self.lines[self.lines.index(line) + 1 :]

    @property
    def status(self) -> str:
        """The build's status."""
        return self.build.status.value

    @property
    def phases(self) -> dict[str, str | None]:
        """Status by phase, in order; COMPLETED has none."""
        return {phase.phase_type.value: phase.phase_status and phase.phase_status.value for phase in self.build.phases}

    @property
    def bad_phases(self) -> dict[str, str | None]:
        """The phases that did not succeed."""
        return {name: status for name, status in self.phases.items() if status not in ("SUCCEEDED", None)}

    def phase(self, name: str) -> Phase:
        """Return the record of a phase that the build has met."""
        found = self.build.phase(PhaseType(name))
        assert found, f"{name} was not met: {list(self.phases)}"
        return found

    def context(self, name: str) -> tuple[str, str]:
        """Return status code and message of a phase."""
        context = self.phase(name).contexts[0]
        return context.status_code, context.message


@dataclass
class Running:
    """A build on its route, on a thread of its own."""

    job: Job
    console: io.BytesIO
    thread: threading.Thread
    place: Path

    def saw(self, text: str) -> bool:
        """Whether *text* is in the log by now."""
        return text.encode() in self.console.getvalue()

    def stop(self, reason: str = "Build was stopped by the user") -> None:
        """Ask the build to stop, as the scheduler does."""
        self.job.stop_reason = reason
        self.job.stop_asked.set()

    def end(self, seconds: float = 60) -> Ended:
        """Wait for the end."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the build does not end"
        return Ended(self.job.build, self.console.getvalue().decode("utf-8", "replace"), self.place)


class Site:
    """One agent with a state directory of its own, all in this process. Close it in the end."""

    def __init__(self, place: Path, *, endpoint: str | None = None) -> None:
        self.place = place
        self._runtime = Path(tempfile.mkdtemp(prefix="parity-", dir="/dev/shm"))
        self._sources = 0
        settings = Settings(
            state_dir=place / "state",
            runtime_dir=self._runtime,
            aws=AwsSettings(endpoint_url=endpoint, region=REGION),
            builds=BuildsSettings(stop_grace=0.2),
        )
        self.workshop = Workshop(settings, Estate.at(settings.state_dir, settings.runtime_dir))
        self.workshop.identity = Identity(REGION, ACCOUNT)  # whatever credentials this machine has

    def close(self) -> None:
        """End what a failed test left running, and remove what must not stay in memory."""
        engine = self.workshop.engine
        for container in engine.owned(self.workshop.estate.agent_id):
            engine.remove(container)
        shutil.rmtree(self._runtime, ignore_errors=True)

    @property
    def bucket(self) -> str:
        """A location for artifacts and caches."""
        return (self.place / "bucket").as_uri()

    def stored(self, below: str = "") -> list[str]:
        """Return the keys of what lies in the bucket."""
        root = self.place / "bucket" / below
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(name for name in found if not name.startswith(".buildspecd/"))

    def tree(self, files: Mapping[str, str]) -> Path:
        """Return a new working tree with *files*."""
        self._sources += 1
        root = self.place / f"source-{self._sources}"
        root.mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
        return root

    def start(
        self,
        buildspec: str | None = None,
        *,
        files: Mapping[str, str] | None = None,
        image: str | None = None,
        inline: str | None = None,
        variables: Iterable[Mapping[str, str]] = (),
        overrides: Mapping[str, Any] | None = None,
        request: Mapping[str, Any] | None = None,
        **project: Any,
    ) -> Running:
        """Start a build of a tree that holds *files* and *buildspec* as `buildspec.yml`.

        *inline* is the project's own `buildspec` value, *variables* those of the project (API shape), *overrides*
        members of StartBuild, *request* members of the `BuildRequest`, *project* members of the project.
        """
        if "source" not in project:
            tree = {**(files or {}), **({"buildspec.yml": buildspec} if buildspec is not None else {})}
            project["source"] = Source(type="DIRECTORY", location=str(self.tree(tree)), buildspec=inline)
        declared = tuple(EnvironmentVariable.model_validate(one) for one in variables)
        environment = Environment(image=image or images.busybox_image(), environment_variables=declared)
        given: dict[str, Any] = {"name": "web", "agent": AgentOptions(network="none"), "logs_config": QUIET}
        wanted = Project(environment=environment, **{**given, **project})
        asked = BuildRequest(
            **{"project": wanted.name, "initiator": "tester", "overrides": overrides or {}, **(request or {})}
        )
        build = self.workshop.intake_for({wanted.name: wanted}).submit(asked)
        build = self.workshop.recorder.leave(build, Status.SUCCEEDED)
        console = io.BytesIO()
        job = self.workshop.new_job(build, StopToken(), console)
        thread = threading.Thread(target=travel, args=(job,), name=f"build {build.number}", daemon=True)
        thread.start()
        return Running(job, console, thread, self.place)

    def build(self, buildspec: str | None = None, **given: Any) -> Ended:
        """Build, and return how it ended; takes what `start` takes."""
        return self.start(buildspec, **given).end()
