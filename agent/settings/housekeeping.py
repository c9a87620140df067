"""Housekeeping: the settings of what is kept for how long, and of how much of the disk builds may have."""

from __future__ import annotations

from pydantic import Field

from agent.model.amount import Reserve, Size
from agent.model.duration import Duration
from agent.settings.section import Section

_DAY = 86400.0


class RetentionSettings(Section):
    """What is kept of ended builds, and for how long. Durations of 0: not at all; null: no limit."""

    builds: Duration | None = Field(default=400 * _DAY, ge=14 * _DAY)
    """How long the record of a build is kept, and its reports with it; at least 14 days. null: for ever."""
    builds_count: int | None = Field(default=5000, ge=1)
    """Records of one project that are kept; those of the last 14 days stay in any case. null: all."""
    builds_least: int = Field(default=20, ge=1)
    """Newest records of a project that stay whatever their age, and so does its last successful one."""
    logs: Duration | None = Field(default=90 * _DAY, ge=0)
    """How long log and plan of an ended build lie on this host; a log that a sink has still to get stays 14 days at
    least. null: as long as the record."""
    logs_size: Size | None = Field(default=20 << 30, ge=0)
    """How much all logs on this host may take; the oldest go first. null: no limit."""
    failed_workspaces: Duration = Field(default=0.0, ge=0)
    """How long the workspace of a build that did not succeed is kept, for looking at it. It may hold secrets that the
    build wrote into files; 0: it goes with the build."""
    failed_workspaces_count: int = Field(default=5, ge=1)
    """How many of them are kept at most, the newest ones."""
    failed_workspaces_size: Size = Field(default=10 << 30, ge=0)
    """How much they may take together."""
    caches: Duration = Field(default=14 * _DAY, ge=0)
    """How long a local cache stays that no build uses."""
    caches_size: Size | None = Field(default=None, ge=0)
    """How much local caches that no build uses may take; the longest unused go first. null: no limit."""
    mirrors: Duration | None = Field(default=90 * _DAY, ge=_DAY)
    """How long the mirror of a repository stays that no build uses. null: for ever."""
    images: Duration | None = Field(default=30 * _DAY, ge=0)
    """How long a build image stays that no build uses. Only images that were pulled by this agent, and were not on the
    host before, ever go. null: they stay."""


class DiskSettings(Section):
    """How much of the disk builds may have."""

    reserve: Reserve = "10%"
    """What stays free: a part of the disk (10GiB at most) or a size. With less, room is made and builds wait; with less
    than half of it, the build that grew most is stopped. 0: nothing."""
    build_quota: Size | None = Field(default=None, ge=1 << 20)
    """What one build may write: workspace, output, its container's own files and volumes. null: no limit."""
    log_quota: Size | None = Field(default=10 << 30, ge=1 << 20)
    """How much output one build may have on this host; it lies there twice, raw and masked. null: no limit."""
