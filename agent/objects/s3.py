"""S3Store: objects in a bucket, encrypted with KMS, large ones in parallel parts."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any, Final

from agent.aws import Aws, AwsRefused, translated
from agent.errors import AwsUnavailable, BuildspecdError, UploadRefused
from agent.kit.heed import patiently
from agent.objects.book import UPLOAD, Book, NoBook
from agent.objects.download import LARGE, Download
from agent.objects.encryption import KeyRing
from agent.objects.keys import checked_key
from agent.objects.store import Check, StoredObject, Upload, go_on

_PART: Final = 16 << 20
_MOST_PARTS: Final = 9_000
_THREADS: Final = 4
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchVersion"})
_NO_VERSION: Final = frozenset({"400", "InvalidArgument", "405", "MethodNotAllowed"})
"""What S3 says of a version id that is no such thing, and of one that is a mark of deletion."""
_TAKEN: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_OURS: Final = frozenset({"NoCredentials", "ParamValidation"})
_HINTS: Final = {
    "NoSuchBucket": "create the bucket {bucket}, or correct the location",
    "AccessControlListNotSupported": "the bucket {bucket} has ACLs switched off: set bucketOwnerAccess to NONE or FULL",
    "PermanentRedirect": "the bucket {bucket} lies in another region: set aws.region to it",
    "AuthorizationHeaderMalformed": "the bucket {bucket} lies in another region: set aws.region to it",
    "KeyTooLongError": "path, name and file name may have 1,024 bytes together",
}
_DENIED: Final = (
    "allow s3:PutObject and s3:AbortMultipartUpload on arn:aws:s3:::{bucket}/* (s3:PutObjectAcl with bucketOwnerAccess)"
    ", and with a KMS key kms:GenerateDataKey and kms:Decrypt on it; look at the bucket's own policy, too"
)


class S3Store:
    """An `ObjectStore` over the keys of *bucket* that start with *prefix* (without slashes at its ends).

    *book* tells of uploads in parts that were begun: S3 keeps their parts, and counts them, until somebody ends them.
    """

    def __init__(self, aws: Aws, bucket: str, prefix: str = "", book: Book | None = None) -> None:
        self._aws = aws
        self._book = book or NoBook()
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._keys = KeyRing(aws)

    def put(self, key: str, file: Path, upload: Upload) -> None:
        """See `ObjectStore.put`."""
        name = self._name(key)
        facts = self._facts(upload)
        condition = {"IfNoneMatch": "*"} if upload.if_absent else {}

        def send(source: IO[bytes]) -> None:
            size = os.fstat(source.fileno()).st_size
            with self._refusing(name, upload):
                if size < LARGE:
                    self._client.put_object(Bucket=self._bucket, Key=name, Body=source, **facts, **condition)
                else:
                    self._put_in_parts(name, source, size, facts, condition)

        with file.open("rb") as source:
            patiently(lambda: send(source), abandon=source.close)

    def get(
        self, key: str, file: Path, *, version: str | None = None, limit: int | None = None, check: Check = go_on
    ) -> StoredObject | None:
        """See `ObjectStore.get`. Large objects come in parallel parts of one and the same version."""
        return patiently(lambda: self._get(key, file, version, limit, check))

    def _get(self, key: str, file: Path, version: str | None, limit: int | None, check: Check) -> StoredObject | None:
        where = self._where(key, version)
        handle, aside = tempfile.mkstemp(prefix=f".{file.name[:100]}.", dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as out:
                answer = Download(self._client, where, check).into(out, limit)
            Path(aside).replace(file)
        except AwsRefused as error:
            Path(aside).unlink(missing_ok=True)
            if _says_absent(error, version):
                return None
            raise
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        return _stored(key, answer, int(answer["ContentLength"]))

    def head(self, key: str, *, version: str | None = None) -> StoredObject | None:
        """See `ObjectStore.head`."""
        where = self._where(key, version)
        try:
            with translated(f"reading s3://{self._bucket}/{where['Key']}"):
                answer = patiently(lambda: self._client.head_object(**where))
        except AwsRefused as error:
            if _says_absent(error, version):
                return None
            raise
        return _stored(key, answer, int(answer["ContentLength"]))

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        """See `ObjectStore.scan`."""
        with translated(f"listing s3://{self._bucket}/{self._prefix}{prefix}"):
            paginator = self._client.get_paginator("list_objects_v2")
            pages = iter(paginator.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix))
            while page := patiently(lambda: next(pages, None)):
                for item in page.get("Contents", ()):
                    key, modified = item["Key"][len(self._prefix) :], item["LastModified"].timestamp()
                    yield StoredObject(key, item["Size"], modified, etag=item.get("ETag", "").strip('"'))

    def list(self, prefix: str) -> list[StoredObject]:
        """See `ObjectStore.list`; metadata is empty."""
        return sorted(self.scan(prefix), key=lambda stored: (-stored.modified, stored.key))

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        name = self._name(key)
        with translated(f"deleting s3://{self._bucket}/{name}"):
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def locate(self, key: str) -> str:
        """See `ObjectStore.locate`; an empty *key* is the bucket with the prefix."""
        if self._bucket.startswith("arn:"):
            return f"{self._bucket}/object/{self._prefix}{key}".rstrip("/")
        region = self._aws.region
        partition = "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
        return f"arn:{partition}:s3:::{self._bucket}/{self._prefix}{key}".rstrip("/")

    @property
    def _client(self) -> Any:
        return self._aws.client("s3")

    def _where(self, key: str, version: str | None) -> dict[str, str]:
        where = {"Bucket": self._bucket, "Key": self._name(key)}
        return {**where, "VersionId": version} if version else where

    def _name(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _facts(self, upload: Upload) -> dict[str, object]:
        facts: dict[str, object] = {"ContentType": upload.content_type, **self._keys.headers(upload.encryption)}
        if upload.content_encoding:
            facts["ContentEncoding"] = upload.content_encoding
        if upload.metadata:
            facts["Metadata"] = dict(upload.metadata)
        if upload.acl:
            facts["ACL"] = upload.acl
        return facts

    def _put_in_parts(
        self, name: str, source: IO[bytes], size: int, facts: dict[str, object], condition: dict[str, str]
    ) -> None:
        where = {"Bucket": self._bucket, "Key": name}
        entry = self._book.begin(UPLOAD, self._bucket, name)
        try:
            upload_id = self._client.create_multipart_upload(**where, **facts)["UploadId"]
        except BaseException:
            self._book.give_up(entry)  # an answer that was lost may have been a yes
            raise
        self._book.mark(entry, upload_id)
        part_size = max(_PART, -(-size // _MOST_PARTS))

        def send(number: int) -> dict[str, object]:
            data = _at(source, (number - 1) * part_size, min(part_size, size - (number - 1) * part_size))
            answer = self._client.upload_part(**where, UploadId=upload_id, PartNumber=number, Body=data)
            return {"PartNumber": number, "ETag": answer["ETag"]} | {
                field: answer[field] for field in ("ChecksumCRC32", "ChecksumCRC64NVME") if field in answer
            }

        try:
            parts = _in_parallel(send, range(1, -(-size // part_size) + 1))
            self._client.complete_multipart_upload(
                **where, UploadId=upload_id, MultipartUpload={"Parts": parts}, **condition
            )
        except BaseException:
            self._book.give_up(entry)
            with contextlib.suppress(BuildspecdError), translated(f"aborting s3://{self._bucket}/{name}"):
                self._client.abort_multipart_upload(**where, UploadId=upload_id)
                self._book.strike(entry)
            raise
        self._book.strike(entry)

    @contextlib.contextmanager
    def _refusing(self, name: str, upload: Upload) -> Iterator[None]:
        try:
            with translated(f"writing s3://{self._bucket}/{name}"):
                yield
        except AwsRefused as error:
            if upload.if_absent and error.reason in _TAKEN:
                return
            if error.reason in _OURS:
                raise
            if error.reason == "NoSuchUpload":  # it was completed, and the answer lost; or somebody ended it
                raise AwsUnavailable(f"writing s3://{self._bucket}/{name}: the upload has to begin anew") from error
            key = f" with the KMS key {upload.encryption.key}" if upload.encryption.key else ""
            raise UploadRefused(
                f"cannot write s3://{self._bucket}/{name}{key}: {error.reason}: {error.text}",
                hint=_HINTS.get(error.reason, _DENIED).format(bucket=self._bucket),
                cause=error.finer,
            ) from error


def _stored(key: str, answer: Any, size: int) -> StoredObject:
    return StoredObject(
        key,
        size,
        answer["LastModified"].timestamp(),
        dict(answer.get("Metadata", {})),
        answer.get("ETag", "").strip('"'),
        None if answer.get("VersionId") == "null" else answer.get("VersionId"),
    )


def _says_absent(error: AwsRefused, version: str | None) -> bool:
    return error.reason in _ABSENT or (version is not None and error.reason in _NO_VERSION)


def _at(source: IO[bytes], offset: int, size: int) -> bytes:
    """Return *size* bytes from *offset*, whatever other threads read from the same descriptor."""
    parts: list[bytes] = []
    while size:
        block = os.pread(source.fileno(), size, offset)
        if not block:
            raise BuildspecdError("the file became shorter while it was uploaded")
        parts.append(block)
        offset, size = offset + len(block), size - len(block)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _in_parallel(work: Any, items: range) -> list[Any]:
    """Return the results of *work* in order; the first error ends it all, after what runs has ended."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="s3") as pool:
        pending: list[Future[Any]] = [pool.submit(work, item) for item in items]
        wait(pending, return_when=FIRST_EXCEPTION)
        for future in pending:
            future.cancel()
    for future in pending:
        if not future.cancelled() and (error := future.exception()):
            raise error
    return [future.result() for future in pending]
