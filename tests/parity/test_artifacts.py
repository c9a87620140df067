"""Cases 63 to 72 of buildspec.md, section 16, and section 10: which files are kept, and under which keys."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agent.artifacts.key import artifact_key
from agent.model.project import Artifacts, Source
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker

TREE = {"dist/a/b.txt": "b", "dist/.x": "x", "dist/.git/config": "c", "ok.txt": "ok", "other.txt": "other"}
GUIDE = {
    "my-build1/my-file-1.txt": "1",
    "my-build2/my-file-2.txt": "2",
    "my-build2/my-subdirectory/my-file-3.txt": "3",
}


def built(
    site: Site, artifacts: dict[str, Any], files: dict[str, str], commands: tuple[str, ...] = (), **settings: Any
) -> Ended:
    """Build a tree with an artifact that goes to the bucket, as a folder `out` unless *settings* say otherwise."""
    where = Artifacts(**{"type": "S3", "location": site.bucket, "name": "out", **settings})
    return site.build(spec(build=list(commands) or ["true"], artifacts=artifacts), files=files, artifacts=where)


def lines_of_upload(ended: Ended) -> list[str]:
    """Return what the log says of UPLOAD_ARTIFACTS, without its last two lines."""
    lines = ended.said_after("Phase complete: POST_BUILD State: SUCCEEDED")
    return lines[1 : lines.index("Set report auto-discover timeout to 5 seconds")]


def test_case_63_everything_below_the_base_is_kept_dot_files_included(site: Site) -> None:
    ended = built(site, {"files": ["**/*"], "base-directory": "dist"}, TREE)
    assert site.stored("out") == [".git/config", ".x", "a/b.txt"]
    assert lines_of_upload(ended) == [
        "Expanding base directory path: dist",
        "Assembling file list",
        "Expanding dist",
        "Expanding file paths for base directory dist",
        "Assembling file list",
        "Expanding **/*",
        "Found 3 file(s)",
    ]


def test_case_64_nothing_that_matches_fails_the_upload(site: Site) -> None:
    ended = built(site, {"files": ["missing.zip"]}, TREE)
    assert ended.bad_phases == {"UPLOAD_ARTIFACTS": "FAILED"}
    assert ended.context("UPLOAD_ARTIFACTS") == ("CLIENT_ERROR", "no matching artifact paths found")
    assert lines_of_upload(ended)[-1] == "Skipping invalid file path missing.zip"
    assert ended.lines[-2:] == [
        "Phase complete: UPLOAD_ARTIFACTS State: FAILED",
        "Phase context status code: CLIENT_ERROR Message: no matching artifact paths found",
    ]


def test_case_65_one_pattern_that_matches_is_enough(site: Site) -> None:
    ended = built(site, {"files": ["missing.zip", "ok.txt"]}, TREE)
    assert (ended.status, site.stored()) == ("SUCCEEDED", ["out/ok.txt"])
    assert lines_of_upload(ended)[-2:] == ["Found 1 file(s)", "Skipping invalid file path missing.zip"]


def test_case_66_a_missing_base_directory_is_named(site: Site) -> None:
    ended = built(site, {"files": ["**/*"], "base-directory": "nope"}, TREE)
    message = "no matching base directory path found for nope"
    assert ended.context("UPLOAD_ARTIFACTS") == ("CLIENT_ERROR", message)


def test_case_67_several_base_directories_flattened(site: Site) -> None:
    ended = built(site, {"files": ["**/*"], "base-directory": "my-build*", "discard-paths": "yes"}, GUIDE)
    assert ended.status == "SUCCEEDED"
    assert site.stored("out") == ["my-file-1.txt", "my-file-2.txt", "my-file-3.txt"]


def test_case_68_dot_files_are_left_out_when_excluded(site: Site) -> None:
    built(site, {"files": ["**/*"], "base-directory": "dist", "exclude-paths": ["**/.*"]}, TREE)
    assert ".x" not in site.stored("out")
    assert "a/b.txt" in site.stored("out")


def test_cases_69_and_70_and_every_row_of_the_key_table(site: Site) -> None:
    """Section 10.4, each row as a secondary artifact of one build, each in a bucket of its own."""
    rows: dict[str, tuple[dict[str, Any], str]] = {
        "r01": ({"packaging": "ZIP", "name": "x.zip", "path": "MyArtifacts"}, "MyArtifacts/x.zip"),
        "r02": ({"packaging": "ZIP", "name": "x.zip"}, "x.zip"),
        "r03": ({"packaging": "ZIP", "namespace_type": "BUILD_ID", "name": "x.zip", "path": "p"}, "p/<B>/x.zip"),
        "r04": ({"packaging": "ZIP", "namespace_type": "BUILD_ID", "name": "x.zip"}, "<B>/x.zip"),
        "r05": ({"name": "out", "path": "P"}, "P/out/f"),
        "r06": ({"namespace_type": "BUILD_ID", "name": "out", "path": "P"}, "P/<B>/out/f"),
        "r07": ({"name": "/"}, "f"),
        "r08": ({"namespace_type": "BUILD_ID", "name": "/", "path": "P"}, "P/<B>/f"),
        "r09": ({"namespace_type": "BUILD_ID", "name": "n.zip", "packaging": "ZIP", "path": "P"}, "pre/<B>/n.zip"),
        "r10": ({"name": "n", "path": "P"}, "P/n/f"),
        "r11": ({}, "r11/f"),
        "r12": ({"name": "a/b/", "path": "/P//q/"}, "P/q/a/b/f"),
    }
    prefixed = {"r09", "r10"}
    secondary = {name: {"files": ["f"], **({"s3-prefix": "pre"} if name in prefixed else {})} for name in rows}
    ended = site.build(
        spec(build=["true"], artifacts={"files": ["f"], "secondary-artifacts": secondary}),
        files={"f": "x"},
        secondary_artifacts=tuple(
            Artifacts(type="S3", artifact_identifier=name, location=f"{site.bucket}/{name}", **settings)
            for name, (settings, _) in rows.items()
        ),
    )
    assert ended.status == "SUCCEEDED"
    found = {name: [key.replace(ended.build.uuid, "<B>") for key in site.stored(name)] for name in rows}
    assert found == {name: [key] for name, (_, key) in rows.items()}
    places = {record.artifact_identifier: record for record in ended.build.secondary_artifacts}
    assert (places["r01"].location or "").endswith("/r01/MyArtifacts/x.zip")
    assert (places["r05"].location or "").endswith("/r05/P/out")
    assert all(bool(places[name].md5sum and places[name].sha256sum) == ("ZIP" in str(rows[name])) for name in rows)
    assert "Preparing to copy secondary artifacts r01" in ended.lines


def test_a_name_without_zip_is_used_as_it_is_and_the_prefix_needs_the_build_id() -> None:
    settings = Artifacts(type="S3", packaging="ZIP", name="plain", path="P", namespace_type="BUILD_ID")
    assert artifact_key(settings, project="p", build_uuid="B") == "P/B/plain"
    assert artifact_key(settings, project="p", build_uuid="B", s3_prefix="s") == "s/B/plain"


@pytest.mark.parametrize(
    ("override", "name", "folder"),
    [
        (True, "v-$(printf %s 2)-$MADE/sub", "v-2-late/sub"),
        (True, "builds/$CODEBUILD_BUILD_NUMBER/${MADE}x", "builds/1/latex"),
        (False, "v-$MADE", "out"),
    ],
)
def test_case_71_the_name_of_the_buildspec_counts_with_the_override_on(
    site: Site, override: bool, name: str, folder: str
) -> None:
    ended = built(site, {"files": ["ok.txt"], "name": name}, TREE, ("MADE=late",), override_artifact_name=override)
    assert (ended.status, site.stored()) == ("SUCCEEDED", [f"{folder}/ok.txt"])
    assert ended.build.artifacts is not None
    assert ended.build.artifacts.override_artifact_name is override


@pytest.mark.parametrize("name", ["$EMPTY", 'odd"quote', "$(exit 3)"])
def test_a_name_that_comes_to_nothing_fails_the_upload(site: Site, name: str) -> None:
    ended = built(site, {"files": ["ok.txt"], "name": name}, TREE, override_artifact_name=True)
    assert ended.bad_phases == {"UPLOAD_ARTIFACTS": "FAILED"}
    assert ended.context("UPLOAD_ARTIFACTS")[0] == "CLIENT_ERROR"
    assert site.stored() == []


def test_case_72_the_directory_of_a_secondary_source_is_expanded(site: Site) -> None:
    buildspec = spec(
        build=["SUB=deep"],
        artifacts={
            "files": ["x"],
            "secondary-artifacts": {
                "s1": {"base-directory": "$CODEBUILD_SRC_DIR_s1", "files": ["${SUB}/*", "lit$(eral)"]},
                "unknown": {"files": ["x"]},
            },
        },
    )
    ended = site.build(
        source=Source(type="DIRECTORY", location=str(site.tree({"buildspec.yml": buildspec, "x": ""}))),
        secondary_sources=(
            Source(
                type="DIRECTORY",
                location=str(site.tree({"deep/one": "1", "two": "2", "lit$(eral)": ""})),
                source_identifier="s1",
            ),
        ),
        artifacts=Artifacts(type="S3", location=site.bucket, name="main"),
        secondary_artifacts=(Artifacts(type="S3", location=site.bucket, artifact_identifier="s1"),),
    )
    assert ended.status == "SUCCEEDED"
    assert site.stored() == ["main/x", "s1/deep/one", "s1/lit$(eral)"]
    assert any("no secondary artifact unknown" in line for line in ended.lines)


def test_every_rule_of_the_globs(site: Site) -> None:
    """The table in section 10.2, each row as a secondary artifact of one build."""
    tree = ["top", ".dot", "a/one", "a/two", "a/deep/three", "a/.hid/four", "b1", "b2", "x{1,2}", "sub/dir/file"]
    rows: dict[str, tuple[dict[str, Any], list[str]]] = {
        "file": ({"files": ["a/one"]}, ["a/one"]),
        "star": ({"files": ["a/*"]}, ["a/one", "a/two"]),
        "dotted": ({"files": ["*"]}, [".dot", "b1", "b2", "buildspec.yml", "top", "x{1,2}"]),
        "below": ({"files": ["a/**/*"]}, ["a/.hid/four", "a/deep/three", "a/one", "a/two"]),
        "question": ({"files": ["b?", "b[1]"]}, ["b1", "b2"]),
        "braces": ({"files": ["x{1,2}", "b{1,2}"]}, ["x{1,2}"]),
        "lead": ({"files": ["./top", "bare/..", "a"]}, ["top"]),
        "absolute": ({"files": ["/tmp/made/*"]}, ["tmp/made/by-absolute"]),
        "folders": (
            {"files": ["**/*"], "base-directory": "a", "exclude-paths": "**/.*/**/*"},
            ["deep/three", "one", "two"],
        ),
        "named": ({"files": ["a/**/*"], "exclude-paths": ["a/deep/**/*", "**/two", "**/.*/**/*"]}, ["a/one"]),
        "flat": ({"files": ["a/deep/*", "sub/**/*"], "discard-paths": "yes"}, ["file", "three"]),
        "several": ({"files": ["**/*"], "base-directory": "s*"}, ["dir/file"]),
    }
    ended = site.build(
        spec(
            build=["mkdir /tmp/made; echo x > /tmp/made/by-absolute"],
            artifacts={"files": ["top"], "secondary-artifacts": {name: row for name, (row, _) in rows.items()}},
        ),
        files=dict.fromkeys(tree, "x"),
        secondary_artifacts=tuple(
            Artifacts(type="S3", location=f"{site.bucket}/{name}", artifact_identifier=name, name="/") for name in rows
        ),
    )
    assert ended.status == "SUCCEEDED", ended.log
    assert {name: site.stored(name) for name in rows} == {name: wanted for name, (_, wanted) in rows.items()}
    assert "Skipping invalid file path a" in ended.lines


def test_of_two_files_with_one_name_the_last_wins_with_a_warning(site: Site) -> None:
    ended = built(site, {"files": ["**/same"], "discard-paths": "yes"}, {"a/same": "first", "b/same": "last"})
    assert (site.place / "bucket/out/same").read_text() == "last"
    assert any(line.startswith("Warning: more than one file would be stored as same") for line in ended.lines)


def test_links_are_followed_or_kept_and_never_lead_out(site: Site) -> None:
    """Section 10.5."""
    make = ("mkdir dist; echo real > dist/real; ln -s real dist/inner; ln -s /etc/passwd dist/outer",)
    keep = {"files": ["**/*"], "base-directory": "dist", "enable-symlinks": "yes"}
    ended = built(site, keep, {}, make, packaging="ZIP", name="kept.zip")
    assert any("dist" not in line and "skipping symbolic link outer" in line for line in ended.lines)
    with zipfile.ZipFile(site.place / "bucket/kept.zip") as kept:
        assert sorted(kept.namelist()) == ["inner", "real"]
        assert stat.S_ISLNK(kept.getinfo("inner").external_attr >> 16)
    built(site, {"files": ["**/*"], "base-directory": "dist"}, {}, make)
    assert site.stored("out") == ["inner", "real"]
    assert (site.place / "bucket/out/inner").read_text() == "real\n"


def test_without_a_section_and_without_artifacts_nothing_is_said(site: Site) -> None:
    assert lines_of_upload(site.build(spec(build=["true"]))) == []


def test_a_section_for_a_project_without_artifacts_is_skipped_silently(site: Site) -> None:
    assert lines_of_upload(site.build(spec(build=["true"], artifacts={"files": ["missing"]}))) == []


def test_a_project_with_artifacts_and_a_buildspec_without_is_green_with_a_warning(site: Site) -> None:
    ended = site.build(spec(build=["true"]), artifacts=Artifacts(type="S3", location=site.bucket))
    assert ended.status == "SUCCEEDED"
    assert [line.partition(":")[0] for line in lines_of_upload(ended)] == ["warning"]


def test_an_upload_that_is_refused_has_the_words_of_the_guide(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = built(site, {"files": ["ok.txt"]}, TREE, location=(tmp_path / "file").as_uri())
    assert ended.bad_phases == {"UPLOAD_ARTIFACTS": "FAILED"}
    assert ended.context("UPLOAD_ARTIFACTS")[1].startswith("Error uploading artifacts:")


def test_an_object_in_a_bucket_knows_its_build_and_is_encrypted(aws_site: Site) -> None:
    """Sections 10.4 and 10.5."""
    s3 = aws_site.workshop.aws.client("s3")
    s3.create_bucket(Bucket="parity", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    ended = built(aws_site, {"files": ["ok.txt"]}, TREE, location="parity", packaging="ZIP", name="x.zip", path="p")
    head = s3.head_object(Bucket="parity", Key="p/x.zip")
    assert head["Metadata"]["codebuild-buildarn"] == ended.build.arn
    assert head["ServerSideEncryption"] == "aws:kms"
    assert ended.build.artifacts is not None
    assert ended.build.artifacts.location == "arn:aws:s3:::parity/p/x.zip"
    missing = built(aws_site, {"files": ["ok.txt"]}, TREE, location="parity-none", name="x")
    assert missing.context("UPLOAD_ARTIFACTS")[1].startswith("Error uploading artifacts:")
