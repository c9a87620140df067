"""ObjectSink: the whole log as one gzip object, in a bucket or a directory, when the build ends (service.md 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from agent.buildlog.sink import Ledger, Pace, Stretch
from agent.objects.store import Encryption, ObjectStore, Upload

PIECE_BYTES = 1 << 18
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6


def object_key(prefix: str, uuid: str) -> str:
    """Return where the log of a build lies: `prefix/<uuid>.gz`."""
    prefix = prefix.strip("/")
    return f"{prefix}/{uuid}.gz" if prefix else f"{uuid}.gz"


class ObjectSink:
    """Puts the log under *key* of *store*; putting it again, after a restart, replaces it by the same bytes."""

    name = "s3"
    pace = Pace(seconds=None)

    def __init__(
        self, store: ObjectStore, key: str, *, encryption: Encryption | None = None, acl: str | None = None
    ) -> None:
        self._store = store
        self._key = key
        self._upload = Upload(
            encryption=encryption or Encryption(), content_type="text/plain", content_encoding="gzip", acl=acl
        )

    @property
    def location(self) -> str:
        """Where the object is, or will be: an ARN or a `file://` URL."""
        return self._store.locate(self._key)

    def deliver(self, stretch: Stretch, ledger: Ledger) -> int:
        """Compress the log from its first byte, beside the log, and store it."""
        aside = stretch.log.with_name("log.gz")
        try:
            with aside.open("wb") as file:
                for piece in _compressed(stretch.log, stretch.end):
                    file.write(piece)
            self._store.put(self._key, aside, self._upload)
        finally:
            aside.unlink(missing_ok=True)
        return stretch.end


def _compressed(log: Path, length: int) -> Iterator[bytes]:
    """Yield the first *length* bytes of *log* as gzip without name and time: the same log is the same bytes."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    with log.open("rb") as file:
        while length and (piece := file.read(min(PIECE_BYTES, length))):
            length -= len(piece)
            yield packer.compress(piece)
    yield packer.flush()
