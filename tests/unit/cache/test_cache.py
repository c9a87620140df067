"""Restore and save together: buildspec.md 11, cases 73 to 77, and caches that nobody vouches for."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from agent.buildspec.plan import CachePlan
from agent.cache.archive import Index, write_archive
from agent.cache.contents import Item
from agent.cache.manifest import Manifest
from agent.cache.restore import MANIFEST, CacheOutcome, restore
from agent.cache.save import save
from agent.cache.shelf import Shelf
from agent.errors import AwsUnavailable, EngineUnavailable
from agent.kit.tarstream import Member, header, padding
from agent.kit.tree import Tree
from agent.objects.directory import DirectoryStore
from agent.objects.store import StoredObject, Upload

PATHS = ("node_modules/**/*",)


class Host:
    """One store, and builds that come and go."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.lines: list[str] = []
        self.store = CountingStore(top / "store")
        self.shelf = Shelf(self.store, "web")
        self.container: dict[str, bytes] = {}
        self.builds = 0

    def checkout(self, **files: str) -> Build:
        """Begin a build in a fresh source tree with *files*."""
        self.builds += 1
        build = Build(self, self.top / f"build{self.builds}")
        for name, text in files.items():
            build.write(name, text)
        return build


class Build:
    """A source tree and a scratch directory."""

    def __init__(self, host: Host, top: Path) -> None:
        self.host = host
        self.root, self.scratch = top / "src", top / "scratch"
        self.root.mkdir(parents=True)
        self.scratch.mkdir()
        self.tree = Tree(self.root, "/codebuild/src")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def restore(self, *paths: str, **plan: object) -> CacheOutcome:
        members = CachePlan.model_validate({"paths": paths or PATHS, **plan})
        return restore(self.host.shelf, members, self.tree, self.scratch, self.host.lines.append, self.host_put)

    def save(self, *paths: str, **plan: object) -> bool:
        members = CachePlan.model_validate({"paths": paths or PATHS, **plan})
        return save(self.host.shelf, members, self.tree, self.scratch, self.host.lines.append, self.host_fetch)

    def host_put(self, tar: IO[bytes]) -> None:
        with tarfile.open(fileobj=tar) as archive:
            for member in archive:
                if member.isreg():
                    data = archive.extractfile(member)
                    assert data is not None
                    self.host.container[f"/{member.name}"] = data.read()

    def host_fetch(self, path: str) -> Iterator[bytes] | None:
        found = {name: data for name, data in self.host.container.items() if f"{name}/".startswith(f"{path}/")}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, data in found.items():
                info = tarfile.TarInfo(name[len(path.rpartition("/")[0]) + 1 :])
                info.size, info.uid = len(data), 1000
                archive.addfile(info, io.BytesIO(data))
        return iter([out.getvalue()]) if found else None

    def files(self) -> dict[str, str]:
        return {
            path.relative_to(self.root).as_posix(): path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }


