"""What outlives the process of a build: its state directory, the engine with the container, and the outside."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from agent.buildlog.stamps import stamp
from agent.container.driver import CONTROL_TARGET, SECRETS_TARGET
from agent.container.spec import ContainerState
from agent.daemon.estate import Estate
from agent.daemon.intake import Identity, Intake
from agent.environment.runtimes import RUNTIMES_FILE
from agent.errors import BuildspecdError, EngineUnavailable
from agent.kit.clock import SystemClock
from agent.model.build import Build
from agent.model.phase import COMMAND_PHASES
from agent.model.project import (
    AgentOptions,
    Artifacts,
    Cache,
    CloudWatchLogs,
    Environment,
    LogsConfig,
    Project,
    S3Logs,
    Source,
)
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.outbox import Outbox
from agent.store.queue import Queue
from agent.store.reports import Reports
from tests.fakes.engine import FakeContainer, FakeEngine
from tests.fakes.repository import Repository
from tests.restart.mortal import SECRET

IMAGE = "image:1"
BUILDSPEC = """
version: 0.2
env:
  variables: {WORD: plain}
  parameter-store: {PASSWORD: /password}
  exported-variables: [WORD]
phases:
  install: {commands: [one]}
  pre_build: {commands: [two]}
  build: {commands: [three]}
  post_build: {commands: [four]}
