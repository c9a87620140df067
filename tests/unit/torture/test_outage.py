"""An outage of all of AWS at the end of a build, and a daemon that is killed in it: the log arrives afterwards."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from agent.aws import Aws
from agent.buildlog.cloudwatch import CloudWatchSink
from agent.buildlog.s3 import ObjectSink
from agent.buildlog.transcript import Transcript
from agent.model.build import Build
from agent.objects.s3 import S3Store
from agent.torture.cloud import CloudServer, Fault
from tests.unit.buildlog.parts import FastClock
from tests.unit.daemon.test_redelivery import Office


class RealOffice(Office):
    """An office whose logs go to CloudWatch and S3."""

    aws: Aws

    def open_log(self, build: Build) -> Transcript:
        self.opened += 1
        clock = FastClock(20)
        watch = CloudWatchSink(self.aws, group="/builds", stream=build.uuid, clock=clock)
        copy = ObjectSink(S3Store(self.aws, "logs"), f"{build.uuid}.gz")
        directory = self.log_dir(build)
        return Transcript(directory, secrets=(), sinks=[watch, copy], clock=clock, raw=self.directory / "none")


def test_a_build_ends_in_an_outage_and_another_daemon_brings_its_log(
    cloud: CloudServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    office = RealOffice(tmp_path)
    office.aws = Aws(region="us-east-1", endpoint_url=cloud.url)
    cloud.stock(buckets=("logs",))
    cloud.add(Fault("reset"))
    build = office.ended()
    assert build.logs.owing
    cloud.clear()
    office.new_daemon()
    office.clock.at += 3600
    for _ in range(10):
        office.later(1000)
    now = office.stored(build).logs
    text = (office.log_dir(build) / "log").read_bytes()
    assert (now.problems, now.gaps, now.owing) == ({}, (), False)
    assert {sink: now.held(sink) for sink in now.delivered} == dict.fromkeys(("cloudwatch", "s3"), (len(text), 1))
    assert cloud.messages("/builds", build.uuid) == text.decode().splitlines()
    assert gzip.decompress(cloud.object("logs", f"{build.uuid}.gz")) == text
