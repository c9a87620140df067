"""The queue of AWS events against a server that speaks SQS: what is wired in AWS arrives as it should."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from agent.aws import Aws, AwsRefused
from agent.daemon.checks.check import Question, examine
from agent.daemon.checks.host import queue as queue_check
from agent.triggers import events
from agent.triggers.events import GitPush, Happening, Upload
from agent.triggers.sqs import Queue
from tests.journey.cloud import ACCOUNT, CREDENTIALS, REGION, Cloud, serving
from tests.unit.triggers.test_events import NEW, push


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with serving() as one:
        yield one


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def made(cloud: Cloud) -> tuple[Queue, str]:
    """Make a queue; return it and its ARN."""
    name = f"q-{uuid.uuid4().hex[:10]}"
    url = cloud.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return Queue(Aws(region=REGION, endpoint_url=cloud.url), url, 1), f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def drained(queue: Queue) -> tuple[list[Happening], list[str]]:
    """Take and delete all messages; return what they say, and why the others say nothing."""
    happenings: list[Happening] = []
    ignored: list[str] = []
    while messages := queue.receive():
        for message in messages:
            reading = events.read(message.body)
            assert not reading.malformed, (reading, message)
            happenings += reading.happenings
            ignored += [reading.ignored] * bool(reading.ignored)
        queue.delete(messages)
    return happenings, ignored


def test_what_is_taken_comes_again_until_it_is_deleted_and_later_when_it_is_postponed(cloud: Cloud) -> None:
    queue, _ = made(cloud)
    for number in range(12):
        cloud.client("sqs").send_message(QueueUrl=queue._url, MessageBody=str(number))
    assert queue.waiting() == 12
    first = queue.receive()
    assert len(first) == 10
    assert {one.count for one in first} == {1}
    queue.delete(first[1:])
    queue.postpone(first[0], 0)
    rest = [*queue.receive(), *queue.receive()]
    assert sorted(one.body for one in rest) == sorted([first[0].body, "10", "11"])
    assert {one.count for one in rest if one.body == first[0].body} == {2}
    queue.delete(rest)
    queue.delete([])
    assert queue.waiting() == 0


def test_uploads_arrive_through_notifications_of_the_bucket_and_through_eventbridge(cloud: Cloud) -> None:
    queue, arn = made(cloud)
    bucket, key = cloud.bucket(), "in/a+b ä%20.zip"
    s3, rules = cloud.client("s3"), cloud.client("events")
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]})
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    happenings, ignored = drained(queue)
    assert [(one.bucket, one.key) for one in happenings if isinstance(one, Upload)] == [(bucket, key)]
    assert ignored == ["S3 tests whether the queue can be reached"]

    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}
    rules.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    rules.put_targets(Rule=bucket, Targets=[{"Id": "1", "Arn": arn}])
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    s3.put_object(Bucket=bucket, Key=key, Body=b"y")
    assert [one.key for one in drained(queue)[0] if isinstance(one, Upload)] == [key]


def test_a_push_arrives_through_a_rule_of_eventbridge(cloud: Cloud) -> None:
    queue, arn = made(cloud)
    rule = f"r-{uuid.uuid4().hex[:8]}"
    pattern = {"source": ["aws.codecommit"], "detail": {"repositoryName": [rule]}}
    cloud.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    cloud.client("events").put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn}])
    document = push(repositoryName=rule)
    entry = {
        "Source": "aws.codecommit",
        "DetailType": document["detail-type"],
        "Detail": json.dumps(document["detail"]),
    }
    cloud.client("events").put_events(Entries=[entry])
    (happening,), _ = drained(queue)
    assert isinstance(happening, GitPush)
    assert (happening.region, happening.repository, happening.new) == (REGION, rule, NEW)


def test_a_queue_that_is_not_there_is_told_with_what_to_look_at(cloud: Cloud) -> None:
    queue = Queue(Aws(region=REGION, endpoint_url=cloud.url), f"{cloud.url}/{ACCOUNT}/nowhere", 0)
    with pytest.raises(AwsRefused) as caught:
        queue.receive()
    assert "aws.region" in caught.value.hint
    (check,) = examine([Question("queue", lambda: queue_check(queue.waiting))])
    assert (check.name, check.status) == ("queue", "fail")
    assert "queue.url" in check.remedy
    (check,) = queue_check(made(cloud)[0].waiting)
    assert (check.status, check.message) == ("ok", "about 0 messages wait")
