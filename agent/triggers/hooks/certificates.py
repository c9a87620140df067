"""Certificates: the keys with which SNS signs, had from SNS itself, checked and kept; the door to cryptography.

Why a certificate is believed: it was fetched over TLS, with the system's authorities and the name of the host checked,
from `sns.REGION.amazonaws.com`, which the address rules of `sns` leave no way around; nobody but AWS can answer there.
What the certificate says of itself (names, dates, who issued it) is checked as well, but could be written by anybody.
Its own chain is not: SNS shows the certificate alone, and its issuers would have to be fetched from addresses that it
names itself, which is one more thing that somebody could turn to his ends, and tells nothing that TLS did not.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.errors import BuildspecdError, SourceRefused, Unavailable
from agent.kit.clock import Clock
from agent.source.connections import Connections, content_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import Certificate

Fetch = Callable[[str], bytes]
"""Gets a certificate in PEM form. Raises `SourceRefused` where there is none, `Unavailable` where nobody answers."""

LONGEST = 64 << 10
"""Bytes of a certificate."""
PATIENCE_SECONDS = 8.0
"""How long a delivery waits for a certificate; SNS waits 15, and comes again."""
KEPT_SECONDS = 86400.0
REFUSED_SECONDS = 60.0
"""How long it is remembered that there is no such certificate."""
MOST_KEPT = 32
MOST_A_MINUTE = 12
"""Certificates that are asked for: an address costs a stranger nothing to invent. Those that are kept go on to hold."""
_AT_ONCE = 2
_MINUTE = 60.0
_SMALLEST_KEY = 2048
_SIGNER = re.compile(r"sns(-signing)?([.-][a-z]{2}(-[a-z]+){1,3}-\d{1,2})?\.amazonaws\.com(\.cn)?")


def fetch_through(connections: Connections) -> Fetch:
    """Return what fetches over HTTPS; a redirect is no answer."""

    def fetch(address: str) -> bytes:
        try:
            with connections.asked("GET", address, headers={"Accept": "*/*"}) as response:
                status = response.status
                found = content_of(response, LONGEST) if status == 200 else None
        except SourceRefused as error:  # whoever answered is not SNS; the next time it may be
            raise Unavailable(error.message, hint="is there a proxy that breaks TLS open?") from error
        if status >= 500 or status == 429:
            raise Unavailable(f"{address}: HTTP {status}", hint="it is asked again later")
        if found is None:
            raise SourceRefused(f"{address}: HTTP {status}, which is no certificate")
        return found

    return fetch


@dataclass
class _Errand:
    """One certificate on its way, and what came of it."""

    address: str
    done: threading.Event = field(default_factory=threading.Event)
    certificate: Certificate | None = None
    trouble: BuildspecdError | None = None
    at: float = 0.0


class Certificates:
    """Says whether a signature was made with the key of a certificate. Any thread may call it."""

    def __init__(self, fetch: Fetch, clock: Clock, patience: float = PATIENCE_SECONDS) -> None:
        self._fetch = fetch
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._known: dict[str, _Errand] = {}
        self._asked: deque[float] = deque()

    def signed(self, address: str, text: bytes, signature: bytes, version: str) -> bool:
        """Whether *signature* over *text* was made with the key of the certificate at *address*.

        *version* is "1" (SHA-1) or "2" (SHA-256). Raises `SourceRefused` for a certificate that is not believed, and
        `Unavailable` where it cannot be had now.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        sums = {"1": hashes.SHA1, "2": hashes.SHA256}
        if version not in sums:
            return False
        key = key_of(self._certificate(address), self._clock.now())
        try:
            key.verify(signature, text, padding.PKCS1v15(), sums[version]())
        except InvalidSignature:
            return False
        return True

    def _certificate(self, address: str) -> Certificate:
        errand = self._errand(address)
        if not errand.done.wait(self._patience):
            raise Unavailable(f"{address}: no answer within {self._patience:g} seconds", hint="deliver it again later")
        if errand.certificate is None:
            raise errand.trouble or Unavailable(f"{address}: the certificate cannot be had")
        return errand.certificate

    def _errand(self, address: str) -> _Errand:
        """Return the errand for a certificate, that of somebody else where there is one."""
        now = self._clock.monotonic()
        with self._lock:
            known = self._known.get(address)
            if known is not None and not (known.done.is_set() and now >= known.at + _life(known)):
                return known
            under_way = sum(not errand.done.is_set() for errand in self._known.values())
            while self._asked and now >= self._asked[0] + _MINUTE:
                self._asked.popleft()
            if under_way >= _AT_ONCE or len(self._asked) >= MOST_A_MINUTE:
                raise Unavailable("too many certificates of SNS are asked for", hint="deliver it again in a minute")
            self._asked.append(now)
            errand = self._known[address] = _Errand(address)
            self._make_room()
        threading.Thread(target=self._run, args=(errand,), name="sns-certificate", daemon=True).start()
        return errand

    def _make_room(self) -> None:
        done = [errand for errand in self._known.values() if errand.done.is_set()]
        done.sort(key=lambda errand: (errand.certificate is not None, errand.at))
        for errand in done[: max(0, len(self._known) - MOST_KEPT)]:
            del self._known[errand.address]

    def _run(self, errand: _Errand) -> None:
        try:
            errand.certificate = parsed(self._fetch(errand.address), errand.address)
        except BuildspecdError as error:
            errand.trouble = error
        finally:
            errand.at = self._clock.monotonic()
            errand.done.set()


def _life(errand: _Errand) -> float:
    if errand.certificate is not None:
        return KEPT_SECONDS
    return REFUSED_SECONDS if isinstance(errand.trouble, SourceRefused) else 0.0


def parsed(pem: bytes, place: str) -> Certificate:
    """Return the certificate in *pem*. Raises `SourceRefused`."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise SourceRefused(f"{place} is no certificate") from None


def key_of(certificate: Certificate, now: float) -> RSAPublicKey:
    """Return the key of a certificate of SNS's that holds at *now* (epoch seconds). Raises `SourceRefused`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    moment = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise SourceRefused(
            f"the certificate holds from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc} only",
            hint="is the clock of this host right?",
        )
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    names = [str(attribute.value) for attribute in common]
    if not any(_SIGNER.fullmatch(name) for name in names):
        raise SourceRefused(f"the certificate is of {names[:3]}, not of SNS")
    if certificate.issuer == certificate.subject:
        raise SourceRefused("the certificate was issued by its own owner")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey) or key.key_size < _SMALLEST_KEY:
        raise SourceRefused(f"the certificate has no RSA key of {_SMALLEST_KEY} bits or more")
    return key
