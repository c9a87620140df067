"""Intake: a request is one build, however often it is made, and it is stored, queued and told in one piece."""

from __future__ import annotations

import random
import re
import threading
import uuid
from pathlib import Path

import pytest

from agent.daemon.intake import TOKEN_SECONDS, Identity, Intake, one_build
from agent.errors import BuildUnknown, ProjectUnknown, RequestInvalid
from agent.model.build import Build
from agent.model.phase import PhaseType
from agent.model.project import AgentOptions, Project
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.outbox import Outbox
from agent.store.queue import Queue
from tests.unit.store.samples import NOON, ManualClock, a_database, a_project

MAIN = "refs/heads/main"


class Desk:
    """An intake with what stands around it."""

    def __init__(self, directory: Path) -> None:
        self.database: Database = a_database(directory)
        self.clock = ManualClock()
        self.known: dict[str, Project] = {"web": a_project(source_version="main")}
        self.woken: list[int] = []
        chance = random.Random(7)
        self.intake = Intake(
            database=self.database,
            recorder=Recorder(self.database, self.clock),
            projects=lambda name: self.known.get(name),
            identity=lambda: Identity("eu-central-1", "123456789012"),
            clock=self.clock,
            wake=lambda: self.woken.append(len(Queue(self.database).places())),
            new_uuid=lambda: uuid.UUID(int=chance.getrandbits(128), version=4),
            chance=chance,
        )

    def ask(self, **members: object) -> BuildRequest:
        return BuildRequest.model_validate({"project": "web", "initiator": "alice", **members})

    def stops(self) -> dict[int, str]:
        """Return the numbers of the builds that are to end, and why."""
        queue = Queue(self.database)
        numbers = {build.id: build.number for build in Builds(self.database).list()}
        return {numbers[place.build]: place.stop for place in queue.places() if place.stop}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_request_becomes_a_build_that_waits(desk: Desk) -> None:
    build = desk.intake.submit(desk.ask(source_ref=MAIN, previous_revision="abc"))
    assert re.fullmatch(r"web:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", build.id)
    assert build.arn == f"arn:aws:codebuild:eu-central-1:123456789012:build/{build.id}"
    assert (build.number, build.initiator, build.start_time, build.status) == (1, "alice", NOON, Status.IN_PROGRESS)
    assert (build.source_ref, build.previous_revision) == (MAIN, "abc")
    assert [phase.phase_type for phase in build.phases] == [PhaseType.SUBMITTED, PhaseType.QUEUED]
    assert re.match(r"/codebuild/output/src\d+", build.source_root)


def test_a_build_is_stored_queued_and_told_before_anybody_is_woken(desk: Desk) -> None:
    build = desk.intake.submit(desk.ask(source_ref=MAIN))
    assert Builds(desk.database).get(build.id) == build
    (place,) = Queue(desk.database).places()
    assert (place.build, place.project, place.source_ref, place.enqueued) == (build.id, "web", MAIN, NOON)
    ((_, event),) = Outbox(desk.database).pending("a")
    assert (event.kind, event.build) == ("state", build)
    assert desk.woken == [1]


def test_a_project_that_nobody_knows_is_named_by_its_arn(desk: Desk) -> None:
    with pytest.raises(
        ProjectUnknown, match="Project cannot be found: arn:aws:codebuild:eu-central-1:123456789012:project/api"
    ):
        desk.intake.submit(desk.ask(project="api"))


def test_the_version_of_the_project_holds_where_the_request_has_none(desk: Desk) -> None:
    assert desk.intake.submit(desk.ask()).source_version == "main"
    assert desk.intake.submit(desk.ask(source_version="v2")).source_version == "v2"


def test_a_build_keeps_its_overrides_and_variables(desk: Desk) -> None:
    overrides = {"imageOverride": "alpine:3", "environmentVariablesOverride": [{"name": "A", "value": "1"}]}
    build = desk.intake.submit(desk.ask(overrides=overrides))
    assert build.project.environment.image == "alpine:3"
    assert [item.name for item in build.overrides] == ["A"]
    assert desk.known["web"].environment.image == "debian:12"


@pytest.mark.parametrize(
    "overrides", [{"imageOverride": ""}, {"environmentVariablesOverride": [{"name": "A"}]}, {"nonsense": 1}]
)
def test_a_request_that_makes_no_sense_leaves_nothing_behind(desk: Desk, overrides: dict[str, object]) -> None:
    with pytest.raises(RequestInvalid):
        desk.intake.submit(desk.ask(overrides=overrides, dedupe_key="k"))
    assert desk.woken == []
    assert desk.intake.submit(desk.ask(dedupe_key="k")).number == 1


def test_two_requests_with_one_dedupe_key_are_one_build(desk: Desk) -> None:
    first = desk.intake.submit(desk.ask(dedupe_key="web@abc"))
    desk.clock.at += 86400
    assert desk.intake.submit(desk.ask(dedupe_key="web@abc")) == first
    assert desk.intake.submit(desk.ask(dedupe_key="web@def")).number == 2


def test_the_same_change_seen_by_many_triggers_at_once_is_one_build(desk: Desk) -> None:
    made: list[str] = []

    def trigger() -> None:
        made.append(desk.intake.submit(desk.ask(dedupe_key="web@abc")).id)

    run_at_once([trigger] * 8)
    assert len(made) == 8
    assert len(set(made)) == 1
    assert len(Queue(desk.database).places()) == 1


