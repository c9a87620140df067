"""One suite over every ObjectStore: S3 (on moto's server) and a directory."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from moto.backends import get_backend

from agent.aws import Aws
from agent.errors import AwsUnavailable, UploadRefused, UserError
from agent.objects.directory import DirectoryStore
from agent.objects.location import open_store, parse_object
from agent.objects.s3 import S3Store
from agent.objects.store import Encryption, ObjectStore, Upload
from tests.fakes.cutting import cutting

BIG = 70 << 20


@pytest.fixture(params=["s3", "s3 with a prefix", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    aws, bucket = request.getfixturevalue("aws"), request.getfixturevalue("bucket")
    return S3Store(aws, bucket, "a/b" if "prefix" in request.param else "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"hello")
    return path


def test_what_was_put_comes_back_with_its_metadata(store: ObjectStore, file: Path, tmp_path: Path) -> None:
    store.put("p/x.zip", file, Upload(metadata={"codebuild-buildarn": "arn:1"}))
    got = store.get("p/x.zip", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"hello"
    assert got is not None
    assert (got.key, got.size, got.metadata) == ("p/x.zip", 5, {"codebuild-buildarn": "arn:1"})
    head = store.head("p/x.zip")
    assert head is not None
    assert (head.size, head.metadata) == (5, {"codebuild-buildarn": "arn:1"})


def test_a_missing_object_is_none_and_writes_no_file(store: ObjectStore, file: Path, tmp_path: Path) -> None:
    store.put("there", file, Upload())
    assert store.get("nope", tmp_path / "back") is None
    assert store.head("nope") is None
    assert store.head("there/below") is None
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "store") == ["source"]


def test_a_second_put_replaces_object_and_metadata(store: ObjectStore, file: Path) -> None:
    store.put("k", file, Upload(metadata={"a": "1"}))
    file.write_bytes(b"longer than before")
    store.put("k", file, Upload())
    head = store.head("k")
    assert head is not None
    assert (head.size, head.metadata) == (18, {})


def test_a_put_if_absent_leaves_what_is_there(store: ObjectStore, file: Path) -> None:
    store.put("k", file, Upload(if_absent=True))
    file.write_bytes(b"other bytes")
    store.put("k", file, Upload(if_absent=True))
    head = store.head("k")
    assert head is not None
    assert head.size == 5


def test_a_large_object_survives_the_way_in_parts(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "large"
    block = os.urandom(1 << 20)
    with path.open("wb") as out:
        for number in range(BIG >> 20):
            out.write(number.to_bytes(4, "big") + block[4:])
    store.put("large", path, Upload(metadata={"m": "v"}))
    got = store.get("large", tmp_path / "back")
    assert got is not None
    assert (got.size, got.metadata) == (BIG, {"m": "v"})
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_listing_gives_the_keys_with_a_prefix_newest_first(store: ObjectStore, file: Path) -> None:
    for key in ("k/npm-1", "k/npm-2", "k/other", "k2"):
        store.put(key, file, Upload(metadata={"a": "b"}))
    found = store.list("k/npm-")
    assert sorted(stored.key for stored in found) == ["k/npm-1", "k/npm-2"]
    assert found == sorted(found, key=lambda stored: -stored.modified)
    assert {stored.key for stored in store.list("")} == {"k/npm-1", "k/npm-2", "k/other", "k2"}
    assert store.list("none/") == []


def test_deleting_twice_is_safe(store: ObjectStore, file: Path) -> None:
    store.put("k", file, Upload(metadata={"a": "b"}))
    store.delete("k")
    store.delete("k")
    assert store.head("k") is None
    assert store.list("") == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\0b", "bad\udcff"])
def test_a_key_never_leads_out_of_the_store(store: ObjectStore, file: Path, key: str) -> None:
    with pytest.raises(UserError):
        store.put(key, file, Upload())
    with pytest.raises(UserError):
        store.head(key)


@pytest.mark.parametrize("key", ["a b/ü.txt", "-rf", "per%20cent", "plus+", ".hidden"])
def test_a_name_with_odd_characters_survives(store: ObjectStore, file: Path, tmp_path: Path, key: str) -> None:
    store.put(key, file, Upload())
    assert [stored.key for stored in store.list("")] == [key]
    assert store.get(key, tmp_path / "back") is not None


def test_a_name_with_a_newline_survives_in_a_directory(tmp_path: Path, file: Path) -> None:
    store = DirectoryStore(tmp_path / "store")  # moto's router knows no newlines in keys; S3 does
    store.put("line\nbreak", file, Upload())
    assert [stored.key for stored in store.list("")] == ["line\nbreak"]


def test_two_puts_at_once_leave_one_whole_object(store: ObjectStore, tmp_path: Path) -> None:
    paths = [tmp_path / f"f{number}" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 100_000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: store.put("k", path, Upload(metadata={"n": path.name})), paths))
    store.get("k", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() in [path.read_bytes() for path in paths]


def test_no_upload_leaves_anything_behind_but_the_object(tmp_path: Path, file: Path) -> None:
    DirectoryStore(tmp_path / "store").put("a/b", file, Upload())
    found = [path.relative_to(tmp_path / "store") for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert found == [Path("a/b")]


def test_an_object_is_encrypted_with_the_managed_key_unless_another_is_named(aws: Aws, bucket: str, file: Path) -> None:
    store = S3Store(aws, bucket)
    kms = aws.client("kms")
    key = kms.create_key()["KeyMetadata"]
    alias = f"alias/{uuid.uuid4().hex}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    store.put("managed", file, Upload())
    store.put("alias", file, Upload(encryption=Encryption(key=alias)))
    store.put("arn", file, Upload(encryption=Encryption(key=key["Arn"])))
    store.put("off", file, Upload(encryption=Encryption(enabled=False)))
    found = {name: aws.client("s3").head_object(Bucket=bucket, Key=name) for name in ("managed", "alias", "arn", "off")}
    assert found["managed"]["ServerSideEncryption"] == "aws:kms"
    assert "SSEKMSKeyId" not in found["managed"]
    assert found["alias"]["SSEKMSKeyId"] == found["arn"]["SSEKMSKeyId"] == key["Arn"]
    assert found["alias"]["BucketKeyEnabled"]
    assert found["off"].get("ServerSideEncryption") != "aws:kms"


def test_a_large_object_is_encrypted_too(aws: Aws, bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as out:
        out.truncate(40 << 20)
    S3Store(aws, bucket).put("k", path, Upload())
    assert aws.client("s3").head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "aws:kms"


def test_a_key_that_is_missing_disabled_or_asymmetric_is_refused_by_name(aws: Aws, bucket: str, file: Path) -> None:
    kms = aws.client("kms")
    disabled = kms.create_key()["KeyMetadata"]
    kms.disable_key(KeyId=disabled["KeyId"])
    rsa = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    missing = ["alias/nobody", str(uuid.uuid4()), f"arn:aws:kms:us-east-1:999999999999:key/{uuid.uuid4()}"]
    for key in [disabled["Arn"], rsa["Arn"], *missing]:
        with pytest.raises(UploadRefused) as caught:
            S3Store(aws, bucket).put("k", file, Upload(encryption=Encryption(key=key)))
        assert key in caught.value.message
        assert caught.value.hint
    assert S3Store(aws, bucket).head("k") is None


def test_a_missing_bucket_is_refused_by_name(aws: Aws, file: Path, tmp_path: Path) -> None:
    store = S3Store(aws, "no-such-bucket-here")
    with pytest.raises(UploadRefused, match="no-such-bucket-here") as caught:
        store.put("k", file, Upload())
    assert "create the bucket" in caught.value.hint
    large = tmp_path / "large"
    with large.open("wb") as out:
        out.truncate(40 << 20)
    with pytest.raises(UploadRefused, match="NoSuchBucket"):
        store.put("k", large, Upload())


def test_a_bucket_that_denies_is_refused_with_the_permission_that_is_missing(aws: Aws, bucket: str, file: Path) -> None:
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",'
        f'"Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)
    with pytest.raises(UploadRefused) as caught:
        S3Store(aws, bucket).put("k", file, Upload())
    assert "s3:PutObject" in caught.value.hint
    assert bucket in caught.value.message


def test_a_failed_upload_in_parts_is_aborted(aws: Aws, bucket: str, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as out:
        out.truncate(40 << 20)
    store = S3Store(aws, bucket)
    store.put("k", path, Upload())
    store.put("k", path, Upload(if_absent=True))
    assert not aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_acl_and_content_type_reach_the_bucket(aws: Aws, bucket: str, file: Path) -> None:
    S3Store(aws, bucket).put("k", file, Upload(content_type="text/html", acl="bucket-owner-full-control"))
    assert aws.client("s3").head_object(Bucket=bucket, Key="k")["ContentType"] == "text/html"


def _located(location: str, aws: Any) -> str:
    return open_store(location, aws).locate("k")


def test_every_way_to_write_a_location_is_understood(aws: Aws) -> None:
    assert _located("bucket", aws) == "arn:aws:s3:::bucket/k"
    assert _located("bucket/p/q", aws) == "arn:aws:s3:::bucket/p/q/k"
    assert _located("bucket/p/", aws) == "arn:aws:s3:::bucket/p/k"
    assert _located("arn:aws:s3:::bucket/p", aws) == "arn:aws:s3:::bucket/p/k"
    assert _located("file:///var/out", aws) == "file:///var/out/k"
    assert open_store("bucket", aws).locate("") == "arn:aws:s3:::bucket"


@pytest.mark.parametrize("location", ["", "UPPER", "file://host/dir", "file:relative", "file:///a/../b", "b/../c", "x"])
def test_what_is_no_location_is_refused(aws: Aws, location: str) -> None:
    with pytest.raises(UserError):
        open_store(location, aws)


def test_a_scan_yields_every_key_with_what_tells_its_bytes_apart(store: ObjectStore, file: Path) -> None:
    for number in range(5):
        store.put(f"p/{number:04}", file, Upload())
    store.put("other", file, Upload())
    before = {stored.key: stored.etag for stored in store.scan("p/")}
    assert len(before) == 5
    assert all(before.values())
    file.write_bytes(b"other bytes")
    store.put("p/0003", file, Upload())
    after = {stored.key: stored.etag for stored in store.scan("p/")}
    assert [key for key in after if after[key] != before[key]] == ["p/0003"]
    head = store.head("p/0003")
    assert head is not None
    assert head.etag == after["p/0003"]


def test_a_bucket_of_more_than_one_page_is_listed_to_its_end(aws: Aws, bucket: str) -> None:
    server = get_backend("s3")["123456789012"]["aws"]  # a thousand requests would take ten seconds
    for number in range(1003):
        server.put_object(bucket, f"k{number}", b"")
    assert len(list(S3Store(aws, bucket).scan("k"))) == 1003


def test_an_object_beyond_the_limit_is_refused_and_writes_no_file(store: ObjectStore, file: Path) -> None:
    store.put("k", file, Upload())
    back = file.with_name("back")
    with pytest.raises(UserError, match="has 5 bytes, more than 4"):
        store.get("k", back, limit=4)
    assert store.get("k", back, limit=5) is not None


class Stopped(Exception):
    """Whoever fetches is not to go on."""


def test_what_the_check_raises_ends_the_fetch_and_leaves_no_file(store: ObjectStore, file: Path) -> None:
    def check() -> None:
        raise Stopped

    store.put("k", file, Upload())
    with pytest.raises(Stopped):
        store.get("k", file.with_name("back"), check=check)
    assert {path.name for path in file.parent.iterdir()} <= {"source", "store"}


def test_a_version_that_was_never_there_is_absent(store: ObjectStore, file: Path) -> None:
    store.put("k", file, Upload())
    assert store.get("k", file.with_name("back"), version="Qk4xZ2Vyc2lvbg") is None
    assert store.head("k", version="Qk4xZ2Vyc2lvbg") is None


def test_each_version_of_an_object_can_be_fetched(aws: Aws, bucket: str, file: Path) -> None:
    store, back = S3Store(aws, bucket), file.with_name("back")
    store.put("plain", file, Upload())
    found = store.get("plain", back)
    assert found is not None
    assert found.version is None
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store.put("k", file, Upload())
    first = store.head("k")
    file.write_bytes(b"second")
    store.put("k", file, Upload())
    second = store.get("k", back)
    assert first is not None
    assert second is not None
    assert first.version is not None
    assert second.version not in (None, first.version)
    assert back.read_bytes() == b"second"
    assert store.get("k", back, version=first.version) == first
    assert back.read_bytes() == b"hello"
    store.delete("k")
    assert store.get("k", back) is None
    marks = aws.client("s3").list_object_versions(Bucket=bucket, Prefix="k")["DeleteMarkers"]
    assert store.get("k", back, version=marks[0]["VersionId"]) is None


@pytest.mark.parametrize("size", [3 << 20, 40 << 20])
def test_a_fetch_that_is_cut_goes_on_where_it_was(aws: Aws, bucket: str, tmp_path: Path, size: int) -> None:
    source, back = tmp_path / "large", tmp_path / "back"
    source.write_bytes(os.urandom(1 << 20) * (size >> 20))
    S3Store(aws, bucket).put("k", source, Upload())
    with cutting(aws.client("s3").meta.endpoint_url, after=1 << 20, times=3) as relay:
        found = S3Store(Aws(region="us-east-1", endpoint_url=relay.url), bucket).get("k", back)
    assert found is not None
    assert back.read_bytes() == source.read_bytes()
    assert relay.cut == 3


def test_a_fetch_that_is_cut_again_and_again_is_an_outage(aws: Aws, bucket: str, tmp_path: Path, file: Path) -> None:
    file.write_bytes(bytes(1 << 20))
    S3Store(aws, bucket).put("k", file, Upload())
    with cutting(aws.client("s3").meta.endpoint_url, after=600, times=10**6) as relay:
        store = S3Store(Aws(region="us-east-1", endpoint_url=relay.url), bucket)
        with pytest.raises(AwsUnavailable):
            store.get("k", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(("size", "after"), [(3 << 20, 1 << 20), (40 << 20, 14 << 20)])
def test_bytes_that_were_changed_on_their_way_are_noticed(
    aws: Aws, bucket: str, tmp_path: Path, size: int, after: int
) -> None:
    """Of a large object the first answer is left after a few MB; a change must come in a part that is kept."""
    aws.client("s3").put_object(Bucket=bucket, Key="k", Body=bytes(size), ChecksumAlgorithm="CRC32")
    with cutting(aws.client("s3").meta.endpoint_url, after=after, times=1, instead=b"?") as relay:
        store = S3Store(Aws(region="us-east-1", endpoint_url=relay.url), bucket)
        with pytest.raises(AwsUnavailable, match="checksum"):
            store.get("k", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_link_in_a_directory_may_lead_below_it_and_nowhere_else(tmp_path: Path, file: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    store.put("a/real", file, Upload())
    (tmp_path / "store" / "latest").symlink_to("a/real")
    (tmp_path / "store" / "shadow").symlink_to("/etc/passwd")
    (tmp_path / "store" / "etc").symlink_to("/etc")
    os.mkfifo(tmp_path / "store" / "fifo")
    back = tmp_path / "back"
    assert store.get("latest", back) is not None
    assert back.read_bytes() == b"hello"
    for key in ("shadow", "etc/passwd", "fifo", "a"):
        assert store.get(key, back) is None, key
        assert store.head(key) is None, key
    assert sorted(stored.key for stored in store.scan("")) == ["a/real", "latest"]


OBJECTS = {
    "bucket/key.zip": ("bucket", "key.zip", False),
    "bucket/a/b/": ("bucket", "a/b/", True),
    "bucket/": ("bucket", "", True),
    "s3://bucket/k": ("bucket", "k", False),
    "arn:aws-cn:s3:::bucket/a/k": ("bucket", "a/k", False),
    "file:///srv/x%20y/k.zip": ("file:///srv/x%20y", "k.zip", False),
    "file:///srv/dir/": ("file:///srv/dir", "", True),
}


@pytest.mark.parametrize(("location", "place"), OBJECTS.items())
def test_the_location_of_an_object_or_a_folder_is_understood(location: str, place: tuple[str, str, bool]) -> None:
    found = parse_object(location)
    assert (found.store, found.key, found.is_prefix) == place


@pytest.mark.parametrize(
    "location",
    [
        "",
        "bucket",
        "UPPER/key",
        "bucket/a//k",
        "bucket//k",
        "bucket/../k",
        "bucket/./k",
        "file:///",
        "file://h/x",
        "b/k",
    ],
)
def test_what_is_no_location_of_an_object_is_refused(location: str) -> None:
    with pytest.raises(UserError):
        parse_object(location)


def test_a_file_may_be_given_by_its_open_descriptor(store: ObjectStore, file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        store.put("k", Path(f"/dev/fd/{handle}"), Upload())
    finally:
        os.close(handle)
    head = store.head("k")
    assert head is not None
    assert head.size == 5
