"""Commands that a build finds in its PATH (buildspec.md 15), in whole builds."""

from __future__ import annotations

import hashlib

import pytest

from agent.model.project import AgentOptions
from tests import images
from tests.parity.site import Site, spec, until

pytestmark = pytest.mark.docker
DEBUG = AgentOptions(network="none", debug=True)


def test_case_86_seven_files_and_three_shards_are_cut_evenly_in_sorted_order(site: Site) -> None:
    names = [f"t/test_{letter}.sh" for letter in "gbadcfe"]
    run = "codebuild-tests-run --files-search \"codebuild-glob-search 't/**/test_*.sh'\" --test-command 'echo ran'"
    sharded = [f"CODEBUILD_CURRENT_SHARD={number} CODEBUILD_TOTAL_SHARDS=3 {run}" for number in (1, 2, 3)]
    ended = site.build(spec(build=[run, *sharded]), files=dict.fromkeys(names, ""))
    whole, *shards = [line.split()[1:] for line in ended.output if line.startswith("ran ")]
    assert whole == sorted(names) == [name for shard in shards for name in shard]
    assert [len(shard) for shard in shards] == [3, 2, 2]
    assert "codebuild-tests-run: shard 2 of 3: 2 of 7 files" in ended.output
    assert ended.status == "SUCCEEDED"


def test_case_89_a_breakpoint_without_a_debug_session_does_not_pause(site: Site) -> None:
    ended = site.build(spec(build=["codebuild-breakpoint", "codebuild-resume", "echo over"]))
    assert (ended.status, ended.output) == ("SUCCEEDED", ["over"])


@pytest.mark.parametrize("user", ["", "u1"], ids=["root", "run-as"])
def test_the_commands_serve_every_user_of_the_container(site: Site, user: str) -> None:
    commands = [
        "codebuild-hash-files 'sub/*.txt'",
        "codebuild-glob-search '**/*.txt'",
        "printf 'fetched-just-now' | buildspecd-mask && echo fetched-just-now",
        'buildspecd-mask "$(id -un)-made-of-words" && echo "it is $(id -un)-made-of-words"',
        "buildspecd-mask abc || echo refused",
    ]
    ended = site.build(
        spec(build=commands, **({"run_as": user} if user else {})), files={"sub/a.txt": "a", "sub/deep/b.txt": "b"}
    )
    digest = hashlib.sha256(hashlib.sha256(b"a").digest()).hexdigest()
    assert ended.output[:4] == [digest, "sub/a.txt", "sub/deep/b.txt", "***"], ended.log
    assert ended.output[4:] == ["it is ***", "buildspecd-mask: a value of less than 4 bytes is not masked", "refused"]


def test_a_debug_session_pauses_until_somebody_resumes(site: Site) -> None:
    running = site.start(spec(build=["codebuild-breakpoint", "echo over"], run_as="u1"), agent=DEBUG)
    until(lambda: running.saw(f"buildspecd shell {running.job.build.id}"))
    until(lambda: running.job.build.paused_since is not None)
    container = running.job.container or ""
    images.docker("exec", "--user", "1234", container, "/codebuild/user/bin/codebuild-resume")
    ended = running.end()
    assert (ended.status, ended.build.paused_since) == ("SUCCEEDED", None)
    assert ended.output[0].startswith("Paused at a breakpoint")
    assert ended.output[-2:] == ["Resumed", "over"]


def test_a_stop_ends_a_paused_build_as_any_other(site: Site) -> None:
    running = site.start(
        spec(build=["codebuild-breakpoint"]), overrides={"debugSessionEnabled": True, "timeoutInMinutesOverride": 5}
    )
    until(lambda: running.saw("Paused at a breakpoint"))
    running.stop()
    ended = running.end()
    assert (ended.status, ended.phases["BUILD"]) == ("STOPPED", "STOPPED")


def test_a_pause_counts_against_the_time_limit(site: Site) -> None:
    ended = site.build(spec(build=["codebuild-breakpoint"]), agent=DEBUG, timeout_in_minutes=0.04)
    assert (ended.status, ended.phases["BUILD"]) == ("FAILED", "TIMED_OUT")
