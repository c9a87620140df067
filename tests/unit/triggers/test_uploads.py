"""Polling of sources in S3: what is asked for, when, and what a crash in between changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from agent.errors import AwsUnavailable, BuildspecdError, SourceNotFound
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.project import Environment, Project, Source
from agent.model.request import BuildRequest
from agent.source.bucket import Standing
from agent.source.remote import Heads
from agent.triggers.poll import Poll, PollTarget

FIRST = Standing("version:v1", "1.0", "v1")


class Cursors(dict[str, str]):
    """Cursors in memory."""

    def set(self, key: str, value: str) -> None:
        self[key] = value


@dataclass
class Bench:
    """A poller that looks at one source."""

    version: str | None = None
    location: str = "bucket/key.zip"
    now: Standing = FIRST
    trouble: BuildspecdError | None = None
    refuse: BuildspecdError | None = None
    looks: int = 0
    cursors: Cursors = field(default_factory=Cursors)
    requests: list[BuildRequest] = field(default_factory=list)

    def standing(self, source: Source, stop: StopToken) -> Standing:
        self.looks += 1
        if self.trouble:
            raise self.trouble
        return self.now

    def submit(self, request: BuildRequest) -> None:
        if self.refuse:
            raise self.refuse
        self.requests.append(request)

    @property
    def target(self) -> PollTarget:
        source = Source(type="S3", location=self.location)
        project = Project(name="web", source=source, environment=Environment(image="i"), source_version=self.version)
        return PollTarget(project, 30)

    def look(self) -> list[str | None]:
        """Look once; return the versions that are asked for."""

        def nobody(*_: object) -> Heads:
            raise AssertionError("there are no refs to read")

        poll = Poll(
            projects=lambda: [self.target],
            submit=self.submit,
            cursors=self.cursors,
            heads=nobody,
            standing=self.standing,
            clock=SystemClock(),
        )
        return [request.source_version for request in poll.look(self.target)]


def test_the_first_sight_of_an_object_builds_it_once_and_each_new_version_too() -> None:
    bench = Bench()
    assert bench.look() == ["v1"]
    assert bench.look() == []
    bench.now = Standing("version:v2", "2.0", "v2")
    assert bench.look() == ["v2"]
    assert bench.look() == []
    first, second = bench.requests
    assert (first.initiator, first.source_ref, first.previous_revision) == ("buildspecd/poll", None, None)
    assert first.dedupe_key != second.dedupe_key


def test_an_object_without_versions_is_told_by_its_etag() -> None:
    bench = Bench(now=Standing("etag:a", "1.0"))
    assert bench.look() == [None]
    bench.now = Standing("etag:a", "2.0")
    assert bench.look() == [], "the same bytes again are no change"
    bench.now = Standing("etag:b", "3.0")
    assert bench.look() == [None]
    bench.now = Standing("etag:a", "4.0")
    assert bench.look() == [None]
    bench.now = Standing("etag:b", "5.0")
    assert bench.look() == [None]
    assert len({request.dedupe_key for request in bench.requests}) == 4, "what comes back later is built again"


def test_what_a_crash_came_between_is_asked_for_again_as_the_same_build() -> None:
    bench = Bench(refuse=AwsUnavailable("no"))
    with pytest.raises(AwsUnavailable):
        bench.look()
    assert bench.cursors == {}
    bench.refuse = None
    assert bench.look() == ["v1"]
    bench.cursors.clear()
    assert bench.look() == ["v1"]
    assert bench.requests[0].dedupe_key == bench.requests[1].dedupe_key


def test_a_fixed_version_is_built_once_and_never_looked_at() -> None:
    bench = Bench(version="v7")
    assert bench.look() == ["v7"]
    assert bench.look() == []
    assert bench.looks == 0


def test_a_look_that_fails_changes_nothing() -> None:
    bench = Bench(trouble=SourceNotFound("no such key"))
    with pytest.raises(SourceNotFound):
        bench.look()
    assert (bench.requests, bench.cursors) == ([], {})


def test_another_location_starts_afresh() -> None:
    bench = Bench()
    bench.look()
    bench.location = "bucket/other.zip"
    assert bench.look() == ["v1"]
    assert bench.requests[0].dedupe_key != bench.requests[1].dedupe_key


def test_sources_in_s3_are_polled_at_aws_and_those_of_this_host_here() -> None:
    bench = Bench()
    assert (bench.target.is_polled, bench.target.host, bench.target.local_path) == (True, "s3", None)
    bench.location = "file:///srv/x.zip"
    assert (bench.target.is_polled, bench.target.host, bench.target.local_path) == (True, "", None)
