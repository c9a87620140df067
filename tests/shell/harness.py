"""Runs the real driver, on the host in a PID namespace of its own, and tells what came of it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from agent.buildspec.plan import OnFailure, PhasePlan
from agent.container import driver
from agent.container.driver import DriverPlan, Result
from agent.container.journal import CommandEnded, JournalEvent, JournalReader
from agent.kit.clock import SystemClock
from agent.model.phase import COMMAND_PHASES, PhaseType

SHELLS = {"dash": "dash", "ash": "busybox", "bash": "bash"}
STAMP = r"\[Container\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} "


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return as soon as *condition* holds; fail when it does not in time."""
    pause, clock = threading.Event(), SystemClock()
    deadline = clock.monotonic() + seconds
    while not condition():
        assert clock.monotonic() < deadline, "waited in vain"
        pause.wait(0.002)


def phase(
    kind: str,
    *commands: str,
    finally_: tuple[str, ...] = (),
    on_failure: str = "DEFAULT",
    retries: int = 0,
    pattern: str = ".*",
    run_as: str | None = None,
) -> PhasePlan:
    """Return the plan of one phase."""
    return PhasePlan(
        phase=PhaseType(kind),
        commands=commands,
        finally_commands=finally_,
        on_failure=OnFailure.model_validate({"action": on_failure, "retries": retries, "pattern": pattern}),
        run_as=run_as,
    )


@dataclass(frozen=True)
class Ran:
    """What a build left in its control directory."""

    control: Path
    plan: DriverPlan
    exit_code: int = 0

    @cached_property
    def raw(self) -> bytes:
        """The log."""
        return (self.control / "output").read_bytes()

    @property
    def log(self) -> str:
        """The log as text."""
        return self.raw.decode("utf-8", "replace")

    @cached_property
    def text(self) -> str:
        """What the commands printed: the log without CodeBuild's own lines and without empty lines."""
        lines = (line for line in self.log.splitlines() if line and not line.startswith("[Container]"))
        return "\n".join(lines)

    @cached_property
    def lines(self) -> list[str]:
        """CodeBuild's own lines without their time."""
        return [line[39:] for line in self.log.splitlines() if line.startswith("[Container]")]

    @cached_property
    def events(self) -> tuple[JournalEvent, ...]:
        """The journal."""
        reader = JournalReader(self.control)
        events = reader.read()
        assert reader.skipped == 0
        return events

    @property
    def statuses(self) -> list[int]:
        """The exit status of every command."""
        return [event.status for event in self.events if isinstance(event, CommandEnded)]

    @property
    def result(self) -> Result | None:
        """How it ended."""
        return driver.read_result(self.control)


@dataclass
class HostBuild:
    """A build on the host under one of the shells. `/codebuild` is *root*."""

    root: Path
    shell: str
    variables: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})

    def __post_init__(self) -> None:
        self.control, self.source = self.root / "agent", self.root / "output" / "src1" / "src"
        self.scratch, self.secrets = self.root / "output" / "tmp", self.root / "secrets"
        for directory in (self.source, self.scratch, self.secrets):
            directory.mkdir(parents=True, exist_ok=True)
        program = shutil.which(SHELLS[self.shell])
        assert program, f"this test needs {self.shell}"
        self.program = self.root / self.shell
        self.program.symlink_to(program)
        # The driver is always run as `sh`: bash then keeps to POSIX, as in images whose /bin/sh is bash.
        self.driver_program = self.root / "sh"
        self.driver_program.symlink_to(program)
        driver.prepare_control(self.control)

    def plan(self, *phases: PhasePlan, **settings: object) -> DriverPlan:
        """Return a plan of *phases* that runs under this build's shell."""
        given = {
            "phases": phases,
            "source_dir": str(self.source),
            "workspace": str(self.source),
            "clock_base": driver.clock_base(SystemClock()),
            "shell": str(self.program),
        }
        return DriverPlan(**{**given, **settings})  # type: ignore[arg-type]

    def start(self) -> subprocess.Popen[bytes]:
        """Start the driver as PID 1 of a namespace; it waits for `begin`."""
        namespace = [shutil.which("unshare") or "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = [str(self.driver_program), str(self.control / "driver.sh"), str(self.scratch), str(self.secrets)]
        # A session of its own: a build that signals its process group must not reach the tests.
        return subprocess.Popen(
            [*namespace, *command], env=dict(self.environ), stdin=subprocess.DEVNULL, start_new_session=True
        )

    def begin(self, plan: DriverPlan) -> None:
        """Hand over plan and variables."""
        driver.write_environment(self.secrets / "environment", self.variables)
        driver.write_plan(self.control, plan)
        until(lambda: driver.go(self.control))

    def run(self, *phases: PhasePlan, **settings: object) -> Ran:
        """Run a build to its end."""
        plan = self.plan(*phases, **settings)
        with self.start() as process:
            self.begin(plan)
            if plan.hold:
                until(lambda: driver.resume(self.control))
            return Ran(self.control, plan, process.wait(60))


def lines_of(kind: PhaseType) -> list[str]:
    """Return the lines of a phase without commands."""
    entering, complete = f"Entering phase {kind}", f"Phase complete: {kind} State: SUCCEEDED"
    if kind is COMMAND_PHASES[-1]:
        return [entering]
    return [entering, complete, "Phase context status code:  Message: "]
