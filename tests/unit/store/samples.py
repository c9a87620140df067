"""Builds, events and a clock for the tests of the store and of what stands on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.event import BuildEvent
from agent.model.phase import Phase, PhaseContext, PhaseType
from agent.model.project import Environment, Project, Source
from agent.model.status import Status
from agent.store.database import Database

NOON = 1_504_282_349.0
"""Sep 1, 2017 4:12:29 PM UTC."""


class ManualClock:
    """A Clock that stands still until a test moves it; what waits for it moves it and goes on at once.

    `then` is called after every wait with the seconds waited for. `jumped`: what the wall clock was set by.
    """

    def __init__(self, at: float = NOON, then: Callable[[float], None] = lambda _: None) -> None:
        self.at = at
        self.jumped = 0.0
        self._then = then

    def now(self) -> float:
        return self.at + self.jumped

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float, stop: StopToken) -> bool:
        self.at += seconds
        self._then(seconds)
        return stop.is_set


def a_database(directory: Path) -> Database:
    """Return a new database in *directory*."""
    return Database(directory / "builds.db")


def a_project(name: str = "web", **members: Any) -> Project:
    """Return a small project; *members* by their Python names."""
    given: dict[str, Any] = {
        "source": Source(type="GIT", location=f"https://host/{name}.git"),
        "environment": Environment(image="debian:12"),
        **members,
    }
    return Project(name=name, **given)


def a_build(number: int = 1, *, project: Project | None = None, at: float = NOON, **members: Any) -> Build:
    """Return a build that waits in the queue."""
    project = project or a_project()
    build_id = f"{project.name}:{number:08d}-0000-4000-8000-000000000000"
    submitted = Phase(phase_type=PhaseType.SUBMITTED, start_time=at).ended(at, Status.SUCCEEDED)
    given: dict[str, Any] = {
        "id": build_id,
        "arn": f"arn:aws:codebuild:us-west-2:123456789012:build/{build_id}",
        "number": number,
        "project": project,
        "phases": (submitted, Phase(phase_type=PhaseType.QUEUED, start_time=at)),
        "start_time": at,
        "initiator": "alice",
        "source_root": "/codebuild/output/src123456789/src",
        **members,
    }
    return Build(**given)


def started(build: Build) -> BuildEvent:
    """Return the event that *build* was submitted."""
    return BuildEvent(kind="state", at=build.start_time, build=build)


def left(build: Build, at: float, status: Status = Status.SUCCEEDED, context: PhaseContext | None = None) -> BuildEvent:
    """Return the event that the current phase of *build* ended."""
    ended = build.left(at, status, context)
    return BuildEvent(kind="phase", at=at, build=ended, completed_phase=build.current_phase)


def finished(build: Build, at: float, status: Status = Status.SUCCEEDED) -> BuildEvent:
    """Return the event that *build* is complete; its current phase is ended if it was not."""
    ended = build.left(at, status).entered(PhaseType.COMPLETED, at).evolve(status=status, end_time=at)
    return BuildEvent(kind="state", at=at, build=ended)
