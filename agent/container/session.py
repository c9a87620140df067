"""Sessions: a process of one's own in the container of a running build, as its commands run (`buildspecd shell`)."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.container.docker import connect, translated
from agent.container.spec import BUILD_LABEL
from agent.errors import BuildspecdError, ContainerLost, EngineUnavailable, UserError
from agent.kit.clock import Clock
from agent.kit.service import StopToken

if TYPE_CHECKING:
    from docker import APIClient

_PIECE = 1 << 16
_FRAME = struct.Struct(">BxxxL")
_NAME = "buildspecd-shell"
_GONE = 137
_END_LOOKS = 100
_END_PAUSE = 0.02
_LOOKS = 5
_LOOK_PAUSE = 0.2
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Ends:
    """File descriptors that a session is joined to. *resized* becomes readable when `size` (rows, columns) has changed.

    A terminal has both; without them the session has none.
    """

    stdin: int
    stdout: int
    stderr: int
    resized: int | None = None
    size: Callable[[], tuple[int, int]] | None = None


@dataclass(frozen=True)
class _Whereabouts:
    """Where the commands of a build are, as session.sh says."""

    user: str
    process: str
    state: str
    shell: str


class Sessions:
    """Leads into the containers of running builds, of every agent on this host."""

    def __init__(self, clock: Clock, base_url: str | None = None) -> None:
        self._clock = clock
        try:
            self._client: APIClient = connect(base_url, _TIMEOUT)
        except EngineUnavailable as error:
            if not _is_forbidden(error):
                raise
            raise UserError(
                "you may not use the socket of the Docker engine",
                hint="who may is root to this host: try with sudo, or ask for membership in the group docker",
            ) from error

    def running(self) -> dict[str, str]:
        """Return the builds whose containers run: id -> container."""
        with translated("listing containers"):
            found = self._client.containers(filters={"label": [BUILD_LABEL], "status": "running"})
        builds = {str(facts["Labels"][BUILD_LABEL]): str(facts["Id"]) for facts in found}
        return {build: container for build, container in builds.items() if not build.startswith("shell:")}

    def run(self, container: str, command: Sequence[str], ends: Ends, variables: dict[str, str] | None = None) -> int:
        """Run *command*, or a shell, as the build's commands run at this moment; return its exit status.

        Nothing of the build's variables is told to the engine, which would show it to everybody: the process finds them
        in the container. *variables* are added to them (the kind of the terminal). Raises `ContainerLost` when the
        container has ended meanwhile, `UserError` when it lets nobody in.
        """
        there = self._look(container)
        terminal = ends.size is not None
        words = ["enter", there.process, there.state, "1" if terminal else "", there.shell, *command]
        session = _Session(self._client, self._clock, container, there.user, (there.shell, *_script(), *words))
        return session.join(ends, variables or {})

    def _look(self, container: str) -> _Whereabouts:
        """Find out where the commands are; a command that ends in the middle of it leaves the answer torn."""
        for _ in range(_LOOKS):
            if (found := self._told(container)) is not None:
                return found
            self._clock.wait(_LOOK_PAUSE, StopToken())
        raise UserError("the build does not let anybody in now", hint="try again; it may be at its very end")

    def _told(self, container: str) -> _Whereabouts | None:
        session = _Session(self._client, self._clock, container, "0", ("/bin/sh", *_script(), "look"))
        facts = dict(line.split(" ", 1) for line in session.output().splitlines() if " " in line)
        process, _, state = facts.get("process", "").partition(" ")
        if not process.isdigit() or not facts.get("user", "").isdigit() or not facts.get("shell"):
            return None
        return _Whereabouts(facts["user"], process, state, facts["shell"])


class _Session:
    """One process in a container."""

    def __init__(self, client: APIClient, clock: Clock, container: str, user: str, command: Sequence[str]) -> None:
        self._client = client
        self._clock = clock
        self._container = container
        self._user = user
        self._command = list(command)
        self._id = ""

    def output(self) -> str:
        """Run it, and return what it prints, or the beginning of far too much."""
        with _lost(self._container), translated("looking into a container"):
            self._id = self._client.exec_create(self._container, self._command, user=self._user, stderr=False)["Id"]
            printed = b""
            for piece in self._client.exec_start(self._id, stream=True):
                printed += piece
                if len(printed) > _PIECE:  # the build may have replaced its own shell
                    break
        return printed.decode("utf-8", "replace")

    def join(self, ends: Ends, variables: dict[str, str]) -> int:
        """Run it with its streams joined to *ends*; return its exit status."""
        terminal = ends.size is not None
        with _lost(self._container), translated("entering a container"):
            self._id = self._client.exec_create(
                self._container, self._command, user=self._user, stdin=True, tty=terminal, environment=variables
            )["Id"]
            stream: Any = self._client.exec_start(self._id, tty=terminal, socket=True)
            early = _buffered(stream)
        line = getattr(stream, "_sock", stream)
        try:
            _Joint(line, ends, None if terminal else _Frames(), self._resize).carry(early)
        finally:
            stream.close()
        return self._exit_status()

    def _resize(self, rows: int, columns: int) -> None:
        """Best effort: the process may not be there yet, or not any more."""
        from docker.errors import APIError

        if rows and columns:
            with suppress(APIError, BuildspecdError), translated("telling the size of the terminal"):
                self._client.exec_resize(self._id, height=rows, width=columns)

    def _exit_status(self) -> int:
        """Return the exit status; the engine may take a moment to know it. A container that is gone took it with it."""
        from docker.errors import NotFound

        for _ in range(_END_LOOKS):
            with translated("asking how a process ended"):
                try:
                    facts = self._client.exec_inspect(self._id)
                except NotFound:
                    return _GONE
            if facts.get("ExitCode") is not None and not facts.get("Running"):
                return int(facts["ExitCode"])
            self._clock.wait(_END_PAUSE, StopToken())
        return _GONE


class _Frames:
    """Takes the engine's stream apart, in which standard output and standard error alternate."""

    def __init__(self) -> None:
        self._held = b""

    def take(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Return what has come in: whether it is standard error, and the bytes."""
        self._held += data
        found = []
        while len(self._held) >= _FRAME.size:
            kind, length = _FRAME.unpack_from(self._held)
            end = _FRAME.size + length
            if len(self._held) < end:
                break
            found.append((kind == 2, self._held[_FRAME.size : end]))
            self._held = self._held[end:]
        return found


class _Joint:
    """Carries bytes between a session's line and *ends* until the session ends."""

    def __init__(
        self, line: socket.socket, ends: Ends, frames: _Frames | None, resize: Callable[[int, int], None]
    ) -> None:
        self._line = line
        self._ends = ends
        self._frames = frames
        self._resize = resize
        self._outgoing = b""
        self._reading = True
        self._shut = False

    def carry(self, early: bytes) -> None:
        """Do it; *early* bytes came with the engine's answer. Raises `BrokenPipeError` when nobody reads our output."""
        self._line.setblocking(False)
        self._tell_size()
        self._write_out(early)
        fresh = True
        while True:
            ready = self._wait()
            if self._ends.resized in ready:
                os.read(self._ends.resized or 0, _PIECE)
                self._tell_size()
            if self._line.fileno() in ready:
                data = self._receive()
                if data == b"":
                    return
                if data and fresh:
                    fresh = False
                    self._tell_size()  # the first time it may have been too early
                self._write_out(data or b"")
            if self._reading and self._ends.stdin in ready:
                self._read_in()
            self._send()

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(self._line, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        if self._reading and len(self._outgoing) < _PIECE:
            poll.register(self._ends.stdin, select.POLLIN)
        if self._ends.resized is not None:
            poll.register(self._ends.resized, select.POLLIN)
        return {number for number, _ in poll.poll()}

    def _receive(self) -> bytes | None:
        try:
            return self._line.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return None
        except ConnectionResetError:
            return b""

    def _read_in(self) -> None:
        try:
            data = os.read(self._ends.stdin, _PIECE)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADF):
                raise
            data = b""  # the terminal is gone, or there was none
        self._reading = bool(data)
        self._outgoing += data

    def _send(self) -> None:
        if self._outgoing:
            try:
                self._outgoing = self._outgoing[self._line.send(self._outgoing) :]
            except (BlockingIOError, InterruptedError):
                return
            except (BrokenPipeError, ConnectionResetError):
                self._outgoing, self._reading = b"", False  # it reads no more; what it says is still to come
        if not self._reading and not self._outgoing and not self._shut:
            self._shut = True
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)

    def _write_out(self, data: bytes) -> None:
        for is_error, piece in self._frames.take(data) if self._frames else [(False, data)]:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._ends.stderr if is_error else self._ends.stdout, view) :]

    def _tell_size(self) -> None:
        if self._ends.size is not None:
            self._resize(*self._ends.size())


class _lost:  # noqa: N801 - reads as a word of the `with` statement
    """Turns "no such container" and "it does not run" into `ContainerLost`."""

    def __init__(self, container: str) -> None:
        self._container = container

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        cause = error.__cause__ if isinstance(error, EngineUnavailable) else None
        if getattr(cause, "status_code", None) in (404, 409):
            raise ContainerLost(f"container {self._container[:12]} has ended", hint="the build is over") from error


def _script() -> tuple[str, str, str]:
    return "-c", Path(__file__).with_name("session.sh").read_text(), _NAME


def _buffered(stream: Any) -> bytes:
    """Return what of the stream came together with the head of the engine's answer, in its reader's buffer."""
    reader = getattr(getattr(getattr(getattr(stream, "_response", None), "raw", None), "_fp", None), "fp", None)
    line = getattr(stream, "_sock", None)
    if reader is None or line is None:
        return b""
    line.setblocking(False)
    held = reader.peek(1)
    return bytes(reader.read(len(held))) if held else b""


def _is_forbidden(error: BaseException | None) -> bool:
    seen: list[BaseException] = []
    todo = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            todo += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
    return any(isinstance(one, PermissionError) for one in seen)
