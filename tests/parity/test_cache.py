"""Cases 73 to 77 and 88 of buildspec.md, section 16, and section 11: caches; runtimes that an image does not have."""

from __future__ import annotations

from typing import Any

import pytest

from agent.model.project import Cache
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker

KEY = "k-$(codebuild-hash-files f)"


def built(site: Site, wanted: dict[str, Any] | None, f: str = "one", *, put: str = "", **settings: Any) -> Ended:
    """Build a tree with file `f`, telling what lies in `deps/it`, and writing *put* there if given."""
    told = "cat deps/it 2>/dev/null || echo cold"
    write = [f"mkdir -p deps; echo {put} > deps/it"] if put else []
    sections = {} if wanted is None else {"cache": wanted}
    project: dict[str, Any] = {"cache": Cache(type="S3", location=f"{site.bucket}"), **settings}
    return site.build(spec(build=[told, *write], **sections), files={"f": f}, **project)


def test_case_73_an_unchanged_key_is_an_exact_hit_and_nothing_is_saved(site: Site) -> None:
    wanted = {"key": KEY, "paths": ["deps/**/*"]}
    first = built(site, wanted, put="first")
    assert (first.output, first.build.cache.restored, first.build.cache.saved) == (["cold"], "miss", True)
    kept = site.stored()
    second = built(site, wanted, put="second")
    assert (second.output, second.build.cache.restored, second.build.cache.saved) == (["first"], "hit", False)
    assert site.stored() == kept
    assert built(site, wanted).output == ["first"], "a stored copy is never replaced"


def test_case_74_a_changed_key_falls_back_by_prefix_and_is_saved_anew(site: Site) -> None:
    wanted = {"key": KEY, "fallback-keys": ["nothing-", "k-"], "paths": ["deps/**/*"]}
    built(site, wanted, "one", put="old")
    changed = built(site, wanted, "two", put="new")
    assert (changed.output, changed.build.cache.restored, changed.build.cache.saved) == (["old"], "hit", True)
    assert len(site.stored()) == 2
    assert built(site, wanted, "two").output == ["new"]
    assert built(site, wanted, "one").output == ["old"]
    assert built(site, wanted, "three").output == ["new"], "the newest of several wins"


def test_case_75_other_paths_never_match(site: Site) -> None:
    built(site, {"key": "same", "fallback-keys": ["s"], "paths": ["deps/**/*"]}, put="kept")
    other = built(site, {"key": "same", "fallback-keys": ["s"], "paths": ["deps/**/*", "x/**/*"]})
    assert (other.output, other.build.cache.restored) == (["cold"], "miss")


def test_case_76_restore_never_writes_and_save_never_reads(site: Site) -> None:
    wanted = {"paths": ["deps/**/*"]}
    reader = built(site, {**wanted, "action": "restore"}, put="unwanted")
    assert (reader.build.cache.saved, site.stored()) == (False, [])
    assert built(site, {**wanted, "action": "save"}, put="kept").build.cache.saved
    writer = built(site, {**wanted, "action": "save"})
    assert writer.output == ["cold"]
    assert built(site, {**wanted, "action": "restore"}).output == ["kept"]


def test_case_77_fallback_keys_without_a_key_are_ignored(site: Site) -> None:
    built(site, {"key": "k-1", "paths": ["deps/**/*"]}, put="keyed")
    ended = built(site, {"fallback-keys": ["k-"], "paths": ["deps/**/*"]})
    assert ended.output == ["cold"]
    assert any("cache.fallback-keys are ignored without a cache.key" in line for line in ended.lines)


def test_a_key_whose_command_fails_switches_caching_off(site: Site) -> None:
    """Half a key would be that of every other build."""
    ended = built(site, {"key": "k-$(no-such-command f)", "paths": ["deps/**/*"]}, put="kept")
    assert (ended.build.cache.restored, ended.build.cache.saved, site.stored()) == ("off", False, [])
    assert any("cache.key cannot be evaluated; nothing is cached" in line for line in ended.lines)


