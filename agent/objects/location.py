"""Location: where a bucket or a directory is, as CodeBuild writes it; and the store that stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.aws import Aws
from agent.errors import UserError
from agent.objects.book import Book
from agent.objects.directory import DirectoryStore
from agent.objects.s3 import S3Store
from agent.objects.store import ObjectStore

_ARN = re.compile(r"arn:aws[a-z-]*:s3:::(.+)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]|arn:aws[a-z-]*:s3:[^/]*:accesspoint[:/][^/]+")
_HINT = "write bucket, bucket/prefix, arn:aws:s3:::bucket/prefix or file:///dir"

_OBJECT_HINT = "write bucket/key.zip, bucket/folder/, arn:aws:s3:::bucket/key.zip, file:///dir/key.zip or file:///dir/"


@dataclass(frozen=True)
class BucketLocation:
    """A bucket, and what stands before every key in it ("" or without slashes at its ends)."""

    bucket: str
    prefix: str = ""


def parse_location(location: str) -> BucketLocation | Path:
    """Return the bucket or directory that *location* names. Raises `UserError` when it names neither."""
    text = location.strip()
    if text.startswith("file:"):
        url = urlsplit(text)
        path = Path(unquote(url.path))
        if url.netloc not in ("", "localhost") or not path.is_absolute() or ".." in path.parts:
            raise UserError(f"not a directory of this host: {location!r}", hint="write file:///absolute/path")
        return path
    found = _ARN.fullmatch(text)
    bucket, _, prefix = (found[1] if found else text.removeprefix("s3://")).partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"not the location of a bucket or a directory: {location!r}", hint=_HINT)
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise UserError(f"not a prefix of a bucket: {location!r}", hint=_HINT)
    return BucketLocation(bucket, prefix)


def open_store(location: str, aws: Aws, book: Book | None = None) -> ObjectStore:
    """Return the store at *location*: `bucket`, `bucket/prefix`, `arn:aws:s3:::bucket/prefix` or `file:///dir`.

    What it begins is written into *book*. Nothing is asked of AWS or made on disk yet. Raises `UserError` when the text
    is none of these.
    """
    place = parse_location(location)
    if isinstance(place, Path):
        return DirectoryStore(place, book)
    return S3Store(aws, place.bucket, place.prefix, book)


@dataclass(frozen=True)
class ObjectPlace:
    """One object, or with `is_prefix` all whose keys begin with `key`. `store` is a location for `open_store`."""

    store: str
    key: str

    @property
    def is_prefix(self) -> bool:
        """Whether it names a folder: the key is empty, or ends with a slash."""
        return self.key == "" or self.key.endswith("/")


def parse_object(location: str) -> ObjectPlace:
    """Return the object or folder that *location* names: `bucket/key`, `bucket/folder/`, the ARN of either,
    `file:///dir/name` or `file:///dir/`. Raises `UserError` when it names neither."""
    text = location.strip()
    if text.startswith("file:"):
        path = parse_location(text)
        if not isinstance(path, Path) or path == Path("/"):
            raise UserError(f"not an object or a folder: {location!r}", hint=_OBJECT_HINT)
        return ObjectPlace(path.as_uri(), "") if text.endswith("/") else ObjectPlace(path.parent.as_uri(), path.name)
    found = _ARN.fullmatch(text)
    bucket, slash, key = (found[1] if found else text.removeprefix("s3://")).partition("/")
    parts = key.removesuffix("/").split("/") if key else ()
    if not _BUCKET.fullmatch(bucket) or not slash or any(part in ("", ".", "..") for part in parts) or "\0" in key:
        raise UserError(f"not an object or a folder of a bucket: {location!r}", hint=_OBJECT_HINT)
    return ObjectPlace(bucket, key)
