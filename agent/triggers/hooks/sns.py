"""Sns: a message of Amazon SNS taken apart, what of it is signed, and which addresses it may name. Pure.

An address in a message is only believed in the one shape that SNS writes, of the topic's own region, matched from its
first sign to its last: no user, no other port, no query where there is none, no second spelling of anything.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs, urlencode, urlsplit

from agent.errors import RequestInvalid, SourceRefused
from agent.triggers.hooks.payload import Node, read

NOTIFICATION = "Notification"
CONFIRMATION = "SubscriptionConfirmation"
FAREWELL = "UnsubscribeConfirmation"
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    FAREWELL: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""Members of which the string to sign is made, in this order; one that is absent is left out."""
LONGEST = 1 << 20
"""Bytes of a message; SNS sends 256 KiB at most, which JSON may write longer."""
_REGION = r"[a-z]{2}(?:-[a-z]+){1,3}-[0-9]{1,2}"
_ARN = re.compile(rf"arn:(aws|aws-cn|aws-us-gov):sns:({_REGION}):[0-9]{{12}}:[A-Za-z0-9_-]{{1,256}}")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{16,64}\.pem")
_QUERY = re.compile(r"/\?[A-Za-z0-9%&=:._+~/-]{1,8192}")
_SIGNATURE_BYTES = 1024


@dataclass(frozen=True)
class Envelope:
    """A message as it came, unverified. `version` is that of the signature: "1" (SHA-1) or "2" (SHA-256)."""

    type: str
    id: str
    topic: str
    message: str
    sent: float
    version: str
    signature: bytes
    certificate_url: str
    token: str | None
    text: bytes
    """The string that is signed."""


def is_topic(arn: str) -> bool:
    """Whether *arn* is that of a topic."""
    return _ARN.fullmatch(arn) is not None


def opened(body: bytes) -> Envelope:
    """Return what a delivery holds. Raises `RequestInvalid`, naming the member, also for an address of another place
    than SNS in the region of the topic.
    """
    if len(body) > LONGEST:
        raise RequestInvalid(f"the message is longer than {LONGEST} bytes, which none of SNS is")
    document = read({}, body)
    kind, topic = document.text("Type"), document.text("TopicArn")
    if kind not in _SIGNED:
        document.refuse("Type", f"must be one of {', '.join(_SIGNED)}")
    if not is_topic(topic):
        document.refuse("TopicArn", "is not the ARN of a topic")
    signed = _SIGNED[kind]
    texts = {name: document.maybe_text(name, None) for name in signed}
    for name in signed:
        if texts[name] is None and name != "Subject":
            document.refuse(name, "is missing")
    certificate = _certificate_url(document, topic)
    if kind == CONFIRMATION:
        _check_subscribe_url(document, topic)
    return Envelope(
        type=kind,
        id=document.text("MessageId", 100),
        topic=topic,
        message=texts["Message"] or "",
        sent=_time(document),
        version=document.text("SignatureVersion", 10),
        signature=_signature(document),
        certificate_url=certificate,
        token=texts.get("Token"),
        text=_to_sign([(name, texts[name]) for name in signed]),
    )


def confirmation_url(topic: str, token: str) -> str:
    """Return the address that confirms a subscription: made of its parts, whatever address a message names."""
    return f"https://{_host(topic)}/?" + urlencode({"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token})


def _to_sign(members: Sequence[tuple[str, str | None]]) -> bytes:
    return "".join(f"{name}\n{value}\n" for name, value in members if value is not None).encode()


def _host(topic: str) -> str:
    """Return the host of SNS where *topic* is."""
    found = _ARN.fullmatch(topic)
    if found is None:
        raise SourceRefused(f"{topic[:100]!r} is not the ARN of a topic")
    return f"sns.{found[2]}.amazonaws.com{'.cn' if found[1] == 'aws-cn' else ''}"


def _rest(address: str, topic: str) -> str:
    """Return what stands behind the host of SNS in *address*; empty where that is another one."""
    for place in (f"https://{_host(topic)}/", f"https://{_host(topic)}:443/"):
        if address.startswith(place):
            return address[len(place) - 1 :]
    return ""


def _certificate_url(document: Node, topic: str) -> str:
    rest = _rest(document.text("SigningCertURL"), topic)
    if _CERTIFICATE.fullmatch(rest) is None:
        document.refuse("SigningCertURL", f"is not that of a certificate of https://{_host(topic)}")
    return f"https://{_host(topic)}{rest}"


def _check_subscribe_url(document: Node, topic: str) -> None:
    rest = _rest(document.text("SubscribeURL"), topic)
    if _QUERY.fullmatch(rest) is None:
        document.refuse("SubscribeURL", f"is not an address of https://{_host(topic)}")
    asked = parse_qs(urlsplit(rest).query, max_num_fields=10)
    wanted = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": document.text("Token")}
    if any(asked.get(name) != [value] for name, value in wanted.items()):
        document.refuse("SubscribeURL", "does not confirm the subscription that it tells of")


def _time(document: Node) -> float:
    text = document.text("Timestamp", 40)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        document.refuse("Timestamp", "is no time")
    if found.tzinfo is None:
        document.refuse("Timestamp", "has no time zone")
    return found.timestamp()


def _signature(document: Node) -> bytes:
    try:
        found = base64.b64decode(document.text("Signature"), validate=True)
    except (binascii.Error, ValueError):
        document.refuse("Signature", "is not Base64")
    if not 0 < len(found) <= _SIGNATURE_BYTES:
        document.refuse("Signature", "has no length of a signature")
    return found
