"""The reader of the queue: what it deletes, what it leaves, and how it bears trouble."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agent.aws import Aws, AwsRefused
from agent.errors import AwsUnavailable, BuildspecdError, GitUnavailable
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.triggers.events import GitPush, Happening
from agent.triggers.sqs import Message, Queue, Sqs, _Question
from tests.fakes.serving import running
from tests.journey.waiting import until
from tests.unit.store.samples import ManualClock
from tests.unit.triggers.test_events import push, record


class FakeQueue(Queue):
    """A queue that gives what it was given; it is asked again at once, and waits while there is nothing."""

    def __init__(self, *batches: Any) -> None:
        super().__init__(Aws(region="eu-central-1"), "https://sqs/1/q")
        self.batches = list(batches)
        self.deleted: list[str] = []
        self.postponed: dict[str, float] = {}
        self.let_go = threading.Event()

    def receive(self) -> list[Message]:
        if not self.batches:
            self.let_go.wait(30)
            return []
        batch = self.batches.pop(0)
        if isinstance(batch, BaseException):
            raise batch
        return list(batch)

    def delete(self, messages: Any) -> None:
        self.deleted += [one.id for one in messages]

    def postpone(self, message: Message, seconds: float) -> None:
        self.postponed[message.id] = seconds


@dataclass
class Bench:
    queue: FakeQueue = field(default_factory=FakeQueue)
    trouble: BuildspecdError | None = None
    taken: list[Happening] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sqs = Sqs(self.queue, self.take, ManualClock())

    def take(self, happening: Happening, stop: StopToken) -> None:
        if self.trouble and isinstance(happening, GitPush):
            raise self.trouble
        self.taken.append(happening)


def message(name: str, document: object, count: int = 1) -> Message:
    return Message(name, f"receipt-{name}", document if isinstance(document, str) else json.dumps(document), count)


def test_a_message_is_deleted_once_all_that_it_asks_for_is_stored() -> None:
    bench = Bench()
    bench.sqs.turn([message("1", push()), message("2", {"Records": [record("a"), record("b")]})], StopToken())
    assert len(bench.taken) == 3
    assert bench.queue.deleted == ["1", "2"]


def test_a_message_that_fails_is_left_for_later_and_each_time_for_longer() -> None:
    bench = Bench(trouble=GitUnavailable("the server does not answer"))
    messages = [message(str(count), push(), count) for count in (1, 2, 3, 50)]
    bench.sqs.turn([*messages, message("x", {"Records": [record("a")]})], StopToken())
    assert bench.queue.postponed == {"1": 30.0, "2": 60.0, "3": 120.0, "50": 900.0}
    assert bench.queue.deleted == ["x"], "it holds up no other"


def test_a_message_that_makes_no_sense_is_told_once_shortened_and_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench()
    bench.sqs.turn([message("1", "{" + "x" * 200_000), message("2", {"Event": "s3:TestEvent"})], StopToken())
    assert bench.queue.deleted == ["1", "2"]
    said = capsys.readouterr()
    assert len(said.err + said.out) < 2000


def test_nothing_is_deleted_that_was_not_worked_off_before_the_end() -> None:
    bench, stop = Bench(), StopToken()
    stop.set()
    bench.sqs.turn([message("1", push())], stop)
    assert bench.queue.deleted == []
    assert bench.taken == []


def test_trouble_with_the_queue_is_told_waited_for_and_forgotten() -> None:
    stop = StopToken()
    waits: list[float] = []
    seen: list[str] = []
    bench = Bench(FakeQueue(AwsUnavailable("sqs: no"), AwsUnavailable("sqs: no"), [message("1", push())]))

    def then(seconds: float) -> None:
        waits.append(seconds)
        seen.append(bench.sqs.trouble)

    def take(happening: Happening, stop_too: StopToken) -> None:
        stop.set()

    bench.sqs.clock, bench.sqs.take = ManualClock(then=then), take
    bench.sqs.run(stop)
    assert waits == [2.0, 4.0]
    assert seen == ["sqs: no", "sqs: no"]
    assert bench.sqs.trouble == ""


def test_it_ends_within_a_second_while_the_queue_is_asked() -> None:
    bench = Bench()
    bench.sqs.clock = SystemClock()
    clock = SystemClock()
    asking = "sqs-receive"
    with running(bench.sqs, lambda: any(one.name == asking for one in threading.enumerate())):
        until(lambda: any(one.name == asking for one in threading.enumerate()), "a question")
        begun = clock.monotonic()
    assert clock.monotonic() - begun < 1.5
    bench.queue.let_go.set()


def test_a_crash_on_the_thread_that_asks_is_trouble_of_the_service() -> None:
    with pytest.raises(BuildspecdError, match="the thread that asks the queue broke"):
        _Question(FakeQueue()).answer()


class Refusing(BaseHTTPRequestHandler):
    """Says to every question what SQS says to a host whose clock is slow."""

    def do_POST(self) -> None:
        said = "Signature expired: 20261122T100000Z is now earlier than 20261122T101500Z (20261122T103000Z - 15 min.)"
        answer = json.dumps({"__type": "com.amazon.coral.service#InvalidSignatureException", "message": said}).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def test_a_wrong_clock_of_this_host_is_named_where_sqs_refuses_what_it_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        queue = Queue(Aws(region="eu-central-1", endpoint_url=address), f"{address}/1/q", 1)
        with pytest.raises(AwsRefused) as caught:
            queue.receive()
        assert "set the clock of this host" in caught.value.hint
    finally:
        server.shutdown()
        server.server_close()
