"""What a killed process had begun in a bucket or in a directory is ended, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws, AwsRefused
from agent.daemon.ledgersweep import sweep_ledger
from agent.errors import BuildspecdError
from agent.objects.directory import DirectoryStore
from agent.objects.leftovers import SETTLED_SECONDS
from agent.objects.s3 import S3Store
from agent.objects.store import Upload
from agent.store.database import Database
from agent.store.ledger import Ledger
from tests.unit.store.samples import ManualClock, a_database

BIG = 70 << 20


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return a_database(tmp_path)


def uploads(aws: Aws, bucket: str) -> list[str]:
    found = aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return sorted(one["Key"] for one in found)


def begun(aws: Aws, bucket: str, key: str, *, parts: int = 0) -> tuple[str, float]:
    """Begin an upload; return its id, and when S3 says that it was."""
    client = aws.client("s3")
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    for number in range(1, parts + 1):
        client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=b"x")
    at = next(one for one in client.list_multipart_uploads(Bucket=bucket)["Uploads"] if one["UploadId"] == upload)
    return str(upload), float(at["Initiated"].timestamp())


def dead(database: Database, clock: ManualClock) -> Ledger:
    """Return the ledger as a process keeps it that is dead by now."""
    return Ledger(database, clock, owner="earlier-boot:1:2")


def test_an_upload_that_a_killed_process_had_noted_is_ended_and_no_other(
    aws: Aws, bucket: str, database: Database
) -> None:
    upload, at = begun(aws, bucket, "ours.zip", parts=1)
    begun(aws, bucket, "theirs.zip", parts=1)
    clock = ManualClock(at)
    ledger = dead(database, clock)
    ledger.mark(ledger.begin("upload", bucket, "ours.zip"), upload)
    for _ in range(2):
        sweep_ledger(Ledger(database, clock), aws, clock.at)
    assert uploads(aws, bucket) == ["theirs.zip"]
    assert list(ledger.abandoned()) == []


def test_an_upload_whose_id_nobody_noted_is_found_by_its_key_once_it_cannot_be_anothers(
    aws: Aws, bucket: str, database: Database
) -> None:
    _, at = begun(aws, bucket, "cache.tar")
    begun(aws, bucket, "cache.tar", parts=1)
    begun(aws, bucket, "cache.tar.other")
    clock = ManualClock(at)
    dead(database, clock).begin("upload", bucket, "cache.tar")
    sweep_ledger(Ledger(database, clock), aws, clock.at)
    assert uploads(aws, bucket) == ["cache.tar", "cache.tar", "cache.tar.other"]
    sweep_ledger(Ledger(database, clock), aws, clock.at + 1.5 * SETTLED_SECONDS)
    assert uploads(aws, bucket) == ["cache.tar", "cache.tar.other"]


def test_uploads_to_the_same_key_that_were_begun_long_before_are_not_ours(
    aws: Aws, bucket: str, database: Database
) -> None:
    _, at = begun(aws, bucket, "key")
    clock = ManualClock(at + 3600)
    dead(database, clock).begin("upload", bucket, "key")
    sweep_ledger(Ledger(database, clock), aws, clock.at + 3 * SETTLED_SECONDS)
    assert uploads(aws, bucket) == ["key"]


def test_a_bucket_that_is_gone_holds_nothing_that_is_ours(aws: Aws, database: Database) -> None:
    clock = ManualClock()
    ledger = dead(database, clock)
    ledger.mark(ledger.begin("upload", "no-such-bucket-here", "key"), "id")
    sweep_ledger(Ledger(database, clock), aws, clock.at)
    assert list(ledger.abandoned()) == []


class Falling:
    """Clients whose S3 dies in the middle: uploading a part, or completing, raises; ending it may, too."""

    def __init__(self, aws: Aws, *calls: str) -> None:
        self._aws, self._calls = aws, calls

    def client(self, service: str) -> Any:
        client = self._aws.client(service)
        calls = self._calls

        class Client:
            def __getattr__(self, name: str) -> Any:
                if name in calls:
                    return self._fail
                return getattr(client, name)

            @staticmethod
            def _fail(**_: object) -> None:
                raise AwsRefused("no", reason="Broken", text="no")

        return Client()


def test_what_an_upload_that_fails_cannot_end_itself_is_ended_at_the_next_sweep(
    aws: Aws, bucket: str, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "big"
    file.touch()
    os.truncate(file, BIG)
    clock = ManualClock()
    ledger = Ledger(database, clock)
    failing: Any = Falling(aws, "complete_multipart_upload", "abort_multipart_upload")
    with pytest.raises(BuildspecdError):
        S3Store(failing, bucket, "", ledger).put("key", file, Upload())
    assert uploads(aws, bucket) == ["key"]
    sweep_ledger(ledger, aws, clock.at)
    assert uploads(aws, bucket) == []
    S3Store(aws, bucket, "", ledger).put("key", file, Upload())
    assert database.rows("SELECT * FROM ledger") == []


def test_unfinished_files_of_a_dead_process_go_and_those_of_others_stay(
    aws: Aws, database: Database, tmp_path: Path
) -> None:
    clock = ManualClock()
    (tmp_path / "file").write_bytes(b"hello")
    root = tmp_path / "store"
    DirectoryStore(root, dead(database, clock)).put("key", tmp_path / "file", Upload(metadata={"a": "b"}))
    ((_, _, place, *_),) = database.rows("SELECT * FROM ledger")
    aside = root / ".buildspecd" / "aside"
    assert list(aside.iterdir()) == []
    Path(f"{place}-torn").touch()
    (aside / "another").touch()
    sweep_ledger(Ledger(database, clock), aws, clock.at)
    assert [path.name for path in aside.iterdir()] == ["another"]
    assert (root / "key").read_bytes() == b"hello"
    assert database.rows("SELECT * FROM ledger") == []
