"""Sources of type S3: ZIPs and folders, from buckets and directories."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from agent.aws import Aws
from agent.errors import AwsUnavailable, BuildspecdError, SourceNotFound, SourceRefused
from agent.kit.service import StopToken
from agent.model.project import Source
from agent.objects.location import open_store
from agent.objects.store import ObjectStore, StoredObject, Upload
from agent.source.bucket import Buckets, fetch_folder
from agent.source.errand import Errand, go_on
from agent.source.names import Limits
from agent.source.sources import Revision, Sources
from tests.unit.source.zips import Item, Zip


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    before = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(dict.fromkeys(before, "test"))
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Aws(region="us-east-1", endpoint_url=f"http://{host}:{port}")
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


class Place:
    """A workspace, and what it takes to fill it."""

    def __init__(self, top: Path, aws: Aws | None = None) -> None:
        self.top, self.aws = top, aws or Aws()
        self.workspace, self.scratch = top / "workspace", top / "scratch"
        self.scratch.mkdir()
        self.buckets = Buckets(lambda location: open_store(location, self.aws))
        self.sources = Sources(top / "mirrors", others={"S3": self.buckets.fetch})

    def fetch(self, location: str, version: str | None = None, identifier: str | None = None) -> Revision:
        source = Source(type="S3", location=location, source_identifier=identifier)
        return self.sources.fetch(source, version, self.workspace, lambda line: None, scratch=self.scratch)

    def refused(self, location: str, version: str | None = None, identifier: str | None = None) -> BuildspecdError:
        with pytest.raises((SourceRefused, SourceNotFound)) as caught:
            self.fetch(location, version, identifier)
        assert caught.value.code == "CLIENT_ERROR"
        assert caught.value.hint
        assert list(self.scratch.iterdir()) == []
        return caught.value

    def standing(self, location: str) -> Any:
        return self.buckets.standing(Source(type="S3", location=location), StopToken())

    @property
    def files(self) -> dict[str, str]:
        found = sorted(path for path in self.workspace.rglob("*") if path.is_file())
        return {path.relative_to(self.workspace).as_posix(): path.read_text() for path in found}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def cloud(tmp_path: Path, aws: Aws) -> Place:
    return Place(tmp_path, aws)


@pytest.fixture
def bucket(aws: Aws) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    aws.client("s3").create_bucket(Bucket=name)
    return name


def packed(**files: str) -> bytes:
    return Zip([Item(name.replace("__", "/"), text.encode(), deflate=True) for name, text in files.items()]).bytes()


def test_a_zip_in_a_bucket_fills_the_workspace_and_tells_its_version(cloud: Place, aws: Aws, bucket: str) -> None:
    client = aws.client("s3")
    client.put_object(Bucket=bucket, Key="in/web.zip", Body=packed(a="unversioned"))
    assert cloud.fetch(f"{bucket}/in/web.zip") == Revision()
    assert cloud.files == {"a": "unversioned"}
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = client.put_object(Bucket=bucket, Key="in/web.zip", Body=packed(a="1", b__c="deep"))["VersionId"]
    second = client.put_object(Bucket=bucket, Key="in/web.zip", Body=packed(a="2"))["VersionId"]
    assert cloud.fetch(f"arn:aws:s3:::{bucket}/in/web.zip") == Revision(version=second)
    assert cloud.files == {"a": "2"}
    assert cloud.fetch(f"{bucket}/in/web.zip", first) == Revision(version=first)
    assert cloud.files == {"a": "1", "b/c": "deep"}
    assert list(cloud.scratch.iterdir()) == []


def test_a_folder_of_a_bucket_fills_the_workspace(cloud: Place, aws: Aws, bucket: str) -> None:
    client = aws.client("s3")
    for key, body in {
        "src/": b"",
        "src/a": b"1",
        "src/d/": b"",
        "src/d/e/f": b"2",
        "src/empty": b"",
        "srcs/x": b"3",
    }.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    assert cloud.fetch(f"{bucket}/src/") == Revision()
    assert cloud.files == {"a": "1", "d/e/f": "2", "empty": ""}
    assert {path.stat().st_mode & 0o777 for path in cloud.workspace.rglob("*") if path.is_file()} == {0o644}
    client.delete_object(Bucket=bucket, Key="src/a")
    cloud.fetch(f"{bucket}/src/")
    assert sorted(cloud.files) == ["d/e/f", "empty"], "what was there before is gone"
    assert cloud.fetch(f"{bucket}/") == Revision()
    assert "srcs/x" in cloud.files


def test_files_and_directories_of_this_host_serve_as_well(place: Place) -> None:
    there = place.top / "in put"
    (there / "tree" / "d").mkdir(parents=True)
    (there / "tree" / "d" / "f").write_text("1")
    (there / "x.zip").write_bytes(packed(a="1"))
    place.fetch((there / "x.zip").as_uri())
    assert place.files == {"a": "1"}
    place.fetch((there / "tree").as_uri() + "/")
    assert place.files == {"d/f": "1"}


def test_what_is_not_there_is_told_in_words_that_name_it(cloud: Place, aws: Aws, bucket: str) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="k.zip", Body=packed(a="1"))
    assert "NoSuchBucket" in cloud.refused("no-such-bucket-here/k.zip").message
    assert "for secondary source lib" in cloud.refused("no-such-bucket-here/k.zip", identifier="lib").message
    assert "NoSuchBucket" in cloud.refused("no-such-bucket-here/k/").message
    missing = cloud.refused(f"{bucket}/other.zip").message
    assert missing == f"NoSuchKey: the specified key does not exist: arn:aws:s3:::{bucket}/other.zip"
    assert "version does not exist: abc" in cloud.refused(f"{bucket}/k.zip", "abc").message
    assert f"no objects below arn:aws:s3:::{bucket}/empty/" in cloud.refused(f"{bucket}/empty/").message
    wrong = cloud.refused(f"{bucket}/k/", "abc").message
    assert wrong == "Source version should be empty for S3 folder source location"
    assert "not an object or a folder" in cloud.refused("UPPER").message


def test_an_object_that_was_deleted_opens_by_an_older_version_and_says_so(cloud: Place, aws: Aws, bucket: str) -> None:
    client = aws.client("s3")
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket=bucket, Key="k.zip", Body=packed(a="1"))["VersionId"]
    marker = client.delete_object(Bucket=bucket, Key="k.zip")["VersionId"]
    gone = cloud.refused(f"{bucket}/k.zip")
    assert gone.message.startswith("NoSuchKey: ")
    assert "by the id of an older version" in gone.hint
    assert "and not of a delete marker" in cloud.refused(f"{bucket}/k.zip", marker).hint
    assert cloud.fetch(f"{bucket}/k.zip", version) == Revision(version=version)
    client.delete_object(Bucket=bucket, Key="k.zip", VersionId=version)
    assert "version does not exist" in cloud.refused(f"{bucket}/k.zip", version).message


def test_a_bucket_that_denies_is_told_with_the_permission_that_is_missing(cloud: Place, aws: Aws, bucket: str) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="k.zip", Body=packed(a="1"))
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    refused = cloud.refused(f"{bucket}/k.zip", "v1")
    assert refused.message.startswith("AccessDenied: ")
    assert "status code: 403, request id:" in refused.message
    assert f"for primary source and source version v1: {bucket}/k.zip" in refused.message
    assert "s3:GetObjectVersion" in refused.hint
    assert "kms:Decrypt" in refused.hint


def test_what_is_no_zip_is_refused_by_name_and_leaves_the_workspace_alone(cloud: Place, aws: Aws, bucket: str) -> None:
    aws.client("s3").put_object(Bucket=bucket, Key="k.tar.gz", Body=b"\x1f\x8b....")
    message = cloud.refused(f"{bucket}/k.tar.gz").message
    assert (
        message
        == f"zip: not a valid zip file: arn:aws:s3:::{bucket}/k.tar.gz: it looks like a gzip file, a .tar.gz perhaps"
    )
    assert list(cloud.workspace.iterdir()) == []


class Keys:
    """An `ObjectStore` of which only reading is asked; *files* by key, of any name."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.during: Callable[[str], None] = lambda key: None

    def scan(self, prefix: str) -> Iterator[StoredObject]:
        for key, data in self.files.items():
            if key.startswith(prefix):
                yield StoredObject(key, len(data), 1.0, etag=str(hash(data)))

    def get(self, key: str, file: Path, *, check: Callable[[], None] = go_on, **_: object) -> StoredObject | None:
        self.during(key)
        check()
        if key not in self.files:
            return None
        file.write_bytes(self.files[key])
        return StoredObject(key, len(self.files[key]), 1.0)

    def locate(self, key: str) -> str:
        return f"memory:///{key}"


