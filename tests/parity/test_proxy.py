"""Section 8 of buildspec.md: artifacts and log go through the proxy that the build names, or past it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.model.project import Artifacts, CloudWatchLogs, LogsConfig
from tests.fakes.proxy import ForwardProxy, forward_proxy
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with forward_proxy() as running:
        yield running


def build(site: Site, proxy: ForwardProxy, flags: dict[str, str], **variables: str) -> Ended:
    client = site.workshop.aws.client("s3")
    client.create_bucket(Bucket="proxied", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    given: dict[str, Any] = {"proxy": flags} if flags else {}
    ended = site.build(
        spec(
            env={"variables": {"HTTP_PROXY": proxy.url, **variables}},
            build=["echo one > out"],
            artifacts={"files": ["out"]},
            **given,
        ),
        artifacts=Artifacts(type="S3", location="proxied", name="it"),
        logs_config=LogsConfig(cloud_watch_logs=CloudWatchLogs(status="ENABLED", group_name="proxied")),
    )
    assert ended.status == "SUCCEEDED"
    assert "Key" in client.list_objects_v2(Bucket="proxied")["Contents"][0]
    for stored in client.list_objects_v2(Bucket="proxied")["Contents"]:
        client.delete_object(Bucket="proxied", Key=stored["Key"])
    client.delete_bucket(Bucket="proxied")
    return ended


def test_artifacts_go_through_the_proxy_that_the_build_names_when_it_says_so(
    aws_site: Site, proxy: ForwardProxy
) -> None:
    build(aws_site, proxy, {"upload-artifacts": "yes"})
    assert proxy.asked
    assert all("/proxied" in url for _, url in proxy.asked)


def test_the_log_goes_through_the_proxy_when_the_build_says_so(aws_site: Site, proxy: ForwardProxy) -> None:
    ended = build(aws_site, proxy, {"logs": "yes"})
    assert proxy.asked
    assert not any("/proxied" in url for _, url in proxy.asked)
    logs = aws_site.workshop.aws.client("logs")
    events = logs.get_log_events(logGroupName="proxied", logStreamName=ended.build.uuid, startFromHead=True)["events"]
    assert any("Entering phase BUILD" in event["message"] for event in events)


@pytest.mark.parametrize(
    ("flags", "variables"),
    [({}, {}), ({"upload-artifacts": "yes", "logs": "yes"}, {"NO_PROXY": "localhost,127.0.0.1"})],
)
def test_nothing_goes_through_it_otherwise(
    flags: dict[str, str], variables: dict[str, str], aws_site: Site, proxy: ForwardProxy
) -> None:
    build(aws_site, proxy, flags, **variables)
    assert proxy.asked == []