artifacts: {files: [out.txt]}
reports: {unit: {files: [tests.xml]}}
cache: {paths: [kept/**/*]}
"""
RUNTIMES = b"runtimes: {tool: {versions: {1.2: {commands: [tool]}}}}"
"""What the image says of its runtimes, for a build that chooses one of them."""
WITH_RUNTIME = BUILDSPEC.replace("{commands: [one]}", "{runtime-versions: {tool: 1.x}, commands: [one]}")
_STAMP = re.compile(rb"\[Container\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} ")
_LOOK = 0.002


class Driver(threading.Thread):
    """Stands for the driver in the container: what it does with the control directory, it does (docs/JOURNAL.md 2)."""

    def __init__(self, container: FakeContainer, engine: HostEngine) -> None:
        super().__init__(daemon=True)
        self.container, self.engine = container, engine
        mounts = {mount.target: mount.source for mount in container.spec.mounts}
        self.control, self.secrets = mounts[CONTROL_TARGET], mounts[SECRETS_TARGET]
        self.workspace = next(source for target, source in mounts.items() if target.startswith("/codebuild/output/src"))
        self.go = os.open(self.control / "go", os.O_RDWR | os.O_NONBLOCK)
        self.asked = select.poll()  # select() knows no descriptor above 1023, and a long test run has many
        self.asked.register(self.go, select.POLLIN)
        self.heard = b""
        self.pause = threading.Event()

    def run(self) -> None:
        """Run the build, unless the container ends first."""
        try:
            if self._hear(b"begin"):
                self._begin()
            if self._hear(b"resume") and self._phases():
                self._finish()
        finally:
            os.close(self.go)

    @property
    def _alive(self) -> bool:
        return self.container.state.running

    def _hear(self, word: bytes) -> bool:
        while self._alive:
            if self.asked.poll(50):
                self.heard += os.read(self.go, 100)
            *words, self.heard = self.heard.split(b"\n")
            if word in words:
                return True
        return False

    def _begin(self) -> None:
        (self.secrets / "environment").unlink()
        self._note("begun")
        if "plan_DOWNLOAD_SOURCE_commands='1'" in (self.control / "plan.sh").read_text():
            self._set_up()
        self._write("before.1", "kept/**/*\n0\n")
        self._note("prepared")

    def _set_up(self) -> None:
        now = int(time.time() * 1e6)
        self._note("command\tDOWNLOAD_SOURCE\tcommands\t1")
        self._append("output", f"[Container] 2026/01/01 00:00:00.000000 Running command tool\ntool {SECRET}\n\n")
        while self.engine.stays_in == "DOWNLOAD_SOURCE" and self._alive:
            self.pause.wait(_LOOK)
        self._note("exit\tDOWNLOAD_SOURCE\tcommands\t1\t0")
        source = re.findall("plan_source='(.*)'", (self.control / "plan.sh").read_text())[0]
        self._append("output", f"[Container] {stamp(now / 1e6)} Moving to directory {source}\n")
        self._note(f"moved\t{now}")

    def _phases(self) -> bool:
        self._note("resumed")
        for phase in COMMAND_PHASES:
            self._print(f"[Container] 2026/01/01 00:00:00.000000 Entering phase {phase}\n")
            self._note(f"phase\t{phase}")
            if phase == "BUILD" and self.engine.losses:
                self.engine.losses -= 1
                self.engine.lose(self.container.state.id)
                return False
            while self.engine.stays_in == phase and self._alive:
                self.pause.wait(_LOOK)
            if not self._alive:
                return False
            self._print("".join(f"{phase} line {number} {SECRET}\n" for number in range(20)))
            self._note(f"phase-end\t{phase}\tSUCCEEDED")
            if phase != "POST_BUILD":
                self._print(f"[Container] 2026/01/01 00:00:00.000000 Phase complete: {phase} State: SUCCEEDED\n")
        return True

    def _finish(self) -> None:
        source = self.workspace / "src" if (self.workspace / "src").is_dir() else self.workspace
        (source / "out.txt").write_text("built\n")
        (source / "tests.xml").write_text('<testsuite tests="1"><testcase name="one"/></testsuite>')
        (source / "kept").mkdir(exist_ok=True)
        (source / "kept" / "file").write_text("kept\n")
        self._write("after.1", "out.txt\n0\n")
        self._write("after.2", "plain\n0\n")
        self._note("expanded")
        self._note("end\tcompleted\tPOST_BUILD")
        self._write("result", "outcome completed\nphase POST_BUILD\nsucceeding 1\nend\n")
        self.engine.end(self.container.state.id, 0)

    def _note(self, event: str) -> None:
        self._append("journal", f"{int(time.time() * 1e6)}\t{event}\n")

    def _print(self, text: str) -> None:
        self._append("output", text)
        self.engine.printed += text

    def _append(self, name: str, text: str) -> None:
        with (self.control / name).open("a") as file:
            file.write(text)

    def _write(self, name: str, text: str) -> None:
        (self.control / name).write_text(text)


class HostEngine(FakeEngine):
    """A fake engine whose containers run a `Driver`. `stays_in` is a phase that they do not leave, `refuses` a call.

    So many as `losses` says are killed by somebody at the beginning of BUILD. With `ends_when_asked` a build goes on to
    its end as soon as somebody asks how its container stands, ahead of the answer.
    """

    def __init__(self) -> None:
        super().__init__((IMAGE,), program=self._launch)
        self.stays_in = ""
        self.refuses = ""
        self.losses = 0
        self.ends_when_asked = False
        self.printed = ""
        self.drivers: list[Driver] = []

    def _launch(self, container: FakeContainer) -> None:
        member = tarfile.TarInfo("runtimes.yml")
        member.size = len(RUNTIMES)
        container.files[RUNTIMES_FILE] = (member, RUNTIMES)
        self.drivers.append(Driver(container, self))
        self.drivers[-1].start()

    def inspect(self, container: str) -> ContainerState | None:
        if self.ends_when_asked:
            self.ends_when_asked, self.stays_in = False, ""
            for driver in self.drivers:
                driver.join(30)
        return super().inspect(container)

    def lose(self, container: str) -> None:
        """Do what `docker kill` does."""
        self.end(container, 137)

    def remove(self, container: str) -> None:
        if container in self.containers:
            self.end(container, 137)
        # A process that was killed reads nothing more; its thread could yet take the word meant for the next driver.
        for driver in self.drivers:
            if not driver.container.state.running:
                driver.join(10)
        super().remove(container)

    def end_all(self, exit_code: int = 137) -> None:
        """Let every container die, and wait until it has."""
        for name in list(self.containers):
            if self.containers[name].state.running:
                self.end(name, exit_code)
        for driver in self.drivers:
            driver.join(10)


@dataclass
class Mortals:
    """The program `mortal`, started once for many lives."""

    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.restart.mortal"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**environ, "HOME": "/nonexistent"},
        )

    def start(self, world: World, point: int) -> int:
        """Begin a life that ends at *point*; return its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{world.state} {world.build_id} {point}\n")
        self.process.stdin.flush()
        return int(self._answer().removeprefix("pid "))

    def end(self) -> str:
        """Wait for the end of the life; return the status of the build, or "" where the process was killed."""
        return self._answer().removeprefix("ended").strip()

    def close(self) -> None:
        """End the program."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith(("pid ", "ended")):
                return line.strip()
        raise AssertionError("the mortal program ended")


class World:
    """One state directory with one build in it that has left the queue, and one engine."""

    def __init__(
        self, place: Path, template: World | None = None, *, buildspec: str = BUILDSPEC, reruns: int = 0
    ) -> None:
        self.place = place
        self.state = place / "state"
        self.engine = HostEngine()
        if template is None:
            self._begin(buildspec, reruns)
        else:
            self.state.mkdir(parents=True)
            for name in ("builds.db", "agent-id"):
                shutil.copy(template.state / name, self.state / name)
            self.build_id = template.build_id
        address = f"\0buildspecd-{uuid.uuid4()}"  # an abstract name: the path of a test is too long for a socket
        (self.state / "engine").write_text(address)
        self.listener = Listener(address, "AF_UNIX")
        threading.Thread(target=self._serve, daemon=True).start()

    def _begin(self, buildspec: str, reruns: int) -> None:
        repository = Repository(self.place / "git")
        repository.commit(**{"buildspec.yml": buildspec})
        outside = self.place / "outside"
        project = Project(
            name="app",
            source=Source(type="GIT", location=repository.url),
            environment=Environment(image=IMAGE),
            artifacts=Artifacts(type="S3", location=f"file://{outside}/artifacts", packaging="ZIP", name="app.zip"),
            cache=Cache(type="S3", location=f"file://{outside}/cache"),
            agent=AgentOptions(rerun_lost=reruns),
            logs_config=LogsConfig(
                cloud_watch_logs=CloudWatchLogs(status="DISABLED"),
                s3_logs=S3Logs(status="ENABLED", location=f"file://{outside}/logs"),
            ),
        )
        Estate.at(self.state, self.state / "runtime")
        database = Database(self.state / "builds.db")
        clock = SystemClock()
        recorder = Recorder(database, clock)
        intake = Intake(database, recorder, {"app": project}.get, lambda: Identity("us-east-1", "0" * 12), clock)
        self.build_id = intake.submit(BuildRequest(project="app", initiator="test")).id
        build = Builds(database).get(self.build_id)
        assert build is not None
        recorder.leave(build, Status.SUCCEEDED)
        database.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        while True:
            try:
                name, arguments = connection.recv()
                if name == self.engine.refuses:
                    raise EngineUnavailable("the engine is away")
                answer: tuple[str, Any] = ("answer", getattr(self.engine, name)(*arguments))
            except BuildspecdError as error:
                answer = ("error", error)
            except (EOFError, ConnectionError):
                return
            try:
                connection.send(answer)
            except OSError:
                return

    def close(self) -> None:
        """End everything that is still running."""
        self.listener.close()
        self.engine.stays_in = ""
        self.engine.end_all()
        shutil.rmtree(self.place, ignore_errors=True)

    @property
    def build(self) -> Build:
        """The build as it is stored."""
        database = Database(self.state / "builds.db")
        try:
            found = Builds(database).get(self.build_id)
            assert found is not None
            return found
        finally:
            database.close()

    @property
    def events(self) -> list[tuple[str, str]]:
        """Kind and phase of every event in the outbox."""
        database = Database(self.state / "builds.db")
        try:
            told = [event for _, event in Outbox(database).pending("nobody")]
            return [(event.kind, str(event.completed_phase or event.build.status)) for event in told]
        finally:
            database.close()

    @property
    def reports(self) -> tuple[int, list[str]]:
        """How many reports and groups there are, and what the build's own reports say."""
        database = Database(self.state / "builds.db")
        try:
            store, found = Reports(database), [Builds(database).get(self.build_id)]
            told = [store.get(arn) for build in found if build for arn in build.report_arns]
            said = [f"{report.name} {report.status} {report.test_summary}" for report in told if report]
            return len(store.list()) + len(store.groups()), said
        finally:
            database.close()

    def age(self, seconds: float) -> None:
        """Make the build older than it is."""
        build = self.build
        assert build.set_out
        set_out = replace(build.set_out, seconds=build.set_out.seconds - seconds)
        phases = tuple(phase.evolve(start_time=phase.start_time - seconds) for phase in build.phases)
        database = Database(self.state / "builds.db")
        Builds(database).save(build.evolve(phases=phases, set_out=set_out))
        database.close()

    def ask_to_stop(self) -> None:
        """Do what `buildspecd stop` does."""
        database = Database(self.state / "builds.db")
        Queue(database).ask_to_stop(self.build_id, "somebody asked")
        database.close()

    @property
    def root(self) -> Path:
        return self.state / "builds" / self.build_id.partition(":")[2]

    @property
    def log(self) -> bytes:
        """The log without its times."""
        return _STAMP.sub(b"[Container] ", (self.root / "log" / "log").read_bytes())

    def log_holds(self, printed: str) -> bool:
        """Whether the log holds all of what the container printed, masked, once and in order."""
        wanted = _STAMP.sub(b"[Container] ", printed.encode().replace(SECRET.encode(), b"***"))
        return wanted in self.log

    def left_behind(self) -> list[str]:
        """Return what a build that has ended should not have left."""
        secrets = list((self.state / "runtime").glob("*/*"))
        rest = [path for path in self.root.iterdir() if path.name not in ("plan.json", "log")]
        aside = [path for path in self.root.rglob("*") if path.name.startswith(".")]
        return [*self.engine.containers, *map(str, (*secrets, *rest, *aside))]


def outcome(build: Build) -> dict[str, Any]:
    """Return what of a build does not depend on when it was made."""
    return {
        "status": build.status,
        "phases": [(phase.phase_type, phase.phase_status, phase.contexts) for phase in build.phases],
        "artifacts": build.artifacts,
        "cache": build.cache,
        "exported": build.exported,
        "reports": build.report_arns,
        "revision": build.resolved_source_version,
        "steps": build.steps_done,
        "logs": build.logs,
        "advice": build.advice,
        "cause": build.cause,
        "reruns": build.reruns,
    }
