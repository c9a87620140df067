"""SNS: events straight to a topic, each in the envelope in which EventBridge would hand it to one (service.md 6)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from agent.aws import AwsRefused, translated
from agent.errors import AwsUnavailable, BuildspecdError
from agent.model.event import BuildEvent
from agent.model.phase import Phase
from agent.model.status import Status
from agent.notify.delivery import Clients
from agent.notify.detail import detail, detail_type
from agent.notify.letters import MOST_BYTES, Entry, Key, Letter, Post, compact, cut_to_fit, key_of
from agent.notify.permission import naming

_NAMESPACE = uuid.UUID("5d1c7e64-3f0b-4c9e-9f39-6f5b3f0c2a11")
_LATER = frozenset({"InternalError", "InternalFailure", "ServiceUnavailable", "Throttled", "Throttling"})
_ROOM = 2_000
"""Bytes left free for what goes beside the message."""
_BAD: Final = (Status.FAILED, Status.FAULT, Status.TIMED_OUT)

WANTED: Final[Mapping[str, Callable[[BuildEvent], bool]]] = {
    "codebuild-project-build-state-in-progress": lambda event: _ends_as(event, Status.IN_PROGRESS),
    "codebuild-project-build-state-succeeded": lambda event: _ends_as(event, Status.SUCCEEDED),
    "codebuild-project-build-state-failed": lambda event: _ends_as(event, *_BAD),
    "codebuild-project-build-state-stopped": lambda event: _ends_as(event, Status.STOPPED),
    "codebuild-project-build-phase-success": lambda event: _phase_ended(event, well=True),
    "codebuild-project-build-phase-failure": lambda event: _phase_ended(event, well=False),
}
"""The ids of notification rules (service.md 6.4), and which events each means."""


@dataclass
class Sns:
    """A Sink: `PublishBatch` to one topic. For one thread.

    In a FIFO topic the builds are the message groups, and an event that is told twice is taken once. *only* are ids of
    `WANTED`; none: every event is told.
    """

    clients: Clients
    topic: str
    source: str = "buildspecd"
    only: frozenset[str] = frozenset()
    redact: bool = True
    name: str = "sns"
    page: int = 50
    _post: Post = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._post = Post(self._put)

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        """See `Sink.deliver`. Raises `AwsUnavailable`, `AwsRefused`."""
        chosen = [event for event in events if not self.only or any(WANTED[name](event) for name in self.only)]
        self._post.deliver(chosen, self._letter)

    def _letter(self, event: BuildEvent) -> Letter:
        made = message(event, source=self.source, redact=self.redact)
        if self.topic.endswith(".fifo"):
            number = str(_number(event))
            made |= {"MessageGroupId": event.build.id, "MessageDeduplicationId": number}
        return Letter(key_of(event), event.build.id, made, len(made["Message"].encode()) + _ROOM)

    def _put(self, call: Sequence[Letter]) -> dict[Key, BuildspecdError]:
        """Publish *call*; return why, of each letter that was not taken."""
        entries = [{"Id": str(place), **letter.entry} for place, letter in enumerate(call)]
        with naming(self._hint), translated("sns:Publish"):
            answer = self.clients.client("sns").publish_batch(TopicArn=self.topic, PublishBatchRequestEntries=entries)
        failed = {one["Id"]: one for one in answer.get("Failed", ())}
        if len(answer.get("Successful", ())) + len(failed) != len(call):
            raise AwsUnavailable(
                "sns:Publish: the answer is not of Amazon SNS", hint="check the endpoint and the proxy"
            )
        return {letter.key: self._why(failed[str(place)]) for place, letter in enumerate(call) if str(place) in failed}

    def _why(self, failure: Mapping[str, Any]) -> BuildspecdError:
        reason, text = str(failure.get("Code", "")), str(failure.get("Message", ""))
        if reason in _LATER or not failure.get("SenderFault"):
            return AwsUnavailable(f"sns:Publish: {reason}: {text}")
        return AwsRefused(f"sns:Publish: {reason}: {text}", reason=reason, text=text, hint=self._hint)

    @property
    def _hint(self) -> str:
        return (
            f"allow the host's role sns:Publish on {self.topic} (and kms:GenerateDataKey and kms:Decrypt with the "
            "topic's key, if it has one), or change events.topic in agent.yml"
        )


def message(event: BuildEvent, *, source: str, redact: bool = True) -> Entry:
    """Return `Message` and `MessageAttributes` of an event, cut down to what SNS takes. Pure.

    The message is an EventBridge event; the attributes are what a subscription's filter policy can choose by.
    """
    _, _, _, region, account, *_ = (*event.build.arn.split(":"), "", "", "", "", "")
    envelope = {
        "version": "0",
        "id": str(_number(event)),
        "detail-type": detail_type(event),
        "source": source,
        "account": account,
        "time": f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [event.build.arn],
    }
    found = detail(event, redact=redact)
    whole = cut_to_fit(found, lambda cut: len(compact({**envelope, "detail": cut}).encode()) <= MOST_BYTES - _ROOM)
    facts = {
        "detail-type": detail_type(event),
        "project-name": event.build.project.name,
        "build-status": event.build.status.value,
    }
    return {
        "Message": compact({**envelope, "detail": whole}),
        "MessageAttributes": {name: {"DataType": "String", "StringValue": text} for name, text in facts.items()},
    }


def _number(event: BuildEvent) -> uuid.UUID:
    """Return the id of an event: the same, however often it is told."""
    return uuid.uuid5(_NAMESPACE, "\n".join(map(str, key_of(event))))


def _ends_as(event: BuildEvent, *status: Status) -> bool:
    return event.kind == "state" and event.build.status in status


def _phase_ended(event: BuildEvent, *, well: bool) -> bool:
    if event.kind != "phase":
        return False
    phase: Phase | None = event.build.phase(event.completed_phase or event.build.current_phase)
    return phase is not None and (phase.phase_status in (Status.SUCCEEDED, None)) is well
