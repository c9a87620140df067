"""Watchdog: tells systemd that this process is alive, as long as its services are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.kit.sdnotify import Notifier
from agent.kit.service import StopToken


@dataclass
class Watchdog:
    """A Service. `healthy` must answer soon: a daemon that hangs in it is restarted, and its builds go on."""

    notifier: Notifier
    healthy: Callable[[], bool]
    name: str = "watchdog"

    def run(self, stop: StopToken) -> None:
        """Feed systemd's watchdog until *stop*; where there is none, wait."""
        interval = self.notifier.watchdog_interval
        while not stop.is_set:
            if interval and self.healthy():
                self.notifier.alive()
            stop.wait(interval)
