"""Cgroups: whether this host can hold a build to its memory, its CPUs and its processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.daemon.checks.check import Check

_NEEDED = ("memory", "cpu", "pids")
_BOOT = 'add "{}" to GRUB_CMDLINE_LINUX in /etc/default/grub, then: sudo update-grub && sudo reboot'


def cgroups(root: Path = Path("/sys/fs/cgroup"), table: Path = Path("/proc/cgroups")) -> Iterator[Check]:
    """Look at the controllers of the mounted hierarchy, version 1 or 2."""
    unified = root / "cgroup.controllers"
    if unified.is_file():
        version, there = 2, set(unified.read_text().split())
        swap = any(root.glob("*/memory.swap.max"))
    elif table.is_file():
        version, there = 1, enabled(table.read_text())
        swap = (root / "memory" / "memory.memsw.limit_in_bytes").is_file()
    else:
        yield Check("cgroups", "skipped", "there are no cgroups here: the engine runs elsewhere")
        return
    missing = [name for name in _NEEDED if name not in there]
    if missing:
        yield Check(
            "cgroups",
            "fail",
            f"version {version} without {', '.join(missing)}: builds are not held to their limits",
            _BOOT.format("cgroup_enable=memory" if "memory" in missing else "systemd.unified_cgroup_hierarchy=1"),
        )
    elif not swap:
        yield Check(
            "cgroups",
            "warn",
            f"version {version}; swap is not accounted for, so a build that needs too much memory slows the host down",
            _BOOT.format("swapaccount=1") + ", or run without swap: sudo swapoff -a",
        )
    else:
        yield Check("cgroups", "ok", f"version {version} with {', '.join(_NEEDED)} and swap accounting")


def enabled(table: str) -> set[str]:
    """Return the controllers that the lines of /proc/cgroups say are switched on. Pure."""
    rows = [line.split() for line in table.splitlines() if not line.startswith("#")]
    return {row[0] for row in rows if len(row) == 4 and row[3] == "1"}
