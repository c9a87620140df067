"""Delivery: takes events from the outbox to the sinks, at least once, each sink at its own pace.

An event that a sink has not taken is never lost while it is younger than `KEPT_SECONDS`. There is one exception: an
event that a sink refuses while it takes others is given up after `REFUSED_ALONE_SECONDS`, so that it cannot hold
them up. A sink that is new begins with what the outbox holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.errors import BuildspecdError, Unavailable, UserError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import Service, StopToken
from agent.model.event import BuildEvent
from agent.store.outbox import Outbox

_log = get_logger("notify")

KEPT_SECONDS = 7 * 86400.0
"""How long an event waits for a sink that does not take it; afterwards it is passed over and pruned."""
KEPT_WITHOUT_SINK_SECONDS = 86400.0
"""How long events stay where nobody is told; a sink that is switched on later begins with them."""
REFUSED_ALONE_SECONDS = 3600.0
"""How old an event must be to be given up when a sink refuses it, and takes events of other builds."""

LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
REFUSED_PAUSE_SECONDS = 300.0
PRUNE_SECONDS = 3600.0
_LOOK_AHEAD = 100

Page = list[tuple[int, BuildEvent]]


class Sink(Protocol):
    """Somebody who is told of events. `name` is kept with how far it has got, so it never changes.

    `deliver` is called by one thread at a time, with 1 to `page` events, oldest first; it returns once all of them
    have been taken, and keeps the order of the events of one build. It raises `Unavailable` (such as
    `AwsUnavailable`) when it may work later, `UserError` (such as `AwsRefused`) when somebody has to mend something.
    After either it is called again with the same events, or with fewer of them; a sink that has taken some of them
    may take those twice, or know them.
    """

    @property
    def name(self) -> str: ...

    @property
    def page(self) -> int:
        """How many events it is given at most at a time."""
        ...

    def deliver(self, events: Sequence[BuildEvent]) -> None: ...


class Clients(Protocol):
    """What a sink needs of `agent.aws.Aws`: the client of a service, made once, for any thread."""

    def client(self, service: str) -> Any: ...


def services(outbox: Outbox, sinks: Sequence[Sink], clock: Clock, kept: float | None = None) -> list[Service]:
    """Return the services that tell *sinks*, one each, and the one that prunes the outbox.

    *kept* is for how many seconds events stay; None: as long as a sink may be down, where there are any.
    """
    names = [sink.name for sink in sinks]
    return [*(Delivery(sink, outbox, clock) for sink in sinks), Pruning(outbox, names, clock, kept)]


@dataclass
class Delivery:
    """A Service: takes events to one sink. `trouble` says why the sink does not take them now ("" when it does)."""

    sink: Sink
    outbox: Outbox
    clock: Clock
    trouble: str = ""
    _failures: int = 0
    _one_by_one: bool = False
    _suspect: int = 0

    @property
    def name(self) -> str:
        """The name of the service."""
        return f"notify {self.sink.name}"

    def run(self, stop: StopToken) -> None:
        """Deliver until *stop*. What is not delivered by then stays in the outbox."""
        while not stop.is_set:
            self.clock.wait(self.turn(), stop)

    def turn(self) -> float:
        """Try the next events once; return for how many seconds to pause then."""
        page = self._young(self.outbox.pending(self.sink.name, 1 if self._one_by_one else self.sink.page))
        if not page:
            return LOOK_SECONDS
        try:
            self.sink.deliver([event for _, event in page])
        except Unavailable as error:
            return self._try_later(error)
        except UserError as error:
            return self._refused(page, error)
        self._mark(page[-1][0])
        self._well()
        return 0.0

    def _young(self, page: Page) -> Page:
        """Return *page* without those at its beginning that are too old to be told, which are passed over."""
        oldest = self.clock.now() - KEPT_SECONDS
        young = next((place for place, (_, event) in enumerate(page) if event.at >= oldest), len(page))
        if young:
            _log.error("events are too old to be delivered", sink=self.sink.name, events=young, trouble=self.trouble)
            self._mark(page[young - 1][0])
        return page[young:]

    def _try_later(self, error: Unavailable) -> float:
        self._explain(error)
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 30), LONGEST_PAUSE_SECONDS)
        self._failures += 1
        return pause

    def _refused(self, page: Page, error: UserError) -> float:
        """Find out whether the first event alone is refused; if so, give it up, else hold everything back."""
        if len(page) > 1:
            self._one_by_one = True
            return 0.0
        seq, event = page[0]
        if seq == self._suspect:
            _log.error(
                "an event is refused while others are taken, giving it up",
                sink=self.sink.name,
                build=event.build.id,
                kind=event.kind,
                error=error.message,
            )
            self._mark(seq)
            return 0.0
        self._explain(error)
        if self.clock.now() - event.at > REFUSED_ALONE_SECONDS and self._takes_another_than(event):
            self._suspect = seq  # asked once more, since somebody may have mended it between the two
            return 0.0
        return REFUSED_PAUSE_SECONDS

    def _takes_another_than(self, event: BuildEvent) -> bool:
        """Whether the sink takes the next event of another build; it may be told of that one twice."""
        waiting = self.outbox.pending(self.sink.name, _LOOK_AHEAD)
        other = next((other for _, other in waiting if other.build.id != event.build.id), None)
        if other is None:
            return False
        try:
            self.sink.deliver([other])
        except (Unavailable, UserError):
            return False
        return True

    def _mark(self, seq: int) -> None:
        self.outbox.delivered(self.sink.name, seq)
        self._one_by_one = False
        self._suspect = 0

    def _explain(self, error: BuildspecdError) -> None:
        if error.message != self.trouble:
            _log.warning("cannot deliver events", sink=self.sink.name, error=error.message, hint=error.hint)
        self.trouble = error.message

    def _well(self) -> None:
        if self.trouble:
            _log.info("delivering events again", sink=self.sink.name)
        self.trouble = ""
        self._failures = 0


@dataclass
class Pruning:
    """A Service: drops what every one of *sinks* (by name) has been told, once it is old."""

    outbox: Outbox
    sinks: list[str]
    clock: Clock
    kept: float | None = None
    name: str = "notify pruning"

    def run(self, stop: StopToken) -> None:
        """Prune now and every hour until *stop*."""
        while not stop.is_set:
            self.prune()
            self.clock.wait(PRUNE_SECONDS, stop)

    def prune(self) -> int:
        """Drop old events; return how many."""
        default = KEPT_SECONDS if self.sinks else KEPT_WITHOUT_SINK_SECONDS
        return self.outbox.prune(self.sinks, self.clock.now() - (default if self.kept is None else self.kept))
