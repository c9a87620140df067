"""What a git host's API says of somebody's role becomes one of `approverRoles` (service.md 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agent.errors import GitUnavailable, SourceRefused
from agent.model.project import Source
from agent.notify.githosts import GitHost
from agent.triggers.hooks.roles import Roles, address_of, role_in
from tests.unit.triggers.hooks.test_judge import project, pull

GITHUB = GitHost("github", "https://api.github.com", "https://github.com", "octo/shop")
GITLAB = GitHost("gitlab", "https://gitlab.com/api/v4", "https://gitlab.com", "octo/sub/shop")
BITBUCKET = GitHost("bitbucket", "https://api.bitbucket.org/2.0", "https://bitbucket.org", "octo/shop")


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None


def test_each_host_is_asked_at_its_own_address() -> None:
    assert address_of(GITHUB, "ada") == "https://api.github.com/repos/octo/shop/collaborators/ada/permission"
    assert address_of(GITHUB, "../x?y").endswith("/collaborators/..%2Fx%3Fy/permission")
    assert address_of(GITLAB, "7") == "https://gitlab.com/api/v4/projects/octo%2Fsub%2Fshop/members/all/7"
    assert address_of(BITBUCKET, "5:a") == (
        "https://api.bitbucket.org/2.0/workspaces/octo/permissions/repositories/shop?q=user.account_id%3D%225%3Aa%22"
    )


@pytest.mark.parametrize(
    ("place", "body", "role"),
    [
        (GITHUB, {"permission": "write", "role_name": "maintain"}, "GITHUB_MAINTAIN"),
        (GITHUB, {"permission": "write", "role_name": "release-crew"}, "GITHUB_WRITE"),
        (GITHUB, {"permission": "none"}, None),
        (GITLAB, {"access_level": 30, "state": "active"}, "GITLAB_DEVELOPER"),
        (GITLAB, {"access_level": 50, "state": "blocked"}, None),
        (GITLAB, {"access_level": "50"}, None),
        (BITBUCKET, {"values": [{"permission": "admin"}]}, "BITBUCKET_ADMIN"),
        (BITBUCKET, {"values": []}, None),
        (BITBUCKET, {"values": [{"permission": "read"}, {"permission": "admin"}]}, None),
        (GITHUB, ["x"], None),
        (BITBUCKET, {"values": ["x"]}, None),
    ],
)
def test_an_answer_names_a_role_or_none(place: GitHost, body: Any, role: str | None) -> None:
    assert role_in(place, body) == role


def test_where_nobody_can_tell_there_is_no_role() -> None:
    def refused(source: Source, address: str) -> Answer:
        raise SourceRefused("there is no login")

    assert Roles(lambda _: None, lambda *_: Answer(200, {"permission": "admin"}))(project(), pull()) is None
    assert Roles(lambda _: GITHUB, refused)(project(), pull()) is None
    assert Roles(lambda _: GITHUB, lambda *_: Answer(404))(project(), pull()) is None
    assert Roles(lambda _: GITHUB, lambda *_: Answer(401))(project(), pull()) is None
    assert Roles(lambda _: GITHUB, lambda *_: Answer(200, {"permission": "admin"}))(project(), pull()) == "GITHUB_ADMIN"
    with pytest.raises(GitUnavailable):
        Roles(lambda _: GITHUB, lambda *_: Answer(429))(project(), pull())
