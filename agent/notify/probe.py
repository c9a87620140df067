"""Probe: whether AWS would take events and metrics of this host, found out by calls that tell nothing.

Each call is one that the service looks at only after it has looked at the permission, and then refuses because it says
nothing: `Detail` that is no object, a value that is no number, a message that is empty.
"""

from __future__ import annotations

from agent.aws import AwsRefused, translated
from agent.notify.cloudwatch import permission
from agent.notify.delivery import Clients
from agent.notify.permission import naming

_HINT_EVENTS = "allow the host's role events:PutEvents on {}, or change events.bus in agent.yml"
_HINT_TOPIC = "allow the host's role sns:Publish on {}, or change events.topic in agent.yml"
_SENSELESS = ("InvalidParameter", "ValidationError", "ValidationException", "ParamValidation", "EmptyBatchRequest")


def eventbridge(clients: Clients, bus: str, source: str) -> str:
    """Return what to say of a bus that takes events. Raises `AwsRefused`, `AwsUnavailable`."""
    entry = {"Source": source, "DetailType": "buildspecd doctor", "Detail": "no object", "EventBusName": bus}
    with naming(_HINT_EVENTS.format(bus)), translated("events:PutEvents"):
        results = clients.client("events").put_events(Entries=[entry]).get("Entries") or [{}]
    reason = str(results[0].get("ErrorCode") or "MalformedDetail")
    if reason not in ("MalformedDetail", "InvalidArgument"):
        text = str(results[0].get("ErrorMessage", ""))
        hint = _HINT_EVENTS.format(bus)
        raise AwsRefused(f"events:PutEvents: {reason}: {text}", reason=reason, text=text, hint=hint)
    return f"{bus} takes events"


def sns(clients: Clients, topic: str) -> str:
    """Return what to say of a topic that takes events. Raises `AwsRefused`, `AwsUnavailable`."""
    try:
        with naming(_HINT_TOPIC.format(topic)), translated("sns:Publish"):
            entries = [{"Id": "0", "Message": ""}]
            clients.client("sns").publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    except AwsRefused as error:
        if not error.reason.startswith(_SENSELESS):
            raise
    return f"{topic} may be published to"


def cloudwatch(clients: Clients, namespace: str) -> str:
    """Return what to say of a namespace that takes metrics. Raises `AwsRefused`, `AwsUnavailable`."""
    datum = {"MetricName": "Doctor", "Value": float("nan")}
    try:
        with naming(permission(namespace)), translated("cloudwatch:PutMetricData"):
            clients.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[datum])
    except AwsRefused as error:
        if not error.reason.startswith(_SENSELESS):
            raise
    return f"the namespace {namespace} takes metrics"
