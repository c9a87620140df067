"""The log as one object."""

from __future__ import annotations

import gzip

from agent.buildlog.s3 import ObjectSink, object_key
from agent.buildlog.sink import Stretch
from agent.objects.store import Encryption
from tests.unit.buildlog.parts import MemoryLedger, MemoryStore


def test_the_key_is_prefix_and_uuid():
    assert object_key("builds/web/", "uuid") == "builds/web/uuid.gz"
    assert object_key("", "uuid") == "uuid.gz"


def test_the_whole_log_is_put_as_gzip_with_its_headers(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"line\n" * 200_000 + b"uncommitted")
    store = MemoryStore()
    sink = ObjectSink(store, "p/uuid.gz", encryption=Encryption(key="arn:key"), acl="bucket-owner-read")
    assert sink.deliver(Stretch(log, 500_000, 1_000_000, final=True), MemoryLedger()) == 1_000_000
    assert gzip.decompress(store.objects["p/uuid.gz"]) == b"line\n" * 200_000
    upload = store.uploads["p/uuid.gz"]
    assert (upload.content_type, upload.content_encoding) == ("text/plain", "gzip")
    assert (upload.encryption.key, upload.acl) == ("arn:key", "bucket-owner-read")
    assert sink.location == "memory:///p/uuid.gz"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_putting_it_twice_stores_the_same_bytes(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"line\n" * 1000)
    store = MemoryStore()
    found = set()
    for _ in range(2):
        ObjectSink(store, "k").deliver(Stretch(log, 0, 5000, final=True), MemoryLedger())
        found.add(store.objects["k"])
    assert len(found) == 1
