"""Check: this host and the configuration, looked at for `buildspecd doctor`."""

from __future__ import annotations

from pathlib import Path

from agent.app.workshop import aws_of
from agent.container.docker import DockerEngine
from agent.daemon import doctor
from agent.daemon.doctor import Check
from agent.errors import SettingsInvalid
from agent.settings.live import LiveConfiguration

__all__ = ["Check", "check_host"]


def check_host(config: Path | None) -> list[Check]:
    """Look at this host and the configuration; one `Check` for each thing looked at."""
    try:
        live = LiveConfiguration(config)
    except SettingsInvalid as error:
        return [Check("configuration", "fail", str(problem), "mend the file") for problem in error.problems]
    aws = aws_of(live.settings)
    return doctor.examine(
        doctor.Host(
            engine=DockerEngine(),
            state=live.settings.state_dir,
            runtime=live.settings.runtime_dir,
            account=aws.identify if aws.in_sight() else None,
            problems=[str(problem) for problem in live.problems],
            projects=list(live.projects.values()),
        )
    )
