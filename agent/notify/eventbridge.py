"""EventBridge: events under CodeBuild's own detail types, so that a rule ports by editing its `source` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.aws import AwsRefused, translated
from agent.errors import AwsUnavailable, BuildspecdError
from agent.model.event import BuildEvent
from agent.notify.delivery import Clients
from agent.notify.detail import detail, detail_type
from agent.notify.letters import MOST_BYTES, Entry, Key, Letter, Post, compact, cut_to_fit, key_of
from agent.notify.permission import naming

_LATER = frozenset({"InternalFailure", "InternalException", "ThrottlingException", "ServiceUnavailable"})
_HINT_ENDPOINT = "check the endpoint and the proxy"
_HINT = "check events.bus and events.source in agent.yml, and that the host's role allows events:PutEvents"
_TIME_BYTES = 14


@dataclass
class EventBridge:
    """A Sink: `PutEvents` to one bus (a name or an ARN). For one thread."""

    clients: Clients
    bus: str = "default"
    source: str = "buildspecd"
    redact: bool = True
    name: str = "eventbridge"
    page: int = 50
    _post: Post = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._post = Post(self._put)

    def deliver(self, events: Sequence[BuildEvent]) -> None:
        """See `Sink.deliver`. Raises `AwsUnavailable`, `AwsRefused`."""
        self._post.deliver(events, self._letter)

    def _letter(self, event: BuildEvent) -> Letter:
        made = entry(event, bus=self.bus, source=self.source, redact=self.redact)
        return Letter(key_of(event), event.build.id, made, size(made))

    def _put(self, call: Sequence[Letter]) -> dict[Key, BuildspecdError]:
        """Put the entries of *call*; return why, of each that was not taken."""
        client = self.clients.client("events")
        with naming(_HINT), translated("events:PutEvents"):
            answer = client.put_events(Entries=[letter.entry for letter in call])
        results = answer.get("Entries", [])
        if len(results) != len(call):  # a proxy's page with status 200, say
            raise AwsUnavailable("events:PutEvents: the answer is not EventBridge's", hint=_HINT_ENDPOINT)
        return {
            letter.key: _why(result) for letter, result in zip(call, results, strict=True) if result.get("ErrorCode")
        }


def entry(event: BuildEvent, *, bus: str, source: str, redact: bool = True) -> Entry:
    """Return the `PutEventsRequestEntry` of an event, cut down to `MOST_BYTES`. Pure."""
    made: Entry = {
        "Time": datetime.fromtimestamp(event.at, UTC),
        "Source": source,
        "Resources": [event.build.arn],
        "DetailType": detail_type(event),
        "Detail": "",
        "EventBusName": bus,
    }
    room = MOST_BYTES - size(made)
    document = cut_to_fit(detail(event, redact=redact), lambda found: len(compact(found).encode()) <= room)
    made["Detail"] = compact(document)
    return made


def size(made: Entry) -> int:
    """Return the bytes of an entry as EventBridge counts them."""
    texts = (made["Source"], made["DetailType"], made["Detail"], *made["Resources"])
    return _TIME_BYTES + sum(len(text.encode()) for text in texts)


def _why(failure: Mapping[str, Any]) -> BuildspecdError:
    reason, text = str(failure["ErrorCode"]), str(failure.get("ErrorMessage", ""))
    if reason in _LATER:
        return AwsUnavailable(f"events:PutEvents: {reason}: {text}")
    return AwsRefused(f"events:PutEvents: {reason}: {text}", reason=reason, text=text, hint=_HINT)
