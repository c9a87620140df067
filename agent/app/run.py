"""Run: one local build of a working tree, wired."""

from __future__ import annotations

from agent.app.workshop import Workshop
from agent.daemon import local
from agent.daemon.estate import Estate
from agent.daemon.local import LocalRun
from agent.kit.logging import configure
from agent.model.build import Build
from agent.settings.live import LiveConfiguration
from agent.settings.projects import projects_in

__all__ = ["LocalRun", "run_local"]

RETRY_PAUSES = (1.0,)
"""Somebody sits before a local build, who sees the fault and can start it again."""


def run_local(wanted: LocalRun) -> Build:
    """Build a working tree here, on the daemon's own route; return the build as it ended. Raises `BuildspecdError`."""
    configure(level="error", format="console")
    live = LiveConfiguration(wanted.config)
    estate = Estate.at(local.state_dir(), live.settings.runtime_dir)
    workshop = Workshop(live.settings, estate, artifacts_to=wanted.artifacts, uploads=False, retry_pauses=RETRY_PAUSES)
    try:
        named = local.project_of(wanted.project, live.projects, projects_in) if wanted.project else None
        return local.build_tree(
            wanted,
            named,
            estate=estate,
            database=workshop.database,
            recorder=workshop.recorder,
            engine=workshop.engine,
            rewrites=live.settings.images.rewrite,
            intake_for=workshop.intake_for,
            new_job=workshop.new_job,
        )
    finally:
        workshop.access.clear()
        workshop.database.close()  # `run --watch` builds again and again in one process