class CountingStore(DirectoryStore):
    """Counts the puts."""

    puts = 0

    def put(self, key: str, file: Path, upload: Upload) -> None:
        self.puts += 1
        super().put(key, file, upload)

    def only_file(self) -> Path:
        """Where the one object lies."""
        (found,) = self.list("")
        return Path(self.locate(found.key).removeprefix("file://"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_second_build_finds_what_the_first_one_left(host: Host) -> None:
    first = host.checkout(src="1")
    assert first.restore() == CacheOutcome("miss")
    path = first.write("node_modules/a/index.js", "code")
    path.chmod(0o750)
    os.utime(path, ns=(1_000_000_007, 1_000_000_007))
    (first.root / "node_modules/link").symlink_to("a/index.js")
    (first.root / "node_modules/a").chmod(0o700)
    assert first.save()
    second = host.checkout(src="2")
    outcome = second.restore()
    assert (outcome.restored, outcome.files) == ("hit", 2)
    assert second.files() == {"src": "2", "node_modules/a/index.js": "code"}
    back = (second.root / "node_modules/a/index.js").stat()
    assert (back.st_mode & 0o777, back.st_mtime_ns) == (0o750, 1_000_000_007)
    assert (second.root / "node_modules/a").stat().st_mode & 0o777 == 0o700
    assert (second.root / "node_modules/link").readlink() == Path("a/index.js")
    assert host.lines[:3] == [
        "Expanded cache path node_modules/**/*",
        "Downloading S3 cache...",
        "Unable to download cache: there is none yet",
    ]
    assert host.lines[3:6] == [
        "Uploading S3 cache...",
        "Expanded cache path node_modules/**/*",
        "Downloading S3 cache...",
    ]
    assert "Unarchiving cache..." in host.lines
    assert [path.name for path in second.scratch.iterdir()] == [MANIFEST]


def test_an_unchanged_cache_is_not_even_read(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save()
    build = host.checkout()
    build.restore()
    before = (build.root / "node_modules/a").stat().st_atime_ns
    os.utime(build.root / "node_modules")
    assert build.save() is False
    assert host.store.puts == 1
    assert (build.root / "node_modules/a").stat().st_atime_ns == before


def test_equal_content_with_other_times_is_not_uploaded(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1", "node_modules/b": "2"}).save()
    build = host.checkout()
    build.restore()
    (build.root / "node_modules/a").unlink()
    build.write("node_modules/a", "1").touch()
    assert build.save() is False
    again = host.checkout(**{"node_modules/a": "1", "node_modules/b": "2"})
    assert again.save() is False
    assert host.store.puts == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda build: build.write("node_modules/a", "3"),
        lambda build: build.write("node_modules/new", "3"),
        lambda build: (build.root / "node_modules/b").unlink(),
        lambda build: (build.root / "node_modules/a").chmod(0o700),
        lambda build: ((build.root / "node_modules/a").unlink(), (build.root / "node_modules/a").symlink_to("b")),
        lambda build: ((build.root / "node_modules/a").unlink(), os.mkfifo(build.root / "node_modules/a")),
    ],
)
def test_any_change_is_uploaded(host: Host, change: Callable[[Build], object]) -> None:
    host.checkout(**{"node_modules/a": "1", "node_modules/b": "2"}).save()
    build = host.checkout()
    build.restore()
    change(build)
    assert build.save() is True
    assert host.store.puts == 2


def test_a_change_with_size_and_time_of_before_is_noticed(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save()
    build = host.checkout()
    build.restore()
    path = build.root / "node_modules/a"
    facts = path.stat()
    path.write_text("2")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert build.save() is True


def test_a_file_of_the_checkout_is_never_hidden_by_the_cache(host: Host) -> None:
    host.checkout(**{"node_modules/a": "old", "node_modules/d/x": "cached"}).save()
    build = host.checkout(**{"node_modules/a": "new"})
    (build.root / "node_modules/d").symlink_to("/tmp")
    assert build.restore().restored == "hit"
    assert build.files() == {"node_modules/a": "new"}
    assert not Path("/tmp/x").exists()


def test_the_checkouts_own_git_directory_is_never_kept_or_brought(host: Host) -> None:
    host.checkout(**{".git/hooks/x": "evil", "a": "1", "vendor/.git/HEAD": "fine"}).save("**/*")
    build = host.checkout()
    build.restore("**/*")
    assert build.files() == {"a": "1", "vendor/.git/HEAD": "fine"}


def test_a_directory_may_be_named_without_a_pattern(host: Host) -> None:
    host.checkout(**{"vendor/a/b": "1", "other": "2"}).save("./vendor/")
    build = host.checkout()
    assert build.restore("./vendor/").files == 1
    assert build.files() == {"vendor/a/b": "1"}


def test_files_elsewhere_in_the_container_come_and_go_as_tar(host: Host) -> None:
    host.container = {"/root/.m2/repository/x.jar": b"jar", "/root/.m2/settings.xml": b"s", "/root/other": b"o"}
    assert host.checkout(**{"target/a": "1"}).save("/root/.m2/**/*", "target/*")
    host.container = {}
    build = host.checkout()
    assert build.restore("/root/.m2/**/*", "target/*").files == 3
    assert host.container == {"/root/.m2/repository/x.jar": b"jar", "/root/.m2/settings.xml": b"s"}
    assert build.save("/root/.m2/**/*", "target/*") is False
    host.container["/root/.m2/settings.xml"] = b"t"
    assert build.save("/root/.m2/**/*", "target/*") is True


def test_paths_that_were_narrowed_bring_only_what_is_still_wanted(host: Host) -> None:
    host.checkout(a="1", b="2").save("a", "b")
    build = host.checkout()
    assert build.restore("a").files == 1
    assert build.files() == {"a": "1"}
    assert build.save("a") is True
    assert host.checkout().restore("a", "b").files == 1


def test_an_exact_key_is_restored_and_nothing_is_saved(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save(key="k-1")
    build = host.checkout()
    assert build.restore(key="k-1").restored == "hit"
    build.write("node_modules/a", "2")
    assert build.save(key="k-1") is False
    assert host.store.puts == 1


def test_a_fallback_is_a_prefix_and_a_new_copy_is_saved(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save(key="k-1")
    build = host.checkout()
    assert build.restore(key="k-2", fallback_keys=["x-", "k-"]).restored == "hit"
    assert build.save(key="k-2") is True
    assert len(host.store.list("")) == 2


def test_a_key_with_other_paths_is_a_miss(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save(key="k")
    assert host.checkout().restore("node_modules/*", key="k").restored == "miss"


def test_a_copy_that_exists_is_not_replaced(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save(key="k")
    assert host.checkout(**{"node_modules/a": "2"}).save(key="k") is False
    build = host.checkout()
    build.restore(key="k")
    assert build.files() == {"node_modules/a": "1"}


def test_restore_only_never_writes_and_save_only_never_reads(host: Host) -> None:
    assert host.checkout(**{"node_modules/a": "1"}).save(action="restore") is False
    assert host.checkout(**{"node_modules/a": "1"}).save(action="save") is True
    assert host.checkout().restore(action="save") == CacheOutcome("off")


def test_fallback_keys_without_a_key_are_ignored(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save(key="k-1")
    assert host.checkout().restore(fallback_keys=["k-"]).restored == "miss"


def test_projects_share_keyed_caches_only_within_a_namespace(host: Host) -> None:
    host.shelf = Shelf(host.store, "one", namespace="team")
    host.checkout(**{"node_modules/a": "1"}).save(key="k")
    host.shelf = Shelf(host.store, "two", namespace="team")
    assert host.checkout().restore(key="k").restored == "hit"
    host.shelf = Shelf(host.store, "one")
    assert host.checkout().restore(key="k").restored == "miss"


def test_another_generation_starts_cold(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save()
    host.shelf = Shelf(host.store, "web", generation=1)
    assert host.checkout().restore().restored == "miss"


def test_keys_of_any_text_stay_on_the_shelf_and_keep_their_prefixes(host: Host) -> None:
    for key in ("../../x", "a/b c", "ü" * 300, "..", "k" * 1000):
        assert host.checkout(**{"node_modules/a": key}).save(key=key)
        assert host.checkout().restore(key=key).restored == "hit"
    assert host.checkout().restore(key="none", fallback_keys=["k" * 140]).restored == "hit"


def test_no_cache_section_and_no_paths_say_so(host: Host) -> None:
    build = host.checkout()
    assert restore(host.shelf, None, build.tree, build.scratch, host.lines.append) == CacheOutcome("off")
    assert restore(host.shelf, CachePlan(), build.tree, build.scratch, host.lines.append) == CacheOutcome("off")
    skip = "Skip cache due to: no paths specified to be cached"
    assert host.lines == ["Cache is not defined in the buildspec", skip, skip]
    assert save(None, CachePlan(paths=("a",)), build.tree, build.scratch, host.lines.append) is False


def test_paths_that_match_nothing_save_nothing(host: Host) -> None:
    assert host.checkout(a="1").save() is False
    assert host.store.puts == 0


def test_a_damaged_or_truncated_cache_is_a_cold_build_and_leaves_nothing(host: Host) -> None:
    chance = random.Random(7)
    files = {f"node_modules/{number}": chance.randbytes(3000).hex() for number in range(60)}
    host.checkout(**files).save()
    path = host.store.only_file()
    whole = path.read_bytes()
    for trial in range(40):
        data = bytearray(whole)
        if trial % 2:
            data[chance.randrange(len(data) - 24)] ^= 1 << chance.randrange(8)
        else:
            del data[chance.randrange(len(data)) :]
        path.write_bytes(data)
        build = host.checkout(keep="1")
        assert build.restore().restored == "miss"
        assert build.files() == {"keep": "1"}
        assert list(build.scratch.iterdir()) == []
    path.write_bytes(whole)
    assert host.checkout().restore().files == 60
    assert sum(line.startswith("Unable to download cache: ") for line in host.lines) == 40


def _planted(host: Host, *members: tuple[Member, bytes]) -> Build:
    """Begin a build whose cache holds *members*, with a true index."""
    host.checkout(**{"node_modules/ok": "1"}).save()
    path = host.store.only_file()
    index = Index()
    for member, _ in members:
        index.names.append(member.name)
        index.sums.append("0")
        index.mtimes.append(0)
    _write_by_hand(path, members, index)
    return host.checkout()


def _write_by_hand(path: Path, members: tuple[tuple[Member, bytes], ...], index: Index) -> None:
    import json

    from agent.cache import archive

    data = json.dumps({"names": index.names, "sums": index.sums, "mtimes": index.mtimes}).encode()
    tar = b"".join(header(member) + content + padding(len(content)) for member, content in members)
    tar += header(Member("index.json", "file", size=len(data))) + data + padding(len(data)) + bytes(1024)
    packed = archive.zstandard.ZstdCompressor(write_checksum=True).compress(tar)
    path.write_bytes(packed + archive._FOOTER)


def _file(name: str, content: bytes = b"x") -> tuple[Member, bytes]:
    return Member(name, "file", 0o4777, 0, 0, len(content)), content


def _link(name: str, target: str) -> tuple[Member, bytes]:
    return Member(name, "symlink", link=target), b""


@pytest.mark.parametrize(
    "members",
    [
        [_file("tree/../../escaped")],
        [_file("tree/node_modules/../../../escaped")],
        [_file("tree//etc/escaped")],
        [_link("tree/node_modules/l", "/tmp"), _file("tree/node_modules/l/escaped")],
        [_file("tree/node_modules/a"), _file("tree/node_modules/a")],
        [_file("root/../escaped")],
    ],
)
def test_a_hostile_cache_writes_nothing_outside(host: Host, members: list[tuple[Member, bytes]]) -> None:
    build = _planted(host, *members)
    build.restore("**/*", "/root/../**/*")
    assert build.files() == {}
    assert not list(host.top.rglob("escaped"))
    assert not Path("/tmp/escaped").exists()
    assert host.container == {}


def test_what_a_hostile_cache_brings_beside_the_paths_is_dropped(host: Host) -> None:
    build = _planted(
        host, _file("tree/node_modules/good"), _file("tree/Makefile"), _file("tree/.git/hooks/post-checkout"),
        _file("root/usr/bin/git"), _file("elsewhere"),
    )  # fmt: skip
    assert build.restore().files == 1
    assert build.files() == {"node_modules/good": "x"}
    assert (build.root / "node_modules/good").stat().st_mode & 0o7777 == 0o777
    assert host.container == {}


def test_garbage_in_place_of_a_cache_is_a_cold_build(host: Host) -> None:
    host.checkout(**{"node_modules/a": "1"}).save()
    for data in (b"", b"garbage", os.urandom(100_000)):
        host.store.only_file().write_bytes(data)
        assert host.checkout().restore().restored == "miss"


class DownStore(CountingStore):
    """A store that does not answer."""

    def get(self, key: str, file: Path, **_: object) -> StoredObject | None:
        raise AwsUnavailable("no answer")

    def put(self, key: str, file: Path, upload: Upload) -> None:
        raise AwsUnavailable("no answer")


def test_a_store_that_is_down_fails_no_build(host: Host) -> None:
    host.shelf = Shelf(DownStore(host.top / "down"), "web")
    build = host.checkout(**{"node_modules/a": "1"})
    assert build.restore().restored == "miss"
    assert build.save() is False
    assert "Unable to download cache: no answer" in host.lines
    assert "Unable to upload cache: no answer" in host.lines


def test_a_container_that_does_not_take_its_part_leaves_the_tree_as_it_was(host: Host) -> None:
    host.container = {"/root/.m2/x": b"1"}
    host.checkout(**{"target/a": "1"}).save("/root/.m2/**/*", "target/*")
    build = host.checkout()

    def refuse(_: IO[bytes]) -> None:
        raise EngineUnavailable("the engine is gone")

    plan = CachePlan(paths=("/root/.m2/**/*", "target/*"))
    assert restore(host.shelf, plan, build.tree, build.scratch, host.lines.append, refuse).restored == "miss"
    assert build.files() == {}


def test_a_file_that_changes_while_it_is_saved_stops_the_upload(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("longer than it was")
    (tmp_path / "short").write_text("x")
    facts = (tmp_path / "short").lstat()
    from agent.errors import BuildspecdError

    with pytest.raises(BuildspecdError, match="changed while it was saved"):
        write_archive([Item("tree/f", Tree(tmp_path, "/src"), "f", facts, (0, 0))], tmp_path / "out")


def test_odd_names_survive(host: Host) -> None:
    build = host.checkout(**{"node_modules/-rf": "1", "node_modules/two\nlines": "2", "node_modules/" + "n" * 250: "3"})
    odd = Path(os.fsdecode(os.fsencode(build.root) + b"/node_modules/bad\xff"))
    odd.write_text("4")
    build.save()
    again = host.checkout()
    assert again.restore().files == 4
    assert again.save() is False
    assert sorted(again.files()) == sorted(build.files())


def test_the_archive_can_be_looked_into_with_tar(host: Host) -> None:
    from agent.cache import archive

    host.checkout(**{"node_modules/a/b": "1"}).save()
    with host.store.only_file().open("rb") as file:
        data = archive.zstandard.ZstdDecompressor().stream_reader(file).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["tree/node_modules", "tree/node_modules/a", "tree/node_modules/a/b", "index.json"]


def test_a_manifest_that_is_broken_counts_as_none(host: Host, tmp_path: Path) -> None:
    host.checkout(**{"node_modules/a": "1"}).save()
    build = host.checkout()
    build.restore()
    path = build.scratch / MANIFEST
    whole = path.read_bytes()
    assert Manifest.read(path) is not None
    for size in (0, 10, 40, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert Manifest.read(path) is None
    assert build.save() is False
    assert host.store.puts == 1


def test_a_source_directory_below_the_mount_is_the_start(host: Host) -> None:
    for number in range(2):
        build = host.checkout()
        (build.root / "github.com/o/r").mkdir(parents=True)
        build.tree = Tree(build.root, "/codebuild/output/src1/src", "github.com/o/r")
        assert build.restore("dist/*", "/codebuild/output/src1/src/github.com/o/r/x").restored == (
            "hit" if number else "miss"
        )
        if number:
            assert sorted(build.files()) == ["github.com/o/r/dist/a", "github.com/o/r/x"]
        build.write("github.com/o/r/dist/a", "1")
        build.write("github.com/o/r/x", "2")
        assert build.save("dist/*", "/codebuild/output/src1/src/github.com/o/r/x") is not bool(number)
