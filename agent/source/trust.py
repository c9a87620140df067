"""TrustedCAs: certificates of private authorities, beside the system's own, in one file that git and we read."""

from __future__ import annotations

import hashlib
import io
import os
import re
import ssl
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from agent.errors import SourceRefused, UserError
from agent.kit.clock import Clock
from agent.kit.files import write_atomic
from agent.objects.location import parse_object
from agent.objects.store import ObjectStore

KEEP_SECONDS = 300.0
"""How long a certificate that was read from a bucket is not read again."""
LONGEST = 1 << 20
"""Bytes of a certificate file, and of what a ZIP of them holds."""

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL
)
_HINT = "give a PEM file, or a ZIP with one: -----BEGIN CERTIFICATE----- ... -----END CERTIFICATE-----"
_MEMBERS = 64


class TrustedCAs:
    """Makes bundles below *directory*: the system's certificates, *ca_file*'s, and those of a project. Any thread.

    *open_store* opens the store of an `environment.certificate` (`bucket/key`, its ARN, `file:///dir/key`).
    """

    def __init__(
        self, directory: Path, open_store: Callable[[str], ObjectStore], clock: Clock, *, ca_file: Path | None = None
    ) -> None:
        self._directory = directory
        self._open_store = open_store
        self._clock = clock
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._read: dict[str, tuple[float, bytes]] = {}

    def bundle(self, certificate: str | None) -> Path | None:
        """Return the file to believe, None where the system's own certificates are all there is.

        Raises `SourceRefused` for what holds no certificate or cannot be read, `AwsUnavailable`.
        """
        own = [self._of_file(self._ca_file)] if self._ca_file is not None else []
        if certificate:
            own.append(self._of_project(certificate))
        if not own:
            return None
        system = _system()
        stamp = system.stat().st_mtime_ns if system else 0  # a poller asks often: the big file is not read for a name
        digest = hashlib.sha256(b"\n".join([str((system, stamp)).encode(), *own])).hexdigest()
        file = self._directory / f"{digest[:32]}.pem"
        if not file.is_file():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = b"\n".join([*([system.read_bytes()] if system else []), *own])
            write_atomic(file, text, mode=0o600, sync=False)
        return file

    def _of_file(self, file: Path) -> bytes:
        try:
            with file.open("rb") as stream:
                return certificates(stream.read(LONGEST + 1), str(file))
        except OSError as error:
            raise SourceRefused(
                f"git.ca_file {file} cannot be read: {error.strerror}", hint="correct git.ca_file in agent.yml"
            ) from error

    def _of_project(self, location: str) -> bytes:
        with self._lock:
            at, found = self._read.get(location, (0.0, b""))
        if found and self._clock.monotonic() < at + KEEP_SECONDS:
            return found
        try:
            found = self._fetched(location)
        except UserError as error:
            if isinstance(error, SourceRefused):
                raise
            raise SourceRefused(
                f"environment.certificate {location}: {error.message}",
                hint=error.hint or "allow s3:GetObject on it for this host's role",
            ) from error
        with self._lock:
            self._read[location] = (self._clock.monotonic(), found)
        return found

    def _fetched(self, location: str) -> bytes:
        place = parse_object(location)
        with tempfile.TemporaryDirectory(prefix="buildspecd-ca-") as room:
            file = Path(room) / "certificate"
            if self._open_store(place.store).get(place.key, file, limit=LONGEST) is None:
                raise SourceRefused(f"environment.certificate {location} does not exist", hint="correct its location")
            return certificates(file.read_bytes(), location)


def certificates(content: bytes, name: str) -> bytes:
    """Return the certificates in a PEM, or in the PEMs of a ZIP. Raises `SourceRefused` where there are none."""
    texts = [content]
    if content.startswith(b"PK\x03\x04"):
        texts = _members(content, name)
    found = [match for text in texts for match in _CERTIFICATE.findall(text)]
    if not found or len(content) > LONGEST:
        raise SourceRefused(f"{name} holds no certificate", hint=_HINT)
    whole = b"\n".join(found) + b"\n"
    try:
        ssl.create_default_context(cadata=whole.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise SourceRefused(f"{name} holds a certificate that cannot be read", hint=_HINT) from None
    return whole


def _members(content: bytes, name: str) -> list[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            if len(members) > _MEMBERS or sum(one.file_size for one in members) > LONGEST:
                raise SourceRefused(f"{name} holds more than certificates", hint=_HINT)
            texts = []
            for member in members:
                with archive.open(member) as stream:
                    texts.append(stream.read(LONGEST))  # whatever size its header claims
            return texts
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise SourceRefused(f"{name} is a ZIP that cannot be read: {error}", hint=_HINT) from error


def _system() -> Path | None:
    """Return the file of the system's certificates; where there is none, ours are all that is believed."""
    paths = ssl.get_default_verify_paths()
    names = (os.environ.get("GIT_SSL_CAINFO"), paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt")
    return next((Path(name) for name in names if name and Path(name).is_file()), None)
