"""Choosing artifact files: buildspec.md 10.2, 10.5, 10.6 and cases 63 to 68."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.artifacts.select import select
from agent.artifacts.selection import Selection
from agent.buildspec.plan import ArtifactPlan
from agent.errors import ArtifactsMissing, UserError
from agent.kit.beyond import Beyond, Fetch
from agent.kit.tree import Tree


class Source:
    """A source tree of a test, and the lines that were said."""

    def __init__(self, top: Path) -> None:
        self.root = top / "src"
        self.scratch = top / "scratch"
        self.root.mkdir()
        self.scratch.mkdir()
        self.lines: list[str] = []

    def write(self, *names: str) -> Source:
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return self

    def select(
        self,
        *files: str,
        fetch: Fetch | None = None,
        keep_links: bool = False,
        linked: tuple[str, ...] = (),
        **plan: object,
    ) -> Selection:
        beyond = Beyond(Tree(self.root, "/codebuild/src"), fetch, self.scratch, linked=linked)
        members = ArtifactPlan.model_validate({"files": files, **plan})
        return select(members, beyond, self.lines.append, keep_links=keep_links)

    def names(self, *files: str, **plan: object) -> list[str]:
        return [file.name for file in self.select(*files, **plan).files]  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_dot_files_and_folders_below_the_base_directory_are_taken(source: Source) -> None:
    source.write("dist/a/b.txt", "dist/.x", "other")
    assert source.names("**/*", base_directory="dist") == [".x", "a/b.txt"]


def test_no_match_at_all_fails_in_the_words_of_codebuild(source: Source) -> None:
    with pytest.raises(ArtifactsMissing) as caught:
        source.select("missing.zip")
    assert caught.value.message == "no matching artifact paths found"
    assert caught.value.code == "CLIENT_ERROR"
    assert source.lines[-1] == "Skipping invalid file path missing.zip"


def test_one_pattern_that_matches_is_enough(source: Source) -> None:
    source.write("ok.txt")
    assert source.names("missing.zip", "ok.txt") == ["ok.txt"]


def test_the_lines_stand_in_the_order_of_codebuild(source: Source) -> None:
    source.write("a", "b/c")
    source.select("**/*", "imagedefinitions.json", identifier="Manifest")
    assert source.lines == [
        "Preparing to copy secondary artifacts Manifest",
        "Expanding base directory path: .",
        "Assembling file list",
        "Expanding .",
        "Expanding file paths for base directory .",
        "Assembling file list",
        "Expanding **/*",
        "Expanding imagedefinitions.json",
        "Found 2 file(s)",
        "Skipping invalid file path imagedefinitions.json",
    ]


@pytest.mark.parametrize("base", ["nope", "no*pe", "file", "/nope", "../..", "out"])
def test_a_missing_base_directory_is_named(source: Source, base: str) -> None:
    source.write("file")
    (source.root / "out").symlink_to("/etc")
    with pytest.raises(ArtifactsMissing) as caught:
        source.select("**/*", base_directory=base)
    assert caught.value.message == f"no matching base directory path found for {base}"


def test_several_base_directories_flattened(source: Source) -> None:
    source.write("my-build1/my-file-1.txt", "my-build2/my-file-2.txt", "my-build2/my-subdirectory/my-file-3.txt")
    flat = source.names("**/*", base_directory="my-build*", discard_paths=True)
    assert flat == ["my-file-1.txt", "my-file-2.txt", "my-file-3.txt"]
    assert source.names("*/my-file-3.txt", base_directory="my-build2") == ["my-subdirectory/my-file-3.txt"]


def test_the_last_of_two_files_with_one_name_wins_with_a_warning(source: Source) -> None:
    source.write("a/x", "b/x")
    found = source.select("**/*", discard_paths=True).files
    assert [file.path.read_text() for file in found] == ["b/x"]
    assert "Warning: more than one file would be stored as x; b/x wins" in source.lines


def test_exclude_paths_leave_files_out(source: Source) -> None:
    source.write(".env", "a/.env", "a/x", "node_modules/p/i.js", "sub/node_modules/q", "y.log")
    assert source.names("**/*", exclude_paths=["**/.*", "**/node_modules/**/*", "/codebuild/src/*.log"]) == ["a/x"]


def test_excluding_everything_is_no_artifact(source: Source) -> None:
    source.write("a")
    with pytest.raises(ArtifactsMissing, match="no matching artifact paths found") as caught:
        source.select("**/*", exclude_paths=["**/*"])
    assert "excluded" in caught.value.hint


def test_a_bare_directory_is_not_descended_into(source: Source) -> None:
    source.write("dir/x")
    with pytest.raises(ArtifactsMissing):
        source.select("dir", "dir/", "/codebuild/src/dir")


def test_odd_names_survive(source: Source) -> None:
    source.write("-rf", "two\nlines", "a space", "ü")
    Path(os.fsdecode(os.fsencode(source.root) + b"/bad\xff")).touch()
    assert source.names("**/*") == ["-rf", "a space", "bad%FF", "two\nlines", "ü"]


def test_content_of_links_that_stay_is_stored_and_links_that_leave_are_not(source: Source, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    source.write("d/real", "outside")
    links = {"good": "real", "absolute": "/codebuild/src/d/real", "up": "../outside", "host": str(tmp_path / "secret")}
    for name, target in {**links, "dangling": "none", "loop": "loop", "folder": "."}.items():
        (source.root / "d" / name).symlink_to(target)
    os.mkfifo(source.root / "d/fifo")
    found = source.select("**/*", base_directory="d")
    assert [(file.name, file.path.read_text()) for file in found.files] == [
        ("absolute", "d/real"),
        ("good", "d/real"),
        ("real", "d/real"),
    ]
    assert sum(line.startswith("Warning: skipping") for line in source.lines) == 6


def test_links_are_kept_when_asked_for_and_lead_only_inside(source: Source) -> None:
    source.write("d/sub/real", "outside")
    for name, target in {"l": "sub/real", "sub/abs": "/codebuild/src/d/sub", "up": "../outside"}.items():
        (source.root / "d" / name).symlink_to(target)
    found = source.select("**/*", base_directory="d", keep_links=True)
    assert {file.name: file.link for file in found.files} == {"l": "sub/real", "sub/abs": ".", "sub/real": None}


def test_a_pattern_may_lead_through_a_link_that_stays_inside(source: Source) -> None:
    source.write("releases/1/app.jar")
    (source.root / "current").symlink_to("releases/1")
    assert source.names("current/app.jar") == ["current/app.jar"]
    assert source.names("current/*") == ["current/app.jar"]
    assert source.names("*", base_directory="current") == ["app.jar"]


def test_absolute_and_upward_paths_lose_their_lead(source: Source) -> None:
    source.write("app/x", "dist/y")
    assert source.names("/codebuild/src/dist/*") == ["codebuild/src/dist/y"]
    assert source.names("../dist/*", base_directory="app") == ["dist/y"]
    assert source.names("/codebuild/src/app/x", discard_paths=True) == ["x"]


def _fetch(path: str) -> Iterator[bytes] | None:
    if path != "/tmp/out":
        return None
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("out/a.zip", "out/sub/b.zip", "out/c.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"zip"))
    return iter([out.getvalue()])


def test_files_elsewhere_in_the_container_are_fetched(source: Source) -> None:
    assert source.names("/tmp/out/*.zip", fetch=_fetch) == ["tmp/out/a.zip"]
    assert source.names("**/*.zip", base_directory="/tmp/out", fetch=_fetch) == ["a.zip", "sub/b.zip"]
    with pytest.raises(ArtifactsMissing):
        source.names("/tmp/none/*", "/*.zip", "/tmp/out/x", fetch=_fetch)


def test_a_hostile_tar_of_the_container_is_an_error_of_the_user(source: Source) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        source.names("/tmp/out/*", fetch=lambda _: iter([b"garbage" * 1000]))


def cached(path: str) -> Iterator[bytes] | None:
    """A container whose local cache holds `a.js` and `sub/b.txt`."""
    buffer = io.BytesIO()
    top = path.rpartition("/")[2]
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a.js", "sub/b.txt"):
            tar.addfile(tarfile.TarInfo(f"{top}/{name}"))
    return iter([buffer.getvalue()]) if path == "/codebuild/local-cache/deps" else None


def test_a_directory_that_is_a_link_into_a_local_cache_is_searched_like_any_other(source: Source) -> None:
    source.write("own.js").root.joinpath("deps").symlink_to("/codebuild/local-cache/deps")
    linked = ("/codebuild/src/deps", "/root/.m2")
    assert source.names("**/*", fetch=cached, linked=linked) == ["deps/a.js", "deps/sub/b.txt", "own.js"]
    assert source.names("d*/*.js", fetch=cached, linked=linked) == ["deps/a.js"]
    assert source.names("**/*", fetch=cached, linked=linked, exclude_paths=["deps/**/*"]) == ["own.js"]
    assert not any("skipping symbolic link" in line for line in source.lines)
    fetched: list[str] = []
    assert source.names("*.js", fetch=lambda path: fetched.append(path), linked=linked) == ["own.js"]
    assert fetched == [], "nothing in it can match"


def test_what_only_claims_to_be_a_link_into_a_local_cache_is_not_followed(source: Source, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("host")
    source.write("plain/f", "real/deps/f")
    source.root.joinpath("out").symlink_to(tmp_path / "secret")
    source.root.joinpath("way").symlink_to("real")
    claims = ("out", "out/deps", "plain", "way/deps", "missing", "../x", "", "plain/f")
    linked = (*(f"/codebuild/src/{name}" for name in claims), "nonsense", "/")
    assert source.names("**/*", fetch=lambda _: None, linked=linked) == ["plain/f", "real/deps/f"]
