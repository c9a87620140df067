"""The CloudWatch sink against a real server, with AWS's limits enforced and its failures played."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.aws import Aws, AwsRefused
from agent.buildlog.cloudwatch import (
    SETTLE_SECONDS,
    UNREADABLE_SECONDS,
    CloudWatchSink,
    stream_name,
)
from agent.buildlog.sink import Stretch
from agent.buildlog.stamps import stamp
from agent.buildlog.transcript import Transcript
from agent.errors import AwsUnavailable
from agent.kit.clock import SystemClock
from agent.model.project import CloudWatchLogs
from tests.unit.buildlog.parts import FastClock, HandClock, MemoryLedger, StrictAws, StrictLogs


class Bench:
    """A sink, its ledger and a log file, driven by hand."""

    def __init__(self, logs: StrictLogs, log: Path, **options) -> None:
        self.logs = logs
        self.log = log
        self.log.touch()
        self.clock = HandClock()
        self.ledger = MemoryLedger()
        self.options = options
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        self.sink = CloudWatchSink(
            StrictAws(self.logs), group=self.logs.group, stream=self.logs.stream, clock=self.clock, **self.options
        )

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def deliver(self, *, final: bool = False, commit: bool = True) -> int:
        reached = self.sink.deliver(Stretch(self.log, self.offset, self.log.stat().st_size, final), self.ledger)
        if commit:
            self.offset = reached
        return reached

    def deliver_all(self) -> None:
        while self.offset < self.log.stat().st_size:
            self.deliver(final=True)


@pytest.fixture
def bench(logs: StrictLogs, tmp_path: Path) -> Bench:
    return Bench(logs, tmp_path / "log")


def test_group_and_stream_have_codebuilds_names():
    assert stream_name("web", "uuid", None) == ("/aws/codebuild/web", "uuid")
    config = CloudWatchLogs(status="ENABLED", group_name="builds", stream_name="web")
    assert stream_name("web", "uuid", config) == ("builds", "web/uuid")


def test_group_and_stream_are_made_on_demand(bench):
    bench.write(b"hello\n")
    bench.deliver()
    assert bench.logs.messages() == ["hello"]


def test_a_group_that_is_there_keeps_its_retention(bench):
    bench.logs.real.create_log_group(logGroupName=bench.logs.group)
    bench.options["retention_days"] = 7
    bench.restart()
    bench.write(b"hello\n")
    bench.deliver()
    (group,) = bench.logs.real.describe_log_groups(logGroupNamePrefix=bench.logs.group)["logGroups"]
    assert "retentionInDays" not in group


def test_a_new_group_gets_retention_and_key(logs, tmp_path):
    bench = Bench(logs, tmp_path / "log", retention_days=7, kms_key="arn:aws:kms:us-east-1:123456789012:key/k")
    bench.write(b"hello\n")
    bench.deliver()
    (group,) = logs.real.describe_log_groups(logGroupNamePrefix=logs.group)["logGroups"]
    assert group["retentionInDays"] == 7
    assert group["kmsKeyId"].endswith("key/k")


def test_a_stream_that_somebody_deletes_is_made_again(bench):
    bench.write(b"one\n")
    bench.deliver()
    bench.logs.real.delete_log_group(logGroupName=bench.logs.group)
    bench.write(b"two\n")
    with pytest.raises(AwsUnavailable):
        bench.deliver()
    bench.deliver()
    assert bench.logs.messages() == ["two"]
    assert bench.ledger.gaps == [(0, 4, "the log stream was deleted while the build ran")]


def test_a_big_log_arrives_whole_within_the_limits(bench):
    lines = [f"line {number} " + "ö" * (number % 90) for number in range(25_000)]
    bench.write("\n".join([*lines, "x" * 600_000, "", "end"]).encode())
    bench.deliver_all()
    messages = bench.logs.messages()
    assert messages[:25_000] == lines
    assert "".join(messages[25_000:-2]) == "x" * 600_000
    assert messages[-2:] == [" ", "end"]
    assert len(bench.logs.batches) >= 4


def test_a_last_line_waits_for_its_newline_or_the_end(bench):
    bench.write(b"unfinished")
    assert bench.deliver() == 0
    assert bench.deliver(final=True) == 10


@pytest.mark.parametrize("fate", ["lost answer", "lost request"])
def test_after_an_answer_that_never_came_each_line_is_there_once(bench, fate):
    bench.write(b"same\nsame\n")
    bench.deliver()
    bench.write(b"same\nsame\n")
    bench.logs.script = [fate]
    with pytest.raises(AwsUnavailable):
        bench.deliver()
    bench.write(b"same\n")
    bench.clock.at += SETTLE_SECONDS
    bench.deliver_all()
    assert bench.logs.messages() == ["same"] * 5


def test_a_batch_in_doubt_may_take_a_while_to_show_up(bench):
    bench.write(b"one\n")
    bench.logs.script = ["lost request"]
    for _ in range(3):
        with pytest.raises(AwsUnavailable):
            bench.deliver()
    bench.clock.at += SETTLE_SECONDS
    bench.deliver()
    assert bench.logs.messages() == ["one"]


def test_a_kill_between_answer_and_commit_doubles_nothing(bench):
    bench.write(b"one\none\n")
    bench.deliver(commit=False)
    bench.write(b"one\n")
    bench.restart()
    bench.deliver_all()
    assert bench.logs.messages() == ["one"] * 3


def test_a_kill_between_note_and_request_loses_nothing(bench):
    bench.write(b"one\n")
    bench.deliver()
    bench.write(b"two\n")
    bench.logs.script = ["lost request"]
    with pytest.raises(AwsUnavailable):
        bench.deliver()
    bench.restart()
    with pytest.raises(AwsUnavailable):
        bench.deliver()
    bench.clock.at += SETTLE_SECONDS
    bench.deliver()
    assert bench.logs.messages() == ["one", "two"]


def test_a_throttled_batch_is_sent_again_without_looking(bench):
    bench.write(b"one\n")
    bench.logs.script = ["throttled"]
    bench.logs.unreadable = True
    with pytest.raises(AwsUnavailable):
        bench.deliver()
    bench.deliver()
    assert bench.ledger.problems == []
    bench.logs.unreadable = False
    assert bench.logs.messages() == ["one"]


def test_a_refused_batch_is_sent_again_when_the_permission_has_come(bench):
    bench.write(b"one\n")
    bench.logs.script = ["refused"]
    with pytest.raises(AwsRefused):
        bench.deliver()
    bench.deliver()
    assert bench.logs.messages() == ["one"]


def test_without_permission_to_read_a_batch_in_doubt_is_sent_again_and_that_is_said(bench):
    bench.write(b"one\n")
    bench.logs.script = ["lost answer"]
    bench.logs.unreadable = True
    with pytest.raises(AwsUnavailable):
        bench.deliver()
    with pytest.raises(AwsRefused):
        bench.deliver()
    bench.clock.at += UNREADABLE_SECONDS
    bench.deliver()
    bench.logs.unreadable = False
    assert bench.logs.messages() == ["one", "one"]
    assert "may be there twice" in bench.ledger.problems[0]
    ((start, end, why),) = bench.ledger.twice
    assert (start, end, bench.ledger.gaps) == (0, 4, [])
    assert "sent again" in why


def test_lines_that_the_service_drops_are_a_problem(bench):
    bench.clock.at += 5 * 3600
    bench.write(f"[Container] {stamp(bench.clock.at)} from the future\n".encode())
    bench.deliver()
    assert "1 in the future" in bench.ledger.problems[0]
    assert bench.ledger.gaps == [(0, bench.offset, "CloudWatch Logs dropped events: in the future")]


def test_times_never_go_back_over_batches_and_restarts(bench):
    for number in range(5):
        bench.write(f"[Container] {stamp(bench.clock.at - number)} line\n".encode() * 2)
        bench.deliver()
        bench.restart()
    times = [event["timestamp"] for event in bench.logs.events()]
    assert times == sorted(times)
    assert len(times) == 10


def test_a_transcript_delivers_through_outages_and_throttling(logs, tmp_path):
    logs.script = ["throttled", "lost answer", "refused", "lost request", "throttled"]
    clock = FastClock(50)
    sink = CloudWatchSink(StrictAws(logs), group=logs.group, stream=logs.stream, clock=clock)
    raw = tmp_path / "output"
    raw.write_bytes(b"".join(b"line %d\n" % number for number in range(30_000)))
    transcript = Transcript(tmp_path / "log", secrets=[], sinks=[sink], clock=clock, raw=raw)
    transcript.follow()
    transcript.drained()
    totals = transcript.close(600)
    assert totals.problems == {}
    assert logs.messages() == [f"line {number}" for number in range(30_000)]


def test_the_real_door_to_aws_works(moto_url, monkeypatch, tmp_path, logs):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    aws = Aws(region="us-east-1", endpoint_url=moto_url)
    sink = CloudWatchSink(aws, group=logs.group, stream=logs.stream, clock=SystemClock())
    log = tmp_path / "log"
    log.write_bytes(b"hello\n")
    assert sink.deliver(Stretch(log, 0, 6, final=True), MemoryLedger()) == 6
    assert logs.messages() == ["hello"]
    assert aws.client("logs", attempts=1).meta.config.retries["total_max_attempts"] == 1
