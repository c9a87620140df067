"""Roles: the settings of what builds may do in AWS."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.settings.section import Section


class RolesSettings(Section):
    """The service roles of builds, and the role of this host, which they must not have."""

    port: int = Field(default=0, ge=0, le=65535)
    """Port of 127.0.0.1 where builds in the host's network get the credentials of their `serviceRole`; 0: any that is
    free."""
    imds_guard: Literal["auto", "require", "off"] = "auto"
    """`auto`: builds run where the guard (`buildspecd guard`) keeps them from the metadata service of EC2, and where
    none runs on an instance their logs say so; `require`: without it none is started; `off`: they run wherever the
    engine puts containers."""
