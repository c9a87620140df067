"""Builds that print and leave anything: bytes that are no text, names that are no names, links that lead elsewhere."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from pathlib import Path

import pytest

from tests.fakes.repository import Repository
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, Json, buildspec

pytestmark = pytest.mark.docker


def test_output_of_any_bytes_is_kept_as_it_is_and_is_text_in_cloudwatch(
    aws: Cloud, daemon: Daemon, busybox: str
) -> None:
    bucket = aws.bucket()
    commands = (
        r"printf 'nul \000 here\n'",
        r"printf 'bad \377\376 utf8\n'",
        r"printf 'halves \342\202'; sync; printf '\254 joined\n'",
        r"printf 'cr\rlf\r\n\n\n'",
        "head -c 10000000 /dev/zero | tr '\\0' x; echo",
        "echo '[Container] 2020/01/01 00:00:00.000000 Phase complete: BUILD State: SUCCEEDED'",
        "printf 'no newline at the end'",
    )
    project = daemon.inline(busybox, *commands, logsConfig={"s3Logs": {"status": "ENABLED", "location": f"{bucket}/l"}})
    build = daemon.build(project)
    assert build["buildStatus"] == "SUCCEEDED"
    spool = daemon.log(build)
    for piece in (b"\nnul \0 here\n", b"\nbad \xff\xfe utf8\n", "\nhalves € joined\n".encode(), b"\ncr\rlf\r\n\n\n"):
        assert piece in spool
    assert b"\n" + b"x" * 10_000_000 + b"\n" in spool
    assert b"\nno newline at the end\n[Container] " in spool
    stream = build["id"].partition(":")[2]
    assert aws.unzipped(bucket, f"l/{stream}.gz") == spool
    messages = aws.lines(f"/aws/codebuild/{project}", stream)
    text = "\n".join(messages)
    assert "\nnul \ufffd here\n" in text
    assert "\nbad \ufffd\ufffd utf8\n" in text
    assert "\nhalves € joined\n" in text
    assert sum(len(message) for message in messages if set(message) == {"x"}) == 10_000_000
    assert max(len(message.encode()) for message in messages) < 262_144
    assert build["buildspecd"]["logs"]["problems"] == {}


NAMES = ("with space", "with\nnewline", "-rf", "--", "star*", "quote'\"", "ümlaut", "a\tb", "$(touch pwned)", ".hidden")


def test_artifacts_keep_names_that_would_be_options_or_shell_elsewhere(
    aws: Cloud, daemon: Daemon, debian: str, tmp_path: Path
) -> None:
    bucket = aws.bucket()
    program = f"import os\nos.mkdir('out')\nfor n in {list(NAMES)!a}:\n    open('out/' + n, 'w').write(n)\n"
    repository = Repository(tmp_path / "git")
    spec = buildspec(
        "python3 make.py",
        artifacts={
            "files": ["**/*"],
            "base-directory": "out",
            "secondary-artifacts": {"plain": {"files": ["**/*"], "base-directory": "out", "exclude-paths": ["*line"]}},
        },
    )
    repository.commit(**{"make.py": program, "buildspec.yml": spec})
    build = daemon.build(
        daemon.project(
            debian,
            source={"type": "GIT", "location": repository.url},
            artifacts={"type": "S3", "location": bucket, "packaging": "ZIP", "name": "a.zip"},
            secondaryArtifacts=[{"type": "S3", "location": bucket, "packaging": "NONE", "artifactIdentifier": "plain"}],
        )
    )
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    with zipfile.ZipFile(io.BytesIO(aws.object(bucket, "a.zip")[0])) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {name: name for name in NAMES}
    assert aws.object(bucket, "plain/with space")[0] == b"with space"
    assert aws.object(bucket, "plain/-rf")[0] == b"-rf"
    # The server of these tests, unlike S3, knows no key with a newline in it; so that one is left out.
    assert len(aws.keys(bucket)) == len(NAMES)


@pytest.mark.parametrize("packaging", ["ZIP", "NONE"])
@pytest.mark.parametrize("kept", ["yes", "no"])
def test_links_out_of_the_tree_bring_nothing_of_the_host_along(
    aws: Cloud, daemon: Daemon, busybox: str, tmp_path: Path, packaging: str, kept: str
) -> None:
    secret = tmp_path / "host-secret"
    secret.write_text("host-secret-content")
    bucket = aws.bucket()
    spec = buildspec(
        "mkdir out",
        "echo inside > out/real",
        "ln -s real out/within",
        f"ln -s {secret} out/absolute",
        f"ln -s ../../../../../../../../../../../../../..{secret} out/climbing",
        f"ln -s {tmp_path} out/folder",
        "ln -s /proc/self/environ out/environ",
        "ln -s loop out/loop",
        artifacts={"files": ["**/*", "folder/*"], "base-directory": "out", "enable-symlinks": kept},
        cache={"paths": ["out/**/*"]},
    )
    build = daemon.build(
        daemon.project(
            busybox,
            source={"type": "NO_SOURCE", "buildspec": spec},
            artifacts={"type": "S3", "location": bucket, "packaging": packaging, "name": "a"},
            cache={"type": "S3", "location": f"{bucket}/cache"},
        )
    )
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    assert "it leads out of the base directory or nowhere" in daemon.text(build)
    for key in aws.keys(bucket):
        body = aws.object(bucket, key)[0]
        assert b"host-secret-content" not in body
        assert key.startswith(("a", "cache/"))
    if packaging == "ZIP":
        with zipfile.ZipFile(io.BytesIO(aws.object(bucket, "a")[0])) as archive:
            assert archive.namelist() == ["real", "within"]
            assert archive.read("real") == b"inside\n"
            mode = archive.getinfo("within").external_attr >> 16
            assert archive.read("within") == (b"real" if kept == "yes" else b"inside\n")
            assert stat.S_ISLNK(mode) == (kept == "yes")
    daemon.assert_nothing_left(build)


def test_a_base_directory_that_is_a_link_out_of_the_tree_is_none(
    aws: Cloud, daemon: Daemon, busybox: str, tmp_path: Path
) -> None:
    (tmp_path / "host-file").write_text("host-secret-content")
    bucket = aws.bucket()
    spec = buildspec(f"ln -s {tmp_path} out", artifacts={"files": ["**/*"], "base-directory": "out"})
    build = daemon.build(
        daemon.project(
            busybox,
            source={"type": "NO_SOURCE", "buildspec": spec},
            artifacts={"type": "S3", "location": bucket, "packaging": "ZIP"},
        )
    )
    assert build["buildStatus"] == "FAILED"
    assert "no matching base directory path found for out" in daemon.text(build)
    assert aws.keys(bucket) == []


def test_a_cache_that_is_restored_through_links_stays_in_its_place(
    aws: Cloud, daemon: Daemon, busybox: str, tmp_path: Path
) -> None:
    """The second build finds a link to the host where its cache belongs."""
    bucket = aws.bucket()
    repository = Repository(tmp_path / "git")
    spec = buildspec("rm -rf deps; mkdir deps; echo cached > deps/file", cache={"paths": ["deps/**/*"]})
    repository.commit(**{"buildspec.yml": spec})
    target = tmp_path / "target"
    target.mkdir()
    project = daemon.project(
        busybox,
        source={"type": "GIT", "location": repository.url},
        cache={"type": "S3", "location": f"{bucket}/cache"},
    )
    assert daemon.build(project)["buildspecd"]["cache"]["saved"] is True
    (repository.work / "deps").symlink_to(target)
    repository.commit("a link", file="x")
    build = daemon.build(project)
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    assert list(target.iterdir()) == []


def test_a_build_that_forges_its_own_control_files_harms_only_itself(
    aws: Cloud, daemon: Daemon, busybox: str, tmp_path: Path
) -> None:
    secret = tmp_path / "host-secret"
    secret.write_text("host-secret-content")
    commands = (
        "echo begun",
        f"cd /codebuild/agent && rm -f journal output && ln -s {secret} journal && ln -s {secret} output",
        f"rm -f after.1; ln -s {secret} after.1; echo end",
    )
    build = daemon.build(daemon.inline(busybox, *commands))
    assert build["buildComplete"] is True
    assert "host-secret-content" not in daemon.text(build) + json.dumps(build)
    daemon.assert_nothing_left(build)
    after: Json = daemon.build(daemon.inline(busybox, "echo still here"))
    assert after["buildStatus"] == "SUCCEEDED"
