"""The log sinks against an AWS that breaks: nothing missing, nothing doubled, in order, whatever happens when."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws
from agent.buildlog.cloudwatch import SETTLE_SECONDS, CloudWatchSink
from agent.buildlog.offsets import OffsetFile
from agent.buildlog.s3 import ObjectSink
from agent.buildlog.sink import Stretch
from agent.buildlog.stamps import stamp
from agent.errors import BuildspecdError
from agent.objects.s3 import S3Store
from agent.objects.store import Upload
from agent.torture.cloud import CloudServer, Fault
from tests.unit.buildlog.parts import HandClock

GROUP, STREAM = "/aws/codebuild/web", "uuid"
OF_THE_WIRE = ("reset", "lost-answer", "truncated", "garbage", "garbage-done")
REFUSALS = ("throttle", "error", "unavailable", "expired", "denied")
SLOW = ("hang", "hang-done", "late")
HURRY = 3.0
"""The patience of a sink whose server does not answer on purpose."""


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Kills at its *length*th spark; before and after everything that leaves a trace there is one."""

    def __init__(self, length: int = 1 << 30) -> None:
        self.left = length

    def spark(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed


class FusedLedger(OffsetFile):
    """A ledger on disk with a fuse."""

    fuse = Fuse()

    def _save(self, **changed: Any) -> None:
        self.fuse.spark()
        super()._save(**changed)
        self.fuse.spark()


class FusedAws(Aws):
    """A door to AWS with a fuse."""

    fuse = Fuse()

    def client(self, service: str, **options: Any) -> Any:
        return FusedClient(super().client(service, **options), self.fuse)


class FusedClient:
    def __init__(self, real: Any, fuse: Fuse) -> None:
        self._real = real
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self._fuse.spark()
            answer = getattr(self._real, name)(**arguments)
            self._fuse.spark()
            return answer

        return call


class Bench:
    """A log, and a CloudWatch sink that is driven by hand; every failure lets a second pass."""

    def __init__(self, cloud: CloudServer, directory: Path, **options: Any) -> None:
        self.cloud = cloud
        self.options = options
        self.clock = HandClock()
        self.fuse = Fuse()
        self.aws = FusedAws(region="us-east-1", endpoint_url=cloud.url)
        self.aws.fuse = self.fuse
        self.directory = directory
        self.troubles: list[str] = []
        self.begin(STREAM)

    def begin(self, stream: str) -> None:
        """Begin a log of another build."""
        self.stream = stream
        self.log = self.directory / stream / "log"
        self.log.parent.mkdir()
        self.log.touch()
        self.restart()

    def restart(self) -> None:
        """Be a new process."""
        self.ledger = FusedLedger(self.log, "cloudwatch")
        self.ledger.fuse = self.fuse
        self.sink = CloudWatchSink(self.aws, group=GROUP, stream=self.stream, clock=self.clock, **self.options)

    def write(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(text)

    def deliver_all(self, *, most: int = 600) -> None:
        """Deliver until all is there."""
        while self.ledger.offset < (size := self.log.stat().st_size):
            most -= 1
            assert most > 0, self.troubles[-3:]
            try:
                self.ledger.commit(self.sink.deliver(Stretch(self.log, self.ledger.offset, size, True), self.ledger))
            except (BuildspecdError, OSError) as error:
                self.troubles.append(str(error))
                self.clock.at += 1.0

    def assert_complete(self) -> None:
        assert self.cloud.messages(GROUP, self.stream) == self.log.read_text().splitlines()
        assert self.ledger.gaps == ()
        assert self.ledger.lines == len(self.log.read_text().splitlines())
        assert self.ledger.problem == ""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def cloud() -> Iterator[CloudServer]:
    with CloudServer(seed=7) as server:
        server.stock(buckets=("logs",))
        yield server


@pytest.mark.parametrize("kind", [*OF_THE_WIRE, *REFUSALS, *SLOW])
def test_after_each_kind_of_fault_every_line_is_there_once(cloud: CloudServer, tmp_path: Path, kind: str) -> None:
    bench = Bench(cloud, tmp_path, **({"patience": HURRY} if kind in SLOW else {}))
    bench.write("same\nsame\n")
    bench.deliver_all()
    for operation in ("PutLogEvents",) if kind in SLOW else ("PutLogEvents", "GetLogEvents"):
        cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1 if operation == "GetLogEvents" else 0))
        cloud.add(Fault(kind, "logs", operation, times=2 if kind not in SLOW else 1, seconds=600))
        bench.write("same\nsame\n")
        bench.deliver_all()
    bench.assert_complete()
    assert cloud.done()[kind]


