"""S3: buckets with path-style addresses, whole objects, parts, conditions and checksums, and all that was stored."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import unquote
from xml.etree import ElementTree

from agent.torture.cloud.wire import REGION, XML, Answer, Refusal, Request, as_xml, element

LEAST_PART: Final = 5 << 20
MOST_PARTS: Final = 10_000
MOST_KEYS: Final = 1000
_KEPT_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "cache-control",
    "content-disposition",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
)
_SUMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}
_NAMESPACE: Final = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass(frozen=True)
class Object:
    """An object as it is stored; `headers` come back with it, `number` counts what the bucket has stored."""

    data: bytes
    etag: str
    modified: float
    headers: Mapping[str, str]
    number: int


@dataclass
class Multipart:
    """An upload in parts that is neither complete nor aborted."""

    key: str
    headers: Mapping[str, str]
    begun: float
    parts: dict[int, tuple[bytes, str, str]] = field(default_factory=dict)
    """By number: the bytes, their ETag and their CRC32, if the client gave one."""


@dataclass
class Bucket:
    """A bucket. `stored`: how often an object was stored under each key."""

    objects: dict[str, Object] = field(default_factory=dict)
    uploads: dict[str, Multipart] = field(default_factory=dict)
    stored: dict[str, int] = field(default_factory=dict)


class S3:
    """The service."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._number = 0
        self.buckets: dict[str, Bucket] = {}

    def answer(self, request: Request) -> Answer:
        """Do what a request asks for. Raises `Refusal`."""
        name, _, key = unquote(request.path.lstrip("/")).partition("/")
        with self._lock:
            if request.operation == "ListBuckets":
                inner = "".join(f"<Bucket>{element('Name', one)}</Bucket>" for one in sorted(self.buckets))
                return as_xml(
                    f"<ListAllMyBucketsResult {_NAMESPACE}><Buckets>{inner}</Buckets></ListAllMyBucketsResult>"
                )
            if request.operation == "CreateBucket":
                self.buckets.setdefault(name, Bucket())
                return Answer(200, headers={"Location": f"/{name}"})
            if name not in self.buckets:
                raise Refusal("NoSuchBucket", "The specified bucket does not exist", 404)
            work: Any = getattr(self, "_" + _snake(request.operation), None)
            if work is None:
                raise Refusal("NotImplemented", f"{request.operation} is not played here", 501)
            done: Answer = work(self.buckets[name], key, request)
            return done

    def _head_bucket(self, bucket: Bucket, key: str, request: Request) -> Answer:
        return Answer(200, headers={"x-amz-bucket-region": REGION})

    def _get_bucket_location(self, bucket: Bucket, key: str, request: Request) -> Answer:
        return as_xml(f"<LocationConstraint {_NAMESPACE}/>")

    def _put_object(self, bucket: Bucket, key: str, request: Request) -> Answer:
        sums = checked(request)
        _conditions(bucket.objects.get(key), request.headers, writing=True)
        stored = self._store(bucket, key, request.body, _md5(request.body), {**_kept(request.headers), **sums})
        return Answer(200, headers=_shown(stored, sums))

    def _get_object(self, bucket: Bucket, key: str, request: Request) -> Answer:
        found = _found(bucket, key)
        _conditions(found, request.headers, writing=False)
        headers = _facts(found, request.headers)
        if not (asked := request.headers.get("range")):
            return Answer(200, found.data, headers)
        start, end = _range(asked, len(found.data))
        headers = {name: value for name, value in headers.items() if not name.startswith("x-amz-checksum")}
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(found.data)}"
        return Answer(206, found.data[start:end], headers)

    def _head_object(self, bucket: Bucket, key: str, request: Request) -> Answer:
        found = _found(bucket, key)
        _conditions(found, request.headers, writing=False)
        return Answer(200, b"", _facts(found, request.headers), length=len(found.data))

    def _delete_object(self, bucket: Bucket, key: str, request: Request) -> Answer:
        bucket.objects.pop(key, None)
        return Answer(204)

    def _list_objects_v2(self, bucket: Bucket, key: str, request: Request) -> Answer:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        after = after or request.query.get("start-after", "")
        most = min(int(request.query.get("max-keys", MOST_KEYS)), MOST_KEYS)
        names = [name for name in sorted(bucket.objects) if name.startswith(prefix) and name > after]
        shown, more = names[:most], len(names) > most
        inner = "".join(_listed(name, bucket.objects[name]) for name in shown)
        facts = element("Prefix", prefix) + element("KeyCount", len(shown)) + element("MaxKeys", most)
        facts += element("IsTruncated", more) + (element("NextContinuationToken", shown[-1]) if more else "")
        return as_xml(f"<ListBucketResult {_NAMESPACE}>{facts}{inner}</ListBucketResult>")

    def _create_multipart_upload(self, bucket: Bucket, key: str, request: Request) -> Answer:
        number = uuid.uuid4().hex
        bucket.uploads[number] = Multipart(key, _kept(request.headers), self._now())
        inner = element("Key", key) + element("UploadId", number)
        return as_xml(f"<InitiateMultipartUploadResult {_NAMESPACE}>{inner}</InitiateMultipartUploadResult>")

    def _upload_part(self, bucket: Bucket, key: str, request: Request) -> Answer:
        upload = _upload(bucket, key, request)
        number = int(request.query["partNumber"])
        if not 1 <= number <= MOST_PARTS:
            raise Refusal("InvalidArgument", f"Part number must be an integer between 1 and {MOST_PARTS}")
        sums = checked(request)
        etag = _md5(request.body)
        upload.parts[number] = (request.body, etag, sums.get("x-amz-checksum-crc32", ""))
        return Answer(200, headers={"ETag": f'"{etag}"', **sums})

    def _complete_multipart_upload(self, bucket: Bucket, key: str, request: Request) -> Answer:
        upload = _upload(bucket, key, request)
        _conditions(bucket.objects.get(key), request.headers, writing=True)
        chosen = _chosen(upload, request.body)
        data = b"".join(part for part, _, _ in chosen)
        digest = hashlib.md5(b"".join(bytes.fromhex(etag) for _, etag, _ in chosen), usedforsecurity=False).hexdigest()
        self._store(bucket, key, data, f"{digest}-{len(chosen)}", upload.headers)
        del bucket.uploads[request.query["uploadId"]]
        inner = element("Key", key) + element("ETag", f'"{digest}-{len(chosen)}"')
        return as_xml(f"<CompleteMultipartUploadResult {_NAMESPACE}>{inner}</CompleteMultipartUploadResult>")

    def _abort_multipart_upload(self, bucket: Bucket, key: str, request: Request) -> Answer:
        _upload(bucket, key, request)
        del bucket.uploads[request.query["uploadId"]]
        return Answer(204)

    def _list_multipart_uploads(self, bucket: Bucket, key: str, request: Request) -> Answer:
        inner = "".join(
            "<Upload>"
            + element("Key", one.key)
            + element("UploadId", number)
            + element("Initiated", _iso(one.begun))
            + "</Upload>"
            for number, one in sorted(bucket.uploads.items())
            if one.key.startswith(request.query.get("prefix", ""))
        )
        facts = element("IsTruncated", False)
        return as_xml(f"<ListMultipartUploadsResult {_NAMESPACE}>{facts}{inner}</ListMultipartUploadsResult>")

    def _store(self, bucket: Bucket, key: str, data: bytes, etag: str, headers: Mapping[str, str]) -> Object:
        self._number += 1
        stored = Object(data, etag, self._now(), dict(headers), self._number)
        bucket.objects[key] = stored
        bucket.stored[key] = bucket.stored.get(key, 0) + 1
        return stored


