"""Consoles: `LogsLocation`, with the ARNs and AWS console links of a build's log (service.md 4.5). Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from agent.model.build import Build

_HOSTS = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def logs_location(build: Build) -> dict[str, Any]:
    """Return the member `logs` of a build: where its log is, and the settings that put it there."""
    _, partition, _, region, account, *_ = (*build.arn.split(":"), "", "", "", "", "")
    return {
        **_cloudwatch(build, partition, region, account),
        **_s3(build, partition, region),
        **build.project.logs_config.wire(),
    }


def _cloudwatch(build: Build, partition: str, region: str, account: str) -> dict[str, Any]:
    """Return the CloudWatch members. Before the stream exists AWS writes the word `null`, and clients look for it."""
    group, stream = build.logs.group_name, build.logs.stream_name
    asked = build.project.logs_config.cloud_watch_logs
    names: dict[str, Any] = {}
    if group and stream:
        names = {"groupName": group, "streamName": stream}
    elif asked is None or asked.status == "DISABLED":
        return {}
    group, stream = (group, stream) if group and stream else ("null", "null")
    page = f"https://{_HOSTS.get(partition, _HOSTS['aws'])}/cloudwatch/home?region={region}"
    return {
        **names,
        "deepLink": f"{page}#logsV2:log-groups/log-group/{_twice(group)}/log-events/{_twice(stream)}",
        "cloudWatchLogsArn": f"arn:{partition}:logs:{region}:{account}:log-group:{group}:log-stream:{stream}",
    }


def _s3(build: Build, partition: str, region: str) -> dict[str, Any]:
    """Return the S3 members; a log in a directory of this host has its `file://` address in both."""
    location = build.logs.s3_location
    if not location:
        return {}
    if location.startswith("file://"):
        return {"s3LogsArn": location, "s3DeepLink": location}
    path = location.removeprefix("s3://")
    if path.startswith("arn:"):
        path = path.split(":::", 1)[-1]
    return {
        "s3LogsArn": f"arn:{partition}:s3:::{path}",
        "s3DeepLink": f"https://s3.{_HOSTS.get(partition, _HOSTS['aws'])}/s3/object/{quote(path)}?region={region}",
    }


def _twice(name: str) -> str:
    """Encode a name as the CloudWatch console wants it in its address: twice, with `$` for the outer `%`."""
    return quote(quote(name, safe=""), safe="").replace("%", "$")
