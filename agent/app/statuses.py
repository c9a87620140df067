"""Statuses: how the daemon tells git hosts of commits, wired."""

from __future__ import annotations

from agent.app.workshop import Workshop
from agent.kit.service import Service
from agent.notify.hostdoor import HostDoor
from agent.notify.statusbook import StatusBook
from agent.notify.statusdesk import StatusDesk
from agent.store.statuses import Statuses


def status_book(workshop: Workshop) -> StatusBook:
    """Return the sink that takes commit statuses out of the outbox."""
    return StatusBook(Statuses(workshop.database))


def status_desk(workshop: Workshop) -> Service:
    """Return the service that tells the hosts."""
    door = HostDoor(workshop.access.remote_for_api, workshop.access.api, workshop.access.accounts.forget)
    return StatusDesk(Statuses(workshop.database), door, workshop.clock)