def operation(method: str, path: str, query: Mapping[str, str]) -> str:
    """Return which operation of S3's a request is for, by its method, its path and its query."""
    bucket, _, key = path.lstrip("/").partition("/")
    if not bucket:
        return "ListBuckets"
    if not key:
        special = {"uploads": "ListMultipartUploads", "location": "GetBucketLocation"}
        listed = next((name for member, name in special.items() if member in query), "ListObjectsV2")
        return {"PUT": "CreateBucket", "HEAD": "HeadBucket", "GET": listed}.get(method, f"{method}Bucket")
    if "uploadId" in query:
        parts = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
        return parts.get(method, "ListParts")
    if method == "POST":
        return "CreateMultipartUpload"
    return f"{method.capitalize()}Object"


def checked(request: Request) -> dict[str, str]:
    """Verify every checksum that a request brings; return those that come back with the object."""
    headers, body = request.headers, request.body
    if (wanted := headers.get("content-md5")) and wanted != base64.b64encode(bytes.fromhex(_md5(body))).decode():
        raise Refusal("BadDigest", "The Content-MD5 you specified did not match what we received.")
    content = headers.get("x-amz-content-sha256", "")
    if content.startswith("STREAMING-"):
        raise Refusal("NotImplemented", "bodies in chunks with signatures or trailers are not played here", 501)
    if len(content) == 64 and content != hashlib.sha256(body).hexdigest():
        raise Refusal("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.")
    sums = {}
    for name, value in headers.items():
        kind = name.removeprefix("x-amz-checksum-")
        if kind == name or kind in ("algorithm", "mode", "type"):
            continue
        if kind not in _SUMS:
            raise Refusal("NotImplemented", f"checksums of the kind {kind} are not played here", 501)
        if base64.b64encode(_SUMS[kind](body)).decode() != value:
            raise Refusal("BadDigest", f"The {kind.upper()} you specified did not match the calculated checksum.")
        sums[name] = value
    return sums


