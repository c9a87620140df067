"""Amazon SNS in small: signs messages as it does, with a certificate of its own making."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

TOPIC = "arn:aws:sns:eu-central-1:123456789012:pushes"
HOST = "sns.eu-central-1.amazonaws.com"
CERTIFICATE_PATH = "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
CERTIFICATE_URL = f"https://{HOST}{CERTIFICATE_PATH}"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def a_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def certificate(
    now: float,
    *,
    common_name: str = "sns.amazonaws.com",
    issuer: str = "Amazon RSA 2048 M01",
    days: tuple[int, int] = (-30, 30),
    key: Any = _KEY,
    dns: str = "",
) -> bytes:
    """Return a certificate in PEM form that holds from the first to the second of *days*, counted from *now*."""
    moment = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(a_name(common_name))
        .issuer_name(a_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + timedelta(days=days[0]))
        .not_valid_after(moment + timedelta(days=days[1]))
    )
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def elliptic_key() -> Any:
    """Return a key of another kind than SNS has."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Sns:
    """Makes deliveries at the moment *now* (epoch seconds)."""

    now: float
    topic: str = TOPIC
    certificate_url: str = CERTIFICATE_URL
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/plain; charset=UTF-8"})

    def notification(self, message: Any, version: str = "1", **members: Any) -> bytes:
        """Return a delivery of *message*; *members* are put in before it is signed."""
        text = message if isinstance(message, str) else json.dumps(message)
        return self.signed({"Type": "Notification", "Message": text, **members}, version)

    def confirmation(self, kind: str = "SubscriptionConfirmation", token: str = "t0k3n" * 20, **members: Any) -> bytes:
        """Return what SNS sends when somebody subscribes or unsubscribes an address."""
        url = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={self.topic}&Token={token}"
        return self.signed({"Type": kind, "Message": "Hello.", "Token": token, "SubscribeURL": url, **members}, "2")

    def signed(self, members: dict[str, Any], version: str) -> bytes:
        """Return *members*, completed and signed, as JSON."""
        stamp = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        document = {
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self.topic,
            "Timestamp": stamp,
            "SignatureVersion": version,
            "SigningCertURL": self.certificate_url,
            **members,
        }
        signed = [(name, document[name]) for name in _SIGNED[document["Type"]] if name in document]
        text = "".join(f"{name}\n{value}\n" for name, value in signed).encode()
        sums = hashes.SHA256() if version == "2" else hashes.SHA1()
        document["Signature"] = base64.b64encode(_KEY.sign(text, padding.PKCS1v15(), sums)).decode()
        return json.dumps(document).encode()
