"""Gauges: the heartbeat and what the agent and its builds use, through an hour without CloudWatch, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.daemon.standing import Standing
from agent.daemon.usage import Figures
from agent.kit.room import Room
from agent.notify import gauges
from agent.notify.cloudwatch import one_call
from agent.notify.gauges import Gauges, data_of
from agent.torture.cloud import CloudServer, Fault
from tests.unit.notify.conftest import ScriptedAws
from tests.unit.store.samples import NOON, ManualClock
from tests.unit.torture.clients import Clients

STANDING = Standing(
    queued=3, running=2, oldest_wait=40.0, disks={Path("/a"): Room(30, 100), Path("/b"): Room(1, 4)}, log_lag=512
)


@dataclass
class Host:
    """What the service is given."""

    healthy: bool = True
    used: list[Figures] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)

    def gauges(self, clients: Any, **more: Any) -> Gauges:
        return Gauges(
            clients, "buildspecd", "ci-1", lambda: STANDING, lambda: self.used, lambda: self.healthy, self.clock, **more
        )


def totals(cloud: CloudServer) -> dict[str, float]:
    return {one["MetricName"]: one["Value"] for one in cloud.metrics() if not one["Dimensions"]}


@pytest.fixture
def cloud() -> Any:
    with CloudServer(now=lambda: NOON) as server:
        yield server


def test_each_minute_tells_how_the_agent_stands_with_and_without_its_name(cloud: CloudServer) -> None:
    Host().gauges(Clients(cloud)).turn()
    assert totals(cloud) == {
        "DaemonHeartbeat": 1,
        "QueueDepth": 3,
        "RunningBuilds": 2,
        "OldestQueuedSeconds": 40,
        "LogLagBytes": 512,
        "HostDiskFreePercent": 25,
    }
    named = [one for one in cloud.metrics() if one["Dimensions"] == [{"Name": "AgentName", "Value": "ci-1"}]]
    assert len(named) == 6
    assert cloud.requests()["cloudwatch:PutMetricData"] == 1


def test_an_agent_a_service_of_which_has_ended_has_no_heartbeat(cloud: CloudServer) -> None:
    Host(healthy=False).gauges(Clients(cloud)).turn()
    assert "DaemonHeartbeat" not in totals(cloud)
    assert "QueueDepth" in totals(cloud)


def test_what_builds_use_is_told_by_project_and_by_build_only_where_that_is_wanted() -> None:
    at = datetime.fromtimestamp(NOON, UTC)
    used = [
        Figures("web:1", 1, "web", {"CPUUtilized": (512.0, 1024.0)}),
        Figures("web:2", 2, "web", {"CPUUtilized": (1.0,)}),
    ]
    (together,) = data_of(used, at)
    assert together["Values"] == [512.0, 1024.0, 1.0]
    assert together["Unit"] == "None"
    assert together["Dimensions"] == [{"Name": "ProjectName", "Value": "web"}]
    single = next(data_of(used, at, per_build=True))["Dimensions"]
    assert [one["Name"] for one in single] == ["BuildId", "BuildNumber", "ProjectName"]


def test_after_an_hour_without_cloudwatch_every_minute_is_told_at_its_own_time(cloud: CloudServer) -> None:
    host = Host()
    service = host.gauges(Clients(cloud))
    cloud.add(Fault("throttle", "cloudwatch"))
    for _ in range(60):
        service.turn()
        host.clock.at += 60
    assert "ThrottlingException" in service.trouble
    cloud.clear()
    service.turn()
    beats = [
        one["Timestamp"] for one in cloud.metrics() if one["MetricName"] == "DaemonHeartbeat" and not one["Dimensions"]
    ]
    assert len(beats) == len(set(beats)) == 61
    assert not service.trouble


def test_what_waits_is_bounded_and_the_oldest_goes_first(cloud: CloudServer) -> None:
    host = Host()
    service = host.gauges(Clients(cloud))
    service._kept = type(service._kept)(maxlen=24)
    cloud.add(Fault("denied", "cloudwatch"))
    for _ in range(50):
        service.turn()
        host.clock.at += 60
    assert len(service._kept) == 24
    assert "cloudwatch:PutMetricData" in service.trouble


def test_an_endpoint_that_accepts_and_never_answers_holds_up_one_turn_for_as_long_as_its_clients_wait(
    cloud: CloudServer,
) -> None:
    host = Host()
    service = host.gauges(Clients(cloud, patience=0.2))
    cloud.add(Fault("hang", "cloudwatch", times=1))
    service.turn()
    assert service.trouble
    service.turn()
    assert len([one for one in cloud.metrics() if one["MetricName"] == "QueueDepth"]) == 4


def test_figures_that_make_no_sense_to_cloudwatch_are_given_up_and_do_not_hold_up_others(scripted: ScriptedAws) -> None:
    scripted.answer = lambda _: (400, "application/json", {"__type": "InvalidParameterValue", "message": "no"})
    service = Host().gauges(scripted)
    service.turn()
    assert not service._kept


def test_one_call_has_a_thousand_metrics_and_a_megabyte_at_most() -> None:
    assert one_call([{}] * 3000) == 1000
    assert one_call([{"Values": [0.0] * 150}] * 3000) < 300
    assert one_call([]) == 0
    assert gauges.MOST_VALUES == 150
