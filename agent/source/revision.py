"""Revision: what a source of a build turned out to be."""

from __future__ import annotations

from dataclasses import dataclass

from agent.source.version import branch_of


@dataclass(frozen=True)
class Revision:
    """What a source turned out to be. `ref` is the full name of the branch or tag, where one led to the commit.

    Both are None for a source without history. `version` is the version id of an S3 object that keeps versions.
    """

    sha: str | None = None
    ref: str | None = None
    version: str | None = None

    @property
    def branch(self) -> str | None:
        """The branch's short name, when a branch led to the commit."""
        return branch_of(self.ref)
