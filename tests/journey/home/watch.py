"""Watch: plays what no server here does for CloudWatch, which is to judge alarms and to tell of them.

It knows an alarm only as it was stored (DescribeAlarms), and metrics only as they were put (GetMetricStatistics).
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

from tests.architecture.templates import put_alarms, state
from tests.journey.cloud import Cloud

MINUTE = 60


class Watch:
    """The alarms of alarms.yml, which tell a topic; `post` is a queue that is subscribed to it."""

    def __init__(self, aws: Cloud, **given: str) -> None:
        self.aws, self._namespace = aws, given["MetricNamespace"]
        topic = aws.deployed("alarms.yml", **given)["TopicArn"]
        # the topic's name is put in by hand, as the server takes no alarms from CloudFormation
        self._names = put_alarms(aws.client("cloudwatch"), uuid.uuid4().hex[:8], **given, Topic=topic)
        self.post = str(aws.client("sqs").create_queue(QueueName=f"post-{uuid.uuid4().hex[:8]}")["QueueUrl"])
        attributes = aws.client("sqs").get_queue_attributes(QueueUrl=self.post, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def look(self, name: str, at: float) -> str:
        """Judge an alarm as of the minute of *at*, in epoch seconds; store its state, tell of it, and return it."""
        client = self.aws.client("cloudwatch")
        (alarm,) = client.describe_alarms(AlarmNames=[self._names[name]])["MetricAlarms"]
        new = state(client, alarm, datetime.fromtimestamp(at, UTC))
        if new != alarm["StateValue"]:
            client.set_alarm_state(AlarmName=alarm["AlarmName"], StateValue=new, StateReason="judged")
            message = {name: alarm[name] for name in ("AlarmName", "AlarmDescription")} | {"NewStateValue": new}
            for topic in alarm.get({"ALARM": "AlarmActions", "OK": "OKActions"}.get(new, ""), ()):
                self.aws.client("sns").publish(TopicArn=topic, Message=json.dumps(message))
        return new

    def told(self) -> list[str]:
        """Return `NAME STATE` of what the topic was told since the last time."""
        names = {full: name for name, full in self._names.items()}
        messages = [json.loads(letter["Message"]) for letter in self.aws.received(self.post)]
        return [f"{names[one['AlarmName']]} {one['NewStateValue']}" for one in messages]

    def total(self, metric: str, project: str, since: float) -> float:
        """Return what a metric of *project* adds up to since *since*, in epoch seconds."""
        points = self.aws.client("cloudwatch").get_metric_statistics(
            Namespace=self._namespace,
            MetricName=metric,
            Dimensions=[{"Name": "ProjectName", "Value": project}],
            StartTime=datetime.fromtimestamp(since // MINUTE * MINUTE, UTC),
            EndTime=datetime.fromtimestamp(since + 3600, UTC),
            Period=MINUTE,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))
