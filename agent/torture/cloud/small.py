"""Small services: events, metrics, identities, parameters, secrets, keys and registries, as far as builds ask."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent.torture.cloud.wire import ACCOUNT, REGION, Answer, Document, Refusal, as_xml, element

MOST_ENTRIES: Final = 10
MOST_ENTRY_BYTES: Final = 262_144
MOST_METRICS: Final = 1000
MOST_METRIC_BYTES: Final = 1_048_576
MOST_DIMENSIONS: Final = 30
_TWO_WEEKS: Final = 14 * 86400
_TWO_HOURS: Final = 7200
_FAILED: Final = {"ErrorCode": "InternalFailure", "ErrorMessage": "The request processing has failed."}


class Events:
    """EventBridge's PutEvents. `taken` holds the entries that were accepted, in order, each with its EventId."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken: list[Document] = []

    def put(self, request: Document, *, partial: bool = False) -> Document:
        """Take entries; *partial*: every second one, beginning with the first, fails."""
        entries = request.get("Entries") or []
        if not 1 <= len(entries) <= MOST_ENTRIES:
            raise Refusal("ValidationException", f"Entries must have 1 to {MOST_ENTRIES} members")
        if (total := sum(map(_entry_bytes, entries))) > MOST_ENTRY_BYTES:
            raise Refusal("ValidationException", f"Total size of the entries in the request is over the limit: {total}")
        with self._lock:
            results = [self._take(one, fails=partial and place % 2 == 0) for place, one in enumerate(entries)]
        return {"FailedEntryCount": sum("ErrorCode" in one for one in results), "Entries": results}

    def _take(self, entry: Mapping[str, Any], *, fails: bool) -> Document:
        if fails:
            return dict(_FAILED)
        if any(not entry.get(name) for name in ("Source", "DetailType", "Detail")):
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": "Source, DetailType and Detail are required."}
        if str(entry["Source"]).startswith("aws."):
            return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
        try:
            detail = json.loads(entry["Detail"])
        except ValueError:
            detail = None
        if not isinstance(detail, dict):
            return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
        number = str(uuid.uuid4())
        self.taken.append({**entry, "Detail": detail, "EventId": number})
        return {"EventId": number}


class Metrics:
    """CloudWatch's PutMetricData. `taken` holds the data that were accepted, each with its Namespace."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.taken: list[Document] = []

    def put(self, request: Document, size: int) -> Document:
        """Take data, all or none; *size* is that of the request in bytes, unpacked."""
        data, namespace = request.get("MetricData") or [], request.get("Namespace", "")
        if not namespace or str(namespace).startswith("AWS/"):
            raise Refusal("InvalidParameterValue", f"The value {namespace!r} for parameter Namespace is invalid.")
        if len(data) > MOST_METRICS or size > MOST_METRIC_BYTES:
            raise Refusal("InvalidParameterCombination", "The collection MetricData is too large.")
        for one in data:
            at = float(one.get("Timestamp", self._now()))
            if not self._now() - _TWO_WEEKS <= at <= self._now() + _TWO_HOURS:
                raise Refusal("InvalidParameterValue", f"The Timestamp of {one.get('MetricName')} is too far away.")
            if len(one.get("Dimensions", ())) > MOST_DIMENSIONS:
                raise Refusal("InvalidParameterValue", "Too many dimensions.")
        with self._lock:
            self.taken += [{"Namespace": namespace, **one} for one in data]
        return {}


@dataclass
class Vault:
    """What SSM, Secrets Manager, KMS and ECR give out. `keys`: id, ARN or alias of each KMS key, and its state."""

    parameters: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def get_parameters(self, request: Document) -> Document:
        names = request.get("Names") or []
        if not 1 <= len(names) <= 10:
            raise Refusal("ValidationException", "1 validation error detected: 'names' must have 1 to 10 members")
        found = [
            {
                "Name": name,
                "Type": "SecureString",
                "Value": self.parameters[name],
                "Version": 1,
                "ARN": _parameter(name),
            }
            for name in names
            if name in self.parameters
        ]
        return {"Parameters": found, "InvalidParameters": [name for name in names if name not in self.parameters]}

    def get_secret_value(self, request: Document) -> Document:
        name = request.get("SecretId", "")
        if name not in self.secrets:
            raise Refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        arn = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf"
        facts = {"VersionId": str(uuid.UUID(int=1)), "VersionStages": ["AWSCURRENT"], "CreatedDate": 1.7e9}
        return {"ARN": arn, "Name": name, "SecretString": self.secrets[name], **facts}

    def describe_key(self, request: Document) -> Document:
        name = str(request.get("KeyId", ""))
        if name not in self.keys:
            raise Refusal("NotFoundException", f"Key '{name}' does not exist")
        number = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        arn = name if ":key/" in name else f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{number}"
        facts = {"KeyState": self.keys[name], "Enabled": self.keys[name] == "Enabled", "KeySpec": "SYMMETRIC_DEFAULT"}
        return {"KeyMetadata": {"KeyId": arn.rpartition("/")[2], "Arn": arn, **facts}}

    def get_authorization_token(self, request: Document) -> Document:
        token = base64.b64encode(b"AWS:torture").decode()
        proxy = f"https://{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        until = time.time() + 12 * 3600
        return {"authorizationData": [{"authorizationToken": token, "expiresAt": until, "proxyEndpoint": proxy}]}


def identities(operation: str, form: Mapping[str, str]) -> Answer:
    """Answer for STS, which has XML."""
    if operation == "GetCallerIdentity":
        role = f"arn:aws:sts::{ACCOUNT}:assumed-role/torture/agent"
        inner = element("Arn", role) + element("UserId", "AROATORTURE:agent") + element("Account", ACCOUNT)
    elif operation == "AssumeRole":
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + int(form.get("DurationSeconds", 3600))))
        keys = element("AccessKeyId", "ASIATORTURE") + element("SecretAccessKey", "torture")
        keys += element("SessionToken", "torture") + element("Expiration", until)
        user = element("Arn", form.get("RoleArn", "")) + element("AssumedRoleId", "AROATORTURE:session")
        inner = f"<Credentials>{keys}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>"
    else:
        raise Refusal("InvalidAction", f"{operation} is not played here")
    metadata = f"<ResponseMetadata>{element('RequestId', uuid.uuid4())}</ResponseMetadata>"
    return as_xml(
        f"<{operation}Response><{operation}Result>{inner}</{operation}Result>{metadata}</{operation}Response>"
    )


def _entry_bytes(entry: Mapping[str, Any]) -> int:
    texts = [str(entry.get(name, "")) for name in ("Source", "DetailType", "Detail")] + list(
        entry.get("Resources") or []
    )
    return sum(len(text.encode()) for text in texts) + (14 if "Time" in entry else 0)


def _parameter(name: str) -> str:
    return f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{name.lstrip('/')}"
