"""SshKeys: private keys in files of the runtime directory, for as long as the agent runs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SourceRefused
from agent.kit.files import write_atomic
from agent.model.secret import Secret

_MAGIC = b"openssh-key-v1\0"
_HINT = "store the whole private key file, from -----BEGIN to END-----, as `ssh-keygen -t ed25519` writes it"


@dataclass(frozen=True, eq=False)
class HeldKey:
    """A key in a file, which is there for as long as somebody has hold of this."""

    file: Path


class SshKeys:
    """Keys below *directory*, which lies in memory; one file a key, named by its hash. Any thread."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._kept: dict[str, HeldKey] = {}
        self._generation = 0

    def file_of(self, key: Secret, name: str) -> Path:
        """Return a file with *key* that ssh takes, mode 0600; it is there until `let_go`. See `held`."""
        return self.held(key, name).file

    def held(self, key: Secret, name: str) -> HeldKey:
        """Return *key* in a file that ssh takes, mode 0600. *name* is what messages call it.

        Raises `SourceRefused` for what is no private key, or has a passphrase.
        """
        text = whole_pem(key.reveal())
        _check(text, name)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        with self._lock:
            found = self._kept.get(digest)
            if found is None:
                # Not the name of a file that an older fetch holds still, and that is wiped when this ends.
                suffix = f".{self._generation}" if self._generation else ""
                found = self._kept[digest] = HeldKey(self._directory / f"{digest}{suffix}")
                weakref.finalize(found, _wipe, found.file).atexit = False
            if not found.file.is_file():
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_atomic(found.file, text.encode(), mode=0o600, sync=False)
        return found

    def let_go(self) -> None:
        """Wipe all keys: those that nobody holds now, the others once their fetches have ended."""
        with self._lock:
            self._kept.clear()
            self._generation += 1


def _wipe(file: Path) -> None:
    with suppress(OSError), file.open("r+b") as stream:
        stream.write(bytes(file.stat().st_size))
    with suppress(OSError):
        file.unlink()


def whole_pem(text: str) -> str:
    """Return a PEM as files hold it: variables and parameter stores lose its line breaks or write them as `\\\\n`."""
    text = text.strip().replace("\r\n", "\n")
    if "\n" not in text:
        text = text.replace("\\n", "\n")
    return text + "\n"


def _check(text: str, name: str) -> None:
    lines = text.splitlines()
    if not (lines[0].startswith("-----BEGIN ") and lines[0].endswith("PRIVATE KEY-----") and len(lines) > 2):
        what = "a public key" if lines[0].startswith(("ssh-", "ecdsa-")) else "not a private key"
        raise SourceRefused(f"the SSH key {name} is {what}", hint=_HINT)
    if "ENCRYPTED" in lines[0] or any(line.startswith("Proc-Type: 4,ENCRYPTED") for line in lines) or _is_locked(text):
        raise SourceRefused(
            f"the SSH key {name} is protected by a passphrase, which nobody can type here",
            hint="store a deploy key without passphrase (ssh-keygen -p removes it); the secret store protects it",
        )


def _is_locked(text: str) -> bool:
    """Whether a key in OpenSSH's own format is encrypted: its cipher stands in front."""
    if "BEGIN OPENSSH PRIVATE KEY" not in text:
        return False
    try:
        content = base64.b64decode("".join(text.splitlines()[1:-1]))
        (length,) = struct.unpack_from(">I", content, len(_MAGIC))
    except (binascii.Error, struct.error, ValueError):
        return False
    start = len(_MAGIC) + 4
    return content.startswith(_MAGIC) and content[start : start + length] != b"none"
