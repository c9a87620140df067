"""The worker dies at each of its effects: no job is lost, none is done twice, and each is told once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.model.phase import PhaseType
from tests.fakes.codepipeline import CodePipeline, Job
from tests.fakes.fate import Fate, deaths
from tests.unit.triggers.codepipeline.desk import EXPORTED, Desk, aws_at, offered


def live(desk: Desk, long: bool) -> None:
    """Work until nothing is owed any more; builds run, for long or not, and end well."""
    for _ in range(10):
        desk.turn(61)
        for build in desk.builds:
            if build.complete:
                continue
            if long and not desk.jobs.open()[-1].continues:
                if build.current_phase is PhaseType.QUEUED:
                    desk.begin(build)
            else:
                desk.end(build, exported=EXPORTED)
        if not desk.jobs.open() and all(job.state in ("Succeeded", "Failed") for job in desk.pipeline.jobs.values()):
            return


@pytest.mark.parametrize(
    ("offer", "long", "builds"),
    [
        (offered, False, 1),
        (lambda pipeline: offered(pipeline, EnvironmentVariables="no json"), False, 0),
        (offered, True, 1),
    ],
    ids=["green", "refused", "continued"],
)
def test_killed_at_any_effect_it_ends_the_same(
    tmp_path: Path, pipeline: CodePipeline, offer: Callable[[CodePipeline], Job], long: bool, builds: int
) -> None:
    aws, fresh = aws_at(pipeline.url), tmp_path / "fresh"
    fresh.mkdir()
    Desk(fresh, pipeline, aws=aws).close()  # making the database is not what is tried here

    jobs: list[Job] = []

    def prepared(point: int) -> Path:
        jobs.append(offer(pipeline))
        return Path(shutil.copytree(fresh, tmp_path / str(point)))

    def lived(place: Path, fate: Fate) -> None:
        desk = Desk(place, pipeline, fate=fate, continue_after=60 if long else None, aws=aws)
        try:
            live(desk, long)
        finally:
            desk.close()

    for point, place in deaths(prepared, lived, least=10):
        pipeline.redeliver()
        desk = Desk(place, pipeline, continue_after=60 if long else None, aws=aws)
        live(desk, long)
        assert [build.complete for build in desk.builds] == [True] * builds, point
        assert desk.jobs.open() == [], point
        last = pipeline.last(jobs[-1])
        assert last.state == ("Succeeded" if builds else "Failed"), point
        assert (last.told.get("outputVariables") == {"VERSION": "1.2"}) == bool(builds), point
        assert (last is not jobs[-1]) == long, point
        desk.close()
