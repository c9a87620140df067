"""Events: what a message from SQS says that changed, at CodeCommit or in S3 (service.md 3.6 to 3.8). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from agent.source import version as versions

_SHA = re.compile(r"[0-9a-f]{40}")
_SEQUENCER = re.compile(r"[0-9A-Fa-f]{1,64}")
_LONGEST = 4096
"""Characters of one member: a key has 1,024 bytes, three times as many signs once it is encoded."""
_MOST_RECORDS = 1000
_ENVELOPES = 2
"""How often a message may be wrapped by SNS: a topic may feed another queue."""
_PUSHES = frozenset({"referenceCreated", "referenceUpdated"})


@dataclass(frozen=True)
class GitPush:
    """A branch or tag of CodeCommit that points elsewhere now; `old` is None for a new one."""

    region: str
    repository: str
    ref: str
    old: str | None
    new: str
    actor: str | None = None


@dataclass(frozen=True)
class PullRequest:
    """What happened to a pull request of CodeCommit; `event` is CodeBuild's word for it."""

    region: str
    repository: str
    number: str
    event: str
    head_ref: str
    base_ref: str
    head_sha: str
    actor: str | None = None


@dataclass(frozen=True)
class Upload:
    """An object that was written to a bucket. `sequencer` orders the writes of one key; empty: nobody told it."""

    bucket: str
    key: str
    sequencer: str = ""


Happening = GitPush | PullRequest | Upload


@dataclass(frozen=True)
class Reading:
    """What a message says. Without happenings `ignored` gives the reason; `malformed` is what makes no sense in it."""

    happenings: tuple[Happening, ...] = ()
    ignored: str = ""
    malformed: str = ""


class _Malformed(Exception):
    """What makes no sense in a message: on its way to the value that carries it, and never seen outside."""


class _Ignored(Exception):
    """Why a message asks for nothing; likewise."""


def read(body: str) -> Reading:
    """Return what the body of a message says, whoever wrote it; raises nothing.

    An EventBridge event, an S3 notification (`Records`) or S3's test message, each as it is or in the envelope of SNS.
    """
    try:
        return _read(_opened(body))
    except _Malformed as reason:
        return Reading(malformed=str(reason))
    except _Ignored as reason:
        return Reading(ignored=str(reason))


def newest(uploads: Iterable[Upload]) -> tuple[Upload, ...]:
    """Return the last write of each key (service.md 3.7), in the order in which the keys came; one without a sequencer
    counts as later."""
    found: dict[tuple[str, str], Upload] = {}
    for upload in uploads:
        place = (upload.bucket, upload.key)
        known = found.get(place)
        if known is None or not is_later(known.sequencer, upload.sequencer):
            found[place] = upload
    return tuple(found.values())


def is_later(one: str, other: str) -> bool:
    """Whether the sequencer *one* is that of a later write than *other*; False where one of them is empty."""
    if not one or not other:
        return False
    width = max(len(one), len(other))
    return one.upper().ljust(width, "0") > other.upper().ljust(width, "0")


def _opened(body: str) -> dict[str, Any]:
    """Return the JSON object of a message, out of its envelopes."""
    for _ in range(_ENVELOPES + 1):
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise _Malformed("it is no JSON") from None
        if not isinstance(document, dict):
            raise _Malformed("it is no JSON object")
        if not isinstance(document.get("Type"), str) or "TopicArn" not in document:
            return document
        if document["Type"] != "Notification":
            raise _Ignored("SNS tells of a subscription")
        body = document.get("Message")  # type: ignore[assignment]  # looked at in the next line
        if not isinstance(body, str):
            raise _Malformed("the envelope of SNS holds no message")
    raise _Malformed("there are envelopes within envelopes")


def _read(document: dict[str, Any]) -> Reading:
    if document.get("Event") == "s3:TestEvent":
        raise _Ignored("S3 tests whether the queue can be reached")
    if "Records" in document:
        return _from_records(document["Records"])
    if "detail-type" not in document or "source" not in document:
        raise _Malformed("it is neither an EventBridge event nor an S3 notification")
    source, kind = _text(document, "source"), _text(document, "detail-type")
    detail = document.get("detail")
    if not isinstance(detail, dict):
        raise _Malformed("detail is missing")
    match source, kind:
        case "aws.codecommit", "CodeCommit Repository State Change":
            return Reading((_push(_text(document, "region"), detail),))
        case "aws.codecommit", "CodeCommit Pull Request State Change":
            return Reading(tuple(_pull_requests(_text(document, "region"), detail)))
        case "aws.s3", "Object Created":
            return Reading((_created(detail),))
    raise _Ignored(f"nothing is built for {kind[:100]!r} of {source[:100]!r}")