def fetch_keys(place: Place, limits: Limits = Limits(), check: Callable[[], None] = go_on, **files: bytes) -> None:
    store: Any = Keys(**files)
    fetch_folder(store, "p/", place.workspace, Errand(lambda line: None, check, place.scratch), limits)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["p/../../etc/passwd"], "leads out of the source"),
        (["p/a/../b"], "leads out of the source"),
        (["p//etc/passwd"], "no relative path"),
        (["p/a//b"], "empty part"),
        (["p/./a"], "single dot"),
        (["p/a\\b"], "backslash"),
        (["p/C:x"], "drive letter"),
        (["p/a\0b"], "NUL"),
        (["p/dir/"], "empty part"),
        (["p/" + "x" * 300], "too long"),
        (["p/" + "d/" * 200 + "f"], "directories deep"),
        (["p/a", "p/a/b"], "'a' is a file or a link and a directory at once, and 'a/b' lies below it"),
        (["p/\u00e9", "p/e\u0301"], "Unicode encoding alone"),
    ],
)
def test_a_key_that_can_be_no_path_is_refused_before_anything_is_fetched(
    place: Place, keys: list[str], message: str
) -> None:
    with pytest.raises(SourceRefused) as caught:
        fetch_keys(place, **dict.fromkeys(keys, b"x"))
    assert message in caught.value.message
    assert "memory:///p/" in caught.value.message
    assert list(place.workspace.iterdir()) == []
    assert list(place.scratch.iterdir()) == []