def test_a_stream_that_is_made_while_aws_breaks_is_made_once(cloud: CloudServer, tmp_path: Path) -> None:
    bench = Bench(cloud, tmp_path, retention_days=7)
    for operation in ("CreateLogGroup", "CreateLogStream", "PutRetentionPolicy"):
        for kind in ("throttle", "lost-answer", "garbage", "reset"):
            cloud.add(Fault(kind, "logs", operation, times=1))
    bench.write("one\n")
    bench.deliver_all()
    bench.assert_complete()


@pytest.mark.parametrize("seed", range(4))
def test_under_any_mixture_of_faults_and_kills_every_line_is_there_once_and_in_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with CloudServer(seed=seed) as cloud:
        bench = Bench(cloud, tmp_path)
        for kind in (*OF_THE_WIRE, *REFUSALS, "empty-page"):
            cloud.add(Fault(kind, "logs", chance=0.04))
        cloud.add(Fault("unseen", chance=0.2, reads=3))
        for number in range(40):
            bench.write("".join(chance.choice(["same\n", f"line {number}\n"]) for _ in range(chance.randint(1, 20))))
            bench.fuse.left = chance.randint(1, 30)
            try:
                bench.deliver_all()
            except Killed:
                bench.restart()
        bench.fuse.left = 1 << 30
        bench.deliver_all()
        bench.assert_complete()
        assert sum(cloud.done().values()) >= 20


def test_a_kill_between_any_two_statements_loses_and_doubles_nothing(cloud: CloudServer, tmp_path: Path) -> None:
    length, killed = 0, True
    bench = Bench(cloud, tmp_path)
    while killed:
        length += 1
        bench.begin(str(length))
        cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1))
        bench.fuse.left, killed = length, False
        for _ in range(2):
            bench.write("same\nsame\n")
            try:
                bench.deliver_all()
            except Killed:
                killed = True
                bench.restart()
        bench.deliver_all()
        bench.assert_complete()
        cloud.clear()
    assert length > 15


def test_credentials_that_are_expired_for_an_hour_cost_only_time(cloud: CloudServer, tmp_path: Path) -> None:
    bench = Bench(cloud, tmp_path)
    bench.write("one\n")
    rule = cloud.add(Fault("expired"))
    for _ in range(5):
        with pytest.raises(BuildspecdError):
            bench.sink.deliver(Stretch(bench.log, 0, 4, True), bench.ledger)
        bench.clock.at += 720
    cloud.remove(rule)
    bench.deliver_all()
    bench.assert_complete()


def test_a_full_disk_under_the_ledger_is_waited_for(cloud: CloudServer, tmp_path: Path) -> None:
    class Full(OffsetFile):
        refusals = 0

        def _save(self, **changed: Any) -> None:
            self.refusals -= 1
            if self.refusals >= 0:
                raise OSError(28, "No space left on device")
            super()._save(**changed)

    bench = Bench(cloud, tmp_path)
    bench.ledger = full = Full(bench.log, "cloudwatch")  # type: ignore[assignment]
    for _ in range(3):
        bench.write("same\n")
        full.refusals = 2
        bench.deliver_all()
        bench.write("same\n")
        reached = bench.sink.deliver(Stretch(bench.log, full.offset, bench.log.stat().st_size, True), full)
        full.refusals = 1
        with pytest.raises(OSError, match="No space"):
            full.commit(reached)
        bench.deliver_all()
    bench.assert_complete()


def test_events_that_are_dropped_stand_in_the_record_with_their_bytes_lines_and_reason(tmp_path: Path) -> None:
    now = HandClock().now()
    with CloudServer(now=lambda: now) as cloud:
        bench = Bench(cloud, tmp_path)
        bench.clock.at = now
        bench.write("fine\n")
        bench.deliver_all()
        bench.clock.at = now + 3 * 3600
        bench.write("too\nnew\n")
        bench.deliver_all()
        cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1))
        bench.write("and the answer lost\n")
        bench.deliver_all()
        gaps = [(gap.start, gap.end, gap.lines) for gap in bench.ledger.gaps]
        assert gaps == [(5, 33, 3)]
        assert "in the future" in bench.ledger.gaps[0].reason
        assert bench.ledger.lines == 4
        assert cloud.messages(GROUP, STREAM) == ["fine"]