def test_many_requests_at_once_get_every_number_once(desk: Desk) -> None:
    run_at_once([lambda: desk.intake.submit(desk.ask())] * 8)
    assert sorted(build.number for build in Builds(desk.database).list()) == list(range(1, 9))


def run_at_once(actions: list[object]) -> None:
    threads = [threading.Thread(target=action) for action in actions]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_token_with_the_same_request_is_the_same_build_for_five_minutes(desk: Desk) -> None:
    first = desk.intake.submit(desk.ask(source_version="v1"), "t")
    desk.clock.at += TOKEN_SECONDS
    assert desk.intake.submit(desk.ask(source_version="v1", initiator="bob"), "t") == first
    desk.clock.at += 1
    assert desk.intake.submit(desk.ask(source_version="v1"), "t").number == 2


def test_a_token_with_another_request_is_refused(desk: Desk) -> None:
    desk.intake.submit(desk.ask(source_version="v1"), "t")
    with pytest.raises(RequestInvalid, match="Request parameter mismatch for idempotency token t"):
        desk.intake.submit(desk.ask(source_version="v2"), "t")
    assert desk.intake.submit(desk.ask(source_version="v2"), "T").number == 2


def test_a_known_request_tells_the_build_as_it_is_now(desk: Desk) -> None:
    build = desk.intake.submit(desk.ask(dedupe_key="k"))
    Recorder(desk.database, desk.clock).complete(build, Status.SUCCEEDED)
    assert desk.intake.submit(desk.ask(dedupe_key="k")).status is Status.SUCCEEDED


def test_a_newer_commit_stops_the_older_builds_of_its_branch(desk: Desk) -> None:
    desk.known["web"] = a_project(agent=AgentOptions(supersede="queued"))
    running = desk.intake.submit(desk.ask(source_ref=MAIN))
    Queue(desk.database).claim(running.id, "me", NOON, 60)
    desk.intake.submit(desk.ask(source_ref=MAIN))
    desk.intake.submit(desk.ask(source_ref="refs/heads/other"))
    desk.intake.submit(desk.ask(source_ref=MAIN))
    assert desk.stops() == {2: "superseded by build 4 of the same branch"}


def test_a_running_build_is_stopped_where_the_project_wants_it(desk: Desk) -> None:
    desk.known["web"] = a_project(agent=AgentOptions(supersede="running"))
    running = desk.intake.submit(desk.ask(source_ref=MAIN))
    Queue(desk.database).claim(running.id, "me", NOON, 60)
    desk.intake.submit(desk.ask(source_ref=MAIN))
    assert list(desk.stops()) == [1]


def test_by_default_no_build_is_stopped_by_a_newer_one(desk: Desk) -> None:
    for _ in range(2):
        desk.intake.submit(desk.ask(source_ref=MAIN))
    assert desk.stops() == {}


def test_a_retry_is_a_new_build_of_what_the_old_one_built(desk: Desk) -> None:
    overrides = {"imageOverride": "alpine:3", "environmentVariablesOverride": [{"name": "A", "value": "1"}]}
    old = desk.intake.submit(desk.ask(source_version="main", source_ref=MAIN, overrides=overrides, dedupe_key="k"))
    old = Recorder(desk.database, desk.clock).save(old.evolve(resolved_source_version="abc"))
    desk.known["web"] = a_project(timeout_in_minutes=5)
    new = desk.intake.again(old)
    assert (new.number, new.retry_of, new.source_version, new.source_ref) == (2, old.id, "abc", MAIN)
    assert (new.project, new.overrides) == (old.project, old.overrides)
    assert new.id != old.id


def test_a_retry_by_hand_takes_no_newer_build_s_place(desk: Desk) -> None:
    desk.known["web"] = a_project(agent=AgentOptions(supersede="queued"))
    old = desk.intake.submit(desk.ask(source_ref=MAIN))
    desk.intake.submit(desk.ask(source_ref=MAIN, dedupe_key="newer"))
    superseded = desk.stops()
    desk.intake.again(old)
    assert (list(superseded), desk.stops()) == ([1], superseded)


def test_a_build_can_be_retried_after_its_project_is_gone(desk: Desk) -> None:
    old = desk.intake.submit(desk.ask())
    desk.known.clear()
    assert desk.intake.again(old).number == 2


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_an_arn_has_the_partition_of_its_region(region: str, partition: str) -> None:
    assert Identity(region, "1").arn("project/web") == f"arn:{partition}:codebuild:{region}:1:project/web"


def test_one_build_is_found_by_the_names_that_people_give_it(desk: Desk) -> None:
    build: Build = desk.intake.submit(desk.ask())
    for name in (build.id, build.arn, build.uuid, build.uuid[:8], "web#1"):
        assert one_build(desk.database, name) == build


def test_a_name_of_no_build_is_told(desk: Desk) -> None:
    with pytest.raises(BuildUnknown, match="Build web:nobody does not exist"):
        one_build(desk.database, "web:nobody")


def test_a_name_of_several_builds_is_told_with_what_would_tell_them_apart(desk: Desk) -> None:
    twins = iter([uuid.UUID("aaaaaaaa-0000-4000-8000-000000000001"), uuid.UUID("aaaaaaaa-1111-4000-8000-000000000001")])
    desk.intake.new_uuid = lambda: next(twins)
    for _ in range(2):
        desk.intake.submit(desk.ask())
    with pytest.raises(RequestInvalid, match="aaaaaaaa-0000"):
        one_build(desk.database, "aaaaaaaa")
