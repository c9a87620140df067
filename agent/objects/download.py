"""Download: one object of a bucket into one open file, by as many requests as broken connections make it take."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

from agent.aws import AwsRefused, translated
from agent.errors import AwsUnavailable, UserError
from agent.kit.heed import heed
from agent.kit.parallel import for_each
from agent.kit.service import StopToken
from agent.objects.store import Check

LARGE: Final = 32 << 20
"""Bytes from which on an object comes in parallel parts."""
_PART: Final = 16 << 20
_THREADS: Final = 4
_BLOCK: Final = 1 << 20
_ATTEMPTS: Final = 4
"""Times in a row that a request may bring nothing before it counts as an outage."""
_FIRST_PAUSE: Final = 0.1
_REPLACED: Final = frozenset({"PreconditionFailed", "412"})


@dataclass(frozen=True)
class Download:
    """Fetches what *where* names (Bucket, Key, perhaps VersionId) with the S3 client *client*.

    All parts come from one version: the one that the first answer had. *check* may be called by several threads.
    """

    client: Any
    where: Mapping[str, str]
    check: Check

    @property
    def name(self) -> str:
        """The object, for messages."""
        return f"s3://{self.where['Bucket']}/{self.where['Key']}"

    def into(self, out: IO[bytes], limit: int | None) -> Any:
        """Write the object to the empty file *out*; return what S3 says of it.

        Raises `AwsRefused`, `AwsUnavailable` (also when it was replaced meanwhile, or its checksum is wrong),
        `UserError` when it has more than *limit* bytes, `DiskFull`.
        """
        with translated(f"reading {self.name}"):
            answer = self.client.get_object(**self.where)
        size = int(answer["ContentLength"])
        if limit is not None and size > limit:
            answer["Body"].close()
            raise UserError(
                f"{self.name} has {size} bytes, more than {limit}", hint="leave out what the build does not need"
            )
        parts = _Parts(self, pinned(self.where, answer), out)
        if size < LARGE:
            whole = parts.fetch(0, size, answer["Body"])
        else:
            answer["Body"].close()
            whole = False
            spans = ((start, min(start + _PART, size)) for start in range(0, size, _PART))
            for_each(spans, lambda span: parts.fetch(*span), threads=_THREADS, name="s3-get")
        if not whole:  # of a body in one piece the SDK has verified the checksum
            self._verify(answer, out)
        return answer

    def _verify(self, answer: Any, out: IO[bytes]) -> None:
        """Compare the file with the checksum of the whole object, if it has one that we can compute."""
        if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            return
        wanted = next((name for name in ("ChecksumSHA256", "ChecksumSHA1", "ChecksumCRC32") if name in answer), None)
        if wanted is None or "-" in answer[wanted]:
            return
        crc, sums = 0, {"ChecksumSHA256": hashlib.sha256(), "ChecksumSHA1": hashlib.sha1(usedforsecurity=False)}
        digest = sums.get(wanted)
        offset = 0
        while block := os.pread(out.fileno(), _BLOCK, offset):
            self.check()
            offset += len(block)
            if digest is None:
                crc = zlib.crc32(block, crc)
            else:
                digest.update(block)
        found = crc.to_bytes(4, "big") if digest is None else digest.digest()
        if base64.b64encode(found).decode() != answer[wanted]:
            raise AwsUnavailable(f"reading {self.name}: what came does not have the object's checksum {answer[wanted]}")


def pinned(where: Mapping[str, str], answer: Any) -> dict[str, str]:
    """Return how to ask for more of the very object that *answer* is about."""
    version = answer.get("VersionId")
    if version and version != "null":
        return {**where, "VersionId": version}
    return {**where, "IfMatch": answer["ETag"]}


@dataclass(frozen=True)
class _Parts:
    whole: Download
    where: Mapping[str, str]
    out: IO[bytes]

    def fetch(self, start: int, end: int, body: Any = None) -> bool:
        """Write the bytes from *start* to *end*, from *body* as far as it goes; return whether it went all the way."""
        at, idle, requests = start, 0, 0
        while at < end:
            before = at
            broken: AwsUnavailable | None = None
            try:
                with translated(f"reading {self.whole.name}"):
                    if body is None:
                        requests += 1
                        body = self._request(at, end)
                    for block in body.iter_chunks(_BLOCK):
                        self.whole.check()
                        heed()
                        at = self._write(block, at, end)
            except AwsUnavailable as error:
                broken = error
                if at >= end:
                    raise  # all came, and was wrong: the checksum of the SDK
            except AwsRefused as error:
                if error.reason not in _REPLACED:
                    raise
                raise AwsUnavailable(f"{self.whole.name} was replaced while it was read") from error
            body = None
            idle = 0 if at > before else idle + 1
            if idle == _ATTEMPTS:
                raise broken or AwsUnavailable(f"reading {self.whole.name}: nothing came after byte {at}")
            if at < end:
                self.whole.check()
                StopToken().wait(_FIRST_PAUSE * 2**idle)
        return requests == 0

    def _request(self, start: int, end: int) -> Any:
        return self.whole.client.get_object(**self.where, Range=f"bytes={start}-{end - 1}")["Body"]

    def _write(self, block: bytes, at: int, end: int) -> int:
        if at + len(block) > end:
            raise AwsUnavailable(f"reading {self.whole.name}: more came than its length says")
        view = memoryview(block)
        while view:
            written = os.pwrite(self.out.fileno(), view, at)
            view, at = view[written:], at + written
        return at
