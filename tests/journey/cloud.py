"""Cloud: a server on loopback that speaks AWS, and what a test puts there and finds there."""

from __future__ import annotations

import gzip
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
ACCOUNT = "123456789012"
TEMPLATES = Path(__file__).parents[2] / "aws"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


class Cloud:
    """The clients of one server. Names of what a test makes are its own, since the server serves many tests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients: dict[str, Any] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find this server and nothing else of AWS."""
        return {
            **CREDENTIALS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        """Return the boto3 client of *service*."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
        return self._clients[service]

    def deployed(self, template: Path | str, **given: str) -> dict[str, str]:
        """Deploy a template, one of aws/ by its name; return its outputs."""
        text = (TEMPLATES / template).read_text()
        # the parameters that AWS itself keeps for images are not there
        text = text.replace("AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>", "AWS::EC2::Image::Id")
        stack = f"t{uuid.uuid4().hex[:12]}"
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
        client = self.client("cloudformation")
        client.create_stack(StackName=stack, TemplateBody=text, Parameters=parameters, Capabilities=["CAPABILITY_IAM"])
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]
        assert found["StackStatus"] == "CREATE_COMPLETE"
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}

    def bucket(self) -> str:
        """Make a bucket; return its name."""
        name = f"journey-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(Bucket=name)
        return name

    def key(self, alias: str | None = None) -> str:
        """Make a KMS key, under *alias* if one is given; return its ARN."""
        facts = self.client("kms").create_key()["KeyMetadata"]
        if alias:
            self.client("kms").create_alias(AliasName=alias, TargetKeyId=facts["KeyId"])
        return str(facts["Arn"])

    def object(self, bucket: str, key: str) -> tuple[bytes, dict[str, Any]]:
        """Return the bytes of an object and what S3 says of it."""
        answer = self.client("s3").get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer

    def unzipped(self, bucket: str, key: str) -> bytes:
        """Return a gzip object as it was before."""
        return gzip.decompress(self.object(bucket, key)[0])

    def keys(self, bucket: str) -> list[str]:
        """Return the names of all objects of a bucket."""
        found = self.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())
        return sorted(item["Key"] for item in found)

    def lines(self, group: str, stream: str) -> list[str]:
        """Return the messages of a log stream, all pages of them, in the order of the stream."""
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = self.client("logs").get_log_events(
                logGroupName=group, logStreamName=stream, startFromHead=True, **token
            )
            if not answer["events"]:
                return found
            found += [event["message"] for event in answer["events"]]
            token = {"nextToken": answer["nextForwardToken"]}

    def events_queue(self, project: str) -> str:
        """Have the events of *project* put into a queue of its own by a rule; return the queue's URL."""
        queue = self.client("sqs").create_queue(QueueName=f"events-{project}")["QueueUrl"]
        pattern = {"source": ["buildspecd"], "detail": {"project-name": [project]}}
        events = self.client("events")
        events.put_rule(Name=f"rule-{project}", EventPattern=json.dumps(pattern))
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events-{project}"
        events.put_targets(Rule=f"rule-{project}", Targets=[{"Id": "1", "Arn": arn}])
        return str(queue)

    def received(self, queue: str) -> Iterator[dict[str, Any]]:
        """Yield the events that are in the queue now, and take them out."""
        sqs = self.client("sqs")
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                yield json.loads(message["Body"])

    def metrics(self, project: str) -> set[str]:
        """Return the names of the metrics that there are for *project*."""
        dimensions = [{"Name": "ProjectName", "Value": project}]
        found = self.client("cloudwatch").list_metrics(Namespace="buildspecd", Dimensions=dimensions)
        return {metric["MetricName"] for metric in found["Metrics"]}


@contextmanager
def serving() -> Iterator[Cloud]:
    """Run a server for the time of the block."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()
