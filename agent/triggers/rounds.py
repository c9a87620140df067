"""Rounds: whose turn it is to be looked at. Knows time and servers, but neither git nor threads."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent.errors import BuildspecdError, Unavailable
from agent.triggers.target import PollTarget

PER_HOST = 8
"""Looks at one server at a time; at one that does not answer, one."""
LONGEST_PAUSE = 900.0
"""Seconds that a server or a repository with trouble is left alone at most, unless it asks for more."""
JITTER = 0.1
STARTS_PER_SECOND = 50
"""First looks are spread, so that a start does not ask a thousand repositories at once."""
SLEEPY = 40.0
"""A pause is at most this part of the time in which nothing has happened: 2 minutes after 80."""


@dataclass
class _Standing:
    """How one project stands. `busy`: it is being looked at; `again`: it has to be looked at once more after that."""

    target: PollTarget
    due: float
    changed: float
    busy: bool = False
    waits: bool = False
    again: bool = False
    failures: int = 0


@dataclass
class _Host:
    """How one server stands: looks under way, who waits for a free one, and until when it is left alone."""

    busy: int = 0
    failures: int = 0
    until: float = 0.0
    waiting: deque[str] = field(default_factory=deque)

    @property
    def room(self) -> int:
        """How many more looks may be taken at it now."""
        return (1 if self.failures else PER_HOST) - self.busy


class Rounds:
    """Says which projects are to be looked at, each in its own rhythm. Not thread-safe; times are monotonic seconds.

    What it costs depends on the looks that are due, not on how many projects there are.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._listed: Sequence[PollTarget] = ()
        self._wanted: frozenset[str] = frozenset()
        self._standings: dict[str, _Standing] = {}
        self._hosts: dict[str, _Host] = {}
        self._heap: list[tuple[float, str]] = []

    def take_up(self, listed: Sequence[PollTarget], now: float) -> None:
        """Have these projects looked at from now on; the same list again costs nothing."""
        if listed is self._listed:
            return
        self._listed = listed
        targets = {one.project.name: one for one in listed if one.is_polled}
        self._wanted = frozenset(targets)
        for name in [name for name, one in self._standings.items() if name not in targets and not one.busy]:
            del self._standings[name]
        fresh = 0
        for name, target in targets.items():
            standing = self._standings.get(name)
            if standing is None:
                due = now + fresh / STARTS_PER_SECOND
                fresh += 1
                self._standings[name] = _Standing(target, due, due)
                heapq.heappush(self._heap, (due, name))
            elif standing.target != target:
                standing.target = target
                self._plan(name, standing, min(standing.due, now + target.every))

    def start(self, now: float) -> Iterator[PollTarget]:
        """Yield what is to be looked at now; each counts as being looked at until `ended` is told of it."""
        while self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            standing = self._standings.get(name)
            if standing is None or standing.busy or standing.waits or standing.due != due:
                continue  # it is gone, or has another turn by now
            host = self._hosts.setdefault(standing.target.host, _Host())
            if host.until > now:
                self._plan(name, standing, host.until + self._chance.uniform(0, 1))
            elif host.room > 0:
                yield self._started(standing, host)
            else:
                standing.waits = True
                host.waiting.append(name)

    def pause(self, now: float) -> float:
        """Return the seconds until the next turn."""
        return max(0.0, self._heap[0][0] - now) if self._heap else LONGEST_PAUSE

    def nudge(self, name: str, now: float) -> None:
        """Have a project looked at at once, whatever its rhythm; one that is being looked at comes again after that."""
        standing = self._standings.get(name)
        if standing is None:
            return
        standing.again = True
        standing.changed = now
        if not standing.busy and not standing.waits:
            self._plan(name, standing, now)

    def ended(self, target: PollTarget, error: BuildspecdError | None, now: float, *, changed: bool) -> bool:
        """Take in how a look ended; return whether the project is still one of ours."""
        name = target.project.name
        host, standing = self._hosts[target.host], self._standings.get(name)
        host.busy -= 1
        self._judge(host, target, error, now)
        self._wake(host, now)
        if standing is None or name not in self._wanted:
            self._standings.pop(name, None)
            return False
        standing.busy = False
        standing.failures = standing.failures + 1 if error else 0
        if changed:
            standing.changed = now
        due = now if standing.again else now + self._rest(standing, now)
        self._plan(name, standing, due)
        return True

    def _started(self, standing: _Standing, host: _Host) -> PollTarget:
        standing.busy, standing.again, standing.waits = True, False, False
        host.busy += 1
        return standing.target

    def _judge(self, host: _Host, target: PollTarget, error: BuildspecdError | None, now: float) -> None:
        if not isinstance(error, Unavailable):
            if now >= host.until:  # else it was on its way when another was told to wait
                host.failures = 0
            return
        wished = error.retry_after or 0.0
        if now < host.until and wished <= host.until - now:
            return  # one of several that were on their way when the first one failed: it says nothing new
        host.failures += 1
        pause = min(LONGEST_PAUSE, target.every * 2 ** min(host.failures - 1, 10))
        host.until = now + max(pause * self._spread(), wished)

    def _wake(self, host: _Host, now: float) -> None:
        """Give their turn to those that wait for a look at this server to end."""
        for _ in range(max(0, host.room)):
            if not host.waiting:
                return
            name = host.waiting.popleft()
            standing = self._standings.get(name)
            if standing is not None:
                standing.waits = False
                self._plan(name, standing, now)

    def _rest(self, standing: _Standing, now: float) -> float:
        every = standing.target.every
        sleepy = min(standing.target.slowest, (now - standing.changed) / SLEEPY)
        trouble = min(LONGEST_PAUSE, every * 2 ** min(standing.failures - 1, 10)) if standing.failures else 0.0
        return max(every, sleepy, trouble) * self._spread()

    def _plan(self, name: str, standing: _Standing, due: float) -> None:
        standing.due = due
        heapq.heappush(self._heap, (due, name))

    def _spread(self) -> float:
        return 1 + self._chance.uniform(-JITTER, JITTER)
