"""Supervisor: a service that breaks is started again, and the log says why in as many words as it takes."""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from typing import Any

import pytest
import structlog

from agent.daemon.supervisor import Supervisor
from agent.errors import DiskFull
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken


class Looking:
    """A service that asks whether all are alive, when it is told to."""

    name = "looking"

    def __init__(self) -> None:
        self.told, self.looked = threading.Event(), threading.Event()
        self.seen: list[bool] = []

    def run(self, stop: StopToken) -> None:
        assert self.told.wait(60)
        self.seen.append(self.supervisor.alive)
        self.looked.set()
        stop.wait(60)

    supervisor: Supervisor


class Book(list[threading.Thread]):
    """The supervisor's threads; *service* looks at them as soon as a second one is among them."""

    def __init__(self, service: Looking) -> None:
        super().__init__()
        self.service = service

    def append(self, thread: threading.Thread) -> None:
        super().append(thread)
        if len(self) == 2:
            self.service.told.set()
            assert self.service.looked.wait(60)


class Shaky:
    """A service whose first run breaks."""

    name = "shaky"

    def __init__(self, error: Exception) -> None:
        self.errors = [error]

    def run(self, stop: StopToken) -> None:
        if self.errors:
            raise self.errors.pop()
        stop.set()


class Stuck:
    """A service in a call that does not return; *over* ends it."""

    def __init__(self, number: int, over: StopToken) -> None:
        self.name = f"stuck-{number}"
        self.over = over

    def run(self, stop: StopToken) -> None:
        self.over.wait(120)


def _told(error: Exception) -> MutableMapping[str, Any]:
    stop = StopToken()
    supervisor = Supervisor([Shaky(error)], SystemClock())
    with structlog.testing.capture_logs() as told:
        supervisor.start(stop)
        assert stop.wait(60)
        assert supervisor.wait(60) == []
    (entry,) = [one for one in told if one["event"] == "a service broke, starting it again"]
    return entry


def test_what_our_own_errors_say_needs_no_traceback() -> None:
    entry = _told(DiskFull("builds.db: no space left"))
    assert (entry["log_level"], entry["error"]) == ("error", "builds.db: no space left")
    assert "exc_info" not in entry


@pytest.mark.parametrize("error", [KeyError("x"), OSError("y")])
def test_what_nobody_thought_of_is_logged_with_its_traceback(error: Exception) -> None:
    assert _told(error)["exc_info"]


def test_many_services_that_do_not_end_are_waited_for_no_longer_than_one() -> None:
    clock, over = SystemClock(), StopToken()
    supervisor = Supervisor([Stuck(number, over) for number in range(80)], clock)
    supervisor.start(StopToken())
    begun = clock.monotonic()
    assert len(supervisor.wait(0.5)) == 80
    assert clock.monotonic() - begun < 20  # and not half a second for each
    over.set()
    assert supervisor.wait(60) == []


def test_while_services_are_started_none_of_them_counts_as_dead() -> None:
    """Else the first heartbeat is lost, and the next one is a minute away."""
    stop, service = StopToken(), Looking()
    others = [Shaky(DiskFull("once")) for _ in range(2)]
    supervisor = service.supervisor = Supervisor([service, *others], SystemClock(), _threads=Book(service))
    supervisor.start(stop)
    stop.set()
    assert supervisor.wait(60) == []
    assert service.seen == [True]
