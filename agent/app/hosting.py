"""Hosting: what the daemon does about the life of its host, wired."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agent.app.workshop import Workshop
from agent.aws import translated
from agent.daemon.gate import Gate, Notice
from agent.daemon.interruption import Farewell, Interruptions, systemd_is_stopping
from agent.daemon.lifecycle import Lifecycle
from agent.daemon.metadata import Metadata, endpoint
from agent.daemon.scheduler import Scheduler
from agent.errors import BuildspecdError
from agent.kit.logging import get_logger
from agent.kit.service import Service
from agent.settings.live import LiveConfiguration
from agent.store.queue import Queue
from agent.web.hooks import Receive

_log = get_logger("hosting")
DETAIL_TYPE = "Buildspecd Host Interruption"


def interruptions(workshop: Workshop, live: LiveConfiguration, scheduler: Scheduler) -> Sequence[Service]:
    """Return the service that watches for the end of this host, if it is wanted."""
    address, host = endpoint(), live.settings.host
    if host.watch_interruptions == "off" or address is None:
        return ()
    metadata = Metadata(address)
    own = Metadata(address)  # the hold asks on the same thread, but in between

    def tell(notice: Notice | None) -> None:
        _tell(workshop, live, own, notice)

    return (
        Interruptions(
            watched=metadata,
            hold=Lifecycle(workshop.aws, own.instance, workshop.clock, host.lifecycle_hook),
            gate=scheduler.gate,
            scheduler=scheduler,
            database=workshop.database,
            clock=workshop.clock,
            tell=tell,
            patience=lambda: live.settings.host.lifecycle_grace,
            stop_grace=live.settings.builds.stop_grace,
        ),
    )


def farewell(workshop: Workshop, scheduler: Scheduler) -> Farewell:
    """Return what is done when this process is to end."""
    return Farewell(scheduler.gate, scheduler, workshop.database, workshop.clock, systemd_is_stopping)


def while_staying(gate: Gate, receive: Receive) -> Receive:
    """Return *receive*, but for a host that goes away: what it took in now would go with it."""

    def answer(name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        if gate.leaving is not None:
            return 503, {"message": "this host is being taken away; deliver to another agent"}
        return receive(name, headers, body)

    return answer


def _tell(workshop: Workshop, live: LiveConfiguration, metadata: Metadata, notice: Notice | None) -> None:
    """Put one event on the bus, best effort: the end of each build is told by its own, which cannot be lost."""
    bus, aws = live.settings.events.bus, workshop.aws
    if bus is None or not aws.in_sight():
        return
    places = Queue(workshop.database).places()
    running = sum(1 for place in places if place.owner)
    try:
        detail = detail_of(notice, metadata.instance(), workshop.estate.agent_id, running, len(places) - running)
        entry = {"Source": live.settings.events.source, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail)}
        with translated("events:PutEvents"):
            aws.client("events").put_events(Entries=[{**entry, "EventBusName": bus}])
    except BuildspecdError as error:
        _log.warning("the event bus was not told", error=error.message, hint=error.hint)


def detail_of(notice: Notice | None, instance: str, agent: str, running: int, queued: int) -> dict[str, Any]:
    """Return the detail of the event; without a notice it is a recommendation to leave. Pure."""
    at = datetime.fromtimestamp(notice.at, UTC).isoformat() if notice and notice.at is not None else None
    return {
        "agent": agent,
        "instance-id": instance,
        "reason": notice.whom if notice else "EC2 recommends to rebalance",
        "action": notice.action if notice else None,
        "at": at,
        "builds-running": running,
        "builds-queued": queued,
    }