def _conditions(found: Object | None, headers: Mapping[str, str], *, writing: bool) -> None:
    wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
    if wanted and found is None:
        raise Refusal("NoSuchKey", "The specified key does not exist.", 404)
    if wanted and found and wanted.strip('"') not in (found.etag, "*"):
        raise Refusal("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)
    if unwanted and found and unwanted.strip('"') in (found.etag, "*"):
        if not writing:
            raise Refusal("NotModified", "Not Modified", 304)
        raise Refusal("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)


def _chosen(upload: Multipart, body: bytes) -> list[tuple[bytes, str, str]]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 (a server for tests, on loopback)
        listed = [
            {child.tag.rpartition("}")[2]: child.text or "" for child in part}
            for part in root
            if part.tag.endswith("Part")
        ]
        wanted = [(int(part["PartNumber"]), part) for part in listed]
    except (ElementTree.ParseError, KeyError, ValueError):
        raise Refusal("MalformedXML", "The XML you provided was not well-formed") from None
    if not wanted:
        raise Refusal("MalformedXML", "The XML you provided was not well-formed")
    if [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
        raise Refusal("InvalidPartOrder", "The list of parts was not in ascending order.")
    for number, part in wanted:
        have = upload.parts.get(number)
        if not have or have[1] != part.get("ETag", "").strip('"') or part.get("ChecksumCRC32", have[2]) != have[2]:
            raise Refusal("InvalidPart", "One or more of the specified parts could not be found.")
    chosen = [upload.parts[number] for number, _ in wanted]
    if any(len(data) < LEAST_PART for data, _, _ in chosen[:-1]):
        raise Refusal("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    return chosen


def _found(bucket: Bucket, key: str) -> Object:
    if key not in bucket.objects:
        raise Refusal("NoSuchKey", "The specified key does not exist.", 404)
    return bucket.objects[key]


def _upload(bucket: Bucket, key: str, request: Request) -> Multipart:
    found = bucket.uploads.get(request.query["uploadId"])
    if found is None or found.key != key:
        raise Refusal(
            "NoSuchUpload", "The specified upload does not exist. It may have been aborted or completed.", 404
        )
    return found


def _facts(found: Object, asked: Mapping[str, str]) -> dict[str, str]:
    headers = {"ETag": f'"{found.etag}"', "Last-Modified": formatdate(found.modified, usegmt=True), **found.headers}
    if asked.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        return {**headers, "Accept-Ranges": "bytes"}
    return {name: value for name, value in headers.items() if not name.startswith("x-amz-checksum")}


def _shown(stored: Object, sums: Mapping[str, str]) -> dict[str, str]:
    sealed = {name: value for name, value in stored.headers.items() if name.startswith("x-amz-server-side")}
    return {"ETag": f'"{stored.etag}"', **sums, **sealed}


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name in _KEPT_HEADERS or name.startswith("x-amz-meta-")}
    if kept.get("content-encoding", "").startswith("aws-chunked"):
        kept["content-encoding"] = kept["content-encoding"].removeprefix("aws-chunked").lstrip(",").strip()
    return {name: value for name, value in kept.items() if value}


def _range(asked: str, size: int) -> tuple[int, int]:
    try:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = (int(first), int(last) + 1 if last else size) if first else (max(size - int(last), 0), size)
    except ValueError:
        start, end = 0, size
    if start >= size:
        raise Refusal("InvalidRange", "The requested range is not satisfiable", 416)
    return start, min(end, size)


def _listed(name: str, found: Object) -> str:
    facts = element("Key", name) + element("LastModified", _iso(found.modified)) + element("ETag", f'"{found.etag}"')
    return f"<Contents>{facts}{element('Size', len(found.data))}{element('StorageClass', 'STANDARD')}</Contents>"


def _iso(epoch: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(epoch))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("_")


__all__ = ["LEAST_PART", "S3", "XML", "Bucket", "Multipart", "Object", "checked", "operation"]