def test_a_folder_that_is_too_large_or_has_too_many_objects_is_refused(place: Place) -> None:
    files = {f"p/{number}": b"12345" for number in range(5)}
    with pytest.raises(SourceRefused, match="more than 24 bytes"):
        fetch_keys(place, Limits(size=24), **files)
    with pytest.raises(SourceRefused, match="more than 4 files"):
        fetch_keys(place, Limits(count=4), **files)


def test_a_folder_that_changes_while_it_is_read_is_read_again_later(place: Place) -> None:
    store: Any = Keys(**{"p/a": b"1", "p/b": b"2"})
    store.during = lambda key: store.files.pop("p/b", None)
    with pytest.raises(AwsUnavailable, match="p/b was removed"):
        fetch_folder(store, "p/", place.workspace, Errand(lambda line: None, go_on, place.scratch))
    assert list(place.workspace.iterdir()) == []
    assert list(place.scratch.iterdir()) == []


class Stopped(Exception):
    """The build is not to go on."""


def test_a_stop_is_heeded_while_a_folder_is_fetched(place: Place) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 150:
            raise Stopped

    with pytest.raises(Stopped):
        fetch_keys(place, check=check, **{f"p/{number}": b"x" for number in range(100)})
    assert list(place.workspace.iterdir()) == []
    assert list(place.scratch.iterdir()) == []


def test_a_source_that_stands_as_before_says_so_and_one_that_changed_too(cloud: Place, aws: Aws, bucket: str) -> None:
    client = aws.client("s3")
    client.put_object(Bucket=bucket, Key="d/k.zip", Body=b"1")
    one, folder = cloud.standing(f"{bucket}/d/k.zip"), cloud.standing(f"{bucket}/d/")
    assert (one.version, folder.version) == (None, None)
    assert (cloud.standing(f"{bucket}/d/k.zip"), cloud.standing(f"{bucket}/d/")) == (one, folder)
    client.put_object(Bucket=bucket, Key="d/k.zip", Body=b"2")
    assert cloud.standing(f"{bucket}/d/k.zip").value != one.value
    assert cloud.standing(f"{bucket}/d/").value != folder.value
    client.put_object(Bucket=bucket, Key="d/mark/", Body=b"")
    client.put_object(Bucket=bucket, Key="d/k.zip", Body=b"1")
    assert cloud.standing(f"{bucket}/d/").value == folder.value
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket=bucket, Key="d/k.zip", Body=b"1")["VersionId"]
    found = cloud.standing(f"{bucket}/d/k.zip")
    assert (found.value, found.version) == (f"version:{version}", version)
    with pytest.raises(SourceNotFound):
        cloud.standing(f"{bucket}/none.zip")
    with pytest.raises(SourceNotFound):
        cloud.standing(f"{bucket}/none/")


def test_room_on_another_disk_is_not_needed(place: Place) -> None:
    """A scratch directory elsewhere: the work is done within the workspace, and nothing of it stays."""
    elsewhere = Path("/dev/shm") / uuid.uuid4().hex
    elsewhere.mkdir()
    try:
        (place.top / "x.zip").write_bytes(packed(a="1"))
        source = Source(type="S3", location=(place.top / "x.zip").as_uri())
        place.sources.fetch(source, None, place.workspace, lambda line: None, scratch=elsewhere)
    finally:
        shutil.rmtree(elsewhere)
    assert [path.name for path in place.workspace.iterdir()] == ["a"]


def test_the_store_may_be_any_that_can_be_read(place: Place) -> None:
    stores: list[ObjectStore] = [open_store((place.top / "s").as_uri(), place.aws)]
    (place.top / "file").write_bytes(packed(a="1"))
    stores[0].put("k.zip", place.top / "file", Upload())
    place.fetch((place.top / "s" / "k.zip").as_uri())
    assert place.files == {"a": "1"}
