"""Logs: CloudWatch Logs as its API reference has it, every limit of a batch included, and all that it accepted."""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent.torture.cloud.wire import ACCOUNT, REGION, Document, Refusal

MOST_EVENTS: Final = 10_000
MOST_BYTES: Final = 1_048_576
OVERHEAD: Final = 26
DAY: Final = 86_400_000
OLDEST: Final = 14 * DAY
AHEAD: Final = 2 * 3_600_000
PAGE_BYTES: Final = 1_048_576
RETENTIONS: Final = frozenset(
    (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
)
_FIRST: Final = (-1, -1)
_LAST: Final = (1 << 62, 1 << 62)

Key = tuple[int, int]


@dataclass(frozen=True, order=True)
class Event:
    """An event that was stored: where it stands in its stream, and from when on readers see it."""

    timestamp: int
    number: int
    message: str = field(compare=False)
    ingested: int = field(compare=False)
    seen_from: float = field(compare=False, default=0.0)
    seen_after: int = field(compare=False, default=0)

    @property
    def key(self) -> Key:
        """What events are sorted by: time, then the order of arrival."""
        return self.timestamp, self.number


@dataclass
class Stream:
    """Events in the order of their times. `batches`: events of each call that was accepted, `reads`: GetLogEvents."""

    created: int
    events: list[Event] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    reads: int = 0
    rejected: int = 0

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if not self.events or self.events[-1].key < event.key:
                self.events.append(event)
            else:
                bisect.insort(self.events, event)


@dataclass
class Group:
    """A log group."""

    created: int
    key: str | None = None
    retention: int | None = None
    streams: dict[str, Stream] = field(default_factory=dict)


class Logs:
    """The service. `now` gives epoch seconds; *most_event_bytes* is 262,144 in the partitions of China."""

    def __init__(self, now: Any = time.time, most_event_bytes: int = 1_048_576) -> None:
        self._now = now
        self._most_event_bytes = most_event_bytes
        self._lock = threading.RLock()
        self._number = 0
        self._nonce = 0
        self.groups: dict[str, Group] = {}
        self.operations = {
            "CreateLogGroup": self.create_group,
            "CreateLogStream": self.create_stream,
            "DeleteLogGroup": self.delete_group,
            "DeleteLogStream": self.delete_stream,
            "DescribeLogGroups": self.describe_groups,
            "DescribeLogStreams": self.describe_streams,
            "PutRetentionPolicy": self.put_retention,
            "PutLogEvents": self.put,
            "GetLogEvents": self.get,
        }

    def create_group(self, request: Document) -> Document:
        with self._lock:
            name = _name(request, "logGroupName")
            if name in self.groups:
                raise Refusal("ResourceAlreadyExistsException", "The specified log group already exists")
            self.groups[name] = Group(self._millis(), request.get("kmsKeyId"))
            return {}

    def create_stream(self, request: Document) -> Document:
        with self._lock:
            group, name = self._group(request), _name(request, "logStreamName")
            if ":" in name or "*" in name:
                raise Refusal("InvalidParameterException", "1 validation error detected: 'logStreamName'")
            if name in group.streams:
                raise Refusal("ResourceAlreadyExistsException", "The specified log stream already exists")
            group.streams[name] = Stream(self._millis())
            return {}

    def delete_group(self, request: Document) -> Document:
        with self._lock:
            self._group(request)
            del self.groups[request["logGroupName"]]
            return {}

    def delete_stream(self, request: Document) -> Document:
        with self._lock:
            self._stream(request)
            del self._group(request).streams[request["logStreamName"]]
            return {}

    def put_retention(self, request: Document) -> Document:
        with self._lock:
            if request.get("retentionInDays") not in RETENTIONS:
                raise Refusal("InvalidParameterException", f"not a retention: {request.get('retentionInDays')}")
            self._group(request).retention = request["retentionInDays"]
            return {}

    def describe_groups(self, request: Document) -> Document:
        with self._lock:
            prefix = request.get("logGroupNamePrefix", "")
            return {
                "logGroups": [
                    _described(name, one) for name, one in sorted(self.groups.items()) if name.startswith(prefix)
                ]
            }

    def describe_streams(self, request: Document) -> Document:
        with self._lock:
            prefix, found = request.get("logStreamNamePrefix", ""), self._group(request).streams
            return {
                "logStreams": [
                    {"logStreamName": name, "creationTime": stream.created, "uploadSequenceToken": "ignored"}
                    for name, stream in sorted(found.items())
                    if name.startswith(prefix)
                ]
            }

    def put(self, request: Document, *, seconds: float = 0.0, reads: int = 0) -> Document:
        """Store a batch; readers see it after *seconds*, and after *reads* more reads of the stream."""
        with self._lock:
            group, stream, now = self._group(request), self._stream(request), self._millis()
            entries = request.get("logEvents") or []
            self._check(entries)
            times = [int(one["timestamp"]) for one in entries]
            too_old = bisect.bisect_left(times, now - OLDEST)
            kept_from = now - (group.retention or 36_500) * DAY
            expired = bisect.bisect_left(times, kept_from)
            too_new = bisect.bisect_right(times, now + AHEAD)
            taken = entries[max(too_old, expired) : too_new]
            stream.add(self._event(one, now, self._now() + seconds, stream.reads + reads) for one in taken)
            stream.batches.append(len(taken))
            stream.rejected += len(entries) - len(taken)
        info = {
            **({"tooOldLogEventEndIndex": too_old} if too_old else {}),
            **({"expiredLogEventEndIndex": expired} if expired else {}),
            **({"tooNewLogEventStartIndex": too_new} if too_new < len(entries) else {}),
        }
        return {"nextSequenceToken": str(now), **({"rejectedLogEventsInfo": info} if info else {})}

    def get(self, request: Document, *, empty: bool = False) -> Document:
        """Return a page; *empty*: without events, and with tokens that go on from the same place."""
        with self._lock:
            stream = self._stream(request)
            stream.reads += 1
            limit = request.get("limit", MOST_EVENTS)
            if not 1 <= limit <= MOST_EVENTS:
                raise Refusal("InvalidParameterException", f"not a limit: {limit}")
            start, end = request.get("startTime", 0), request.get("endTime", 1 << 62)
            now = self._now()
            seen = [
                one
                for one in stream.events
                if start <= one.timestamp < end and one.seen_from <= now and one.seen_after < stream.reads
            ]
            forward, edge = _begins(request)
            self._nonce += 1
            if empty:
                token = request.get("nextToken")
                here = [edge, (edge[0], edge[1] + (1 if forward else -1))]
                after, before = here if forward else here[::-1]
                return _page([], _token("f", after, self._nonce), _token("b", before, self._nonce), token)
        found = _slice(seen, edge, limit, forward=forward)
        if found:
            return _page(found, _token("f", found[-1].key), _token("b", found[0].key), None)
        after = edge if forward else (edge[0], edge[1] - 1)
        before = (edge[0], edge[1] + 1) if forward else edge
        return _page([], _token("f", after), _token("b", before), request.get("nextToken"))

    def messages(self, group: str, stream: str) -> list[str]:
        """Return every message of a stream in its order, whether readers see it yet or not; none where it is not."""
        with self._lock:
            found = self.groups.get(group)
            return [one.message for one in found.streams[stream].events] if found and stream in found.streams else []

    def _event(self, entry: Mapping[str, Any], now: int, seen_from: float, seen_after: int) -> Event:
        self._number += 1
        return Event(int(entry["timestamp"]), self._number, str(entry["message"]), now, seen_from, seen_after)

    def _check(self, entries: list[Mapping[str, Any]]) -> None:
        if not 1 <= len(entries) <= MOST_EVENTS:
            raise Refusal("InvalidParameterException", f"a batch has 1 to {MOST_EVENTS} events, not {len(entries)}")
        sizes = [len(str(one.get("message", "")).encode()) for one in entries]
        if min(sizes) < 1:
            raise Refusal("InvalidParameterException", "Log event message must have at least 1 character")
        if (biggest := max(sizes) + OVERHEAD) > self._most_event_bytes:
            raise Refusal("InvalidParameterException", f"Log event too large: {biggest} bytes exceeds the limit")
        if (total := sum(sizes) + OVERHEAD * len(sizes)) > MOST_BYTES:
            text = f"Upload too large: {total} bytes exceeds limit of {MOST_BYTES}"
            raise Refusal("InvalidParameterException", text)
        times = [one["timestamp"] for one in entries]
        if times != sorted(times):
            text = "Log events in a single PutLogEvents request must be in chronological order."
            raise Refusal("InvalidParameterException", text)
        if times[-1] - times[0] > DAY:
            text = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
            raise Refusal("InvalidParameterException", text)

    def _group(self, request: Document) -> Group:
        if found := self.groups.get(_name(request, "logGroupName")):
            return found
        raise Refusal("ResourceNotFoundException", "The specified log group does not exist.")

    def _stream(self, request: Document) -> Stream:
        if found := self._group(request).streams.get(_name(request, "logStreamName")):
            return found
        raise Refusal("ResourceNotFoundException", "The specified log stream does not exist.")

    def _millis(self) -> int:
        return int(self._now() * 1000)


def _name(request: Document, member: str) -> str:
    name = request.get(member)
    if not isinstance(name, str) or not 1 <= len(name) <= 512:
        raise Refusal("InvalidParameterException", f"1 validation error detected: '{member}'")
    return name


def _described(name: str, group: Group) -> Document:
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"
    facts = {"retentionInDays": group.retention, "kmsKeyId": group.key}
    known = {member: value for member, value in facts.items() if value is not None}
    return {"logGroupName": name, "creationTime": group.created, "arn": arn, "storedBytes": 0, **known}


def _begins(request: Document) -> tuple[bool, Key]:
    """Return which way a page goes, and from which place, which does not belong to it."""
    if token := request.get("nextToken"):
        try:
            way, time_, number, _ = str(token).split("/")
            return way == "f", (int(time_), int(number))
        except ValueError:
            raise Refusal("InvalidParameterException", "The specified nextToken is invalid.") from None
    forward = bool(request.get("startFromHead", False))
    return forward, _FIRST if forward else _LAST


def _slice(events: list[Event], edge: Key, limit: int, *, forward: bool) -> list[Event]:
    chosen = [one for one in events if (one.key > edge if forward else one.key < edge)]
    found: list[Event] = []
    size = 0
    for one in chosen if forward else reversed(chosen):
        size += len(one.message.encode()) + OVERHEAD
        if len(found) == limit or (found and size > PAGE_BYTES):
            break
        found.append(one)
    return found if forward else found[::-1]


def _token(way: str, key: Key, nonce: int = 0) -> str:
    return f"{way}/{key[0]}/{key[1]}/{nonce}"


def _page(events: list[Event], forward: str, backward: str, asked: str | None) -> Document:
    """At an end of the stream the token comes back that was asked with."""
    if asked and asked.startswith("f/") and _same_place(asked, forward):
        forward = asked
    if asked and asked.startswith("b/") and _same_place(asked, backward):
        backward = asked
    shown = [{"timestamp": one.timestamp, "message": one.message, "ingestionTime": one.ingested} for one in events]
    return {"events": shown, "nextForwardToken": forward, "nextBackwardToken": backward}


def _same_place(one: str, other: str) -> bool:
    return one.rsplit("/", 1)[0] == other.rsplit("/", 1)[0] and other.endswith("/0")
