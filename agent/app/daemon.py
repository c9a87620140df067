"""Daemon: everything that runs in `buildspecd serve`, wired."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from socket import socket

from agent.app.following import follower
from agent.app.guarding import warn
from agent.app.hooks import HookRoom
from agent.app.hosting import farewell, interruptions, while_staying
from agent.app.housekeeping import Housekeeping
from agent.app.measures import Measures
from agent.app.pipelines import pipeline_worker
from agent.app.workshop import Workshop
from agent.daemon.autoretry import AutoRetry
from agent.daemon.control import ProjectState
from agent.daemon.estate import Estate, locked
from agent.daemon.gate import Gate
from agent.daemon.intake import Intake
from agent.daemon.policy import Limits
from agent.daemon.reception import Reception
from agent.daemon.redelivery import Redelivery
from agent.daemon.scheduler import Scheduler
from agent.daemon.supervisor import Supervisor
from agent.daemon.watchdog import Watchdog
from agent.errors import BuildspecdError, ProjectUnknown
from agent.kit.logging import configure, get_logger
from agent.kit.sdnotify import Notifier, handed_over
from agent.kit.service import Service, StopToken
from agent.model.project import Source
from agent.model.request import BuildRequest
from agent.settings.live import LiveConfiguration
from agent.settings.reload import SettingsWatch
from agent.source import git
from agent.store.builds import Builds
from agent.store.cursors import Cursors
from agent.store.requests import Requests
from agent.triggers.arrivals import Arrivals
from agent.triggers.filewatch import FileWatch, watch_tree
from agent.triggers.hooks import topics
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
    held = handed_over()  # ahead of every child
    live = LiveConfiguration(config)
    configure(level=live.settings.log.level, format=live.settings.log.format)
    estate = Estate.at(live.settings.state_dir, live.settings.runtime_dir)
    with locked(estate.state / "lock", busy=f"{estate.state} belongs to a daemon that runs"):
        daemon = Daemon(live, estate)
        daemon.take_over(held)
        if hang_up is not None:
            hang_up.answer = daemon.reload
        daemon.run(stop)


class Daemon:
    """Everything that runs in `buildspecd serve`."""

    def __init__(self, live: LiveConfiguration, estate: Estate) -> None:
        self._live = live
        self._estate = estate
        self._workshop = workshop = Workshop(
            live.settings,
            estate,
            projects=lambda: live.projects,
            keep_failed=lambda: live.settings.retention.failed_workspaces > 0,
        )
        self._poll_troubles: dict[str, str] = {}
        self._polled: tuple[object, object, list[PollTarget]] = (None, None, [])
        self._scheduler = Scheduler(
            owner=estate.agent_id,
            database=workshop.database,
            recorder=workshop.recorder,
            limits=self._limits,
            new_job=workshop.new_job,
            clock=workshop.clock,
            gate=Gate(estate.state / "draining"),
        )
        self._housekeeping = Housekeeping(workshop, estate, live, self._scheduler.jobs)
        self._scheduler.hold = self._housekeeping.watch.hold
        self._measures = Measures(
            workshop, live, self._scheduler.jobs, self._housekeeping.disks, lambda: self._supervisor.alive
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
        self._pushes = _pushes(workshop, self._intake)
        self._schedules = Schedules(
            projects=lambda: live.projects.values(),
            submit=self._intake.submit,
            cursors=Cursors(workshop.database),
            transaction=workshop.database.transaction,
            clock=workshop.clock,
        )
        self._sqs: Sqs | None = None
        self._pipelines = pipeline_worker(workshop, live, self._intake, self._scheduler)
        self._notifier = Notifier()
        self._settings = SettingsWatch(live, watch_tree, self._took_up, self._notifier)
        self._follower = follower(workshop, live, self.reload)
        self._supervisor = Supervisor(self._services(), workshop.clock)

    def take_over(self, held: Mapping[str, socket]) -> None:
        """Use the sockets that systemd has held open since the daemon before, and have it hold those to come."""
        self._workshop.desk.ports.hold_with(self._notifier.keep, held)

    def run(self, stop: StopToken) -> None:
        """Run every service until *stop*; let go of running builds."""
        _log.info("starting", state_dir=str(self._estate.state), projects=len(self._live.projects))
        for problem in self._live.problems:
            _log.warning("configuration", problem=str(problem))
        warn(self._workshop.guard)
        letting_go = StopToken()
        self._supervisor.start(letting_go)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        self._notifier.ready(f"{len(self._live.projects)} projects")
        stop.wait()
        farewell(self._workshop, self._scheduler).say()
        letting_go.set()
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
            paused=lambda: self._scheduler.gate.shut,
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
            self._housekeeping.kept_workspace,
        )
        receive = while_staying(self._scheduler.gate, self._hooks.receive)
        return [
            self._scheduler,
            *interruptions(workshop, live, self._scheduler),
            poll,
            FileWatch(projects=self._targets, look_now=poll.look_now),
            *self._queues(poll),
            *self._pipelines,
            self._schedules,
            self._settings,
            *([self._follower] if self._follower else []),
            *self._housekeeping.services,
            workshop.spares,
            workshop.desk,
            Redelivery(workshop.database, workshop.recorder, workshop.reopen_log, workshop.log_dir, workshop.clock),
            ControlServer(reception, self._estate.state, lambda resource: workshop.identity.arn(resource)),
            HttpServer(reception, live.settings.http.host, live.settings.http.port, receive, self._measures.page),
            self._hooks.backlog,
            Watchdog(self._notifier, lambda: self._supervisor.alive),
            *self._measures.services(),
        ]

    def _submit_polled(self, request: BuildRequest) -> None:
        """Store what polling found, unless an event told of it before."""
        project = self._live.projects.get(request.project)
        if project is None:
            raise ProjectUnknown(f"there is no project {request.project}")
        self._pushes.polled(project, request)

    def _queues(self, poll: Poll) -> Sequence[Sqs]:
        """Have AWS events taken in; return the service that reads the queue of them, if there is one."""
        queue, workshop = self._live.settings.queue, self._workshop
        arrivals = Arrivals(
            projects=lambda: self._live.projects.values(),
            pushes=self._pushes,
            submit=self._intake.submit,
            look=poll.look_at_upload,
            change=self._change,
        )
        self._hooks.take = replace(arrivals, initiator=topics.INITIATOR).take
        if queue.url is None:
            return ()
        channel, gate = Queue(workshop.aws, queue.url, queue.wait), self._scheduler.gate
        self._sqs = Sqs(channel, arrivals.take, workshop.clock, lambda: gate.shut)
        return (self._sqs,)

    def _troubles(self) -> Mapping[str, str]:
        """Return the last trouble of each service; one that waits for better times is still running."""
        patient = [one for one in (self._sqs, *self._pipelines) if one is not None and one.trouble]
        return {**self._supervisor.troubles, **{one.name: one.trouble for one in patient}}

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

    def _took_up(self) -> None:
        self._workshop.access.renew(self._live.settings.credentials)
        self._scheduler.wake()
        self._schedules.wake()

    def _engine_version(self) -> str:
        try:
            return self._workshop.engine.facts().version
        except BuildspecdError:
            return ""


def _pushes(workshop: Workshop, intake: Intake) -> Pushes:
    """Return what decides which pushes are built."""
    requests, clock = Requests(workshop.database), workshop.clock
    return Pushes(
        submit=intake.submit,
        was_asked=lambda key: requests.find(key) is not None,
        cursors=Cursors(workshop.database),
        transaction=workshop.database.transaction,
        heads=workshop.sources.heads,
        pass_over=lambda key, by: requests.pass_over(key, by, clock.now()),
    )
