"""A build's time limit is measured by the host's own clock, under however many daemons it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.pipeline.job import Cut, Job, Paths
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from tests.unit.store.samples import ManualClock, a_build, a_database, a_project

DAY = 86400.0


class Run:
    """A build of one hour that is being provisioned."""

    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.database = a_database(directory)
        self.recorder = Recorder(self.database, self.clock)
        build = self.recorder.add(a_build(project=a_project(timeout_in_minutes=60)))
        self.clock.at += 600
        self.build = self.recorder.enter(self.recorder.leave(build, Status.SUCCEEDED), PhaseType.PROVISIONING)

    def job(self) -> Job:
        """Return the build as a daemon that has just begun finds it in the store."""
        stored = Builds(self.database).get(self.build.id)
        assert isinstance(stored, Build)

        class Tools:
            clock = self.clock

        paths, nothing = Paths(Path("/none"), Path("/none")), cast("Any", None)
        return Job(stored, paths, cast("Any", Tools), self.recorder, nothing, StopToken())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_is_set_neither_ends_a_build_nor_lets_it_run_longer(run: Run, jump: float) -> None:
    job = run.job()
    assert job.time_left == 3600
    run.clock.jumped = jump
    run.clock.at += 1800
    job.check()
    assert job.time_left == 1800
    run.clock.at += 1800
    with pytest.raises(Cut, match="timed out"):
        job.check()


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_nor_does_one_that_is_set_while_no_daemon_runs(run: Run, jump: float) -> None:
    run.clock.at += 1800
    run.clock.jumped = jump
    assert run.job().time_left == 1800


def test_time_in_which_no_daemon_ran_counts(run: Run) -> None:
    run.clock.at += 3601
    with pytest.raises(Cut, match="timed out"):
        run.job().check()
