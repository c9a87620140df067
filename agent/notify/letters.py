"""Letters: events on their way to a service that takes several at once and may refuse each by itself."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.aws import AwsRefused
from agent.errors import BuildspecdError, Unavailable
from agent.model.event import BuildEvent

MOST_ENTRIES = 10
MOST_BYTES = 250_000
"""Most bytes of one call, and so of one entry; the older limit of 256 KB less some room (service.md 6.3)."""

_REMEMBERED = 1000
_CUTS = ((8192, 500), (1024, 200), (256, 50), (256, 11))
"""Longest text in characters and most items of a list, tried in turn until an entry is small enough."""

Key = tuple[object, ...]
Entry = dict[str, Any]


class Letter(NamedTuple):
    """An event on its way: what tells it from every other, its build, its entry and the bytes of that."""

    key: Key
    build: str
    entry: Entry
    size: int


@dataclass
class Post:
    """Brings letters to where *put* puts them, those of one build in their order. For one thread.

    *put* returns an error for each letter that was not taken, by key. A call holds at most one letter of each build,
    so that one which fails alone cannot be overtaken by a later one of its build. Letters that were accepted are
    remembered, and left out when the rest is tried again.
    """

    put: Callable[[Sequence[Letter]], Mapping[Key, BuildspecdError]]
    _accepted: OrderedDict[Key, None] = field(default_factory=OrderedDict)

    def deliver(self, events: Sequence[BuildEvent], write: Callable[[BuildEvent], Letter]) -> None:
        """Put every event, as *write* writes it, unless it was accepted before. Raises what *put* does and returns."""
        waiting = [write(event) for event in events if key_of(event) not in self._accepted]
        while waiting:
            call = next_call(waiting)
            failures = self._tried(call)
            self._remember(letter.key for letter in call if letter.key not in failures)
            if len(failures) == len(call):
                self._accepted.clear()  # what was taken before is no sign that anything still is
            _raise_for(failures.values())
            waiting = [letter for letter in waiting if letter not in call]

    def _tried(self, call: Sequence[Letter]) -> Mapping[Key, BuildspecdError]:
        try:
            return self.put(call)
        except AwsRefused:
            self._accepted.clear()
            raise

    def _remember(self, keys: Iterable[Key]) -> None:
        self._accepted.update(dict.fromkeys(keys))
        while len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)


def next_call(waiting: Iterable[Letter]) -> list[Letter]:
    """Return the letters of the next call: the oldest of each build, as many as one call takes. Pure."""
    call: list[Letter] = []
    builds: set[str] = set()
    total = 0
    for letter in waiting:
        if letter.build in builds:
            continue
        if call and (len(call) == MOST_ENTRIES or total + letter.size > MOST_BYTES):
            break
        builds.add(letter.build)
        call.append(letter)
        total += letter.size
    return call


def key_of(event: BuildEvent) -> Key:
    """Return what tells one event from every other."""
    return (event.build.id, event.kind, event.completed_phase, event.build.status, event.at)


def compact(document: object) -> str:
    """Return a document as JSON, without blanks."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def cut_to_fit(document: Mapping[str, Any], fits: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    """Return *document*, with its texts and lists cut as far as it takes until it *fits*. Pure."""
    found = document
    for longest, most in _CUTS:
        if fits(found):
            break
        found = _cut(document, longest, most)
    return found


def _raise_for(failures: Iterable[BuildspecdError]) -> None:
    """Raise the first of *failures*; what may pass by itself comes before the others."""
    ordered = sorted(failures, key=lambda error: not isinstance(error, Unavailable))
    if ordered:
        raise ordered[0]


def _cut(value: Any, longest: int, most: int) -> Any:
    """Return *value* with its texts and lists cut."""
    if isinstance(value, str):
        return value if len(value) <= longest else value[: longest - 1] + "…"
    if isinstance(value, list):
        return [_cut(item, longest, most) for item in value[:most]]
    if isinstance(value, Mapping):
        return {name: _cut(item, longest, most) for name, item in value.items()}
    return value
