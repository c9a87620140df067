"""Where builds fetch credentials: a little HTTP that bad callers cannot stop."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from agent.container.inside import listening
from agent.daemon.counter import MOST_CALLERS, Answer, Counter, Question
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from tests.fakes.serving import free_listener, running
from tests.journey.waiting import until

GOOD = b"GET /a HTTP/1.1\r\nHost: x\r\nauthorization: t\r\nAccept: application/json\r\n\r\n"


@dataclass
class Clerk:
    """Says `ok` to whoever asks, once it is `ready`; `asked` is what it heard."""

    ready: bool = True
    asked: list[Question] = field(default_factory=list)

    def __call__(self, question: Question) -> Answer | None:
        self.asked.append(question)
        return (200, {"said": "ok"}) if self.ready else None


@dataclass
class Desk:
    counter: Counter
    clerk: Clerk
    name = "counter"

    def run(self, stop: StopToken) -> None:
        self.counter.run(stop)
        self.counter.shut()

    def door(self, room: str | None = None) -> int:
        listener = listening(0)
        port = int(listener.getsockname()[1])
        self.counter.open(listener, room)
        return port


@pytest.fixture
def desk() -> Iterator[Desk]:
    clerk = Clerk()
    found = Desk(Counter(clerk, SystemClock()), clerk)
    with running(found, lambda: True) as stop:
        yield found
        stop.set()
        found.counter.wake()


def say(port: int, *parts: bytes) -> bytes:
    """Say *parts*, and return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), 60) as line:
        for part in parts:
            line.sendall(part)
        heard = b""
        while said := line.recv(65536):
            heard += said
    return heard


def served(port: int) -> bool:
    """Whether one question is answered. Who is slow to ask may be shown out in a crowd: SDKs ask again."""
    try:
        return say(port, GOOD).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_a_question_is_answered_however_it_is_cut(desk: Desk) -> None:
    port = desk.door("room")
    assert say(port, GOOD).endswith(b'\r\n\r\n{"said": "ok"}')
    assert say(port, *(GOOD[i : i + 1] for i in range(len(GOOD)))).startswith(b"HTTP/1.1 200 OK\r\n")
    assert desk.clerk.asked == [Question("/a", "t", "room")] * 2
    assert "'t'" not in repr(desk.clerk.asked[0]), "a token is shown nowhere"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"405"),
        (b"\x16\x03\x01\x02\r\n\r\n", b"400"),
        (b"GET /a\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 8_190, b"400"),
    ],
)
def test_what_is_no_question_is_refused_and_the_clerk_is_not_asked(desk: Desk, said: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", desk.door()), 60) as line:
        line.sendall(said)
        assert line.recv(1024).startswith(b"HTTP/1.1 " + status)
    assert desk.clerk.asked == []


def test_callers_who_say_nothing_keep_nobody_waiting_and_the_oldest_is_shown_out(desk: Desk) -> None:
    port = desk.door()
    silent = [socket.create_connection(("127.0.0.1", port), 60) for _ in range(MOST_CALLERS)]
    try:
        assert say(port, GOOD).startswith(b"HTTP/1.1 200")
        assert silent[0].recv(1) == b"", "the oldest one made room"
    finally:
        for line in silent:
            line.close()


def test_who_has_shown_a_right_token_is_not_shown_out_for_a_crowd_that_says_nothing(desk: Desk) -> None:
    desk.clerk.ready = False
    port = desk.door()
    with socket.create_connection(("127.0.0.1", port), 60) as line, ExitStack() as crowd:
        line.sendall(GOOD)
        until(lambda: desk.clerk.asked, "the question")
        for _ in range(MOST_CALLERS + 8):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port), 60))
        desk.clerk.ready = True
        assert line.recv(1024).startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))


@pytest.mark.parametrize("same", [True, False])
def test_while_one_knocks_without_end_the_others_are_served(desk: Desk, same: bool) -> None:
    ours = desk.door()
    theirs = ours if same else desk.door("theirs")
    knocks = f"""
import collections, socket
lines = collections.deque(maxlen=100)
while True:
    line = socket.socket()
    line.setblocking(False)
    line.connect_ex(("127.0.0.1", {theirs}))
    lines.append(line)
"""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", knocks]) as crowd:
        try:
            for _ in range(10):
                until(lambda: served(ours), "an answer in a crowd", 60)
            assert crowd.poll() is None, "it went on to the end"
        finally:
            crowd.kill()


def test_a_door_that_is_opened_after_closing_time_is_in_nobodys_way() -> None:
    counter, stop = Counter(Clerk(), SystemClock()), StopToken()
    for _ in range(3):  # each gets the number of the one before
        counter.open(free_listener(), "room")
        counter.shut()
    counter.open(free_listener(), "room")
    stop.set()
    counter.run(stop)
    counter.shut()


def test_who_asks_before_the_credentials_are_there_waits_and_is_then_told_to_come_again(desk: Desk) -> None:
    desk.clerk.ready = False
    port = desk.door()
    assert say(port, GOOD).startswith(b"HTTP/1.1 503")
    with socket.create_connection(("127.0.0.1", port), 60) as line:
        line.sendall(GOOD)
        desk.clerk.ready = True
        assert line.recv(1024).startswith((b"HTTP/1.1 200", b"HTTP/1.1 503"))


def test_a_door_of_one_build_is_closed_with_it_and_the_others_stay_open(desk: Desk) -> None:
    ours, theirs = desk.door("ours"), desk.door("theirs")
    assert desk.counter.listens_for("ours")
    desk.counter.close("ours")
    assert not desk.counter.listens_for("ours")
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", ours), 5).close()
    assert say(theirs, GOOD).startswith(b"HTTP/1.1 200")
