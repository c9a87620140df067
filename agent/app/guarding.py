"""Guarding: what keeps builds from the credentials of this host, wired; and the command that puts it in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent.aws import Aws
from agent.container import imds
from agent.container.engine import Engine
from agent.container.imds import Guard, Verdict
from agent.daemon.checks.check import Check
from agent.daemon.checks.roles import guard_check, role_checks
from agent.daemon.guarding import REMEDY, BuildGuard, Wanted
from agent.daemon.intake import Identity
from agent.environment.roles import AssumedRoles
from agent.errors import BuildspecdError
from agent.kit.clock import Clock, SystemClock
from agent.kit.logging import configure, get_logger
from agent.kit.sdnotify import Notifier
from agent.kit.service import StopToken
from agent.model.project import Project
from agent.settings.schema import Settings

_log = get_logger("guard")
TURN_SECONDS = 60.0


def build_guard(wanted: Wanted, engine: Engine, clock: Clock, state: Path = imds.STATE) -> BuildGuard:
    """Return what the daemon's builds are checked by."""

    def verdict() -> Verdict:
        return imds.published(clock.now(), state)

    return BuildGuard(wanted, engine, imds.on_ec2(), verdict, imds.root_of_cgroups())


def checks(settings: Settings, projects: Sequence[Project], aws: Aws, engine: Engine) -> Iterator[Check]:
    """Yield what `doctor` says of roles, those of builds and that of this host."""
    clock = SystemClock()
    guard = build_guard(settings.roles.imds_guard, engine, clock)
    yield guard_check(guard, Guard(clock, imds.root_of_cgroups()).reached if os.geteuid() == 0 else None)
    if any(project.service_role for project in projects):
        identity = Identity(aws.region, aws.account)
        yield from role_checks(projects, identity.arn, AssumedRoles(aws))


def warn(guard: BuildGuard) -> None:
    """Say in the daemon's log that builds can reach the credentials of this host, if they can."""
    if guard.exposed and guard.wanted != "off" and not (verdict := guard.verdict()).holds:
        _log.warning("builds can reach the credentials of this host", problem=verdict.problem, hint=REMEDY)


def stand_guard(stop: StopToken, *, once: bool, tell: Callable[[Verdict], None]) -> None:
    """Hold the rules until *stop*, or put them in place *once*; each *verdict* is told. Raises `BuildspecdError`."""
    configure(level="info", format="auto")
    clock, notifier = SystemClock(), Notifier()
    guard = Guard(clock, imds.root_of_cgroups())
    last: str | None = None
    while True:
        verdict = guard.hold()
        _publish(verdict)
        if verdict.problem != last:
            tell(verdict)
            notifier.ready(verdict.problem or "builds cannot reach the metadata service")
            last = verdict.problem
        if once or clock.wait(TURN_SECONDS, stop):
            return


def lift_guard() -> None:
    """Take the rules away."""
    Guard(SystemClock(), imds.root_of_cgroups()).remove()
    imds.STATE.unlink(missing_ok=True)


def _publish(verdict: Verdict) -> None:
    try:
        imds.publish(verdict)
    except OSError as error:
        raise BuildspecdError(f"{imds.STATE}: {error.strerror}", hint="run it as root") from error
