"""Lines become CloudWatch Logs events, and events become batches that PutLogEvents accepts (service.md 8.2). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.buildlog.stamps import stamped_at

BATCH_BYTES = 1_048_576
BATCH_EVENTS = 10_000
EVENT_OVERHEAD = 26
EVENT_BYTES = 262_144 - EVENT_OVERHEAD
"""The longest message; 256 KiB with its overhead is what every partition accepts."""
DAY = 86_400_000


@dataclass(frozen=True)
class Batch:
    """The events of the bytes `start` to `end` of a log: (epoch milliseconds, message), in order.

    `ends`: for each event where its bytes end; parts of a line that is too long for one event share the line's end.
    """

    start: int
    end: int
    events: tuple[tuple[int, str], ...]
    ends: tuple[int, ...]

    @property
    def first(self) -> int:
        """The earliest time in it."""
        return self.events[0][0]

    def begins(self, place: int) -> int:
        """Return where in the log the event number *place*, from 0, begins; for one past the last, the end."""
        return self.ends[place - 1] if place else self.start

    @property
    def last(self) -> int:
        """The latest time in it."""
        return self.events[-1][0]


@dataclass(frozen=True)
class Window:
    """Between which times (epoch milliseconds) an event may lie.

    `after`: later than all that was sent before; `oldest`: what the service still accepts; `now`: no event lies in the
    future, whatever a build prints in front of its lines.
    """

    after: int
    oldest: int
    now: int

    def fit(self, time: int) -> int:
        """Return *time*, moved into the window."""
        return max(self.after + 1, self.oldest, min(time, self.now))


def cut_batch(data: bytes, start: int, window: Window, *, complete: bool, live: bool) -> Batch | None:
    """Return the first batch of *data*, which begins at offset *start* of the log; None when it holds no whole line.

    *complete*: a last line without newline is a line. *live*: *data* ends where the log ends, so that its last lines,
    having no time of their own, were printed just now. Times never decrease: an agent line has its own, other lines
    have that of the line before.
    """
    times: list[int] = []
    messages: list[str] = []
    ends: list[int] = []
    size = at = stamped = 0
    ran_out = False
    time = window.after
    while (piece := _next_piece(data, at, complete)) is not None:
        text, after = piece
        parts = _messages(text)
        size += sum(len(part.encode()) + EVENT_OVERHEAD for part in parts)
        if size > BATCH_BYTES or len(times) + len(parts) > BATCH_EVENTS:
            break
        own = stamped_at(text)
        later = max(time, window.fit(own if own is not None else time or window.now))
        if times and later - times[0] > DAY:
            break
        time, at = later, after
        times.extend([time] * len(parts))
        if own is not None:
            stamped = len(times)
        messages.extend(parts)
        ends.extend([start + after] * len(parts))
    else:
        ran_out = True
    if not times:
        return None
    if live and ran_out and (not stamped or window.now - times[0] <= DAY):
        times[stamped:] = [max(moment, window.now) for moment in times[stamped:]]
    return Batch(start, start + at, tuple(zip(times, messages, strict=True)), tuple(ends))


def _next_piece(data: bytes, at: int, complete: bool) -> tuple[bytes, int] | None:
    """Return the line at *at* without its newline, or as much of it as one event holds; and where the next begins."""
    newline = data.find(b"\n", at, at + EVENT_BYTES + 1)
    if newline >= 0:
        return data[at:newline], newline + 1
    if len(data) - at > EVENT_BYTES:
        end = _character_start(data, at + EVENT_BYTES)
        return data[at:end], end
    if complete and at < len(data):
        return data[at:], len(data)
    return None


def _character_start(data: bytes, at: int) -> int:
    """Return *at*, or the place up to three bytes before it where the UTF-8 character around it begins."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at


def _messages(text: bytes) -> list[str]:
    """Return *text* as messages: never empty, never too long; invalid UTF-8 and NUL become U+FFFD."""
    message = text.decode("utf-8", "replace").replace("\0", "\ufffd") if text else " "
    encoded = message.encode()
    if len(encoded) <= EVENT_BYTES:
        return [message]
    parts = []
    at = 0
    while at < len(encoded):
        end = min(at + EVENT_BYTES, len(encoded))
        if end < len(encoded):
            end = _character_start(encoded, end)
        parts.append(encoded[at:end].decode())
        at = end
    return parts
