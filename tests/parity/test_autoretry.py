"""`autoRetryLimit` (service.md 1.2), as whole builds: a retry is built, and knows where in its chain it stands."""

from __future__ import annotations

import io

import pytest

from agent.daemon.autoretry import AutoRetry
from agent.kit.service import StopToken
from agent.model.status import Status
from agent.pipeline.route import travel
from agent.store.builds import Builds
from agent.web.shapes import build_json
from tests.parity.site import Site, spec

pytestmark = pytest.mark.docker


def test_a_failed_build_is_built_again_with_the_same_parameters_up_to_the_limit(site: Site) -> None:
    shop = site.workshop
    shop.recorder.successor = AutoRetry(shop.database, shop.intake_for({}))
    variables = [{"name": "WORD", "value": "given"}]
    first = site.build(
        spec(build=["echo $WORD $CODEBUILD_INITIATOR $CODEBUILD_BUILD_NUMBER", "false"]),
        overrides={"environmentVariablesOverride": variables, "autoRetryLimitOverride": 1},
    )
    assert (first.status, first.output[0]) == ("FAILED", "given tester 1")
    (waiting,) = Builds(shop.database).open()
    console = io.BytesIO()
    job = shop.new_job(shop.recorder.leave(waiting, Status.SUCCEEDED), StopToken(), console)
    assert travel(job) is Status.FAILED
    assert f"given buildspecd/AWSCodeBuild-{first.build.uuid} 2\n" in console.getvalue().decode()
    assert [build_json(build)["autoRetryConfig"] for build in (first.build, job.build)] == [
        {"autoRetryLimit": 1, "autoRetryNumber": 0, "nextAutoRetry": job.build.arn},
        {"autoRetryLimit": 1, "autoRetryNumber": 1, "previousAutoRetry": first.build.arn},
    ]
    assert Builds(shop.database).open() == []


def test_a_build_that_ran_out_of_time_is_retried_and_a_stopped_one_is_not(site: Site) -> None:
    shop = site.workshop
    shop.recorder.successor = AutoRetry(shop.database, shop.intake_for({}))
    late = site.build(spec(build=["sleep 60"]), timeout_in_minutes=0.02, auto_retry_limit=1)
    assert (late.build.timed_out, late.build.auto_retry.next is None) == (True, False)
    stopped = site.start(spec(build=["sleep 60"]), auto_retry_limit=1)
    stopped.stop()
    assert stopped.end().build.auto_retry.next is None
