"""Signatures: whether a delivery comes from who knows the secret; over the bytes as they came. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

from agent.errors import RequestInvalid
from agent.model.secret import Secret
from agent.triggers.hooks.event import Host
from agent.triggers.hooks.payload import header

_HMAC_HEADERS: Mapping[str, str] = {
    "github": "x-hub-signature-256",
    "github_enterprise": "x-hub-signature-256",
    "bitbucket": "x-hub-signature",
}
_TOKEN_HEADER = "x-gitlab-token"  # noqa: S105  # the name of a header
_SIGNATURE = re.compile(r"sha256=([0-9a-fA-F]{64})")
MOST_BYTES = 512 << 20
"""Bytes that are hashed at most to find out who signed one body."""


def signature_of(host: Host, headers: Mapping[str, str]) -> str | None:
    """Return what proves that the sender knows a secret: the hexadecimal HMAC-SHA256, or GitLab's token; else None.

    GitHub's old SHA-1 header counts for nothing (service.md 3.4).
    """
    if host == "gitlab":
        return headers.get(_TOKEN_HEADER) or None
    match = _SIGNATURE.fullmatch(header(headers, _HMAC_HEADERS[host]) or "")
    return match[1].lower() if match else None


def verifies(host: Host, secret: Secret, signature: str, body: bytes) -> bool:
    """Whether *signature* was made by who knows *secret*, which must not be empty."""
    key = secret.reveal().encode()
    if not key:
        return False
    if host == "gitlab":
        # Sums of both, so that not even the length of the secret shows in the time that it takes.
        given, wanted = (hashlib.sha256(text).digest() for text in (signature.encode("utf-8", "replace"), key))
        return hmac.compare_digest(given, wanted)
    return hmac.compare_digest(hmac.new(key, body, hashlib.sha256).hexdigest().encode(), signature.encode())


def verified(host: Host, secrets: Iterable[Secret], signature: str, body: bytes) -> list[Secret]:
    """Return those of *secrets* that made *signature*. Raises `RequestInvalid` where trying them all costs too much."""
    candidates = list(secrets)
    if host != "gitlab" and len(candidates) * len(body) > MOST_BYTES:
        raise RequestInvalid(
            f"{len(candidates)} secrets are too many to try on a body of {len(body)} bytes",
            hint="let the projects of one host share a secret",
        )
    return [secret for secret in candidates if verifies(host, secret, signature, body)]
