"""Imports: CodeBuild itself, asked with the credentials that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.app.workshop import aws_of
from agent.settings.importing.answer import projects_of_codebuild
from agent.settings.importing.found import Found
from agent.settings.load import load_settings, settings_file


def ask_codebuild(config: Path | None, names: Sequence[str]) -> list[Found]:
    """Return the projects called *names*, or all; in the account and region of the settings file *config*."""
    return projects_of_codebuild(aws_of(load_settings(settings_file(config)).settings), names)
