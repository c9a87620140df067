"""ZIPs that come from anywhere: what becomes of good ones, and that bad ones leave nothing."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from agent.errors import DiskFull, SourceRefused
from agent.source.archive import require_space, unpack
from agent.source.names import Limits, leads_out
from tests.unit.source.zips import DIRECTORY, LINK, Item, Zip, deflated, described, wide_end, wide_extra


class Place:
    """A workspace with something in it, and room beside it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.into, self.scratch, self.file = top / "workspace", top / "scratch", top / "in.zip"
        self.into.mkdir()
        self.scratch.mkdir()
        (self.into / "before").write_text("x")

    def unpack(self, data: bytes | Zip, limits: Limits = Limits(), **more: object) -> Path:
        self.file.write_bytes(data if isinstance(data, bytes) else data.bytes())
        unpack(self.file, self.into, archive="s3://b/k.zip", scratch=self.scratch, limits=limits, **more)  # type: ignore[arg-type]
        assert list(self.scratch.iterdir()) == []
        return self.into

    def refuses(self, data: bytes | Zip, limits: Limits = Limits()) -> str:
        with pytest.raises(SourceRefused) as caught:
            self.unpack(data, limits)
        assert "s3://b/k.zip" in caught.value.message
        assert caught.value.hint
        assert list(self.scratch.iterdir()) == [], "something is left half-made"
        assert [path.name for path in self.into.iterdir()] == ["before"], "the workspace was touched"
        assert {path.name for path in self.top.iterdir()} == {"workspace", "scratch", "in.zip"}, "it got out"
        return caught.value.message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def one(name: str | bytes = "a", data: bytes = b"hello", **members: object) -> Zip:
    return Zip([Item(name, data, **members)])  # type: ignore[arg-type]


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs zip")
def test_what_a_common_tool_packs_comes_back_with_modes_times_and_links(place: Place) -> None:
    tree = place.top / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "er" / "ünïcode name").write_text("text " * 1000)
    (tree / "run.sh").write_text("#!/bin/sh\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "empty").touch()
    (tree / "private").mkdir(mode=0o700)
    (tree / "link").symlink_to("deep/er")
    (tree / "dangling").symlink_to("not/there/yet")
    os.utime(tree / "run.sh", (1_600_000_001, 1_600_000_001))
    subprocess.run(["zip", "-qry", str(place.top / "made.zip"), "."], cwd=tree, check=True)
    into = place.unpack((place.top / "made.zip").read_bytes())
    assert subprocess.run(["diff", "-r", "--no-dereference", tree, into], capture_output=True).stdout == b""
    assert (into / "run.sh").stat().st_mode & 0o7777 == 0o755
    assert (into / "private").stat().st_mode & 0o777 == 0o700
    assert (into / "run.sh").stat().st_mtime == 1_600_000_001
    assert (into / "link").readlink() == Path("deep/er")
    assert not (into / "before").exists()


def test_every_legal_shape_of_an_entry_is_read(place: Place) -> None:
    data = b"some text, again and again. " * 50
    items = [
        described(Item("descriptor", data, deflate=True)),
        described(Item("bare descriptor", data, deflate=True), lead=b""),
        described(Item("wide descriptor", data), form="<LQQ"),
        Item("dos", data, mode=0, made_by=0, date=0),
        Item("dir/", mode=DIRECTORY),
        Item("dir/", mode=DIRECTORY),
        Item("empty/deflated/", mode=DIRECTORY, deflate=True),
        Item("./dotted/name", data),
        Item("a" * 255, data, told_size=0xFFFFFFFF, extra=wide_extra(len(data))),
        Item(b"gr\x81n", data, flags=0, made_by=0, mode=0),
        Item("Case", data),
        Item("case", b"other"),
        Item("padded", data, local_extra=b"\0\0\0"),
        Item("timed", data, mode=0o100755, extra=struct.pack("<2HBl", 0x5455, 5, 1, 1_600_000_001)),
        Item("link", b"dir/../timed", mode=LINK),
    ]
    into = place.unpack(Zip(items, comment=b"made by hand", wide=wide_end, count=0xFFFF, middle=b"a gap"))
    made = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    assert made == {
        "descriptor", "bare descriptor", "wide descriptor", "dos", "dotted/name", "a" * 255, "grün", "Case", "case",
        "padded", "timed", "link",
    }  # fmt: skip
    assert (into / "descriptor").read_bytes() == (into / "wide descriptor").read_bytes() == data
    assert (into / "case").read_bytes() == b"other"
    assert (into / "dos").stat().st_mode & 0o777 == 0o644
    assert (into / "empty" / "deflated").is_dir()
    assert (into / "link").readlink() == Path("dir/../timed")
    assert ((into / "timed").stat().st_mtime, (into / "timed").stat().st_mode & 0o777) == (1_600_000_001, 0o755)


def test_an_empty_archive_makes_an_empty_workspace(place: Place) -> None:
    assert list(place.unpack(Zip([])).iterdir()) == []


def test_setuid_bits_go_and_files_stay_readable_for_their_owner(place: Place) -> None:
    into = place.unpack(
        Zip([Item("suid", b"x", mode=0o106755), Item("dark", b"x", mode=0o100000), Item("t/", mode=0o041777)])
    )
    assert stat.S_IMODE((into / "suid").stat().st_mode) == 0o755
    assert stat.S_IMODE((into / "dark").stat().st_mode) == 0o400
    assert stat.S_IMODE((into / "t").stat().st_mode) == 0o777


def test_the_umask_of_the_agent_does_not_matter(place: Place) -> None:
    before = os.umask(0o077)
    try:
        into = place.unpack(one("deep/er/a"))
    finally:
        os.umask(before)
    assert (into / "deep").stat().st_mode & 0o777 == 0o755
    assert (into / "deep/er/a").stat().st_mode & 0o777 == 0o644


LONG = "x" * 256
HOSTILE_NAMES = {
    "absolute": "/etc/passwd",
    "parent": "../evil",
    "parent inside": "a/../../evil",
    "parent that stays": "a/../b",
    "parent at the end": "a/..",
    "drive": "C:evil",
    "drive with a slash": "c:/evil",
    "backslash": "a\\..\\evil",
    "UNC": "\\\\host\\share",
    "NUL": "a\0b",
    "empty": "",
    "double slash": "a//b",
    "dot in the middle": "a/./b",
    "dot": "a/.",
    "long name": LONG,
    "long name in a directory": f"a/{LONG}/b",
    "long path": "/".join(["y" * 200] * 11),
    "deep": "/".join(["d"] * 130),
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
def test_a_name_that_leads_elsewhere_or_has_two_spellings_is_refused(place: Place, name: str) -> None:
    message = place.refuses(one(name))
    assert repr(name)[1:9] in message


def _kinds() -> dict[str, tuple[bytes | Zip, str]]:
    """Return hostile and broken archives by kind, each with what the message says."""
    packed = deflated(b"hello")
    good = one().bytes()
    quoted = [Item("a", b"x" * 300), Item("b", b"x" * 200, offset=0)]
    return {
        "not UTF-8": (one(b"\xff\xfe"), "should be UTF-8"),
        "twice": (Zip([Item("a", b"1"), Item("a", b"2")]), "'a' comes twice"),
        "twice as ./": (Zip([Item("a", b"1"), Item("./a", b"2")]), "'a' comes twice"),
        "composed and decomposed": (Zip([Item("\u00e9", b"1"), Item("e\u0301", b"2")]), "Unicode encoding alone"),
        "file then directory": (Zip([Item("a", b"1"), Item("a/b", b"2")]), "'a' is a file or a link and a directory"),
        "directory then file": (Zip([Item("a/", mode=DIRECTORY), Item("a", b"2")]), "a directory at once"),
        "through a link": (Zip([Item("a", b"/etc", mode=LINK), Item("a/passwd", b"2")]), "'a/passwd' lies below it"),
        "link and file": (Zip([Item("a", b"b", mode=LINK), Item("a", b"2")]), "'a' comes twice"),
        "absolute link": (one("a", b"/etc/passwd", mode=LINK), "leads out of the source: '/etc/passwd'"),
        "link up": (one("d/a", b"../../x", mode=LINK), "leads out of the source"),
        "link up after nothing": (one("a", b"not/there/../../../x", mode=LINK), "leads out of the source"),
        "link through a link": (
            Zip([Item("p/q", b"..", mode=LINK), Item("x", b"p/q/../..", mode=LINK), Item("p/f", b"1")]),
            "the link 'x' leads out",
        ),
        "link without a target": (one("a", b"", mode=LINK), "target of 0 bytes"),
        "link with a book as its target": (one("a", b"y/" * 3000, mode=LINK), "target of 6000 bytes"),
        "link to NUL": (one("a", b"b\0c", mode=LINK), "NUL"),
        "device": (one(mode=0o020666), "a device, a FIFO or a socket"),
        "FIFO": (one(mode=0o010666), "a device, a FIFO or a socket"),
        "socket": (one(mode=0o140666), "a device, a FIFO or a socket"),
        "directory with contents": (one("a/", b"hello"), "a directory by its name"),
        "directory without a slash": (one("a", mode=DIRECTORY), "a directory by its mode"),
        "link with a slash": (one("a/", b"", mode=LINK), "a directory by its name"),
        "encrypted": (one(flags=0x801), "'a' is encrypted"),
        "strongly encrypted": (one(flags=0x841), "'a' is encrypted"),
        "AES": (one(method=99, packed=5), "'a' is encrypted"),
        "bzip2": (one(method=12), "compressed as bzip2"),
        "LZMA": (one(method=14), "compressed as LZMA"),
        "method unknown": (one(method=77), "compressed as 77"),
        "patched": (one(flags=0x820), "only stored and deflated"),
        "wrong CRC": (one(crc=1), "its checksum is"),
        "longer than stated": (one(data=b"hello", size=3, body=packed, method=8, crc=0), "more than the 3 bytes"),
        "shorter than stated": (one(size=9, body=packed, method=8), "ends within 'a'"),
        "stored of another size": (one(size=3), "is stored as 5 bytes and should have 3"),
        "garbage instead of deflate": (one(body=b"\xff" * 20, method=8), "'a' is damaged"),
        "deflate that goes on": (one(body=packed + b"more", method=8), "bytes that belong to nothing"),
        "deflate without its end": (one(body=deflated(b"h" * 500)[:-1], size=500, data=b"h" * 500, method=8), "ends "),
        "other name inside": (one(local_name=b"b"), "another name in its local header: b'b'"),
        "longer name inside": (one(local_name=b"a/../../b"), "another name in its local header"),
        "other method inside": (one(local_method=8), "packed in another way"),
        "encrypted inside": (one(local_flags=0x801), "packed in another way"),
        "other size inside": (one(local_size=4), "another size or checksum"),
        "other checksum inside": (one(local_crc=4), "another size or checksum"),
        "no local header": (one(local_magic=b"PK\3\5"), "not a valid zip file"),
        "second local header gone": (Zip([Item("a", b"1"), Item("b", b"2", local_magic=b"PK99")]), "'b' has no local"),
        "descriptor that lies": (one(flags=0x808, descriptor=b"PK\7\10" + bytes(12)), "data descriptor"),
        "descriptor missing": (one(flags=0x808), "data descriptor"),
        "overlap": (Zip(quoted), "overlaps"),
        "same data twice": (Zip([Item("a", b"x" * 99), Item("b", b"x" * 99, local_name=b"a", offset=0)]), "overlaps"),
        "data beyond the directory": (one(packed=10**6, size=10**6, local_size=10**6), "overlaps"),
        "offset beyond the file": (one(offset=10**9), "overlaps"),
        "cut off": (good[:-30], "no end record"),
        "first half": (good[: len(good) // 2], "no end record"),
        "something added": (good + b"!", "no end record"),
        "something before it": (b"PK\3\4 not really" + good, "something stands before the archive"),
        "two end records": (Zip([Item("a", b"1")], comment=Zip([]).bytes()), "a second end record"),
        "more entries than stated": (Zip([Item("a"), Item("b")], count=1), "should have 1 entries"),
        "fewer entries than stated": (Zip([Item("a")], count=2), "should have 2 entries"),
        "directory elsewhere": (Zip([Item("a", b"hello")], start=3), "its directory is not where"),
        "directory longer": (Zip([Item("a", b"hello")], length=500), "its directory is not where"),
        "several files": (Zip([Item("a")], disk=2), "one part of an archive in several files"),
        "entry on another disk": (one(disk=3), "another file of a split archive"),
        "extra field cut off": (one(extra=b"\1\0\50\0"), "extra field that is cut off"),
        "ZIP64 field too short": (one(extra=wide_extra(), packed=0xFFFFFFFF, size=0xFFFFFFFF), "field that is cut"),
        "two ZIP64 fields": (one(extra=wide_extra(5) * 2), "two ZIP64 fields"),
        "two end records that differ": (Zip([Item("a")], wide=wide_end, count=7), "do not agree"),
        "ZIP64 end record elsewhere": (
            Zip([Item("a")], wide=lambda *_: wide_end(1, 1, 1, 5)[56:]),
            "ZIP64 end record is not where",
        ),
        "a directory to fill the memory": (Zip([Item("a")], start=0, length=200 << 20), "its directory"),
    }  # fmt: skip


KINDS = _kinds()


@pytest.mark.parametrize(("data", "message"), KINDS.values(), ids=KINDS.keys())
def test_a_hostile_or_broken_archive_is_refused_and_leaves_nothing(
    place: Place, data: bytes | Zip, message: str
) -> None:
    assert message in place.refuses(data)


def test_all_kinds_are_many() -> None:
    assert len(KINDS) + len(HOSTILE_NAMES) > 70


def test_an_archive_with_flipped_bytes_is_unpacked_or_refused_and_nothing_else(place: Place) -> None:
    chance = random.Random(7)
    good = [
        described(Item("d/a", b"hello " * 50, deflate=True)),
        Item("l", b"d/a", mode=LINK),
        Item("w", b"wide", told_size=0xFFFFFFFF, extra=wide_extra(4)),
    ]
    original = Zip(good, wide=wide_end).bytes()
    for _ in range(300):
        data = bytearray(original)
        for _ in range(chance.choice((1, 1, 3))):
            data[chance.randrange(len(data))] = chance.choice((0, 0xFF, chance.randrange(256)))
        with contextlib.suppress(SourceRefused):
            place.unpack(bytes(data))
    assert {path.name for path in place.top.iterdir()} == {"workspace", "scratch", "in.zip"}


def _tar(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("a"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"", "an empty file"),
        (_tar("w"), "a tar"),
        (_tar("w:gz"), "a gzip file, a .tar.gz perhaps"),
        (_tar("w:xz"), "an xz file"),
        (_tar("w:bz2"), "a bzip2 file"),
        (b"7z\xbc\xaf\x27\x1c....", "a 7-Zip archive"),
        (b"<?xml version='1.0'?><Error/>", "a web page or XML"),
        (b"MZ\x90", "a Windows program"),
        (b"PK\7\10PK\3\4", "one part of a ZIP in several files"),
        (b"nothing known", "not a valid zip file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",  # a gzip holds the time: ids must not
)
def test_what_is_no_zip_is_refused_with_what_it_looks_like(place: Place, data: bytes, looks: str) -> None:
    message = place.refuses(data)
    assert message.startswith("zip: not a valid zip file")
    assert looks in message


def test_each_limit_is_held_before_anything_is_written(place: Place) -> None:
    two = Zip([Item("a/x", b"12345"), Item("b/y", b"12345")])
    assert "more than 9 bytes" in place.refuses(two, Limits(size=9))
    assert "more than 1" in place.refuses(two, Limits(count=1))
    assert "more than 3 files and directories" in place.refuses(two, Limits(count=3))
    place.unpack(two, Limits(size=10, count=5))
    (place.into / "a/x").unlink()


def test_a_bomb_is_refused_by_its_ratio(place: Place) -> None:
    bomb = one(data=bytes(2 << 20), deflate=True)
    assert "400:1" in place.refuses(bomb, Limits(small=1 << 20))
    place.unpack(bomb)


def test_a_bomb_that_lies_about_its_size_is_cut_at_what_it_says(place: Place) -> None:
    body = deflated(bytes(8 << 20))
    assert "more than the 5 bytes" in place.refuses(one(data=b"hello", body=body, method=8, crc=0))


def test_a_full_disk_is_foreseen(place: Place) -> None:
    with pytest.raises(DiskFull, match=r"s3://b/k\.zip"):
        require_space(1 << 60, place.scratch, "s3://b/k.zip")


class Stopped(Exception):
    """The build is not to go on."""


def test_a_stop_is_heeded_within_an_archive_and_leaves_nothing(place: Place) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Stopped

    with pytest.raises(Stopped):
        place.unpack(Zip([Item(f"f{number}", b"x") for number in range(10)]), check=check)
    assert calls == 4
    assert list(place.scratch.iterdir()) == []
    assert [path.name for path in place.into.iterdir()] == ["before"]


def test_a_second_unpacking_gives_the_same(place: Place) -> None:
    data = Zip([Item("a/b", b"1"), Item("c", b"a/b", mode=LINK)])
    place.unpack(data)
    (place.into / "a/b").write_text("changed")
    place.unpack(data)
    assert (place.into / "c").read_bytes() == b"1"


def test_links_are_followed_as_they_will_be_on_the_disk() -> None:
    links = {"a": "b", "b": "c/..", "c": "d/e", "loop": "loop", "up": "c/../../x", "far": "c/../../../x"}
    assert {name for name in links if leads_out(name, links)} == {"far", "up"}


def test_what_python_packs_comes_back_byte_by_byte(place: Place) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", os.urandom(3 << 20) + bytes(3 << 20))
        with archive.open("streamed", "w", force_zip64=True) as member:
            member.write(b"abc")
    into = place.unpack(out.getvalue())
    assert (into / "big").read_bytes() == zipfile.ZipFile(out).read("big")
    assert (into / "streamed").read_bytes() == b"abc"
