"""Pipelines: how the daemon works for CodePipeline, wired; and the custom action type, without a daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from agent.app.workshop import Workshop, aws_of
from agent.daemon.intake import Intake
from agent.daemon.scheduler import Scheduler
from agent.errors import UsageError
from agent.notify.detail import deep_link
from agent.settings.live import LiveConfiguration
from agent.settings.load import load_settings, settings_file
from agent.settings.schema import Settings
from agent.store.builds import Builds
from agent.store.pipelinejobs import PipelineJobs
from agent.store.queue import Queue
from agent.triggers.codepipeline.actiontype import ActionTypes
from agent.triggers.codepipeline.service import ActionType, JobService
from agent.triggers.codepipeline.worker import Shop, Wishes, Worker


def pipeline_worker(
    workshop: Workshop, live: LiveConfiguration, intake: Intake, scheduler: Scheduler
) -> Sequence[Worker]:
    """Return the service that does the jobs of pipelines, if there is an action type."""
    if live.settings.pipeline.action.provider is None:
        return ()
    builds, queue = Builds(workshop.database), Queue(workshop.database)
    shop = Shop(
        submit=intake.submit,
        build=builds.get,
        stop_build=scheduler.stop_build,
        transaction=partial(workshop.database.transaction, lasting=True),
        free=lambda: live.settings.builds.max_concurrent - len(queue.places()),
        paused=lambda: scheduler.gate.shut,
        link=deep_link,
    )
    service, jobs = JobService(workshop.aws), PipelineJobs(workshop.database)
    return (Worker(service, jobs, shop, _wishes(lambda: live.settings), workshop.estate.agent_id, workshop.clock),)


def _wishes(settings: Callable[[], Settings]) -> Callable[[], Wishes]:
    first = action_type(settings())  # another action type is taken up after a restart

    def wishes() -> Wishes:
        now = settings().pipeline
        return Wishes(first, now.pool, now.every, now.continue_after)

    return wishes


def action_type(settings: Settings) -> ActionType:
    """Return the action type of *settings*. Raises `UsageError` where there is none."""
    action = settings.pipeline.action
    if action.provider is None:
        raise UsageError(
            "no action type is set", hint="set pipeline.action.provider in agent.yml, or give --provider NAME"
        )
    return ActionType(action.category, action.provider, action.version)


def action_types(
    config: Path | None, provider: str | None, version: str | None
) -> tuple[ActionTypes, ActionType, str | None]:
    """Return the door to action types, the one that settings and command line mean, and the agent's pool."""
    settings = load_settings(settings_file(config)).settings
    given = {name: value for name, value in (("provider", provider), ("version", version)) if value}
    action = type(settings.pipeline.action).model_validate({**settings.pipeline.action.model_dump(), **given})
    pipeline = settings.pipeline.model_copy(update={"action": action})
    return ActionTypes(aws_of(settings)), action_type(settings.model_copy(update={"pipeline": pipeline})), pipeline.pool
