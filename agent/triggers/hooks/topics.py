"""Topics: takes deliveries of Amazon SNS in: verified, stored, answered; what they ask for is done behind that."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import RequestInvalid, SourceRefused, Unavailable
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.source.connections import Connections
from agent.store.hooks import Hooks
from agent.triggers import events
from agent.triggers.events import Happening
from agent.triggers.hooks import sns
from agent.triggers.hooks.certificates import Certificates
from agent.triggers.hooks.desk import REMEMBERED_SECONDS
from agent.triggers.hooks.sns import Envelope

PLACE = ":sns"
"""Under which name the backlog keeps what SNS delivered; no project is called so."""
INITIATOR = "buildspecd/sns"
OLDEST_SECONDS = 3600.0
"""How old a message may be; SNS gives up after as long, and a message that was overheard is no good for longer."""
_NEWEST_SECONDS = 300.0
_UNSIGNED = "x-amz-sns-rawdelivery"
_log = get_logger("webhooks")


@dataclass(frozen=True)
class Topics:
    """Takes deliveries in, on any thread.

    *allowed* are the ARNs of the topics that are listened to, *take* is `Arrivals.take`, *confirm* gets the address
    that confirms a subscription, *wake* is called when something was stored.
    """

    allowed: Callable[[], Collection[str]]
    certificates: Certificates
    hooks: Hooks
    clock: Clock
    take: Callable[[Happening, StopToken], None]
    confirm: Callable[[str], None]
    wake: Callable[[], None] = lambda: None

    def receive(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and the JSON that answer a delivery; header names are in lower case.

        Raises `RequestInvalid` for what is no message of SNS, and `Unavailable` where its certificate cannot be had
        now; then nothing was stored, and SNS delivers it again.
        """
        allowed = self.allowed()
        if not allowed:
            return _refused(403, "no topic may deliver here", "list its ARN in webhooks.sns_topics of agent.yml")
        if headers.get(_UNSIGNED, "").lower() == "true":
            return _refused(403, "a raw message is not signed", "turn raw message delivery off for this subscription")
        envelope = sns.opened(body)
        if envelope.topic not in allowed:
            return _refused(403, f"{envelope.topic} may not deliver here", "list it in webhooks.sns_topics")
        age = self.clock.now() - envelope.sent
        if not -_NEWEST_SECONDS <= age <= OLDEST_SECONDS:
            return _refused(403, f"the message is {age:.0f} seconds old", "is the clock of this host right?")
        if reason := self._distrust(envelope):
            return _refused(401, reason, "nobody but SNS may deliver here")
        return self._taken(envelope)

    def settle(self, document: str, stop: StopToken) -> None:
        """Do what a stored message asks for; twice does no harm. Raises `BuildspecdError`, also where *stop* came."""
        stored = json.loads(document)
        if "token" in stored:
            self.confirm(sns.confirmation_url(stored["topic"], stored["token"]))
            _log.info("subscribed to a topic", topic=stored["topic"])
            return
        for happening in events.read(stored["message"]).happenings:
            self.take(happening, stop)
        if stop.is_set:
            raise Unavailable("the agent is stopping")

    def _distrust(self, envelope: Envelope) -> str:
        """Return why the signature is not believed, or ""."""
        try:
            good = self.certificates.signed(
                envelope.certificate_url, envelope.text, envelope.signature, envelope.version
            )
        except SourceRefused as error:
            return error.message
        return "" if good else "the signature is not that of the message"

    def _taken(self, envelope: Envelope) -> tuple[int, dict[str, Any]]:
        if envelope.type == sns.FAREWELL:
            _log.warning("a subscription has ended", topic=envelope.topic, hint="was it meant to? then mend agent.yml")
            return 200, _told(envelope, "ignored", "the subscription has ended")
        document = {"topic": envelope.topic, "message": envelope.message}
        if envelope.type == sns.CONFIRMATION:
            document = {"topic": envelope.topic, "token": envelope.token or ""}
        else:
            reading = events.read(envelope.message)
            if not reading.happenings:
                return 200, _told(envelope, "ignored", reading.malformed or reading.ignored)
        now, key = self.clock.now(), f"sns:{envelope.topic}:{envelope.id}"
        with self.hooks.transaction():
            if self.hooks.seen([key], now - REMEMBERED_SECONDS):
                return 200, _told(envelope, "ignored", "this delivery was taken before")
            self.hooks.put_off(PLACE, json.dumps(document), now)
            self.hooks.remember([key], now)
        self.wake()
        return 200, _told(envelope, "taken", "it is stored")


def confirm_through(connections: Connections) -> Callable[[str], None]:
    """Return what gets the address of a confirmation; a redirect is a refusal."""

    def confirm(address: str) -> None:
        place = address.partition("?")[0]
        with connections.asked("GET", address, headers={"Accept": "*/*"}, place=place) as response:
            if response.status >= 500 or response.status == 429:
                raise Unavailable(f"{place} does not confirm a subscription: HTTP {response.status}")
            if response.status != 200:
                raise RequestInvalid(
                    f"{place} does not confirm a subscription: HTTP {response.status}",
                    hint="its token holds for three days; request the confirmation again (aws sns subscribe)",
                )

    return confirm


def _told(envelope: Envelope, result: str, reason: str) -> dict[str, Any]:
    return {"result": result, "reason": reason, "delivery": envelope.id}


def _refused(status: int, reason: str, hint: str) -> tuple[int, dict[str, Any]]:
    _log.warning("a delivery was refused", host="sns", reason=reason)
    return status, {"result": "refused", "reason": reason, "hint": hint}