def test_a_cache_without_a_key_is_restored_before_install_and_saved_in_post_build(site: Site) -> None:
    wanted = {"paths": ["deps/**/*", "/root/.m2/**/*", "$NAMED/**/*"]}
    commands = [
        "cat /root/.m2/jar named/x 2>/dev/null || echo cold",
        "mkdir -p /root/.m2 named; echo m2 > /root/.m2/jar; echo x > named/x",
    ]
    buildspec = spec(env={"variables": {"NAMED": "named"}}, install=commands, post_build=["echo last"], cache=wanted)
    project = {"cache": Cache(type="S3", location=site.bucket)}
    first, second = site.build(buildspec, **project), site.build(buildspec, **project)
    assert first.output == ["cold", "last"]
    assert second.output == ["m2", "x", "last"]
    expanded = [f"Expanded cache path {path}" for path in ("deps/**/*", "/root/.m2/**/*", "named/**/*")]
    moved = second.lines.index(f"Moving to directory {second.source}")
    assert second.lines[moved + 1 : moved + 6] == [*expanded, "Downloading S3 cache...", "Unarchiving cache..."]
    assert second.lines.index("Unarchiving cache...") < second.lines.index("Phases found in YAML: 2")
    uploading = first.lines.index("Uploading S3 cache...")
    assert first.lines[uploading - 1] == "Running command echo last"
    assert first.lines[uploading + 1] == "Phase complete: POST_BUILD State: SUCCEEDED"


@pytest.mark.parametrize("name", ["build", "post_build"])
def test_nothing_is_saved_by_a_build_that_failed(site: Site, name: str) -> None:
    phases: dict[str, Any] = {name: ["mkdir deps; echo x > deps/it; false"]}
    cache = Cache(type="S3", location=site.bucket)
    ended = site.build(spec(**phases, cache={"paths": ["deps/**/*"]}), cache=cache)
    assert (ended.status, ended.build.cache.saved, site.stored()) == ("FAILED", False, [])


def test_a_checked_out_file_is_never_hidden_by_the_cache(site: Site) -> None:
    wanted = {"paths": ["**/*"]}
    built(site, wanted, "one", put="kept")
    ended = site.build(
        spec(build=["cat f deps/it"], cache=wanted), files={"f": "two\n"}, cache=Cache(type="S3", location=site.bucket)
    )
    assert ended.output == ["two", "kept"]


@pytest.mark.parametrize("cache", [None, {"paths": []}, {"key": "k"}])
def test_without_paths_the_cache_is_skipped_with_codebuilds_words(site: Site, cache: dict[str, Any] | None) -> None:
    ended = built(site, cache)
    assert ended.lines.count("Skip cache due to: no paths specified to be cached") == 1
    assert ("Cache is not defined in the buildspec" in ended.lines) is (cache is None)


def test_a_cache_that_cannot_be_had_fails_no_build(site: Site) -> None:
    (site.place / "file").write_text("in the way")
    blocked = Cache(type="S3", location=(site.place / "file").as_uri())
    ended = built(site, {"paths": ["deps/**/*"]}, put="x", cache=blocked)
    assert ended.status == "SUCCEEDED"
    assert any(line.startswith("Unable to download cache: ") for line in ended.lines)
    assert any(line.startswith("Unable to upload cache: ") for line in ended.lines)


def test_projects_share_keyed_copies_through_a_namespace(site: Site) -> None:
    wanted = {"key": "k", "paths": ["deps/**/*"]}
    shared = Cache(type="S3", location=site.bucket, cache_namespace="team")
    built(site, wanted, put="shared", name="one", cache=shared)
    assert built(site, wanted, name="two", cache=shared).output == ["shared"]
    assert built(site, wanted, name="two").output == ["cold"]


def test_case_88_runtimes_are_skipped_with_a_warning_where_the_image_has_none(site: Site) -> None:
    ended = site.build(spec(install={"runtime-versions": {"docker": 20}}, build=["echo on"]))
    assert (ended.status, ended.output) == ("SUCCEEDED", ["on"])
    warning = "Skipping install of runtimes. Runtime version selection is not supported by this build image."
    start = ended.lines.index(warning)
    assert ended.lines[start + 1] == f"Moving to directory {ended.source}"
    assert " INSTALL: 0 commands" in ended.lines
