"""The policy in aws/ allows what the code calls, and nothing that it does not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "aws" / "agent-policy.yml").read_text()
THROUGH_GIT = {"codecommit"}
"""Services that git asks, with a signature of ours."""


def services_called() -> set[str]:
    sources = [path.read_text() for path in (ROOT / "agent").rglob("*.py")]
    return {name for text in sources for name in re.findall(r'client\("([a-z0-9]+)"', text)}


def test_every_service_that_is_called_is_in_the_policy_and_no_other() -> None:
    allowed = set(re.findall(r"^ +(?:- |Action: )([a-z0-9]+):[A-Z]\w+$", POLICY, re.MULTILINE))
    assert services_called() | THROUGH_GIT == allowed


def test_sources_in_s3_may_be_read_in_every_version_and_listed_and_nothing_more() -> None:
    statements = {text.split()[0]: text for text in re.split(r"- Sid: ", POLICY)[1:]}
    actions = {name: set(re.findall(r"\bs3:\w+", statements[name])) for name in ("ReadSources", "ListSources")}
    assert actions == {"ReadSources": {"s3:GetObject", "s3:GetObjectVersion"}, "ListSources": {"s3:ListBucket"}}


def test_of_the_queue_messages_may_be_taken_put_back_deleted_and_counted_and_nothing_sent() -> None:
    statement = next(text for text in re.split(r"- Sid: ", POLICY) if text.startswith("ReadEvents"))
    words = {"ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"}
    assert set(re.findall(r"\bsqs:(\w+)", statement)) == words
    assert "Resource: !Ref QueueArns" in statement


def test_roles_of_builds_alone_may_be_assumed_and_tagged() -> None:
    statement = next(text for text in re.split(r"- Sid: ", POLICY) if text.startswith("AssumeRolesOfBuilds"))
    assert set(re.findall(r"\bsts:([A-Z]\w+)", POLICY)) == {"AssumeRole", "TagSession"}
    assert "Resource: !Ref BuildRoleArns" in statement


def test_only_what_has_no_resource_is_allowed_on_all_of_them() -> None:
    statements = re.split(r"- Sid: ", POLICY)[1:]
    wide = {text.split()[0] for text in statements if 'Resource: "*"' in text}
    assert wide == {"CountBuilds", "DoPipelineJobs", "FindLifecycleHooks", "PullImages"}


def test_of_pipelines_jobs_may_be_asked_for_and_done_and_no_action_type_made() -> None:
    words = {"PollForJobs", "AcknowledgeJob", "GetJobDetails", "PutJobSuccessResult", "PutJobFailureResult"}
    assert set(re.findall(r"\bcodepipeline:([A-Z]\w+)", POLICY)) == words
