"""Services: all that the AWS-shaped server plays, what it was stocked with, and what an auditor may ask it for."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent.torture.cloud.faults import Fault
from agent.torture.cloud.logs import Logs
from agent.torture.cloud.queues import Queues
from agent.torture.cloud.s3 import S3, Bucket
from agent.torture.cloud.small import Events, Metrics, Vault, identities
from agent.torture.cloud.topics import Topics
from agent.torture.cloud.wire import Answer, Document, Refusal, Request, as_json

TARGETS: Final = {
    "Logs_20140328": "logs",
    "AWSEvents": "events",
    "GraniteServiceVersion20100801": "cloudwatch",
    "AmazonSSM": "ssm",
    "secretsmanager": "secretsmanager",
    "TrentService": "kms",
    "AmazonSQS": "sqs",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}
"""The services that speak JSON, by the word in front of the operation in `X-Amz-Target`."""


class Services:
    """The state of the server. For any thread. *now* gives epoch seconds."""

    def __init__(self, now: Callable[[], float] = time.time, most_event_bytes: int = 1_048_576) -> None:
        self.logs = Logs(now, most_event_bytes)
        self.s3 = S3(now)
        self.events = Events()
        self.metrics = Metrics(now)
        self.topics = Topics()
        self.vault = Vault()
        self.queues = Queues(now)
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._operations: dict[str, Mapping[str, Callable[[Document], Document]]] = {
            "logs": self.logs.operations,
            "sqs": self.queues.operations,
            "ssm": {"GetParameters": self.vault.get_parameters},
            "secretsmanager": {"GetSecretValue": self.vault.get_secret_value},
            "kms": {"DescribeKey": self.vault.describe_key},
            "ecr": {"GetAuthorizationToken": self.vault.get_authorization_token},
        }

    def perform(self, request: Request, fault: Fault | None = None) -> Answer:
        """Do what *request* asks for, *fault* being one that changes how it is done. Raises `Refusal`."""
        with self._lock:
            self._asked[f"{request.service}:{request.operation}"] += 1
        kind = fault.kind if fault else ""
        if request.service == "s3":
            return self.s3.answer(request)
        if request.service == "sts":
            return identities(request.operation, request.document)
        if request.service == "sns":
            return self.topics.answer(request.operation, request.document)
        if request.service == "events" and request.operation == "PutEvents":
            return as_json(self.events.put(request.document, partial=kind == "partial"))
        if request.service == "cloudwatch" and request.operation == "PutMetricData":
            return as_json(self.metrics.put(request.document, len(request.body)))
        if fault and request.operation == "PutLogEvents":
            seconds = fault.seconds if kind == "unseen" else 0.0
            return as_json(self.logs.put(request.document, seconds=seconds, reads=fault.reads))
        if kind == "empty-page":
            return as_json(self.logs.get(request.document, empty=True))
        work = self._operations.get(request.service, {}).get(request.operation)
        if work is None:
            raise Refusal("UnknownOperationException", f"{request.service}:{request.operation} is not played here")
        return as_json(work(request.document))

    def stock(self, document: Mapping[str, Any]) -> None:
        """Put things there: `buckets`, `queues` and `keys` (lists of names), `parameters` and `secrets` (objects)."""
        for name in document.get("buckets", ()):
            self.s3.buckets.setdefault(name, Bucket())
        for name in document.get("queues", ()):
            self.queues.queues.setdefault(name, [])
        self.vault.keys.update(dict.fromkeys(document.get("keys", ()), "Enabled"))
        self.vault.parameters.update(document.get("parameters", {}))
        self.vault.secrets.update(document.get("secrets", {}))

    def audited(self, what: Sequence[str], query: Mapping[str, str]) -> Document:
        """Return what was accepted; *what* is the path behind `/_audit`. Raises `Refusal` for what there is not."""
        views: dict[str, Callable[[], Document]] = {
            "requests": lambda: {"requests": dict(self._asked)},
            "streams": self._streams,
            "log": lambda: {"messages": self.logs.messages(query.get("group", ""), query.get("stream", ""))},
            "buckets": self._buckets,
            "object": lambda: self._object(query.get("bucket", ""), query.get("key", "")),
            "events": lambda: {"events": list(self.events.taken)},
            "published": lambda: {"published": list(self.topics.taken)},
            "metrics": lambda: {"metrics": list(self.metrics.taken)},
        }
        view = views.get(what[0]) if len(what) == 1 else None
        if view is None:
            raise Refusal("NotFound", f"/_audit/ has {', '.join(views)}", 404)
        return view()

    def _streams(self) -> Document:
        return {
            "streams": [
                {
                    "group": group_name,
                    "stream": name,
                    "events": len(stream.events),
                    "batches": len(stream.batches),
                    "rejected": stream.rejected,
                }
                for group_name, group in list(self.logs.groups.items())
                for name, stream in list(group.streams.items())
            ]
        }

    def _buckets(self) -> Document:
        return {
            "buckets": {
                name: {
                    "objects": {
                        key: {"bytes": len(one.data), "etag": one.etag, "stored": bucket.stored[key]}
                        for key, one in list(bucket.objects.items())
                    },
                    "uploads": [one.key for one in list(bucket.uploads.values())],
                }
                for name, bucket in list(self.s3.buckets.items())
            }
        }

    def _object(self, bucket: str, key: str) -> Document:
        found = self.s3.buckets.get(bucket, Bucket()).objects.get(key)
        if found is None:
            raise Refusal("NoSuchKey", f"{bucket} has no {key}", 404)
        return {"data": base64.b64encode(found.data).decode(), "etag": found.etag, "headers": dict(found.headers)}
