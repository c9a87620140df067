"""The journal of a build: the driver's lines become events. What a build can write is never trusted, only bounded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.buildspec.plan import PhasePlan
from agent.kit.files import open_regular
from agent.model.phase import COMMAND_PHASES, PhaseContext, PhaseType

_LINE_LIMIT = 1024
_READ_LIMIT = 1 << 20
_NUMBER_DIGITS = 17
_LISTS = frozenset({"commands", "finally"})
_OUTCOMES = frozenset({"completed", "aborted", "refused", "stopped"})
_REASONS = frozenset({"no-user", "no-switch"})
_PHASES = {str(phase): phase for phase in COMMAND_PHASES}
_WITH_COMMANDS = {**_PHASES, str(PhaseType.DOWNLOAD_SOURCE): PhaseType.DOWNLOAD_SOURCE}


@dataclass(frozen=True)
class JournalEvent:
    """Something that the driver did. `at` is epoch seconds by the driver's clock (10 ms), so it may lag a little."""

    at: float


@dataclass(frozen=True)
class Begun(JournalEvent):
    """Plan and environment are read."""


@dataclass(frozen=True)
class Prepared(JournalEvent):
    """The expansions ahead of INSTALL are there to be read."""


@dataclass(frozen=True)
class Resumed(JournalEvent):
    """The driver heard `resume`."""


@dataclass(frozen=True)
class Moved(JournalEvent):
    """The runtimes are set up. `said_at`, in epoch seconds, is the time in front of the line `Moving to directory`."""

    said_at: float


@dataclass(frozen=True)
class ProblemFound(JournalEvent):
    """The build cannot go on.

    `reason` is `no-shell`: `env.shell` is not in the image (buildspec.md 5.2), or `runtime`: command `index` of those
    that set up the runtimes ended with `status` (buildspec.md 9).
    """

    reason: str
    index: int = 0
    status: int = 0


@dataclass(frozen=True)
class PhaseStarted(JournalEvent):
    """`Entering phase`."""

    phase: PhaseType


@dataclass(frozen=True)
class CommandStarted(JournalEvent):
    """A command of the list `commands` or `finally` begins; `index` counts from 1.

    `phase` is DOWNLOAD_SOURCE for one that sets up a runtime.
    """

    phase: PhaseType
    part: str
    index: int


@dataclass(frozen=True)
class CommandEnded(JournalEvent):
    """The command has ended with `status`."""

    phase: PhaseType
    part: str
    index: int
    status: int


@dataclass(frozen=True)
class PhaseRetried(JournalEvent):
    """The phase's commands run again; `attempt` counts from 1 to `limit`."""

    phase: PhaseType
    attempt: int
    limit: int


@dataclass(frozen=True)
class Failure:
    """Why a phase failed: a command, or (`reason`) that `run-as` could not be done."""

    part: str = ""
    index: int = 0
    status: int = 0
    reason: str = ""


@dataclass(frozen=True)
class PhaseEnded(JournalEvent):
    """The phase is over; `failure` is None when it succeeded."""

    phase: PhaseType
    failure: Failure | None


@dataclass(frozen=True)
class ExpansionsDone(JournalEvent):
    """The expansions after POST_BUILD are there to be read."""


@dataclass(frozen=True)
class Ended(JournalEvent):
    """The driver is done; `result` follows at once. `phase` is the last one, None before the first."""

    outcome: str
    phase: PhaseType | None


