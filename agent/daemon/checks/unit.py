"""Unit: whether the service is installed as it was shipped, enabled, and runs the version that is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.daemon.checks.check import Check

_NAME = "buildspecd.service"
_BOOTED = Path("/run/systemd/system")
_FACTS = "LoadState,ActiveState,UnitFileState,FragmentPath,NeedDaemonReload,MainPID,ExecMainStartTimestampMonotonic"
_PATIENCE_SECONDS = 4.0


def shipped() -> Path | None:
    """Return the unit file that came with this installation."""
    places = (
        Path(sys.prefix) / "share" / "buildspecd" / _NAME,
        Path(__file__).parents[3] / "systemd" / _NAME,
    )
    return next((place for place in places if place.is_file()), None)


def unit(booted: Path = _BOOTED) -> Iterator[Check]:
    """Ask systemd for the service."""
    if not booted.is_dir():
        yield Check("unit", "skipped", "systemd does not run here")
        return
    try:
        said = subprocess.run(
            ["systemctl", "show", _NAME, f"--property={_FACTS}"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Check("unit", "warn", f"systemd does not say how {_NAME} stands: {error}", f"systemctl status {_NAME}")
        return
    facts = dict(line.partition("=")[::2] for line in said.splitlines())
    installed = Path(facts.get("FragmentPath", "")) if facts.get("FragmentPath") else None
    same = None
    if installed and (ours := shipped()):
        same = installed.read_bytes() == ours.read_bytes()
    yield judged(facts, shipped(), same, _written_after(facts))


def judged(facts: Mapping[str, str], source: Path | None, same: bool | None, renewed: bool) -> Check:
    """Return what to say of a unit by what systemd says of it; *same*: whether it is as shipped (None: unknown);
    *renewed*: whether this installation is younger than the process that runs. Pure."""
    copy = f"sudo cp {source or 'share/buildspecd/' + _NAME} /etc/systemd/system/ && sudo systemctl daemon-reload"
    if facts.get("LoadState") != "loaded":
        return Check("unit", "warn", f"{_NAME} is not installed", f"{copy} && sudo systemctl enable --now buildspecd")
    path = facts.get("FragmentPath", _NAME)
    if same is False:
        own = "keep changes of your own in a drop-in (sudo systemctl edit buildspecd)"
        remedy = f"diff {path} {source}; {own}, then: {copy}"
        return Check("unit", "warn", f"{path} is not the one that this version ships", remedy)
    if facts.get("NeedDaemonReload") == "yes":
        remedy = "sudo systemctl daemon-reload && sudo systemctl restart buildspecd (builds go on)"
        return Check("unit", "warn", f"{path} was changed after systemd has read it", remedy)
    if facts.get("UnitFileState") not in ("enabled", "enabled-runtime", "static", "linked"):
        return Check("unit", "warn", f"{path} does not start with the host", "sudo systemctl enable buildspecd")
    if facts.get("ActiveState") != "active":
        remedy = "sudo systemctl start buildspecd; journalctl -u buildspecd says why it ended"
        return Check("unit", "warn", f"{path} is {facts.get('ActiveState', 'unknown')}", remedy)
    if renewed:
        remedy = "sudo systemctl restart buildspecd (builds go on)"
        return Check("unit", "warn", "the daemon that runs is older than the version that is installed", remedy)
    return Check("unit", "ok", f"{path} as shipped, enabled and active")


def _written_after(facts: Mapping[str, str]) -> bool:
    """Whether the installed package was written after the daemon began."""
    process = facts.get("MainPID", "0")
    try:
        began = Path(f"/proc/{process}").stat().st_mtime if process != "0" else None
        return began is not None and Path(__file__).parents[2].joinpath("__init__.py").stat().st_mtime > began
    except OSError:
        return False
