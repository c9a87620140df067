"""Redelivery: brings the logs of ended builds to sinks that were down when the build ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.buildlog.reading import log_length
from agent.buildlog.transcript import Transcript
from agent.errors import BuildspecdError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.build import Build, LogGap
from agent.pipeline.recorder import Recorder
from agent.pipeline.steps import log_record
from agent.store.builds import Builds
from agent.store.database import Database

_log = get_logger("redelivery")
EVERY_SECONDS = 5.0
PATIENCE_SECONDS = 10.0
"""How long the sinks of one log are given at a time."""
REST_SECONDS = 75.0
"""How long a log is left alone after it was closed: a sink's thread may still be inside a call that takes a minute."""
LONGEST_PAUSE_SECONDS = 900.0
KEPT_SECONDS = 14 * 86400.0
"""For how long it is tried; CloudWatch Logs takes no event that is older."""


@dataclass
class Redelivery:
    """A Service. `open_log` opens the transcript of a build that has ended; `log_dir` says where it lies."""

    database: Database
    recorder: Recorder
    open_log: Callable[[Build], Transcript]
    log_dir: Callable[[Build], Path]
    clock: Clock
    name: str = "redelivery"
    _started: float = 0.0
    _pauses: dict[str, float] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)
    """By build, in seconds of the monotonic clock."""

    def __post_init__(self) -> None:
        self._started = self.clock.now()

    def run(self, stop: StopToken) -> None:
        """Try what is due until *stop*."""
        while not stop.is_set:
            self.turn(stop)
            self.clock.wait(EVERY_SECONDS, stop)

    def turn(self, stop: StopToken) -> None:
        """Try every log that is owed and due, the longest waiting first."""
        owing = Builds(self.database).owing(0.0)
        for gone in self._due.keys() - {build.id for build in owing}:
            del self._due[gone]
            self._pauses.pop(gone, None)
        for build in owing:
            if stop.is_set:
                return
            if self.clock.now() - build.start_time > KEPT_SECONDS:
                self._give_up(build, "the sink took nothing for two weeks")
            elif self.clock.monotonic() >= self._due.setdefault(build.id, self._first_due(build)):
                self._bring(build, stop)

    def _first_due(self, build: Build) -> float:
        """Return when *build* may be tried first. Of a process before this one no thread is left in a call."""
        ended = build.end_time or 0.0
        rested = REST_SECONDS if ended < self._started else max(0.0, self.clock.now() - ended)
        return self.clock.monotonic() + REST_SECONDS - min(REST_SECONDS, rested)

    def _bring(self, build: Build, stop: StopToken) -> None:
        self._pauses[build.id] = min(self._pauses.get(build.id, REST_SECONDS / 2) * 2, LONGEST_PAUSE_SECONDS)
        there = log_length(self.log_dir(build))
        if there < build.logs.bytes:
            self._give_up(build, "the log was removed from this host before every sink had it")
            return
        try:
            totals = self.open_log(build).close(PATIENCE_SECONDS, hurry=stop)
        except BuildspecdError as error:
            _log.warning("cannot open a log again", build=build.id, error=error.message)
        else:
            saved = self.recorder.save(build.evolve(logs=log_record(build, totals)))
            if not saved.logs.owing:
                _log.info("the rest of a log has arrived", build=build.id)
        self._due[build.id] = self.clock.monotonic() + self._pauses[build.id]

    def _give_up(self, build: Build, why: str) -> None:
        """Write down as gaps what no sink will get any more."""
        logs = build.logs
        late = [sink for sink, count in logs.delivered.items() if count < logs.bytes]
        gaps = [
            LogGap(
                sink=sink,
                start=logs.delivered[sink],
                end=logs.bytes,
                lines=max(0, logs.lines - logs.delivered_lines.get(sink, 0)),
                reason=why,
            )
            for sink in late
        ]
        lost = logs.evolve(
            delivered={**logs.delivered, **dict.fromkeys(late, logs.bytes)},
            delivered_lines={**logs.delivered_lines, **dict.fromkeys(late, logs.lines)},
            gaps=(*logs.gaps, *gaps),
            problems={**logs.problems, **dict.fromkeys(late, why), "output": why},
        )
        self.recorder.save(build.evolve(logs=lost))
        _log.error("a log will not reach every sink", build=build.id, sinks=late, reason=why)
