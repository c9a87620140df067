"""WebhookFacts: what a git host says of the event that started a build (buildspec.md 7.1, service.md 3.2)."""

from __future__ import annotations

from agent.model.shape import Shape


class WebhookFacts(Shape):
    """One event of a git host in CodeBuild's terms; what does not apply is None.

    `event` is `PUSH`, `PULL_REQUEST_CREATED`, ...; refs are full (`refs/heads/x`); `trigger` is `pr/7`, `branch/x` or
    `tag/x`; `prev_commit` is 40 zeros for a new ref; `merge_commit` is set where a squash made another commit.
    """

    event: str
    actor_account_id: str | None = None
    base_ref: str | None = None
    head_ref: str | None = None
    trigger: str | None = None
    prev_commit: str | None = None
    merge_commit: str | None = None

    def variables(self) -> dict[str, str]:
        """Return the `CODEBUILD_WEBHOOK_*` variables; those that do not apply are absent."""
        return {f"CODEBUILD_WEBHOOK_{name.upper()}": value for name, value in self if value is not None}
