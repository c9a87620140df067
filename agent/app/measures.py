"""Measures: what the daemon tells of itself and of its builds, to AWS and to scrapers, wired."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import agent
from agent.app.statuses import status_book, status_desk
from agent.app.workshop import Workshop
from agent.aws import Aws
from agent.daemon.standing import Surveyor
from agent.daemon.usage import Usage
from agent.kit.service import Service
from agent.notify import delivery, probe
from agent.notify.cloudwatch import CloudWatch
from agent.notify.eventbridge import EventBridge
from agent.notify.gauges import Gauges
from agent.notify.prometheus import Moment, Prometheus
from agent.notify.sns import Sns
from agent.pipeline.job import Job
from agent.settings.live import LiveConfiguration
from agent.settings.schema import Settings
from agent.store.outbox import Outbox

_PATIENCE_SECONDS = 10.0
"""How long a service that has taken a call may be silent: what is not told now is told later."""
_ATTEMPTS = 2


@dataclass(frozen=True)
class Brisk:
    """Clients that do not wait long: for what is kept and tried again by itself, and must not hold up the rest."""

    aws: Aws

    def client(self, service: str) -> Any:
        """See `Clients.client`."""
        return self.aws.client(service, attempts=_ATTEMPTS, patience=_PATIENCE_SECONDS)


def probes(settings: Settings, aws: Aws) -> dict[str, Callable[[], str]]:
    """Return what asks each service of AWS that is told of builds whether it would listen, by the name of the check."""
    events, namespace, brisk = settings.events, settings.metrics.namespace, Brisk(aws)
    found: dict[str, Callable[[], str]] = {}
    if events.bus:
        found["events"] = partial(probe.eventbridge, brisk, events.bus, events.source)
    if events.topic:
        found["topic"] = partial(probe.sns, Brisk(region_of(settings, events.topic)), events.topic)
    if namespace:
        found["metrics"] = partial(probe.cloudwatch, brisk, namespace)
    return found


def region_of(settings: Settings, arn: str) -> Aws:
    """Return clients of the region that *arn* names."""
    aws = settings.aws
    return Aws(region=arn.split(":")[3], profile=aws.profile, endpoint_url=aws.endpoint_url)


@dataclass
class Measures:
    """Everybody who is told: the sinks of the outbox, and the figures. `disks` are where builds write."""

    workshop: Workshop
    live: LiveConfiguration
    jobs: Callable[[], Mapping[str, Job]]
    disks: Callable[[], Sequence[Path]]
    healthy: Callable[[], bool]

    def __post_init__(self) -> None:
        clock = self.workshop.clock
        self.usage = Usage(self.jobs, clock)
        self.surveyor = Surveyor(self.workshop.database, self.jobs, self.disks, self._names, clock)
        self._started = clock.now()

    @property
    def page(self) -> Callable[[str], tuple[bytes, str]] | None:
        """What `GET /metrics` shows; None where that is switched off."""
        return self._prometheus.page_for if self._prometheus else None

    def services(self) -> Sequence[Service]:
        """Return what is to be run."""
        afar, workshop = self._afar, self.workshop
        kept = delivery.KEPT_SECONDS if afar else delivery.KEPT_WITHOUT_SINK_SECONDS
        sinks = [*afar, status_book(workshop), *([self._prometheus] if self._prometheus else [])]
        telling = delivery.services(Outbox(workshop.database), sinks, workshop.clock, kept)
        gauges = self._gauges()
        measuring = [self.usage] if gauges or self._prometheus else []
        return [*telling, status_desk(workshop), *measuring, *gauges]

    def _names(self) -> Sequence[str]:
        return [sink.name for sink in self._afar]

    @cached_property
    def _prometheus(self) -> Prometheus | None:
        if not self.live.settings.metrics.prometheus:
            return None
        return Prometheus(Moment(self.surveyor.look, self.usage.totals, self.healthy, agent.__version__, self._started))

    @cached_property
    def _afar(self) -> Sequence[delivery.Sink]:
        """The sinks of AWS."""
        settings, aws = self.live.settings, self.workshop.aws
        if not aws.in_sight():
            return []
        sinks: list[delivery.Sink] = []
        events = settings.events
        if events.bus:
            sinks.append(EventBridge(Brisk(aws), bus=events.bus, source=events.source))
        if events.topic:
            there = Brisk(region_of(settings, events.topic))
            sinks.append(Sns(there, events.topic, source=events.source, only=frozenset(events.topic_events)))
        if settings.metrics.namespace:
            sinks.append(CloudWatch(Brisk(aws), namespace=settings.metrics.namespace))
        return sinks

    def _gauges(self) -> Sequence[Service]:
        metrics, aws = self.live.settings.metrics, self.workshop.aws
        if not (metrics.namespace and aws.in_sight()):
            return ()
        return (
            Gauges(
                Brisk(aws),
                metrics.namespace,
                metrics.agent_name or socket.gethostname(),
                standing=self.surveyor.look,
                usage=self.usage.take,
                healthy=self.healthy,
                clock=self.workshop.clock,
                per_build=metrics.per_build,
            ),
        )
