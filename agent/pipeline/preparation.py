"""Preparation: what the driver does ahead of INSTALL: find its shell, set up runtimes, expand the cache's texts."""

from __future__ import annotations

from agent.container import driver
from agent.container.journal import JournalReader
from agent.pipeline import runtimes
from agent.pipeline.commands import Watch, carried
from agent.pipeline.job import Job
from agent.pipeline.judgement import judge
from agent.pipeline.places import source_dirs

PUMP_SECONDS = 5.0
"""Longest time between the driver's writing of a line and its being in the output file."""


def prepare(job: Job) -> None:
    """Let a driver that holds find its shell and evaluate what precedes INSTALL, and wait until it has."""
    watch = Watch(job, JournalReader(job.paths.control))
    if job.plan.runtime_versions:
        with carried(job, watch):
            _await_preparation(job, watch)
            _await_moved_line(job, watch)
    else:
        _await_preparation(job, watch)
    if not watch.prepared:
        judge(job, watch)


def _await_preparation(job: Job, watch: Watch) -> None:
    """Wait until the driver is ready to be resumed, or has ended because of a problem or a stop."""

    def over() -> bool:
        return driver.read_result(job.paths.control) is not None

    watch.until(lambda: driver.go(job.paths.control) or over())
    watch.until(lambda: watch.prepared or over())
    watch.read_journal()


def _await_moved_line(job: Job, watch: Watch) -> None:
    """Wait until the last line of the set-up is in the output, so that what we say next stands behind it."""
    if watch.moved is None:
        return
    line = runtimes.moved_line(source_dirs(job.build)[None].container, watch.moved)
    end = job.tools.clock.monotonic() + PUMP_SECONDS
    watch.until(lambda: runtimes.holds_line(job, line) or job.tools.clock.monotonic() >= end)
