"""ObjectStore: the few verbs that artifacts, caches and logs need of a bucket or a directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Encryption:
    """How an object is encrypted at rest. `key` None with `enabled`: the account's AWS managed key `aws/s3`."""

    enabled: bool = True
    key: str | None = None


@dataclass(frozen=True)
class Upload:
    """What travels with an object's bytes. `if_absent`: an object that is there already is left as it is."""

    encryption: Encryption = Encryption()
    content_type: str = "application/octet-stream"
    content_encoding: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    acl: str | None = None
    if_absent: bool = False


@dataclass(frozen=True)
class StoredObject:
    """An object as it lies there. `modified` is epoch seconds.

    `etag` changes whenever the bytes do. `version` is its version id, None where the store keeps no versions.
    """

    key: str
    size: int
    modified: float
    metadata: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    version: str | None = None


Check = Callable[[], None]
"""Called now and then by what takes long; raises when it is not to go on."""


def go_on() -> None:
    """The `Check` of those who are never stopped."""


class ObjectStore(Protocol):
    """A place for whole objects under keys with `/` between their parts.

    Any thread may call any method. A `put` is atomic: a reader sees the object before or after, never half of it, and
    a `put` that was killed leaves nothing (an unfinished multipart upload is aborted). Keys never leave the store:
    `..` and absolute keys are refused with `UserError`. Errors: `UploadRefused` (put: bucket or key says no),
    `AwsRefused`, `AwsUnavailable` (retry), `DiskFull`.
    """

    def put(self, key: str, file: Path, upload: Upload) -> None:
        """Store the bytes of *file* under *key*, replacing what was there. Large files go in parts, in parallel."""
        ...

    def get(
        self, key: str, file: Path, *, version: str | None = None, limit: int | None = None, check: Check = go_on
    ) -> StoredObject | None:
        """Write the object to *file* (whole or not at all); None when there is no such object, or no such *version*.

        What a broken connection cut is fetched on from there; length and, where the store has one, checksum must be
        right. An object of more than *limit* bytes is refused with `UserError`, unread. What *check* raises passes.
        """
        ...

    def head(self, key: str, *, version: str | None = None) -> StoredObject | None:
        """Return the object's facts; None when there is no such object, or no such *version*."""
        ...

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose keys start with *prefix*, page by page, in no particular order, without metadata."""
        ...

    def list(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose keys start with *prefix*, newest first; `metadata` may be empty here."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object. Safe when it is not there."""
        ...

    def locate(self, key: str) -> str:
        """Return what the API calls the location: `arn:aws:s3:::bucket/key` or `file:///dir/key`."""
        ...
