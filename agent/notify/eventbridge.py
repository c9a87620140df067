"""EventBridge: events under CodeBuild's own detail types, so that a rule ports by editing its `source` alone."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from agent.aws import AwsRefused, translated
from agent.errors import AwsUnavailable
from agent.model.event import BuildEvent
from agent.notify.delivery import Clients
from agent.notify.detail import detail, detail_type

MOST_ENTRIES = 10
MOST_BYTES = 250_000
"""Most bytes of one call, and so of one entry; the older limit of 256 KB less some room (service.md 6.3)."""

_LATER = frozenset({"InternalFailure", "InternalException", "ThrottlingException", "ServiceUnavailable"})
_HINT_ENDPOINT = "check the endpoint and the proxy"
_REMEMBERED = 1000
_TIME_BYTES = 14
_CUTS = ((8192, 500), (1024, 200), (256, 50), (256, 11))
"""Longest text in characters and most items of a list, tried in turn until an entry is small enough."""

Entry = dict[str, Any]
_Key = tuple[object, ...]


class Letter(NamedTuple):
    """An event on its way: what tells it from every other, its build, its entry and the bytes of that."""

    key: _Key
    build: str
    entry: Entry
    size: int


@dataclass
class EventBridge:
    """A Sink: `PutEvents` to one bus (a name or an ARN). For one thread.

    A call holds at most one event of each build, so that an entry that fails alone cannot be overtaken by a later
    one of its build. Entries that were accepted are remembered, and left out when the rest is tried again.
    """

    clients: Clients
    bus: str = "default"
    source: str = "buildspecd"
    redact: bool = True
    name: str = "eventbridge"
    page: int = 50
    _accepted: OrderedDict[_Key, None] = field(default_factory=OrderedDict)

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        """See `Sink.deliver`. Raises `AwsUnavailable`, `AwsRefused`."""
        waiting = [self._letter(event) for event in events if _key(event) not in self._accepted]
        while waiting:
            call = next_call(waiting)
            failures = self._put(call)
            self._remember(letter.key for letter in call if letter.key not in failures)
            if len(failures) == len(call):
                self._accepted.clear()  # what the bus took before is no sign that it still takes anything
            _raise_for(failures.values())
            waiting = [letter for letter in waiting if letter not in call]

    def _letter(self, event: BuildEvent) -> Letter:
        made = entry(event, bus=self.bus, source=self.source, redact=self.redact)
        return Letter(_key(event), event.build.id, made, size(made))

    def _put(self, call: Sequence[Letter]) -> dict[_Key, Mapping[str, Any]]:
        """Put the entries of *call*; return what AWS says of each that it did not take."""
        client = self.clients.client("events")
        try:
            with translated("events:PutEvents"):
                answer = client.put_events(Entries=[letter.entry for letter in call])
        except AwsRefused:
            self._accepted.clear()
            raise
        results = answer.get("Entries", [])
        if len(results) != len(call):  # a proxy's page with status 200, say
            raise AwsUnavailable("events:PutEvents: the answer is not EventBridge's", hint=_HINT_ENDPOINT)
        return {letter.key: result for letter, result in zip(call, results, strict=True) if result.get("ErrorCode")}

    def _remember(self, keys: Iterable[_Key]) -> None:
        self._accepted.update(dict.fromkeys(keys))
        while len(self._accepted) > _REMEMBERED:
            self._accepted.popitem(last=False)


def entry(event: BuildEvent, *, bus: str, source: str, redact: bool = True) -> Entry:
    """Return the `PutEventsRequestEntry` of an event, cut down to `MOST_BYTES`. Pure."""
    document = detail(event, redact=redact)
    made: Entry = {
        "Time": datetime.fromtimestamp(event.at, UTC),
        "Source": source,
        "Resources": [event.build.arn],
        "DetailType": detail_type(event),
        "Detail": _text(document),
        "EventBusName": bus,
    }
    for longest, most in _CUTS:
        if size(made) <= MOST_BYTES:
            break
        made["Detail"] = _text(_cut(document, longest, most))
    return made


def size(made: Entry) -> int:
    """Return the bytes of an entry as EventBridge counts them."""
    texts = (made["Source"], made["DetailType"], made["Detail"], *made["Resources"])
    return _TIME_BYTES + sum(len(text.encode()) for text in texts)


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


def _raise_for(failures: Iterable[Mapping[str, Any]]) -> None:
    """Raise for entries that were not taken; what may pass by itself comes first."""
    refused: Mapping[str, Any] | None = None
    for failure in failures:
        if failure["ErrorCode"] in _LATER:
            raise AwsUnavailable(f"events:PutEvents: {failure['ErrorCode']}: {failure.get('ErrorMessage', '')}")
        refused = refused or failure
    if refused:
        reason, text = str(refused["ErrorCode"]), str(refused.get("ErrorMessage", ""))
        raise AwsRefused(
            f"events:PutEvents: {reason}: {text}",
            reason=reason,
            text=text,
            hint="check events.bus and events.source in agent.yml, and that the host's role allows events:PutEvents",
        )


def _key(event: BuildEvent) -> _Key:
    """Return what tells one event from every other."""
    return (event.build.id, event.kind, event.completed_phase, event.build.status, event.at)


def _text(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _cut(value: Any, longest: int, most: int) -> Any:
    """Return *value* with its texts and lists cut."""
    if isinstance(value, str):
        return value if len(value) <= longest else value[: longest - 1] + "…"
    if isinstance(value, list):
        return [_cut(item, longest, most) for item in value[:most]]
    if isinstance(value, dict):
        return {name: _cut(item, longest, most) for name, item in value.items()}
    return value
