"""The step that collects reports, taken twice as after a kill: nothing is doubled, nothing is said twice."""

from __future__ import annotations

import re
from pathlib import Path

from agent.app.workshop import Workshop
from agent.buildspec.plan import Plan
from agent.daemon.estate import Estate
from agent.kit.service import StopToken
from agent.model.project import CloudWatchLogs, LogsConfig
from agent.pipeline import reporting
from agent.pipeline.job import Job
from agent.settings.schema import Settings
from agent.store.builds import Builds
from agent.store.reports import Reports
from tests.unit.store.samples import a_build, a_project

GOOD = '<testsuite tests="1"><testcase name="a"/></testsuite>'


def a_job(place: Path) -> Job:
    """Return a build whose commands are over, as a process finds it that has just been started."""
    settings = Settings(state_dir=place / "state", runtime_dir=place / "run")
    workshop = Workshop(settings, Estate.at(settings.state_dir, settings.runtime_dir))
    quiet = LogsConfig(cloud_watch_logs=CloudWatchLogs(status="DISABLED"))
    build = a_build(project=a_project(logs_config=quiet))
    if Builds(workshop.database).get(build.id) is None:
        Builds(workshop.database).add(build)
    job = workshop.new_job(build, StopToken())
    for directory in (job.paths.workspace, job.paths.scratch, job.paths.control):
        directory.mkdir(parents=True, exist_ok=True)
    job.paths.plan.write_text(Plan(location="", phases=()).model_dump_json())
    return job


def collected(place: Path) -> tuple[str, tuple[str, ...], list[str]]:
    """Take the step and die; return the log, the build's reports, and all reports."""
    job = a_job(place)
    job.transcript.begin("reports")
    source = reporting.source_tree(job)
    (source.root / source.start).mkdir(parents=True, exist_ok=True)
    (source.root / source.start / "a.xml").write_text(GOOD)
    reporting.collect(job)
    job.transcript.leave()
    log = re.sub(r"\[Container\] [^ ]+ [^ ]+ ", "", (job.paths.log / "log").read_text())
    return log, job.build.report_arns, Reports(job.recorder._database).list()


def test_a_step_that_is_taken_again_doubles_no_report_and_says_no_line_twice(tmp_path: Path) -> None:
    first = collected(tmp_path)
    second = collected(tmp_path)
    assert first == second
    assert first[0].count("Report auto-discover file discovery took") == 1
    assert first[0].count("Report web-JUNITXML-AutoDiscovered: SUCCEEDED, 1 test: 1 succeeded") == 1
    assert first[1] == tuple(first[2])
    assert len(first[2]) == 1
