"""Limits: how much memory and CPU, and how many processes, a build container gets (service.md 1.6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.model.project import ComputeConfiguration, Resources

_GIB = 1 << 30
_MIB = 1 << 20
_PID_MAX = Path("/proc/sys/kernel/pid_max")
MOST_PROCESSES = 32768

_SIZES: dict[str, tuple[int, float | None]] = {
    "BUILD_GENERAL1_SMALL": (4, 2),
    "BUILD_GENERAL1_MEDIUM": (8, 4),
    "BUILD_GENERAL1_LARGE": (16, 8),
    "BUILD_GENERAL1_XLARGE": (72, 36),
    "BUILD_GENERAL1_2XLARGE": (144, 72),
    "BUILD_LAMBDA_1GB": (1, None),
    "BUILD_LAMBDA_2GB": (2, None),
    "BUILD_LAMBDA_4GB": (4, None),
    "BUILD_LAMBDA_8GB": (8, None),
    "BUILD_LAMBDA_10GB": (10, None),
}
"""Published sizes for Linux: memory in GiB, CPUs (None: AWS publishes no number)."""


@dataclass(frozen=True)
class Limits:
    """`memory` in bytes, `cpus` in CPUs; None: no limit. The engine cuts CPUs to what the host has.

    `pids` counts processes and threads: a build that forks on and on takes the host's last process otherwise.
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None


def share_of_processes(file: Path = _PID_MAX) -> int:
    """Return how many processes and threads one build may have, of what this host can: a quarter, 32768 at most."""
    try:
        most = int(file.read_text())
    except (OSError, ValueError):
        return MOST_PROCESSES
    return min(most // 4, MOST_PROCESSES)


def limits_for(
    compute_type: str,
    resources: Resources | None = None,
    configuration: ComputeConfiguration | None = None,
    *,
    pids: int | None = None,
) -> Limits:
    """Return the limits of *compute_type*; what *resources* says wins, member by member.

    A type without a size of its own (ATTRIBUTE_BASED_COMPUTE, CUSTOM_INSTANCE_TYPE) takes that of *configuration*, and
    has no limit where that is silent. *pids* is what holds where *resources* says nothing of it.
    """
    gib, cpus = _SIZES.get(compute_type, (None, None))
    if gib is None and configuration is not None:
        gib, cpus = configuration.memory, configuration.v_cpu
    memory = None if gib is None else gib * _GIB
    if resources is not None and resources.memory is not None:
        memory = resources.memory * _MIB
    if resources is not None and resources.cpus is not None:
        cpus = resources.cpus
    if resources is not None and resources.pids is not None:
        pids = resources.pids
    return Limits(memory, cpus, pids)
