"""Remote: how a torture run arranges, breaks and audits an AWS-shaped server, in this process or in another."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from agent.errors import AwsUnavailable, UsageError
from agent.torture.cloud.faults import Fault
from agent.torture.cloud.wire import REGION

_PATIENCE_SECONDS: Final = 60.0


class Remote:
    """The server at *url*. Nothing that is asked here suffers faults or counts as a request.

    Methods raise `AwsUnavailable` when the server is not there, `UsageError` when it does not understand.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to find this server and nothing else of AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "AKIATORTURE",
            "AWS_SECRET_ACCESS_KEY": "torture",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stock(
        self,
        *,
        buckets: tuple[str, ...] = (),
        queues: tuple[str, ...] = (),
        keys: tuple[str, ...] = (),
        parameters: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Put there what builds need: buckets, queues and KMS keys by their names, parameters and secrets."""
        lists = {"buckets": list(buckets), "queues": list(queues), "keys": list(keys)}
        self._ask("POST", "/_stock", {**lists, "parameters": dict(parameters or {}), "secrets": dict(secrets or {})})

    def add(self, fault: Fault) -> int:
        """Put a rule in force; return its number."""
        return int(self._ask("POST", "/_faults", asdict(fault))["number"])

    def remove(self, number: int) -> None:
        """Take a rule away."""
        self._ask("DELETE", f"/_faults/{number}")

    def clear(self) -> None:
        """Take all rules away; the counts stay."""
        self._ask("DELETE", "/_faults")

    def outage(self, seconds: float, *, kind: str = "reset") -> int:
        """Let everything fail for *seconds*; return the number of the rule."""
        return int(self._ask("POST", "/_faults", {"outage": seconds, "kind": kind})["number"])

    def done(self) -> dict[str, int]:
        """Return how often each kind of fault was done."""
        return dict(self._ask("GET", "/_faults")["kinds"])

    def places(self) -> dict[str, int]:
        """Return how often each kind was done where: `throttle logs:PutLogEvents`."""
        return dict(self._ask("GET", "/_faults")["places"])

    def requests(self) -> dict[str, int]:
        """Return how often each operation was done: `logs:PutLogEvents`."""
        return dict(self._ask("GET", "/_audit/requests")["requests"])

    def streams(self) -> list[dict[str, Any]]:
        """Return every log stream: `group`, `stream`, and the numbers of `events`, `batches` and `rejected` events."""
        return list(self._ask("GET", "/_audit/streams")["streams"])

    def messages(self, group: str, stream: str) -> list[str]:
        """Return all messages of a stream in their order; none where there is no such stream."""
        query = urlencode({"group": group, "stream": stream})
        return list(self._ask("GET", f"/_audit/log?{query}")["messages"])

    def buckets(self) -> dict[str, Any]:
        """Return every bucket: its `objects` (`bytes`, `etag`, `stored`: how often) and its open `uploads` by key."""
        return dict(self._ask("GET", "/_audit/buckets")["buckets"])

    def object(self, bucket: str, key: str) -> bytes:
        """Return the bytes of an object."""
        query = urlencode({"bucket": bucket, "key": key}, quote_via=quote)
        return base64.b64decode(self._ask("GET", f"/_audit/object?{query}")["data"])

    def events(self) -> list[dict[str, Any]]:
        """Return the entries that PutEvents accepted, in order; `Detail` is an object."""
        return list(self._ask("GET", "/_audit/events")["events"])

    def metrics(self) -> list[dict[str, Any]]:
        """Return the data that PutMetricData accepted, in order, each with its `Namespace`."""
        return list(self._ask("GET", "/_audit/metrics")["metrics"])

    def _ask(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_PATIENCE_SECONDS)
        try:
            connection.request(method, path, body=None if document is None else json.dumps(document).encode())
            answer = connection.getresponse()
            body: dict[str, Any] = json.loads(answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise AwsUnavailable(f"the AWS-shaped server at {self.url} does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise UsageError(f"{method} {path}: {body.get('message', body)}")
        return body
