"""Supervisor: one thread a service; one that breaks is started again, with a growing pause."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.errors import BuildspecdError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import Service, StopToken

_log = get_logger("supervisor")
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


@dataclass
class Supervisor:
    """Runs services until it is told to stop, and knows the last trouble of each."""

    services: Sequence[Service]
    clock: Clock
    troubles: dict[str, str] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, stop: StopToken) -> None:
        """Start every service on a thread of its own."""
        for service in self.services:
            self.troubles[service.name] = ""
            thread = threading.Thread(target=self._keep_running, args=(service, stop), name=service.name, daemon=True)
            thread.start()
            self._threads.append(thread)  # now: one that is known and has not begun would count as dead

    def wait(self, seconds: float | None = None) -> list[str]:
        """Wait until the services have ended, *seconds* at most; return the names of those that have not."""
        until = None if seconds is None else self.clock.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - self.clock.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    @property
    def alive(self) -> bool:
        """Whether every service still has its thread; False means that the daemon should be started again."""
        return all(thread.is_alive() for thread in self._threads)

    def _keep_running(self, service: Service, stop: StopToken) -> None:
        pause = _FIRST_PAUSE
        while not stop.is_set:
            begun = self.clock.monotonic()
            try:
                service.run(stop)
            except BuildspecdError as error:  # it tells by itself what is wrong, such as a disk that is full
                self.troubles[service.name] = f"{type(error).__name__}: {error}"
                _log.error("a service broke, starting it again", service=service.name, pause=pause, error=str(error))
            except Exception as error:  # noqa: BLE001 - edge 1 of 4: one broken loop must not take the others down
                self.troubles[service.name] = f"{type(error).__name__}: {error}"
                _log.exception("a service broke, starting it again", service=service.name, pause=pause)
            else:
                self.troubles[service.name] = ""
                return
            pause = _FIRST_PAUSE if self.clock.monotonic() - begun > _LONGEST_PAUSE else min(pause * 2, _LONGEST_PAUSE)
            self.clock.wait(pause, stop)
