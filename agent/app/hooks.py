"""Hooks: webhooks, wired for the daemon, and tried out without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.app.workshop import Workshop
from agent.daemon.intake import Intake
from agent.errors import SourceRefused, Unavailable
from agent.kit.service import StopToken
from agent.model.project import Source
from agent.model.secret import Secret
from agent.notify.githosts import host_of
from agent.notify.held import HeldStatuses
from agent.notify.hostdoor import headers_for
from agent.settings.live import LiveConfiguration
from agent.source.connections import Trust
from agent.source.hostapi import Answer
from agent.store.hooks import Hooks
from agent.store.statuses import Statuses
from agent.triggers.events import Happening
from agent.triggers.hooks.backlog import Backlog
from agent.triggers.hooks.certificates import Certificates, fetch_through
from agent.triggers.hooks.desk import READERS, Desk
from agent.triggers.hooks.event import Host
from agent.triggers.hooks.looks import SourceLooks
from agent.triggers.hooks.roles import Roles
from agent.triggers.hooks.secrets import SecretBook
from agent.triggers.hooks.topics import PLACE, Topics, confirm_through
from agent.triggers.hooks.trial import Finding, try_out


class HookRoom:
    """Webhooks in a daemon: `receive` takes deliveries, `backlog` is the service behind it."""

    def __init__(self, workshop: Workshop, live: LiveConfiguration, intake: Intake) -> None:
        self._workshop = workshop
        self.take: Callable[[Happening, StopToken], None] = _nobody
        """Takes what SNS tells of; `Arrivals.take`, once there is one."""
        hooks = Hooks(workshop.database)
        book = SecretBook(self._follow, workshop.clock)
        self.desk = Desk(
            projects=lambda: live.projects.values(),
            submit=intake.submit,
            hooks=hooks,
            secrets=book,
            clock=workshop.clock,
            wake=lambda: self.backlog.wake(),
            unsigned_allowed=lambda: live.settings.webhooks.allow_unsigned,
        )
        connections = workshop.access.connections
        self.topics = Topics(
            allowed=lambda: live.settings.webhooks.sns_topics,
            certificates=Certificates(fetch_through(connections), workshop.clock),
            hooks=hooks,
            clock=workshop.clock,
            take=lambda happening, stop: self.take(happening, stop),
            confirm=confirm_through(connections),
            wake=lambda: self.backlog.wake(),
        )
        self.backlog = Backlog(
            hooks=hooks,
            project=lambda name: live.projects.get(name),
            submit=intake.submit,
            looks=SourceLooks(workshop.sources, hooks, Roles(host_of, self._ask)),
            secrets=book,
            references=self.desk.references,
            clock=workshop.clock,
            errands={PLACE: self.topics.settle},
            held=HeldStatuses(Statuses(workshop.database), lambda: workshop.identity.region, workshop.clock),
        )

    def receive(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Take in a delivery for `/hooks/NAME`; see `Desk.receive` and `Topics.receive`."""
        if name == "sns":
            return self.topics.receive(headers, body)
        return self.desk.receive(host_named(name), headers, body)

    def _follow(self, reference: str) -> Secret:
        """Return the secret behind a reference as it is now, whatever is kept of it elsewhere."""
        secrets = self._workshop.access.secrets
        secrets.forget(reference)
        return secrets(reference)

    def _ask(self, source: Source, address: str) -> Answer:
        """Get *address* with what opens *source*. Raises `SourceRefused` without a login, and what the host raises."""
        host, remote = host_of(source), self._workshop.access.remote_for_api(source)
        if host is None or remote is None or remote.credential is None:
            raise SourceRefused(
                f"there is no login for {source.location}, which looking up roles needs",
                hint="give the source a token: `credentials` in agent.yml",
            )
        trust = Trust(remote.insecure_ssl, remote.ca_file)
        return self._workshop.access.api.get(address, headers_for(host, remote.credential), trust=trust)


def _nobody(_: Happening, __: StopToken) -> None:
    raise Unavailable("the agent is starting")


@dataclass(frozen=True)
class Trial:
    """What a payload would start. `ignored` gives the reason where it tells of no event."""

    host: str
    ignored: str
    findings: tuple[Finding, ...]
    names: tuple[str, ...]


def try_delivery(config: Path | None, name: str, headers: Mapping[str, str], body: bytes, project: str | None) -> Trial:
    """Return what a delivery to `/hooks/NAME` would start; nothing is stored, and no server is asked.

    With *project* that one alone, whatever its source. Raises `RequestInvalid`, `ProjectUnknown`, `SettingsInvalid`.
    """
    live = LiveConfiguration(config)
    chosen = [live.project(project)] if project else list(live.projects.values())
    host = host_named(name)
    delivery = READERS[host](headers, body)
    findings = try_out(chosen, host, delivery, forced=project is not None)
    repositories = tuple(dict.fromkeys(event.repository.full_name for event in delivery.events))
    return Trial(name, delivery.ignored, tuple(findings), repositories)


def host_named(name: str) -> Host:
    """Return the host of `/hooks/NAME`."""
    return next(host for host in READERS if host == name)