def _push(region: str, detail: dict[str, Any]) -> GitPush:
    event = _text(detail, "event")
    if event not in _PUSHES:
        raise _Ignored(f"nothing is built for {event[:100]}")
    ref = _text(detail, "referenceFullName")
    if not versions.is_ref(ref):
        raise _Malformed(f"{ref[:100]!r} is no ref")
    old = _sha(detail, "oldCommitId") if event == "referenceUpdated" and detail.get("oldCommitId") else None
    return GitPush(region, _text(detail, "repositoryName"), ref, old, _sha(detail, "commitId"), _actor(detail))


def _pull_requests(region: str, detail: dict[str, Any]) -> Iterator[PullRequest]:
    event = _pull_request_event(detail)
    number = _text(detail, "pullRequestId")
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise _Malformed(f"{number[:100]!r} is no number of a pull request")
    head, base = _text(detail, "sourceReference"), _text(detail, "destinationReference")
    for ref in (head, base):
        if not versions.is_ref(ref):
            raise _Malformed(f"{ref[:100]!r} is no ref")
    names = detail.get("repositoryNames")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise _Malformed("repositoryNames is missing")
    sha = _sha(detail, "sourceCommit")
    for name in names[:10]:
        yield PullRequest(region, _clean(name, "repositoryNames"), number, event, head, base, sha, _actor(detail))


def _pull_request_event(detail: dict[str, Any]) -> str:
    """Return CodeBuild's word; `isMerged` is a text in these events."""
    event, merged = _text(detail, "event"), str(detail.get("isMerged")) == "True"
    if event == "pullRequestCreated":
        return "PULL_REQUEST_CREATED"
    if event == "pullRequestSourceBranchUpdated":
        return "PULL_REQUEST_UPDATED"
    if event == "pullRequestMergeStatusUpdated" and merged:
        return "PULL_REQUEST_MERGED"
    if event == "pullRequestStatusChanged" and detail.get("pullRequestStatus") == "Closed" and not merged:
        return "PULL_REQUEST_CLOSED"
    raise _Ignored(f"nothing is built for {event[:100]}")


def _created(detail: dict[str, Any]) -> Upload:
    """EventBridge gives a key as it is."""
    bucket, found = detail.get("bucket"), detail.get("object")
    if not isinstance(bucket, dict) or not isinstance(found, dict):
        raise _Malformed("bucket or object is missing")
    return Upload(_text(bucket, "name"), _text(found, "key"), _sequencer(found))


def _from_records(records: object) -> Reading:
    if not isinstance(records, list):
        raise _Malformed("Records is no list")
    uploads: list[Upload] = []
    ignored = malformed = ""
    for record in records[:_MOST_RECORDS]:
        try:
            uploads.append(_from_record(record))
        except _Ignored as reason:
            ignored = str(reason)
        except _Malformed as reason:
            malformed = str(reason)
    return Reading(newest(uploads), "" if uploads else ignored or "there is no record in it", malformed)


def _from_record(record: object) -> Upload:
    """An S3 notification gives a key in the encoding of forms: `+` for a space."""
    if not isinstance(record, dict):
        raise _Malformed("a record is no object")
    if record.get("eventSource") != "aws:s3":
        raise _Ignored(f"nothing is built for records of {str(record.get('eventSource'))[:100]!r}")
    version = _text(record, "eventVersion")
    if version.partition(".")[0] != "2":
        raise _Malformed(f"version {version[:20]!r} of S3's records is not known")
    name = _text(record, "eventName").removeprefix("s3:")
    if not name.startswith("ObjectCreated:"):
        raise _Ignored(f"nothing is built for {name[:100]}")
    s3 = record.get("s3")
    bucket, found = (s3.get("bucket"), s3.get("object")) if isinstance(s3, dict) else (None, None)
    if not isinstance(bucket, dict) or not isinstance(found, dict):
        raise _Malformed("bucket or object is missing")
    return Upload(_text(bucket, "name"), unquote_plus(_text(found, "key")), _sequencer(found))


def _text(document: dict[str, Any], name: str) -> str:
    return _clean(document.get(name), name)


def _clean(value: object, name: str) -> str:
    """Return *value* if it is a text that can be stored: neither empty, nor endless, nor half of a character."""
    if not isinstance(value, str) or not value:
        raise _Malformed(f"{name} is missing")
    if len(value) > _LONGEST or _is_torn(value):
        raise _Malformed(f"{name} is no text")
    return value


def _is_torn(value: str) -> bool:
    return any("\ud800" <= sign <= "\udfff" for sign in value)


def _sha(detail: dict[str, Any], name: str) -> str:
    text = _text(detail, name).lower()
    if not _SHA.fullmatch(text):
        raise _Malformed(f"{name} is no commit")
    return text


def _actor(detail: dict[str, Any]) -> str | None:
    return _text(detail, "callerUserArn") if detail.get("callerUserArn") else None


def _sequencer(found: dict[str, Any]) -> str:
    """Return the sequencer; one that is none orders nothing."""
    text = found.get("sequencer")
    return text if isinstance(text, str) and _SEQUENCER.fullmatch(text) else ""
