"""Tree, Beyond and the tar that feeds it: what a hostile build may have left."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.kit.beyond import Beyond, Spot
from agent.kit.globs import Globs
from agent.kit.tarstream import END, Member, TarReader, header, padding
from agent.kit.tree import Inside, Outside, Tree
from agent.kit.untar import Limits, unpack


def _tar(fill: Callable[[tarfile.TarFile], None], **options: object) -> Iterator[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as archive:  # type: ignore[call-overload]
        fill(archive)
    data = out.getvalue()
    return iter([data[at : at + 1000] for at in range(0, len(data), 1000)])


def _add(archive: tarfile.TarFile, name: str, data: bytes = b"x", **facts: object) -> None:
    info = tarfile.TarInfo(name)
    data = b"" if "type" in facts else data
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def _link(archive: tarfile.TarFile, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    _add(archive, name, type=kind, linkname=target)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "src"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_text("content")
    return Tree(root, "/codebuild/src")


def _names(tree: Tree, *patterns: str) -> list[str]:
    return sorted(name for name, _, _ in tree.walk("", Globs(patterns)))


def test_a_path_is_found_relative_and_as_the_container_saw_it(tree: Tree) -> None:
    assert tree.resolve("a/b/file") == Inside("a/b/file")
    assert tree.resolve("/codebuild/src/a") == Inside("a")
    assert tree.resolve("/codebuild/src") == Inside("")
    assert tree.resolve("../src/a") == Inside("a")
    assert tree.resolve("a/nothing") is None
    assert tree.resolve("/codebuild/other") == Outside("/codebuild/other")
    assert tree.resolve("../../etc/passwd") == Outside("/etc/passwd")


def test_links_are_followed_inside_and_never_out(tree: Tree) -> None:
    links = {
        "in": "a/b/file",
        "absolute": "/codebuild/src/a/b",
        "out": "/etc/passwd",
        "up": "../../../etc/passwd",
        "loop": "loop",
        "self": ".",
        "dangling": "nothing",
    }
    for name, target in links.items():
        (tree.root / name).symlink_to(target)
    assert tree.resolve("in") == Inside("a/b/file")
    assert tree.resolve("absolute/file") == Inside("a/b/file")
    assert tree.resolve("self/self/in") == Inside("a/b/file")
    assert tree.resolve("out") == Outside("/etc/passwd")
    assert tree.resolve("up") == Outside("/etc/passwd")
    assert tree.resolve("loop") is None
    assert tree.resolve("dangling") is None


def test_relative_paths_start_at_the_source_directory(tmp_path: Path) -> None:
    (tmp_path / "github.com/o/r").mkdir(parents=True)
    (tmp_path / "other").touch()
    tree = Tree(tmp_path, "/codebuild/output/src1/src", "github.com/o/r")
    assert tree.resolve(".") == Inside("github.com/o/r")
    assert tree.resolve("../../../other") == Inside("other")


def test_only_regular_files_are_opened(tree: Tree) -> None:
    os.mkfifo(tree.root / "fifo")
    (tree.root / "link").symlink_to("/etc/passwd")
    (tree.root / "dirlink").symlink_to("/etc")
    handle = tree.open("a/b/file")
    assert handle is not None
    os.close(handle)
    for name in ("fifo", "link", "dirlink/passwd", "a", "nothing", "", "nul\0"):
        assert tree.open(name) is None


def test_a_directory_that_became_a_link_is_not_walked(tree: Tree, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("k")
    (tree.root / "d").symlink_to(secret)
    assert list(tree.walk("d", Globs(["**/*"]))) == []
    assert tree.directories("d", Globs(["*"])) == []


def test_walking_yields_everything_that_is_no_directory_without_following(tree: Tree) -> None:
    os.mkfifo(tree.root / "fifo")
    (tree.root / "link").symlink_to("a")
    for name in ("-rf", "two\nlines", "a space", ".dot"):
        (tree.root / name).touch()
    Path(os.fsdecode(os.fsencode(tree.root) + b"/bad\xff")).touch()
    names = ["-rf", ".dot", "a space", "a/b/file", "bad\udcff", "fifo", "link", "two\nlines"]
    assert _names(tree, "**/*") == names


def test_directories_in_which_nothing_can_match_are_not_entered(tree: Tree) -> None:
    (tree.root / "closed").mkdir()
    seen: list[str] = []
    list(tree.walk("", Globs(["a/**/*", "nothing/x"]), lambda name, _: seen.append(name)))
    assert seen == []
    assert _names(tree, "a/**/*") == ["a/b/file"]
    assert _names(tree, "a/*") == []


def test_directories_are_matched_for_base_directories(tree: Tree) -> None:
    for name in ("my-build1", "my-build2/my-build3", "other"):
        (tree.root / name).mkdir(parents=True)
    assert tree.directories("", Globs(["my-build*"])) == ["my-build1", "my-build2"]
    assert tree.directories("", Globs(["**/my-build*"])) == ["my-build1", "my-build2", "my-build2/my-build3"]


def test_what_lies_outside_is_fetched_once(tree: Tree, tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(path: str) -> Iterator[bytes] | None:
        asked.append(path)
        if path != "/tmp/out":
            return None
        return _tar(
            lambda tar: (
                _add(tar, "out/x.zip", uid=7),
                _link(tar, "out/l", "/tmp/out/x.zip"),
            )
        )

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    beyond = Beyond(tree, fetch, scratch)
    top = beyond.place("/tmp/out")
    assert top is not None
    assert top.is_directory
    found = beyond.place("/tmp/out/l")
    assert found == Spot(top.tree, "out/x.zip")
    assert beyond.owner(top.tree, "out/x.zip", (0, 0)) == (7, 0)
    assert beyond.place("/tmp/none/x") is None
    assert beyond.place("/") is None
    assert asked == ["/tmp/out", "/tmp/none/x"]


def test_a_link_in_the_tree_may_lead_to_what_is_fetched(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "dist").symlink_to("/tmp/dist")
    beyond = Beyond(tree, lambda _: _tar(lambda tar: _add(tar, "x")), tmp_path)
    found = beyond.place("dist/x")
    assert found is not None
    assert found.tree is not tree


@pytest.mark.parametrize(
    "fill",
    [
        lambda tar: _add(tar, "../x"),
        lambda tar: _add(tar, "/etc/x"),
        lambda tar: _add(tar, "a/../../x"),
        lambda tar: (_add(tar, "x"), _add(tar, "x")),
        lambda tar: (_link(tar, "l", "/tmp"), _add(tar, "l/x")),
        lambda tar: (_add(tar, "f"), _add(tar, "f/x")),
        lambda tar: _link(tar, "h", "/etc/passwd", tarfile.LNKTYPE),
        lambda tar: _link(tar, "h", "../passwd", tarfile.LNKTYPE),
        lambda tar: (_link(tar, "l", "/etc"), _link(tar, "h", "l/passwd", tarfile.LNKTYPE)),
        lambda tar: [_add(tar, f"f{number}") for number in range(20)],
        lambda tar: _add(tar, "big", b"x" * 200_000),
    ],
)  # fmt: skip
def test_a_hostile_tar_is_refused_and_writes_nothing_elsewhere(
    tmp_path: Path, fill: Callable[[tarfile.TarFile], None]
) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ValueError, match=r".+"):
        unpack(_tar(fill), into, Limits(files=10, size=100_000))
    assert [path.name for path in tmp_path.iterdir()] == ["into"]


def test_devices_are_left_out_and_modes_are_bare(tmp_path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        _add(tar, "fifo", type=tarfile.FIFOTYPE)
        _add(tar, "dev", type=tarfile.BLKTYPE)
        _add(tar, "s", mode=0o4755)

    unpack(_tar(fill), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert (tmp_path / "s").stat().st_mode & 0o7777 == 0o755


def test_a_tar_that_ends_early_is_refused(tmp_path: Path) -> None:
    data = b"".join(_tar(lambda tar: _add(tar, "x", b"y" * 5000)))
    for size in (100, 512, 2000, 5600):
        (tmp_path / str(size)).mkdir()
        with pytest.raises(ValueError, match="ends early"):
            unpack([data[:size]], tmp_path / str(size))


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    lead = header(Member("x", "file", size=1 << 40))
    block = bytearray(lead)
    block[156:157] = b"x"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(ValueError, match="1 MiB"):
        unpack([bytes(block)], tmp_path)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_each_dialect_of_tar_is_read(tmp_path: Path, kind: int) -> None:
    name = "directory/" * 12 + "file" if kind == tarfile.USTAR_FORMAT else "d" * 90 + "/" + "ü" * 60 + "/\udcff"
    unpack(_tar(lambda tar: _add(tar, name, b"data", mtime=5), format=kind), tmp_path)
    found = tmp_path / name
    assert found.read_bytes() == b"data"
    assert found.stat().st_mtime == 5


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1, max_size=200),
            st.binary(max_size=2000),
            st.integers(0, 0o777),
            st.integers(0, 1 << 40),
            st.integers(0, 1 << 33),
        ),
        max_size=4,
    )
)
def test_what_we_write_python_and_we_read_back(entries: list[tuple[str, bytes, int, int, int]]) -> None:
    data = (
        b"".join(
            header(Member(name, "file", mode, uid, 0, len(content), mtime * 10**9)) + content + padding(len(content))
            for name, content, mode, uid, mtime in entries
        )
        + END
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        theirs = [(m.name, archive.extractfile(m).read(), m.mode, m.uid, m.mtime) for m in archive]  # type: ignore[union-attr]
    reader = TarReader(io.BytesIO(data))
    ours = [(m.name, reader.read(m.size), m.mode, m.uid, m.mtime_ns // 10**9) for m in reader]
    assert theirs == entries
    assert [(name.removeprefix("./") if name not in (".", "./") else "", *rest) for name, *rest in entries] == ours
