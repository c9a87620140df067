"""Leftovers: ends the uploads, and removes the files, that a killed process had begun in other people's places."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from agent.aws import Aws, AwsRefused, translated

_GONE: Final = frozenset({"NoSuchUpload", "NoSuchBucket", "404"})
_SLACK_SECONDS: Final = 900.0
"""How far the clocks of this host and of S3 may be apart."""
SETTLED_SECONDS: Final = 3600.0
"""Age from which an upload without any part is nobody's who is still alive."""


def end_upload(aws: Aws, bucket: str, key: str, upload: str) -> None:
    """End the upload *upload*; its parts go. Safe when it has ended. Raises `AwsRefused`, `AwsUnavailable`."""
    try:
        with translated(f"aborting s3://{bucket}/{key}"):
            aws.client("s3").abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except AwsRefused as error:
        if error.reason not in _GONE:
            raise


def unnamed_uploads(aws: Aws, bucket: str, key: str, since: float, now: float) -> list[str]:
    """Return the ids of uploads that may be one which was begun after *since*, and whose id nobody had written down.

    Whoever writes ids down ahead of the first part leaves an upload without parts, of exactly that key. Another host
    may be at the same key at this moment, so one counts only when it is an hour old and still has no part.
    """
    try:
        with translated(f"listing the uploads to s3://{bucket}/{key}"):
            client = aws.client("s3")
            there = client.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", ())
            return [
                str(one["UploadId"])
                for one in there
                if one["Key"] == key
                and since - _SLACK_SECONDS <= one["Initiated"].timestamp() <= now - SETTLED_SECONDS
                and not _parts(client, bucket, key, str(one["UploadId"]))
            ]
    except AwsRefused as error:
        if error.reason in _GONE:
            return []
        raise


def _parts(client: Any, bucket: str, key: str, upload: str) -> bool:
    return bool(client.list_parts(Bucket=bucket, Key=key, UploadId=upload, MaxParts=1).get("Parts"))


def remove_files(beginning: Path) -> int:
    """Remove the files whose names begin as *beginning* does, and nothing in other directories; return how many."""
    folder, removed = beginning.parent, 0
    if folder.is_symlink() or not folder.is_dir():
        return 0
    for path in folder.iterdir():
        if path.name.startswith(f"{beginning.name}-") and not path.is_dir():
            path.unlink(missing_ok=True)
            removed += 1
    return removed
