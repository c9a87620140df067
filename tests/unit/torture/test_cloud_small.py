"""The AWS-shaped server's small services, as far as builds ask them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from agent.torture.cloud import CloudServer, Fault
from tests.unit.torture.clients import client


def refusal(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def an_entry(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"Source": "buildspecd", "DetailType": "State", "Detail": f'{{"number": {number}}}', **more}


def test_events_are_taken_one_by_one_and_those_that_are_wrong_fail_alone(cloud: CloudServer) -> None:
    events = client(cloud, "events")
    wrong = [an_entry(Detail="no"), an_entry(Source="aws.codebuild"), an_entry(DetailType="")]
    answer = events.put_events(Entries=[an_entry(1), *wrong, an_entry(2)])
    codes = [one.get("ErrorCode") for one in answer["Entries"]]
    assert codes == [None, "MalformedDetail", "NotAuthorizedForSourceException", "InvalidArgument", None]
    assert answer["FailedEntryCount"] == 3
    assert [one["Detail"]["number"] for one in cloud.events()] == [1, 2]
    assert refusal(lambda: events.put_events(Entries=[an_entry()] * 11)) == "ValidationException"
    big = an_entry(Detail=f'{{"x": "{"x" * 262_144}"}}')
    assert refusal(lambda: events.put_events(Entries=[big])) == "ValidationException"


def test_every_second_event_can_be_made_to_fail(cloud: CloudServer) -> None:
    cloud.add(Fault("partial", times=1))
    answer = client(cloud, "events").put_events(Entries=[an_entry(1), an_entry(2), an_entry(3)])
    assert [one.get("ErrorCode") for one in answer["Entries"]] == ["InternalFailure", None, "InternalFailure"]
    assert [one["Detail"]["number"] for one in cloud.events()] == [2]


def test_metrics_are_taken_also_packed_and_refused_when_their_time_is_too_far_away(cloud: CloudServer) -> None:
    metrics = client(cloud, "cloudwatch")
    many = [
        {"MetricName": f"m{number}", "Value": 1.0, "Dimensions": [{"Name": "P", "Value": "x" * 200}]}
        for number in range(500)
    ]
    metrics.put_metric_data(Namespace="buildspecd", MetricData=many)
    assert len(cloud.metrics()) == 500
    assert cloud.metrics()[0]["Namespace"] == "buildspecd"
    old = [{"MetricName": "m", "Value": 1.0, "Timestamp": datetime.fromtimestamp(time.time() - 15 * 86400, UTC)}]
    assert refusal(lambda: metrics.put_metric_data(Namespace="n", MetricData=old)).startswith("InvalidParameter")
    over = [{"MetricName": "m", "Value": 1.0}] * 1001
    assert refusal(lambda: metrics.put_metric_data(Namespace="n", MetricData=over)).startswith("InvalidParameter")


def test_identities_parameters_secrets_keys_and_logins_are_given_out(cloud: CloudServer) -> None:
    cloud.stock(parameters={"/db": "p"}, secrets={"s": "v"}, keys=("alias/k",))
    assert client(cloud, "sts").get_caller_identity()["Account"] == "123456789012"
    role = {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "session"}
    assert client(cloud, "sts").assume_role(**role)["Credentials"]["AccessKeyId"]
    found = client(cloud, "ssm").get_parameters(Names=["/db", "/no"], WithDecryption=True)
    assert ([one["Value"] for one in found["Parameters"]], found["InvalidParameters"]) == (["p"], ["/no"])
    secrets = client(cloud, "secretsmanager")
    assert secrets.get_secret_value(SecretId="s")["SecretString"] == "v"
    assert refusal(lambda: secrets.get_secret_value(SecretId="no")) == "ResourceNotFoundException"
    kms = client(cloud, "kms")
    assert kms.describe_key(KeyId="alias/k")["KeyMetadata"]["KeyState"] == "Enabled"
    assert refusal(lambda: kms.describe_key(KeyId="no")) == "NotFoundException"
    assert client(cloud, "ecr").get_authorization_token()["authorizationData"]
    assert refusal(lambda: kms.list_keys()) == "UnknownOperationException"


def test_a_message_is_shown_again_until_it_is_deleted(cloud: CloudServer) -> None:
    sqs = client(cloud, "sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    asked = {"QueueUrl": url, "WaitTimeSeconds": 20, "MaxNumberOfMessages": 10}
    (first,) = sqs.receive_message(**asked)["Messages"]
    assert sqs.get_queue_attributes(QueueUrl=url)["Attributes"]["ApproximateNumberOfMessages"] == "0"
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (second,) = sqs.receive_message(**asked)["Messages"]
    assert (second["Body"], second["Attributes"]["ApproximateReceiveCount"]) == ("hello", "2")
    sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": second["ReceiptHandle"]}])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
