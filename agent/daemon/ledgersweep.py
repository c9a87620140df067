"""Sweeping the ledger: what a killed process had begun in buckets and in other people's directories is ended."""

from __future__ import annotations

from pathlib import Path

from agent.aws import Aws
from agent.errors import Unavailable, UserError
from agent.kit.logging import get_logger
from agent.objects import leftovers
from agent.store.ledger import UPLOAD, Entry, Ledger

_log = get_logger("janitor")
GIVEN_UP_SECONDS = 14 * 86400.0
"""For how long it is tried to end an upload; a bucket that says no for so long will not say yes."""


def sweep_ledger(ledger: Ledger, aws: Aws, now: float) -> None:
    """End what nobody is at any more, and strike it out; what cannot be ended now is tried again at the next sweep."""
    for entry in list(ledger.abandoned()):
        try:
            gone = _end_upload(entry, aws, now) if entry.kind == UPLOAD else _remove(entry)
        except (Unavailable, UserError, OSError) as error:
            _log.warning("cannot end what was begun", place=entry.place, name=entry.name, error=str(error))
            gone = False
        if gone or entry.created < now - GIVEN_UP_SECONDS:
            if not gone:
                _log.error(
                    "giving up on an unfinished upload",
                    place=entry.place,
                    name=entry.name,
                    hint="allow s3:AbortMultipartUpload, s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts; "
                    "or give the bucket a lifecycle rule AbortIncompleteMultipartUpload",
                )
            ledger.strike(entry.id)


def _end_upload(entry: Entry, aws: Aws, now: float) -> bool:
    if entry.mark:
        leftovers.end_upload(aws, entry.place, entry.name, entry.mark)
        _log.info("ended an upload that was cut off", bucket=entry.place, key=entry.name)
        return True
    if now < entry.created + leftovers.SETTLED_SECONDS:
        return False
    for upload in leftovers.unnamed_uploads(aws, entry.place, entry.name, entry.created, now):
        leftovers.end_upload(aws, entry.place, entry.name, upload)
        _log.info("ended an upload that nobody had written down", bucket=entry.place, key=entry.name)
    return now >= entry.created + 2 * leftovers.SETTLED_SECONDS


def _remove(entry: Entry) -> bool:
    leftovers.remove_files(Path(entry.place))
    return True
