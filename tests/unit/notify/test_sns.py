"""SNS: the envelope that EventBridge would hand to a topic, chosen by CodeBuild's own ids, in order per build."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from agent.aws import Aws, AwsRefused
from agent.errors import AwsUnavailable
from agent.model.phase import PhaseType
from agent.model.project import Environment, EnvironmentVariable
from agent.model.status import Status
from agent.notify.detail import detail
from agent.notify.eventbridge import EventBridge
from agent.notify.letters import MOST_BYTES
from agent.notify.sns import WANTED, Sns, message
from tests.unit.notify.builds import a_red_end, told_by
from tests.unit.notify.conftest import ScriptedAws
from tests.unit.notify.test_eventbridge import Wired, summary
from tests.unit.store.samples import a_build, a_project, started

TOPIC = "arn:aws:sns:us-west-2:123456789012:builds"
XML = "text/xml"


class Subscribed:
    """A topic of its own with a queue that gets what is published, as it is."""

    def __init__(self, aws: Aws, *, fifo: bool = False) -> None:
        name = f"t{uuid.uuid4().hex}{'.fifo' if fifo else ''}"
        attributes = {"FifoQueue": "true"} if fifo else {}
        self._sqs, sns = aws.client("sqs"), aws.client("sns")
        self._url = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.arn = sns.create_topic(Name=name, Attributes={"FifoTopic": "true"} if fifo else {})["TopicArn"]
        queue = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        sns.subscribe(
            TopicArn=self.arn,
            Protocol="sqs",
            Endpoint=queue["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )

    def received(self) -> list[dict[str, Any]]:
        found = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for one in messages:
                found.append(json.loads(one["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=one["ReceiptHandle"])
        return found


@pytest.mark.parametrize("fifo", [False, True])
def test_a_topic_gets_every_event_of_a_build_in_order(aws: Aws, fifo: bool) -> None:
    topic, events = Subscribed(aws, fifo=fifo), told_by(a_build())
    Sns(aws, topic.arn).deliver(events)
    received = topic.received()
    assert [summary(one["detail"]) for one in received] == [summary(detail(event)) for event in events]
    assert [one["id"] for one in received] == sorted(
        {one["id"] for one in received}, key=[e["id"] for e in received].index
    )


def test_the_message_has_the_members_of_an_event_that_eventbridge_delivers(aws: Aws) -> None:
    wired, topic, events = Wired(aws, {"source": ["buildspecd"]}), Subscribed(aws), [started(a_build())]
    EventBridge(aws, bus=wired.bus).deliver(events)
    Sns(aws, topic.arn).deliver(events)
    (theirs,), (ours,) = wired.received(), topic.received()
    same = ("version", "detail-type", "source", "time", "region", "resources", "detail")
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    assert set(ours) == set(theirs) | {"account"}


def test_in_a_fifo_topic_an_event_told_twice_is_taken_once(aws: Aws) -> None:
    topic, events = Subscribed(aws, fifo=True), told_by(a_build())
    Sns(aws, topic.arn).deliver(events)
    Sns(aws, topic.arn).deliver(events)  # as by a daemon that was killed before it noted that they were taken
    assert len(topic.received()) == len(events)


@pytest.mark.parametrize(
    ("wanted", "status", "told"),
    [
        ("codebuild-project-build-state-failed", Status.FAILED, ["COMPLETED FAILED"]),
        ("codebuild-project-build-state-failed", Status.FAULT, ["COMPLETED FAULT"]),
        ("codebuild-project-build-state-succeeded", Status.FAILED, []),
        ("codebuild-project-build-state-in-progress", Status.FAILED, ["SUBMITTED IN_PROGRESS"]),
        ("codebuild-project-build-state-stopped", Status.STOPPED, ["COMPLETED STOPPED"]),
        ("codebuild-project-build-phase-failure", Status.FAILED, ["BUILD"]),
    ],
)
def test_the_ids_of_notification_rules_choose_events(aws: Aws, wanted: str, status: Status, told: list[str]) -> None:
    topic = Subscribed(aws)
    Sns(aws, topic.arn, only=frozenset({wanted})).deliver(told_by(a_build(), status, PhaseType.BUILD))
    assert [summary(one["detail"]) for one in topic.received()] == told


def test_each_event_is_meant_by_one_of_the_ids() -> None:
    for status in (Status.SUCCEEDED, Status.FAILED, Status.STOPPED, Status.FAULT, Status.TIMED_OUT):
        for event in told_by(a_build(), status):
            assert sum(wanted(event) for wanted in WANTED.values()) == 1


def test_a_message_that_would_be_too_long_is_cut_and_stays_json() -> None:
    many = tuple(EnvironmentVariable(name=f"V{number}", value="é" * 3000) for number in range(200))
    build = a_build(project=a_project(environment=Environment(image="debian:12", environment_variables=many)))
    made = message(started(build), source="buildspecd", redact=False)
    assert len(made["Message"].encode()) < MOST_BYTES
    assert json.loads(made["Message"])["detail"]["project-name"] == "web"


def test_a_filter_policy_can_choose_by_project_and_status() -> None:
    facts = message(a_red_end(), source="buildspecd")["MessageAttributes"]
    assert {name: fact["StringValue"] for name, fact in facts.items()} == {
        "detail-type": "CodeBuild Build State Change",
        "project-name": "web",
        "build-status": "FAILED",
    }


def test_a_refusal_names_the_permission_and_the_topic(scripted: ScriptedAws) -> None:
    error = "<ErrorResponse><Error><Code>AuthorizationError</Code><Message>no</Message></Error></ErrorResponse>"
    scripted.answer = lambda _: (403, XML, error)
    with pytest.raises(AwsRefused) as refused:
        Sns(scripted, TOPIC).deliver([started(a_build())])
    assert f"sns:Publish on {TOPIC}" in refused.value.hint


def test_a_message_that_fails_alone_is_tried_again_and_the_others_are_not_told_twice(scripted: ScriptedAws) -> None:
    def answer(failed: str) -> str:
        took = "<Successful><member><Id>1</Id><MessageId>m</MessageId></member></Successful>"
        return f"<PublishBatchResponse><PublishBatchResult>{took}{failed}</PublishBatchResult></PublishBatchResponse>"

    bad = "<Id>0</Id><Code>InternalError</Code><SenderFault>false</SenderFault>"
    scripted.answer = lambda _: (200, XML, answer(f"<Failed><member>{bad}</member></Failed>"))
    sink, events = Sns(scripted, TOPIC), [started(a_build(1)), started(a_build(2))]
    with pytest.raises(AwsUnavailable):
        sink.deliver(events)
    scripted.answer = lambda _: (200, XML, answer("").replace("<Id>1", "<Id>0"))
    sink.deliver(events)
    assert b"member.2" in scripted.requests[0]
    assert b"member.2" not in scripted.requests[1]
    assert b"00000001" in scripted.requests[1]


def test_a_page_of_a_proxy_is_no_answer(scripted: ScriptedAws) -> None:
    scripted.answer = lambda _: (200, XML, "<PublishBatchResponse><PublishBatchResult/></PublishBatchResponse>")
    with pytest.raises(AwsUnavailable):
        Sns(scripted, TOPIC).deliver([started(a_build())])
