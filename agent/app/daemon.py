"""Daemon: everything that runs in `buildspecd serve`, wired."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.app.following import follower
from agent.app.hooks import HookRoom
from agent.app.statuses import status_book, status_desk
from agent.app.workshop import Workshop
from agent.cache.local import Slot
from agent.daemon.autoretry import AutoRetry
from agent.daemon.control import ProjectState
from agent.daemon.estate import Estate, locked
from agent.daemon.intake import Intake
from agent.daemon.janitor import Janitor
from agent.daemon.policy import Limits
from agent.daemon.reception import Reception
from agent.daemon.redelivery import Redelivery
from agent.daemon.scheduler import Scheduler
from agent.daemon.supervisor import Supervisor
from agent.daemon.watchdog import Watchdog
from agent.errors import BuildspecdError, ProjectUnknown
from agent.kit.logging import configure, get_logger
from agent.kit.sdnotify import Notifier
from agent.kit.service import Service, StopToken
from agent.model.project import Source
from agent.model.request import BuildRequest
from agent.notify import delivery
from agent.notify.cloudwatch import CloudWatch
from agent.notify.eventbridge import EventBridge
from agent.pipeline.steps import reclaim_tree
from agent.settings.live import LiveConfiguration
from agent.settings.reload import SettingsWatch
from agent.source import git
from agent.store.builds import Builds
from agent.store.cursors import Cursors
from agent.store.outbox import Outbox
from agent.store.requests import Requests
from agent.triggers.arrivals import Arrivals
from agent.triggers.filewatch import FileWatch, watch_tree
from agent.triggers.poll import Poll, PollTarget
from agent.triggers.pushes import Pushes
from agent.triggers.schedule import Schedules
from agent.triggers.sqs import Queue, Sqs
from agent.web.server import ControlServer, HttpServer

_log = get_logger("app")
_FAREWELL_SECONDS = 20.0


class HangUp:
    """Passes "read your files again" on to a daemon, once there is one."""

    def __init__(self) -> None:
        self.answer: Callable[[], None] = lambda: None

    def ring(self) -> None:
        """Have the settings and project files read again."""
        self.answer()


def serve(config: Path | None, stop: StopToken, hang_up: HangUp | None = None) -> None:
    """Run the daemon until *stop* is set; running builds go on without it. Raises `BuildspecdError`."""
    live = LiveConfiguration(config)
    configure(level=live.settings.log.level, format=live.settings.log.format)
    estate = Estate.at(live.settings.state_dir, live.settings.runtime_dir)
    with locked(estate.state / "lock", busy=f"{estate.state} belongs to a daemon that runs"):
        daemon = Daemon(live, estate)
        if hang_up is not None:
            hang_up.answer = daemon.reload
        daemon.run(stop)


class Daemon:
    """Everything that runs in `buildspecd serve`."""

    def __init__(self, live: LiveConfiguration, estate: Estate) -> None:
        self._live = live
        self._estate = estate
        self._workshop = workshop = Workshop(live.settings, estate, projects=lambda: live.projects)
        self._poll_troubles: dict[str, str] = {}
        self._polled: tuple[object, object, list[PollTarget]] = (None, None, [])
        self._scheduler = Scheduler(
            owner=estate.agent_id,
            database=workshop.database,
            recorder=workshop.recorder,
            limits=self._limits,
            new_job=workshop.new_job,
            clock=workshop.clock,
        )
        self._intake = Intake(
            workshop.database,
            workshop.recorder,
            lambda name: live.projects.get(name.rpartition(":project/")[2]),
            lambda: workshop.identity,
            workshop.clock,
            wake=self._scheduler.wake,
        )
        workshop.recorder.successor = AutoRetry(workshop.database, self._intake)
        self._hooks = HookRoom(workshop, live, self._intake)
        self._pushes = Pushes(
            submit=self._intake.submit,
            was_asked=lambda key: Requests(workshop.database).find(key) is not None,
            cursors=Cursors(workshop.database),
            transaction=workshop.database.transaction,
            heads=workshop.sources.heads,
        )
        self._schedules = Schedules(
            projects=lambda: live.projects.values(),
            submit=self._intake.submit,
            cursors=Cursors(workshop.database),
            transaction=workshop.database.transaction,
            clock=workshop.clock,
        )
        self._sqs: Sqs | None = None
        self._notifier = Notifier()
        self._settings = SettingsWatch(live, watch_tree, self._took_up, self._notifier)
        self._follower = follower(workshop, live, self.reload)
        self._supervisor = Supervisor(self._services(), workshop.clock)

    def run(self, stop: StopToken) -> None:
        """Run every service until *stop*; let go of running builds."""
        _log.info("starting", state_dir=str(self._estate.state), projects=len(self._live.projects))
        for problem in self._live.problems:
            _log.warning("configuration", problem=str(problem))
        self._supervisor.start(stop)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        self._notifier.ready(f"{len(self._live.projects)} projects")
        stop.wait()
        self._schedules.wake()
        self._notifier.stopping("letting go of running builds")
        late = self._supervisor.wait(_FAREWELL_SECONDS)
        if late:
            _log.warning("services did not end in time", services=late)
        self._workshop.access.clear()
        _log.info("ended")

    def _warm_up(self) -> None:
        """Load the libraries that the first build would wait for (half a second), and get to know the engine."""
        git.preload()
        version = self._engine_version()
        if not version:
            _log.warning("the Docker engine does not answer; builds wait for it", hint="sudo systemctl start docker")

    def reload(self) -> None:
        """Read settings and project files again, changed or not."""
        self._settings.reload()

    def _services(self) -> list[Service]:
        workshop, live = self._workshop, self._live
        poll = Poll(
            projects=self._targets,
            submit=self._submit_polled,
            cursors=Cursors(workshop.database),
            heads=workshop.sources.heads,
            change=self._change,
            standing=workshop.buckets.standing,
            clock=workshop.clock,
            report=self._report,
        )
        reception = Reception(
            workshop.database,
            self._intake,
            self._scheduler,
            self._project_states,
            self._estate.builds,
            workshop.clock.now(),
            self._engine_version,
            self._troubles,
            workshop.caches.invalidate,
            lambda: self._follower.state if self._follower else None,
        )
        janitor = Janitor(
            self._estate.agent_id,
            workshop.database,
            workshop.engine,
            self._estate.builds,
            self._estate.secrets,
            self._reclaim,
            workshop.clock,
            workshop.caches,
        )
        return [
            self._scheduler,
            poll,
            FileWatch(projects=self._targets, look_now=poll.look_now),
            *self._queues(poll),
            self._schedules,
            self._settings,
            *([self._follower] if self._follower else []),
            janitor,
            Redelivery(workshop.database, workshop.recorder, workshop.reopen_log, workshop.log_dir, workshop.clock),
            ControlServer(reception, self._estate.state, lambda resource: workshop.identity.arn(resource)),
            HttpServer(reception, live.settings.http.host, live.settings.http.port, self._hooks.receive),
            self._hooks.backlog,
            Watchdog(self._notifier, lambda: self._supervisor.alive),
            *self._deliveries(),
        ]

    def _deliveries(self) -> Sequence[Service]:
        workshop, afar = self._workshop, self._sinks_of_events()
        kept = delivery.KEPT_SECONDS if afar else delivery.KEPT_WITHOUT_SINK_SECONDS
        sinks = [*afar, status_book(workshop)]
        return [*delivery.services(Outbox(workshop.database), sinks, workshop.clock, kept), status_desk(workshop)]

    def _sinks_of_events(self) -> Sequence[delivery.Sink]:
        settings, aws = self._live.settings, self._workshop.aws
        if not aws.in_sight():
            return []
        sinks: list[delivery.Sink] = []
        if settings.events.bus:
            sinks.append(EventBridge(aws, bus=settings.events.bus, source=settings.events.source))
        if settings.metrics.namespace:
            sinks.append(CloudWatch(aws, namespace=settings.metrics.namespace))
        return sinks

    def _submit_polled(self, request: BuildRequest) -> None:
        """Store what polling found, unless an event told of it before."""
        project = self._live.projects.get(request.project)
        if project is None:
            raise ProjectUnknown(f"there is no project {request.project}")
        self._pushes.polled(project, request)

    def _queues(self, poll: Poll) -> Sequence[Sqs]:
        """Return the service that reads the queue of AWS events, if there is one."""
        queue, workshop = self._live.settings.queue, self._workshop
        if queue.url is None:
            return ()
        arrivals = Arrivals(
            projects=lambda: self._live.projects.values(),
            pushes=self._pushes,
            submit=self._intake.submit,
            look=poll.look_at_upload,
            change=self._change,
        )
        self._sqs = Sqs(Queue(workshop.aws, queue.url, queue.wait), arrivals.take, workshop.clock)
        return (self._sqs,)

    def _troubles(self) -> Mapping[str, str]:
        """Return the last trouble of each service; one that waits for better times is still running."""
        own = {self._sqs.name: self._sqs.trouble} if self._sqs and self._sqs.trouble else {}
        return {**self._supervisor.troubles, **own}

    def _limits(self) -> Limits:
        projects = self._live.projects

        def of_project(name: str) -> int | None:
            project = projects.get(name)
            return (project.agent.max_concurrent or project.concurrent_build_limit) if project else None

        return Limits(self._live.settings.builds.max_concurrent, of_project)

    def _targets(self) -> list[PollTarget]:
        """Return what is polled; the same list as long as the configuration is the same."""
        projects, poll = self._live.projects, self._live.settings.poll
        known, when, listed = self._polled
        if known is not projects or when != poll:
            listed = [
                PollTarget(project, poll.every, poll.slowest)
                if project.agent.poll is None
                else PollTarget(project, project.agent.poll)
                for project in projects.values()
            ]
            self._polled = (projects, poll, listed)
        return listed

    def _change(self, source: Source, ref: str, old: str | None, new: str) -> tuple[Sequence[str], str]:
        change = self._workshop.sources.change(source, ref, old, new)
        return change.paths, change.message

    def _report(self, project: str, error: BuildspecdError | None) -> None:
        if error is None:
            self._poll_troubles.pop(project, None)
        elif self._poll_troubles.get(project) != error.message:
            self._poll_troubles[project] = error.message
            _log.warning("cannot look at a source", project=project, error=error.message, hint=error.hint)

    def _project_states(self) -> list[ProjectState]:
        builds = Builds(self._workshop.database)
        states = self._live.states(builds.last_of, self._poll_troubles)
        runs = self._schedules.next_runs
        return [replace(one, next_runs=runs(one.project)) if one.project else one for one in states]

    def _reclaim(self, path: Path) -> None:
        """Remove what a build left, in its directory or in a cache; its image helps where its files are root's."""
        known = Builds(self._workshop.database).matching(path.parent.name)
        image = known[0].project.environment.image if known else Slot(path.parent).image
        reclaim_tree(self._workshop.engine, path, image, self._workshop.settings.images.rewrite)

    def _took_up(self) -> None:
        self._scheduler.wake()
        self._schedules.wake()

    def _engine_version(self) -> str:
        try:
            return self._workshop.engine.facts().version
        except BuildspecdError:
            return ""
