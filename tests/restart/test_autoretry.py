"""The daemon is killed at every point of the end of a failed build: its automatic retry is neither lost nor doubled."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from agent.daemon.autoretry import AutoRetry
from agent.daemon.intake import Identity, Intake
from agent.kit.clock import SystemClock
from agent.model.build import Build
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.outbox import Outbox
from agent.store.queue import Queue
from tests.fakes.fate import MortalDatabase
from tests.restart.mortal import mortal
from tests.unit.store.samples import a_project


def life(directory: Path, point: int) -> bool:
    """End every open build but the newest retry in a process of its own, killed at *point*; return whether it lived."""
    child = os.fork()
    if child == 0:
        database = MortalDatabase(directory / "builds.db", mortal(point))
        recorder, _ = wired(database)
        for build in Builds(database).open():
            if not build.retry_of:
                recorder.complete(recorder.leave(build, Status.FAILED), Status.FAILED)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def wired(database: Database) -> tuple[Recorder, Intake]:
    """Return a recorder and an intake as the daemon has them."""
    clock, projects = SystemClock(), {"web": a_project(auto_retry_limit=1)}
    recorder = Recorder(database, clock)
    intake = Intake(database, recorder, projects.get, lambda: Identity("eu-west-1", "1"), clock)
    recorder.successor = AutoRetry(database, intake)
    return recorder, intake


def stored(directory: Path) -> tuple[list[Build], list[str], list[tuple[int, str]]]:
    """Return the builds, oldest first, the ids of those in the queue, and number and status of every state event."""
    database = Database(directory / "builds.db")
    try:
        events = [event for _, event in Outbox(database).pending("x") if event.kind == "state"]
        told = [(event.build.number, event.build.status.value) for event in events]
        return Builds(database).list()[::-1], [place.build for place in Queue(database).places()], told
    finally:
        database.close()


def test_a_retry_is_neither_lost_nor_doubled_wherever_the_daemon_is_killed(tmp_path: Path) -> None:
    database = Database(tmp_path / "builds.db")
    wired(database)[1].submit(BuildRequest(project="web", initiator="test"))
    database.close()
    for point in itertools.count(1):
        directory = tmp_path / str(point)
        directory.mkdir()
        shutil.copy(tmp_path / "builds.db", directory)
        survived = life(directory, point)
        if not survived:
            (first, *others), waiting, _ = stored(directory)
            assert waiting == [(others[0] if first.complete else first).id], point
            assert life(directory, 0), point
        (first, retry), waiting, told = stored(directory)
        assert (first.status, first.auto_retry.next, waiting) == (Status.FAILED, retry.arn, [retry.id]), point
        assert told == [(1, "IN_PROGRESS"), (2, "IN_PROGRESS"), (1, "FAILED")], point
        if survived:
            assert point > 10
            return
