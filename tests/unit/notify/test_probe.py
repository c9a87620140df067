"""Probe: permissions are found out by calls that tell nothing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from agent.aws import Aws, AwsRefused
from agent.errors import AwsUnavailable
from agent.notify import probe
from agent.torture.cloud import CloudServer, Fault
from tests.unit.notify.test_eventbridge import Wired
from tests.unit.notify.test_sns import TOPIC
from tests.unit.torture.clients import Clients

ASK = [
    ("events", "events:PutEvents", lambda clients: probe.eventbridge(clients, "default", "buildspecd")),
    ("sns", f"sns:Publish on {TOPIC}", lambda clients: probe.sns(clients, TOPIC)),
    ("cloudwatch", "cloudwatch:PutMetricData", lambda clients: probe.cloudwatch(clients, "buildspecd")),
]


@pytest.mark.parametrize(("service", "permission", "ask"), ASK)
def test_a_missing_permission_is_named(service: str, permission: str, ask: Any) -> None:
    with CloudServer() as cloud:
        cloud.add(Fault("denied", service))
        with pytest.raises(AwsRefused) as refused:
            ask(Clients(cloud))
        assert permission in refused.value.hint


@pytest.mark.parametrize(("service", "permission", "ask"), ASK)
def test_a_service_that_does_not_answer_is_told_from_one_that_refuses(service: str, permission: str, ask: Any) -> None:
    with CloudServer() as cloud:
        cloud.add(Fault("hang", service))
        with pytest.raises(AwsUnavailable):
            ask(Clients(cloud, patience=0.2))


def test_who_may_tell_tells_nothing_by_asking() -> None:
    with CloudServer() as cloud:
        for _, _, ask in ASK[:2]:
            assert ask(Clients(cloud))
        assert not cloud.events()
        assert not cloud.services.topics.taken


def test_a_rule_sees_nothing_and_a_namespace_stays_empty(aws: Aws) -> None:
    wired, namespace = Wired(aws, {"source": ["buildspecd"]}), f"t{uuid.uuid4().hex}"
    assert probe.eventbridge(aws, wired.bus, "buildspecd") == f"{wired.bus} takes events"
    assert probe.cloudwatch(aws, namespace)
    assert not wired.received()
    assert not aws.client("cloudwatch").list_metrics(Namespace=namespace)["Metrics"]
