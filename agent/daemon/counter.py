"""Counter: where builds fetch their credentials, by HTTP on loopback; a few lines of it, for hostile callers.

One thread serves every caller: none can keep others waiting. When too many stand there, the oldest is shown out, of
those who have not shown a token that is right if there are any. At each look every door lets in a few who wait before
it, so a crowd before one is not in the way at another.
"""

from __future__ import annotations

import contextlib
import errno
import json
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken

_log = get_logger("roles")
MOST_CALLERS = 256
_LONGEST_QUESTION = 8192
_CALLER_SECONDS = 5.0
"""How long a question may take to arrive."""
WAIT_SECONDS = 1.5
"""How long a caller waits for credentials that are being fetched; SDKs give up after 2 seconds."""
_LOOK_SECONDS = 0.05
_IDLE_SECONDS = 1.0
_AT_A_TIME = 64
_OUT_OF_HANDLES_SECONDS = 0.05
_WORDS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 503: "Later"}


@dataclass(frozen=True)
class Question:
    """What a caller asks: the path, and its token as it stands. `room`: the one build that may ask here, or None."""

    path: str
    token: str = field(repr=False)
    room: str | None = None


Answer = tuple[int, dict[str, str]]
Clerk = Callable[[Question], Answer | None]
"""Returns status and document; None while credentials are on their way."""


@dataclass
class _Caller:
    line: socket.socket
    room: str | None
    since: float
    heard: bytes = b""
    asks: Question | None = None


class Counter:
    """Listens on any number of sockets, and asks *clerk* what to answer."""

    def __init__(self, clerk: Clerk, clock: Clock) -> None:
        self._clerk = clerk
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: dict[socket.socket, str | None] = {}
        self._callers: dict[socket.socket, _Caller] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._rung = socket.socketpair()
        for end in (self._bell, self._rung):
            end.setblocking(False)
        self._selector.register(self._rung, selectors.EVENT_READ)

    def open(self, listener: socket.socket, room: str | None = None) -> None:
        """Serve who comes to *listener*, which is this object's from now on."""
        listener.setblocking(False)
        with self._lock:
            self._listeners[listener] = room
            self._selector.register(listener, selectors.EVENT_READ)
        self.wake()

    def close(self, room: str) -> None:
        """Listen no more for the build *room* alone."""
        with self._lock:
            for listener in [one for one, whose in self._listeners.items() if whose == room]:
                del self._listeners[listener]
                self._selector.unregister(listener)
                listener.close()

    def listens_for(self, room: str) -> bool:
        """Whether there is a socket for the build *room* alone."""
        with self._lock:
            return room in self._listeners.values()

    def run(self, stop: StopToken) -> None:
        """Serve until *stop*."""
        while not stop.is_set:
            waiting = any(caller.asks for caller in self._callers.values())
            for key, _ in self._selector.select(_LOOK_SECONDS if waiting else _IDLE_SECONDS):
                self._attend(key.fileobj)  # type: ignore[arg-type]  # sockets are all that was registered
            self._look_after_those_who_wait()
        for caller in list(self._callers.values()):
            self._show_out(caller)

    def shut(self) -> None:
        """Close every socket."""
        with self._lock:
            for listener in self._listeners:
                self._selector.unregister(listener)  # who opens one later may get the same number
                listener.close()
            self._listeners.clear()

    def _attend(self, line: socket.socket) -> None:
        if line is self._rung:
            with contextlib.suppress(BlockingIOError):
                self._rung.recv(1024)
        elif line in self._callers:
            self._listen_to(self._callers[line])
        else:
            self._welcome(line)

    def _welcome(self, listener: socket.socket) -> None:
        with self._lock:
            if listener not in self._listeners:
                return  # closed since it rang: whose it was is not known any more
            room = self._listeners[listener]
        for _ in range(_AT_A_TIME):
            try:
                line, _ = listener.accept()
            except OSError as error:  # nobody is left, or hung up, or the listener was closed meanwhile
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._clock.wait(_OUT_OF_HANDLES_SECONDS, StopToken())  # it goes on ringing
                return
            line.setblocking(False)
            if len(self._callers) >= MOST_CALLERS:
                self._show_out(min(self._callers.values(), key=lambda one: (one.asks is not None, one.since)))
            caller = self._callers[line] = _Caller(line, room, self._clock.monotonic())
            self._selector.register(line, selectors.EVENT_READ)
            self._listen_to(caller)  # most have said it all by now

    def _listen_to(self, caller: _Caller) -> None:
        try:
            said = caller.line.recv(_LONGEST_QUESTION)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._show_out(caller)
            return
        if caller.asks is not None:
            return
        caller.heard += said
        if b"\r\n\r\n" in caller.heard:
            self._understand(caller)
        elif len(caller.heard) > _LONGEST_QUESTION:
            self._tell(caller, 400, "that is too long")

    def _understand(self, caller: _Caller) -> None:
        head, _, _ = caller.heard.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._tell(caller, 400, "this is no HTTP request")
        elif words[0] != "GET":
            self._tell(caller, 405, "credentials can only be read")
        else:
            headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
            caller.asks = Question(words[1], headers.get("authorization", ""), caller.room)
            self._answer(caller, caller.asks)

    def _answer(self, caller: _Caller, question: Question) -> None:
        if (answer := self._clerk(question)) is not None:
            self._say(caller, *answer)
        elif self._clock.monotonic() - caller.since > WAIT_SECONDS:
            self._tell(caller, 503, "the credentials of this build are being fetched; ask again")

    def _look_after_those_who_wait(self) -> None:
        for caller in list(self._callers.values()):
            if caller.asks is not None:
                self._answer(caller, caller.asks)
            elif self._clock.monotonic() - caller.since > _CALLER_SECONDS:
                self._show_out(caller)

    def _tell(self, caller: _Caller, status: int, message: str) -> None:
        self._say(caller, status, {"code": _WORDS[status].replace(" ", ""), "message": message})

    def _say(self, caller: _Caller, status: int, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError):  # a few kilobytes fit into the empty buffer of any connection
            caller.line.sendall(head.encode() + body)
            caller.line.shutdown(socket.SHUT_WR)
        self._show_out(caller)

    def _show_out(self, caller: _Caller) -> None:
        if self._callers.pop(caller.line, None) is not None:
            self._selector.unregister(caller.line)
            caller.line.close()

    def wake(self) -> None:
        """Have the loop look up."""
        with contextlib.suppress(BlockingIOError):
            self._bell.send(b"!")