def test_of_a_batch_that_was_kept_in_part_the_rest_is_a_gap_though_the_answer_was_lost(tmp_path: Path) -> None:
    with CloudServer() as cloud:
        bench = Bench(cloud, tmp_path)
        bench.write("one\n")
        bench.deliver_all()
        client = Aws(region="us-east-1", endpoint_url=cloud.url).client("logs")
        client.put_retention_policy(logGroupName=GROUP, retentionInDays=1)
        now = bench.clock.at
        bench.write(f"[Container] {stamp(now - 25 * 3600)} old\n[Container] {stamp(now - 2 * 3600)} new\n")
        cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1))
        bench.clock.at += 1
        bench.ledger.write({})  # so that old times are allowed
        bench.deliver_all()
        assert [text.split()[-1] for text in cloud.messages(GROUP, STREAM)] == ["new", "one"]
        (gap,) = bench.ledger.gaps
        assert (gap.start, gap.end) == (4, bench.ledger.offset)
        assert "kept 1 of 2 events" in gap.reason


def test_a_batch_that_had_to_be_sent_again_unread_stands_in_the_record_once_as_maybe_twice(
    cloud: CloudServer, tmp_path: Path
) -> None:
    bench = Bench(cloud, tmp_path)
    bench.write("one\n")
    bench.deliver_all()
    reads = cloud.add(Fault("denied", "logs", "GetLogEvents"))
    cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=2))
    bench.write("two\nthree\n")
    bench.deliver_all(most=2000)
    bench.restart()
    (twice,) = bench.ledger.maybe_twice
    assert (twice.sink, twice.start, twice.end, twice.lines) == ("cloudwatch", 4, 14, 2)
    assert "sent again" in twice.reason
    cloud.faults.remove(reads)
    assert (cloud.messages(GROUP, STREAM), bench.ledger.gaps) == (["one", *["two", "three"] * 3], ())


def test_a_wall_clock_that_jumps_settles_no_doubt_early(cloud: CloudServer, tmp_path: Path) -> None:
    bench = Bench(cloud, tmp_path)
    cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1, reads=int(SETTLE_SECONDS) - 2))
    bench.write("one\n")
    for _ in range(5):  # the answer is lost, and the stream shows nothing of it for a while
        with pytest.raises(BuildspecdError):
            bench.sink.deliver(Stretch(bench.log, 0, 4, True), bench.ledger)
        bench.clock.at += 1.0
        bench.clock.jumped += 3600.0
    bench.deliver_all()
    bench.assert_complete()


def test_a_batch_in_doubt_that_shows_up_while_it_is_waited_for_is_there_once_and_later_twice(
    cloud: CloudServer, tmp_path: Path
) -> None:
    bench = Bench(cloud, tmp_path)
    cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1, reads=int(SETTLE_SECONDS) - 2))
    bench.write("one\n")
    bench.deliver_all()
    bench.assert_complete()
    cloud.add(Fault("lost-answer", "logs", "PutLogEvents", times=1, reads=1000))
    bench.write("two\n")
    bench.deliver_all()
    bench.write("three\n")
    bench.deliver_all()
    assert cloud.messages(GROUP, STREAM) == ["one", "two", "two", "three"]  # AWS offers nothing that could tell


@pytest.mark.parametrize("kind", [*OF_THE_WIRE, *REFUSALS, *SLOW])
def test_the_copy_in_s3_is_the_log_whatever_fails_on_the_way(cloud: CloudServer, tmp_path: Path, kind: str) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"line\n" * 30_000)

    class Hasty(Aws):
        def client(self, service: str, *, attempts: int = 4, patience: float = 60) -> Any:
            return super().client(service, attempts=1, patience=HURRY if kind in SLOW else 60)

    store = S3Store(Hasty(region="us-east-1", endpoint_url=cloud.url), "logs")
    sink, ledger = ObjectSink(store, "uuid.gz"), OffsetFile(log, "s3")
    cloud.add(Fault(kind, "s3", times=1 if kind in SLOW else 2, seconds=600))
    reached = troubles = 0
    while not reached:
        try:
            reached = sink.deliver(Stretch(log, 0, 150_000, True), ledger)
        except BuildspecdError:
            troubles += 1
    assert troubles == sum(cloud.done().values()) > 0
    assert gzip.decompress(cloud.object("logs", "uuid.gz")) == log.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_large_object_whose_last_answer_was_lost_is_stored_by_the_next_attempt(
    cloud: CloudServer, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(33 << 20))
    store = S3Store(Aws(region="us-east-1", endpoint_url=cloud.url), "logs")
    cloud.add(Fault("lost-answer", "s3", "CompleteMultipartUpload", times=1))
    with pytest.raises(BuildspecdError, match="begin anew"):
        store.put("big", file, Upload())
    store.put("big", file, Upload())
    assert len(cloud.object("logs", "big")) == 33 << 20
    assert cloud.buckets()["logs"]["uploads"] == []
