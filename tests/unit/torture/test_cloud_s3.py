"""The AWS-shaped server's S3: objects, parts, conditions, checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from agent.aws import Aws
from agent.objects.s3 import S3Store
from agent.objects.store import Encryption, Upload
from agent.torture.cloud import CloudServer
from tests.unit.torture.clients import client

MIB = 1 << 20


@pytest.fixture
def s3(cloud: CloudServer) -> Any:
    cloud.stock(buckets=("b",), keys=("alias/k",))
    return client(cloud, "s3")


def refusal(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def test_an_object_comes_back_with_its_headers_whole_in_ranges_and_not_at_all_once_deleted(
    cloud: CloudServer, s3: Any
) -> None:
    s3.put_object(
        Bucket="b",
        Key="a b/ö.gz",
        Body=b"0123456789",
        ContentType="text/plain",
        ContentEncoding="gzip",
        Metadata={"build": "1"},
        ServerSideEncryption="aws:kms",
    )
    answer = s3.get_object(Bucket="b", Key="a b/ö.gz")
    assert answer["Body"].read() == cloud.object("b", "a b/ö.gz") == b"0123456789"
    assert answer["ETag"] == f'"{hashlib.md5(b"0123456789").hexdigest()}"'
    facts = (answer["ContentType"], answer["ContentEncoding"], answer["Metadata"], answer["ServerSideEncryption"])
    assert facts == ("text/plain", "gzip", {"build": "1"}, "aws:kms")
    assert s3.get_object(Bucket="b", Key="a b/ö.gz", Range="bytes=3-5")["Body"].read() == b"345"
    assert refusal(lambda: s3.get_object(Bucket="b", Key="a b/ö.gz", Range="bytes=10-")) == "InvalidRange"
    assert s3.head_object(Bucket="b", Key="a b/ö.gz")["ContentLength"] == 10
    s3.delete_object(Bucket="b", Key="a b/ö.gz")
    assert refusal(lambda: s3.get_object(Bucket="b", Key="a b/ö.gz")) == "NoSuchKey"
    assert refusal(lambda: s3.head_object(Bucket="b", Key="a b/ö.gz")) == "404"
    assert refusal(lambda: s3.put_object(Bucket="none", Key="a", Body=b"")) == "NoSuchBucket"


def test_objects_are_listed_in_pages(s3: Any) -> None:
    for number in range(5):
        s3.put_object(Bucket="b", Key=f"p/{number}", Body=b"x" * number)
    s3.put_object(Bucket="b", Key="q", Body=b"")
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="p/", PaginationConfig={"PageSize": 2})
    )
    assert [[item["Size"] for item in page["Contents"]] for page in pages] == [[0, 1], [2, 3], [4]]


def test_conditions_hold_for_writing_and_reading(s3: Any) -> None:
    etag = s3.put_object(Bucket="b", Key="a", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refusal(lambda: s3.put_object(Bucket="b", Key="a", Body=b"2", IfNoneMatch="*")) == "PreconditionFailed"
    assert refusal(lambda: s3.put_object(Bucket="b", Key="a", Body=b"2", IfMatch='"0"')) == "PreconditionFailed"
    s3.put_object(Bucket="b", Key="a", Body=b"2", IfMatch=etag)
    assert refusal(lambda: s3.get_object(Bucket="b", Key="a", IfMatch=etag)) == "PreconditionFailed"
    assert refusal(lambda: s3.get_object(Bucket="b", Key="a", IfNoneMatch="*")) == "304"


def test_a_body_that_does_not_have_its_checksum_is_refused(cloud: CloudServer, s3: Any) -> None:
    wrong = {"ContentMD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    assert refusal(lambda: s3.put_object(Bucket="b", Key="a", Body=b"1", **wrong)) == "BadDigest"
    assert refusal(lambda: s3.put_object(Bucket="b", Key="a", Body=b"1", ChecksumSHA256="A" * 43 + "=")) == "BadDigest"
    s3.put_object(Bucket="b", Key="a", Body=b"1", ChecksumAlgorithm="SHA256")
    assert s3.get_object(Bucket="b", Key="a", ChecksumMode="ENABLED")["ChecksumSHA256"]
    assert cloud.buckets()["b"]["objects"]["a"]["stored"] == 1


def test_parts_become_one_object_and_open_uploads_are_listed_until_they_end(cloud: CloudServer, s3: Any) -> None:
    where = {"Bucket": "b", "Key": "big"}
    number = s3.create_multipart_upload(**where)["UploadId"]
    tags = [
        s3.upload_part(**where, UploadId=number, PartNumber=part, Body=data)["ETag"]
        for part, data in ((1, b"a" * 5 * MIB), (2, b"b"))
    ]
    parts = [{"PartNumber": part, "ETag": tag} for part, tag in enumerate(tags, 1)]
    assert [one["UploadId"] for one in s3.list_multipart_uploads(Bucket="b")["Uploads"]] == [number]

    def complete(*chosen: Any) -> Any:
        return s3.complete_multipart_upload(**where, UploadId=number, MultipartUpload={"Parts": list(chosen)})

    assert refusal(lambda: complete(*parts[::-1])) == "InvalidPartOrder"
    assert refusal(lambda: complete({"PartNumber": 1, "ETag": '"0"'})) == "InvalidPart"
    complete(*parts)
    assert cloud.object("b", "big") == b"a" * 5 * MIB + b"b"
    assert refusal(lambda: complete(*parts)) == "NoSuchUpload"
    other = s3.create_multipart_upload(**where)["UploadId"]
    assert cloud.buckets()["b"]["uploads"] == ["big"]
    s3.abort_multipart_upload(**where, UploadId=other)
    assert cloud.buckets()["b"]["uploads"] == []


def test_a_part_that_is_too_small_is_refused_unless_it_is_the_last(s3: Any) -> None:
    where = {"Bucket": "b", "Key": "big"}
    number = s3.create_multipart_upload(**where)["UploadId"]
    parts = [
        {"PartNumber": part, "ETag": s3.upload_part(**where, UploadId=number, PartNumber=part, Body=b"x")["ETag"]}
        for part in (1, 2)
    ]
    call = {"UploadId": number, "MultipartUpload": {"Parts": parts}}
    assert refusal(lambda: s3.complete_multipart_upload(**where, **call)) == "EntityTooSmall"


def test_the_products_own_store_works_with_it(
    cloud: CloudServer, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    store = S3Store(Aws(region="us-east-1", endpoint_url=cloud.url), "b", "p")
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(bytes(range(256)) * (33 * 4096))
    store.put("big", file, Upload(encryption=Encryption(key="alias/k"), metadata={"a": "b"}))
    found = store.get("big", back)
    assert found is not None
    assert back.read_bytes() == file.read_bytes()
    assert found.metadata == {"a": "b"}
    assert [one.key for one in store.list("")] == ["big"]
    assert cloud.buckets()["b"]["uploads"] == []
