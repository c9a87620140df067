"""A page of some proxy in place of an answer: never a bug of ours, whatever botocore makes of it."""

from __future__ import annotations

import pytest

from agent.aws import UNKNOWN_ACCOUNT, Aws
from agent.errors import AwsUnavailable
from agent.torture.cloud import CloudServer, Fault


@pytest.mark.parametrize("kind", ["garbage", "garbage-done"])
def test_a_page_for_an_answer_of_sts_is_an_outage(
    cloud: CloudServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    aws = Aws(region="us-east-1", endpoint_url=cloud.url)
    rule = cloud.add(Fault(kind))
    with pytest.raises(AwsUnavailable, match="not of AWS"):
        aws.identify()
    assert aws.account == UNKNOWN_ACCOUNT
    cloud.remove(rule)
    assert aws.account != UNKNOWN_ACCOUNT
