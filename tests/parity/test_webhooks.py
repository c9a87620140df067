"""Webhooks, as whole builds (buildspec.md 7.1, case 62)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.model.project import AgentOptions, Environment, Project, Source, Webhook, WebhookFilter
from agent.triggers.hooks.github import github
from agent.triggers.hooks.judge import judge
from tests import images
from tests.fakes import hooks
from tests.fakes.hooks import body_of
from tests.fakes.repository import Repository
from tests.parity.site import QUIET, Site, spec

pytestmark = pytest.mark.docker


def test_case_62_a_pull_request_webhook_builds_pr_7_at_the_commit_that_it_told_of(site: Site, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "git")
    base = repository.commit("base", **{"buildspec.yml": spec(build=["env | grep ^CODEBUILD_ | sort", "cat file"])})
    head = repository.commit("head", file="of the event")
    repository.push("HEAD:refs/pull/7/head")
    repository.commit("later", file="pushed since")
    repository.push("HEAD:refs/pull/7/head", f"{base}:refs/heads/main")
    source = Source(type="GITHUB", location=repository.url)
    filters = ((WebhookFilter(type="EVENT", pattern="PULL_REQUEST_CREATED"),),)
    project = Project(
        name="web",
        source=source,
        environment=Environment(image=images.busybox_image()),
        webhook=Webhook(filter_groups=filters),
        agent=AgentOptions(network="none"),
        logs_config=QUIET,
    )
    body = body_of(hooks.github_pull(head=head, url=repository.url))
    request = judge(project, github(hooks.github_headers("pull_request", body), body).events[0]).request
    assert request is not None

    ended = site.build(source=source, request=request.model_dump())
    assert ended.status == "SUCCEEDED", ended.log
    values = dict(line.split("=", 1) for line in ended.output if line.startswith("CODEBUILD_"))
    assert values["CODEBUILD_SOURCE_VERSION"] == "pr/7"
    assert values["CODEBUILD_WEBHOOK_TRIGGER"] == "pr/7"
    assert re.fullmatch(r"[0-9a-f]{40}", values["CODEBUILD_RESOLVED_SOURCE_VERSION"])
    assert values["CODEBUILD_RESOLVED_SOURCE_VERSION"] == head
    assert "of the event" in ended.output
    assert values["CODEBUILD_WEBHOOK_EVENT"] == "PULL_REQUEST_CREATED"
    assert values["CODEBUILD_WEBHOOK_BASE_REF"] == "refs/heads/main"
    assert values["CODEBUILD_WEBHOOK_HEAD_REF"] == "refs/heads/feature/x"
    assert values["CODEBUILD_INITIATOR"] == "GitHub-Hookshot/044aadd"
    assert "CODEBUILD_WEBHOOK_PREV_COMMIT" not in values
