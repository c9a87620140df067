"""What the tests of the log stand on: clocks, a store in memory, sinks that fail to order, a strict CloudWatch Logs."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.server import ThreadedMotoServer

from agent.aws import Aws
from agent.buildlog.sink import Ledger, Pace, Stretch
from agent.errors import UserError
from agent.kit.service import StopToken
from agent.objects.store import Check, StoredObject, Upload, go_on

START = 1_722_661_968.197352


class HandClock:
    """Stands still until it is moved; a wait moves it and returns at once. `jumped`: what the wall clock was set by."""

    def __init__(self, at: float | None = None) -> None:
        self.at = time.time() if at is None else at
        self.jumped = 0.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.at + self.jumped

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float, stop: StopToken) -> bool:
        self.waits.append(seconds)
        if not stop.is_set:
            self.at += seconds
        return stop.is_set


class FastClock:
    """A clock that runs *speed* times as fast as the real one."""

    def __init__(self, speed: float = 100.0) -> None:
        self._speed = speed
        self._begun = time.monotonic()
        self._start = time.time()

    def now(self) -> float:
        return self._start + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._begun) * self._speed

    def wait(self, seconds: float, stop: StopToken) -> bool:
        return stop.wait(seconds / self._speed)


class MemoryStore:
    """An ObjectStore in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, Upload] = {}
        self.puts = 0

    def put(self, key: str, file: Path, upload: Upload) -> None:
        if ".." in key.split("/") or key.startswith("/"):
            raise UserError(f"{key}: not a key")
        self.puts += 1
        self.objects[key] = file.read_bytes()
        self.uploads[key] = upload

    def get(
        self, key: str, file: Path, *, version: str | None = None, limit: int | None = None, check: Check = go_on
    ) -> StoredObject | None:
        check()
        if version or key not in self.objects:
            return None
        file.write_bytes(self.objects[key])
        return self.head(key)

    def head(self, key: str, *, version: str | None = None) -> StoredObject | None:
        return StoredObject(key, len(self.objects[key]), START) if key in self.objects and not version else None

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        yield from self.list(prefix)

    def list(self, prefix: str) -> list[StoredObject]:
        return [StoredObject(key, len(data), START) for key, data in self.objects.items() if key.startswith(prefix)]

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def locate(self, key: str) -> str:
        return f"memory:///{key}"


class MemoryLedger:
    """A ledger that a test can look into; `history` has every note."""

    def __init__(self) -> None:
        self.note: Any = {}
        self.history: list[dict[str, Any]] = []
        self.problems: list[str] = []
        self.gaps: list[tuple[int, int, str]] = []
        self.twice: list[tuple[int, int, str]] = []

    def write(self, note: Any) -> None:
        self.note = dict(note)
        self.history.append(self.note)

    def lament(self, problem: str) -> None:
        self.problems.append(problem)

    def lost(self, start: int, end: int, why: str) -> None:
        self.gaps.append((start, end, why))

    def doubled(self, start: int, end: int, why: str) -> None:
        self.twice.append((start, end, why))


class RecordingSink:
    """A sink in memory. `script` holds errors to raise, one a call; `gate` blocks it until it is set."""

    def __init__(self, name: str = "memory", pace: Pace | None = None) -> None:
        self.name = name
        self.pace = pace or Pace()
        self.data = bytearray()
        self.script: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def deliver(self, stretch: Stretch, ledger: Ledger) -> int:
        self.calls += 1
        self.gate.wait()
        if self.script:
            raise self.script.pop(0)
        piece = stretch.read(1 << 16)
        del self.data[stretch.start :]
        self.data += piece
        return stretch.start + len(piece)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run an AWS in this process; yields its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class StrictLogs:
    """CloudWatch Logs as AWS documents it (service.md 8.2): moto, and the limits that moto does not enforce.

    `script` holds what befalls the next calls of PutLogEvents, in order: `lost request`, `lost answer`, `throttled`,
    `refused`; `unreadable` refuses GetLogEvents.
    """

    def __init__(self, endpoint: str) -> None:
        self.real = boto3.client(
            "logs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        self.script: list[str] = []
        self.unreadable = False
        self.batches: list[list[dict[str, Any]]] = []
        self.group = f"/test/{uuid.uuid4()}"
        self.stream = str(uuid.uuid4())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self.real, name)

    def put_log_events(self, **arguments: Any) -> Any:
        events = arguments["logEvents"]
        check_batch(events)
        fate = self.script.pop(0) if self.script else ""
        if fate == "lost request":
            raise ReadTimeoutError(endpoint_url="test")
        if fate == "throttled":
            raise _answer("ThrottlingException", 400)
        if fate == "refused":
            raise _answer("AccessDeniedException", 400)
        answer = self.real.put_log_events(**arguments)
        self.batches.append(events)
        if fate == "lost answer":
            raise ReadTimeoutError(endpoint_url="test")
        return answer

    def get_log_events(self, **arguments: Any) -> Any:
        if self.unreadable:
            raise _answer("AccessDeniedException", 400)
        return self.real.get_log_events(**arguments)

    def messages(self) -> list[str]:
        """Return every message of the stream, in order."""
        return [event["message"] for event in self.events()]

    def events(self) -> list[dict[str, Any]]:
        """Return every event of the stream, in order."""
        events: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        while True:
            page = self.real.get_log_events(
                logGroupName=self.group, logStreamName=self.stream, startFromHead=True, limit=10_000, **token
            )
            if not page["events"]:
                return events
            events += page["events"]
            token = {"nextToken": page["nextForwardToken"]}


def check_batch(events: list[dict[str, Any]]) -> None:
    """Fail where PutLogEvents would."""
    times = [event["timestamp"] for event in events]
    sizes = [len(event["message"].encode()) for event in events]
    assert 1 <= len(events) <= 10_000
    assert min(sizes) >= 1
    assert max(sizes) + 26 <= 262_144
    assert sum(sizes) + 26 * len(events) <= 1_048_576
    assert times == sorted(times)
    assert times[-1] - times[0] <= 86_400_000
    assert not any("\0" in event["message"] for event in events)


class StrictAws(Aws):
    """The door to AWS, with a strict client behind it."""

    def __init__(self, logs: StrictLogs) -> None:
        super().__init__(region="us-east-1")
        self._logs = logs

    def client(self, service: str, *, attempts: int = 4, patience: float = 60) -> Any:
        assert service == "logs"
        return self._logs


def _answer(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "test"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutLogEvents")