class JournalParser:
    """Turns bytes, cut anywhere, into events.

    A last line without its newline is kept until the rest comes. Lines that make no sense are skipped and counted in
    `skipped`. `offset` is how many bytes have been turned into events for good: where to go on after a restart.
    """

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.skipped = 0
        self._rest = b""
        self._dropping = False

    def feed(self, data: bytes) -> tuple[JournalEvent, ...]:
        """Return the events that *data* completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        events = []
        for line in lines:
            self.offset += len(line) + 1
            event = None if self._dropping else parse_line(line)
            self._dropping = False
            if event is None:
                self.skipped += 1
            else:
                events.append(event)
        if len(rest) > _LINE_LIMIT:
            self.offset += len(rest)
            self._dropping, rest = True, b""
        self._rest = rest
        return tuple(events)


class JournalReader:
    """Follows the journal of one control directory from a byte offset. One thread at a time."""

    def __init__(self, directory: Path, offset: int = 0) -> None:
        self._path = directory / "journal"
        self._position = offset
        self._parser = JournalParser(offset)

    @property
    def offset(self) -> int:
        """Where a new reader would go on without losing or doubling an event."""
        return self._parser.offset

    @property
    def skipped(self) -> int:
        """How many lines made no sense."""
        return self._parser.skipped

    def read(self) -> tuple[JournalEvent, ...]:
        """Return the events since the last call, of at most 1 MiB of journal; empty when there is nothing new."""
        handle = open_regular(self._path)
        if handle is None:
            return ()
        try:
            data = os.pread(handle, _READ_LIMIT, self._position)
        finally:
            os.close(handle)
        self._position += len(data)
        return self._parser.feed(data)


def parse_line(line: bytes) -> JournalEvent | None:
    """Return the event of one line without its newline, or None when it makes no sense."""
    if len(line) > _LINE_LIMIT or not line.isascii():
        return None
    at, _, event = line.decode("ascii").partition("\t")
    name, *fields = event.split("\t")
    reader = _READERS.get(name)
    try:
        return reader(_number(at) / 1_000_000, fields) if reader else None
    except (ValueError, KeyError):
        return None


def phase_context(phases: Sequence[PhasePlan], ended: PhaseEnded) -> PhaseContext:
    """Return the context of a phase that ended, with the words that the driver wrote to the log (buildspec.md 3)."""
    failure = ended.failure
    plan = next((phase for phase in phases if phase.phase is ended.phase), None)
    if failure is None:
        return PhaseContext()
    return PhaseContext(status_code="COMMAND_EXECUTION_ERROR", message=_failure_message(plan, failure))


def _failure_message(plan: PhasePlan | None, failure: Failure) -> str:
    user = plan.run_as if plan else ""
    if failure.reason == "no-user":
        return f"Error while switching to user: {user}. Reason: no such user in the image"
    if failure.reason == "no-switch":
        return f"Error while switching to user: {user}. Reason: the image has neither setpriv nor su"
    command = _command_text(plan, failure.part, failure.index)
    return f"Error while executing command: {command}. Reason: exit status {failure.status}"


def command_text(phases: Sequence[PhasePlan], at: CommandStarted | CommandEnded) -> str:
    """Return the command that *at* is about, as it stands in the buildspec; empty: the plan has none there."""
    return _command_text(next((phase for phase in phases if phase.phase is at.phase), None), at.part, at.index)


def _command_text(plan: PhasePlan | None, part: str, index: int) -> str:
    commands = (plan.finally_commands if part == "finally" else plan.commands) if plan else ()
    return commands[index - 1] if 0 < index <= len(commands) else ""


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > _NUMBER_DIGITS:
        raise ValueError(text)
    return int(text)


def _one_of(allowed: frozenset[str], text: str) -> str:
    if text not in allowed:
        raise ValueError(text)
    return text


def _command(fields: Sequence[str]) -> tuple[PhaseType, str, int]:
    phase, part, index = fields
    return _WITH_COMMANDS[phase], _one_of(_LISTS, part), _number(index)


def _bare(kind: Callable[[float], JournalEvent]) -> Callable[[float, list[str]], JournalEvent]:
    def read(at: float, fields: list[str]) -> JournalEvent:
        if fields:
            raise ValueError(fields)
        return kind(at)

    return read


def _problem(at: float, fields: list[str]) -> JournalEvent:
    reason, *where = fields
    if reason == "runtime":
        index, status = where
        return ProblemFound(at, reason, _number(index), _number(status))
    (reason,) = fields
    return ProblemFound(at, _one_of(frozenset({"no-shell"}), reason))


def _moved(at: float, fields: list[str]) -> JournalEvent:
    (said_at,) = fields
    return Moved(at, _number(said_at) / 1_000_000)


def _phase_started(at: float, fields: list[str]) -> JournalEvent:
    (phase,) = fields
    return PhaseStarted(at, _PHASES[phase])


def _command_ended(at: float, fields: list[str]) -> JournalEvent:
    return CommandEnded(at, *_command(fields[:-1]), _number(fields[-1]))


def _retried(at: float, fields: list[str]) -> JournalEvent:
    phase, attempt, limit = fields
    return PhaseRetried(at, _PHASES[phase], _number(attempt), _number(limit))


def _phase_ended(at: float, fields: list[str]) -> JournalEvent:
    phase, state, *why = fields
    _one_of(frozenset({"SUCCEEDED", "FAILED"}), state)
    if state == "SUCCEEDED":
        failure = None
    elif len(why) == 1:
        failure = Failure(reason=_one_of(_REASONS, why[0]))
    else:
        part, index, status = why
        failure = Failure(_one_of(_LISTS, part), _number(index), _number(status))
    return PhaseEnded(at, _PHASES[phase], failure)


def _ended(at: float, fields: list[str]) -> JournalEvent:
    outcome, phase = fields
    return Ended(at, _one_of(_OUTCOMES, outcome), None if phase == "-" else _PHASES[phase])


_READERS: Mapping[str, Callable[[float, list[str]], JournalEvent]] = {
    "begun": _bare(Begun),
    "moved": _moved,
    "prepared": _bare(Prepared),
    "resumed": _bare(Resumed),
    "problem": _problem,
    "phase": _phase_started,
    "command": lambda at, fields: CommandStarted(at, *_command(fields)),
    "exit": _command_ended,
    "retry": _retried,
    "phase-end": _phase_ended,
    "expanded": _bare(ExpansionsDone),
    "end": _ended,
}
