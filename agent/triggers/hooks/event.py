"""Event: one thing that happened at a git host, in CodeBuild's terms (service.md 3.2). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.model.shape import Shape

Host = Literal["github", "github_enterprise", "bitbucket", "gitlab"]

PUSH = "PUSH"
PULL_REQUEST = "PULL_REQUEST_"
"""What the names of a pull request's events begin with."""
COMMENT = "COMMENT"
"""Somebody wrote `/codebuild_run(<sha>)` under a pull request; ours, since no filter can name it."""
NO_COMMIT = "0" * 40


class Repository(Shape):
    """The repository that an event is about. `addresses` are its URLs, in any form that the payload gave them."""

    name: str
    full_name: str
    organization: str | None = None
    addresses: tuple[str, ...]


class Event(Shape):
    """One event. `event` is CodeBuild's EVENT, or `COMMENT`; what does not apply, or is not told, is None.

    `head_sha` is the commit to build, `tip` what the ref of a push points to (of an annotated tag: the tag itself),
    `paths` and `message` say what it changed where the payload knows, `previous` is
    what the ref pointed to before a push (None: it is new). `base_sha`, `number`, `is_fork` and `association` belong
    to pull requests, `approves` and `comment` to comments. `actor` is the account's number or opaque id, `login` the
    name by which the host's API knows it; `author` is the same for who opened a pull request.
    """

    host: Host
    event: str
    repository: Repository
    actor: str | None = None
    login: str | None = None
    author: str | None = None
    association: str | None = None
    head_ref: str | None = None
    base_ref: str | None = None
    head_sha: str | None = None
    base_sha: str | None = None
    tip: str | None = None
    previous: str | None = None
    merge_commit: str | None = None
    number: int | None = None
    is_fork: bool = False
    paths: tuple[str, ...] | None = None
    message: str | None = None
    tag_name: str | None = None
    release_name: str | None = None
    workflow_name: str | None = None
    subject: str | None = None
    """What tells two events of one kind apart where no commit does: the id of a release, a job or a comment."""
    approves: str | None = None
    initiator: str

    @property
    def is_pull_request(self) -> bool:
        """Whether it tells of a pull request itself."""
        return self.event.startswith(PULL_REQUEST)

    @property
    def trigger(self) -> str | None:
        """CODEBUILD_WEBHOOK_TRIGGER: `pr/7`, `branch/x` or `tag/x` (buildspec.md 7.1)."""
        if self.is_pull_request:
            return f"pr/{self.number}"
        for prefix, kind in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
            if self.head_ref and self.head_ref.startswith(prefix):
                return f"{kind}/{self.head_ref.removeprefix(prefix)}"
        return None


@dataclass(frozen=True)
class Delivery:
    """What one request to a hook turned out to say. `ignored` gives the reason where there are no events.

    `id` is the host's own, the same when it delivers again; None where it gave none.
    """

    events: tuple[Event, ...] = ()
    ignored: str = ""
    id: str | None = None
