"""Section 11.5 of buildspec.md: caches that stay on the host, as whole builds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from agent.cache.local import folder_of
from agent.model.project import Artifacts, Cache
from tests import images
from tests.parity.site import Site, spec, until

pytestmark = pytest.mark.docker

CUSTOM = Cache(type="LOCAL", modes=("LOCAL_CUSTOM_CACHE", "LOCAL_SOURCE_CACHE"))
DOCKER = Cache(type="LOCAL", modes=("LOCAL_DOCKER_LAYER_CACHE",))
PLACE = "/codebuild/local-cache/custom"


def slots(site: Site) -> list[str]:
    """Return the slots of the project `web`."""
    return sorted(path.name for path in (site.place / "state" / "cache" / "web").iterdir() if path.is_dir())


def owned(site: Site) -> list[Path]:
    return list((site.place / "state" / "cache").rglob("owner"))


def test_directories_within_and_beyond_the_source_survive_to_the_next_build(site: Site) -> None:
    told = "cat deps/kept deps/new /root/.m2/jar named/x 2>&1 | grep -v 'No such file'; ls deps"
    buildspec = spec(
        env={"variables": {"NAMED": "named"}},
        install=[told, "echo it > /root/.m2/jar; echo x > named/x; echo first >> deps/new; ls -l deps | cut -c1"],
        cache={"paths": ["deps/**/*", "/root/.m2/**/*", "$NAMED", "f", "/etc", "../.."], "key": "k", "action": "save"},
        artifacts={"files": ["deps/*", "named/**/*"]},
    )
    out = Artifacts(type="S3", location=site.bucket, name="out")
    first = site.build(buildspec, files={"deps/kept": "old\n", "f": "file"}, cache=CUSTOM, artifacts=out)
    assert (first.status, first.output) == ("SUCCEEDED", ["old", "kept", "l"])
    second = site.build(buildspec, files={"deps/kept": "changed\n", "f": "file"}, cache=CUSTOM, artifacts=out)
    assert second.output == ["old", "first", "it", "x", "kept", "new", "l"], "what is cached wins"
    assert (first.build.cache.restored, second.build.cache.restored) == ("miss", "hit")
    assert site.stored("out") == ["deps/kept", "deps/new", "named/x"]
    cached = f"{PLACE}/{folder_of('deps')}/deps"
    start = second.lines.index("Expanded cache path deps/**/*")
    assert second.lines[start - 1] == "warning: cache.key, cache.action: without effect on a LOCAL cache"
    assert second.lines[start + 6 : start + 8] == [
        f"MkdirAll: {cached}",
        f"Symlinking: {second.source}/deps => {cached}",
    ]
    refusal = "Unable to initialize cache download: "
    assert [line.removeprefix(refusal) for line in second.lines if line.startswith(refusal)] == [
        f"only directories can be cached locally: {second.source}/f",
        "/etc is not for a build to cache",
        "/codebuild/output is not for a build to cache",
    ]
    assert (slots(site), owned(site)) == (["0-0"], [])
    assert any(line == f"Symlinking: /root/.m2 => {PLACE}/{folder_of('/root/.m2')}/root/.m2" for line in first.lines)


def test_artifacts_take_a_cached_directory_for_what_it_is_by_any_pattern(site: Site) -> None:
    fill = "mkdir -p app/lib/x own; echo a > app/lib/a.js; echo b > app/lib/x/b.js; echo c > own/c.js; ln -s /etc out"
    ended = site.build(
        spec(
            build=[fill],
            cache={"paths": ["app/lib/**/*", "/root/.npm"]},
            artifacts={"files": ["**/*.js"], "exclude-paths": ["app/lib/x/*"]},
        ),
        cache=CUSTOM,
        artifacts=Artifacts(type="S3", location=site.bucket, name="out"),
    )
    assert (ended.status, site.stored("out")) == ("SUCCEEDED", ["app/lib/a.js", "own/c.js"])


def test_two_builds_at_once_never_share_a_slot_and_a_stopped_one_gives_its_own_back(site: Site) -> None:
    wait = "while [ ! -e /root/.m2/go ]; do usleep 5000; done"
    slow = spec(build=["echo slow > /root/.m2/who; echo here", wait], cache={"paths": ["/root/.m2"]})
    fast = spec(build=["cat /root/.m2/who || echo cold"], cache={"paths": ["/root/.m2"]})
    running = site.start(slow, cache=CUSTOM)
    until(lambda: running.saw("\nhere\n"))
    other = site.build(fast, cache=CUSTOM)
    assert (other.output[-1], slots(site), len(owned(site))) == ("cold", ["0-0", "0-1"], 1)
    assert (site.place / "state" / "cache" / "web" / "0-0" / "owner").read_text() == running.job.build.id
    running.stop()
    assert running.end().status == "STOPPED"
    assert site.build(fast, cache=CUSTOM).output == ["slow"], "what a stopped build left is there"
    site.workshop.caches.invalidate("web")
    assert site.build(fast, cache=CUSTOM).output[-1] == "cold"


def test_a_user_of_the_image_can_write_into_the_cache(site: Site) -> None:
    write = {"run-as": "u1", "commands": ["cat deps/it || echo cold; id -u > deps/it; mkdir -p deps/more/and"]}
    for expected in ("cold", "1001"):
        ended = site.build(spec(build=write, cache={"paths": ["deps"]}), cache=CUSTOM)
        assert (ended.status, ended.output[-1]) == ("SUCCEEDED", expected)


@pytest.fixture
def privileged() -> dict[str, bool]:
    """What makes a build privileged, where the engine can."""
    command = ["docker", "run", "--rm", "--privileged", images.busybox_image(), "true"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this engine runs no privileged container: `.ci/engine test` starts one that does")
    return {"privilegedModeOverride": True}


def test_the_docker_layers_of_privileged_builds_are_kept(site: Site, privileged: dict[str, bool]) -> None:
    """The inner daemon is played by a command: what counts is whose directory it writes into."""
    play = "cat /var/lib/docker/layer || echo cold; echo layer > /var/lib/docker/layer"
    first = site.build(spec(build=[play]), cache=DOCKER, overrides=privileged)
    second = site.build(spec(build=[play]), cache=DOCKER, overrides=privileged)
    assert (first.output[-1], second.output[-1]) == ("cold", "layer")
    assert owned(site) == []


def test_docker_layers_of_other_builds_are_not_kept_and_the_log_says_so(site: Site) -> None:
    ended = site.build(spec(build=["ls /var/lib/docker || echo none"], cache={"paths": ["deps"]}), cache=DOCKER)
    assert ended.output[-1] == "none"
    assert any("LOCAL_DOCKER_LAYER_CACHE needs environment.privilegedMode" in line for line in ended.lines)
    assert "Skip cache due to: the project's LOCAL cache has no mode LOCAL_CUSTOM_CACHE" in ended.lines
    assert not (site.place / "state" / "cache").exists()


def test_a_cache_that_was_invalidated_is_not_seen_by_the_next_build(site: Site) -> None:
    stored = Cache(type="S3", location=site.bucket)
    buildspec = spec(build=["cat d/it || echo cold; mkdir -p d; echo kept > d/it"], cache={"paths": ["d/**/*"]})
    assert [site.build(buildspec, cache=stored).output[-1] for _ in range(2)] == ["cold", "kept"]
    assert site.workshop.caches.invalidate("web") == 1
    assert [site.build(buildspec, cache=stored).output[-1] for _ in range(2)] == ["cold", "kept"]
    assert json.dumps(site.stored()).count("-g1") == 1
