"""Lifecycle hooks of Auto Scaling: which are answered, and when. Played, as moto knows no heartbeats."""

from __future__ import annotations

from typing import Any

import pytest

from agent.daemon.lifecycle import Lifecycle
from tests.unit.store.samples import ManualClock

GROUP = "builders"


class Scaling:
    """An Auto Scaling API with one instance in one group, as far as we ask it."""

    def __init__(self) -> None:
        self.hooks = [
            _hook("leaving", "autoscaling:EC2_INSTANCE_TERMINATING", 300),
            _hook("other", "autoscaling:EC2_INSTANCE_TERMINATING", 30),
            _hook("coming", "autoscaling:EC2_INSTANCE_LAUNCHING", 30),
        ]
        self.member = True
        self.said: list[tuple[str, str]] = []

    def client(self, service: str) -> Scaling:
        assert service == "autoscaling"
        return self

    def describe_auto_scaling_instances(self, **asked: list[str]) -> Any:
        assert asked == {"InstanceIds": ["i-1"]}
        return {"AutoScalingInstances": [{"AutoScalingGroupName": GROUP}] if self.member else []}

    def describe_lifecycle_hooks(self, **asked: str) -> Any:
        assert asked == {"AutoScalingGroupName": GROUP}
        return {"LifecycleHooks": self.hooks}

    def record_lifecycle_action_heartbeat(self, **said: str) -> None:
        assert (said["AutoScalingGroupName"], said["InstanceId"]) == (GROUP, "i-1")
        self.said.append(("heartbeat", said["LifecycleHookName"]))

    def complete_lifecycle_action(self, **said: str) -> None:
        assert (said["InstanceId"], said["LifecycleActionResult"]) == ("i-1", "CONTINUE")
        self.said.append(("complete", said["LifecycleHookName"]))


def _hook(name: str, transition: str, seconds: int) -> dict[str, Any]:
    return {"LifecycleHookName": name, "LifecycleTransition": transition, "HeartbeatTimeout": seconds}


@pytest.fixture
def scaling() -> Scaling:
    return Scaling()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def _lifecycle(scaling: Scaling, clock: ManualClock, wanted: str | None = None) -> Lifecycle:
    return Lifecycle(scaling, lambda: "i-1", clock, wanted)  # type: ignore[arg-type]  # as much of Aws as is used


def test_each_hook_on_the_end_gets_heartbeats_well_within_its_patience(scaling: Scaling, clock: ManualClock) -> None:
    lifecycle = _lifecycle(scaling, clock)
    lifecycle.heartbeat()
    clock.at += 9
    lifecycle.heartbeat()
    assert scaling.said == [("heartbeat", "leaving"), ("heartbeat", "other")]
    clock.at += 1
    lifecycle.heartbeat()
    assert len(scaling.said) == 4


def test_with_a_name_that_hook_alone_is_answered(scaling: Scaling, clock: ManualClock) -> None:
    lifecycle = _lifecycle(scaling, clock, "leaving")
    lifecycle.heartbeat()
    lifecycle.complete()
    assert scaling.said == [("heartbeat", "leaving"), ("complete", "leaving")]


def test_an_instance_of_no_group_has_nobody_to_answer(scaling: Scaling, clock: ManualClock) -> None:
    scaling.member = False
    lifecycle = _lifecycle(scaling, clock)
    lifecycle.heartbeat()
    lifecycle.complete()
    assert scaling.said == []
