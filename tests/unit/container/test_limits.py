"""Sizes of compute types, and what a project says instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.container.limits import MOST_PROCESSES, Limits, limits_for, share_of_processes
from agent.model.project import ComputeConfiguration, Resources

GIB = 1 << 30


@pytest.mark.parametrize(
    ("compute_type", "limits"),
    [
        ("BUILD_GENERAL1_SMALL", Limits(4 * GIB, 2)),
        ("BUILD_GENERAL1_MEDIUM", Limits(8 * GIB, 4)),
        ("BUILD_GENERAL1_LARGE", Limits(16 * GIB, 8)),
        ("BUILD_GENERAL1_XLARGE", Limits(72 * GIB, 36)),
        ("BUILD_GENERAL1_2XLARGE", Limits(144 * GIB, 72)),
        ("BUILD_LAMBDA_10GB", Limits(10 * GIB, None)),
        ("CUSTOM_INSTANCE_TYPE", Limits(None, None)),
    ],
)
def test_a_compute_type_has_the_published_size(compute_type: str, limits: Limits) -> None:
    assert limits_for(compute_type) == limits


def test_what_the_project_says_wins_member_by_member() -> None:
    assert limits_for("BUILD_GENERAL1_SMALL", Resources(memory=512)) == Limits(512 << 20, 2)
    assert limits_for("BUILD_GENERAL1_SMALL", Resources(cpus=0.5)) == Limits(4 * GIB, 0.5)


def test_attributes_give_the_size_where_the_type_has_none() -> None:
    configuration = ComputeConfiguration(v_cpu=3, memory=6)
    assert limits_for("ATTRIBUTE_BASED_COMPUTE", None, configuration) == Limits(6 * GIB, 3)
    assert limits_for("BUILD_GENERAL1_SMALL", None, configuration) == Limits(4 * GIB, 2)


def test_processes_are_a_share_of_the_hosts_unless_the_project_says_how_many(tmp_path: Path) -> None:
    assert limits_for("BUILD_GENERAL1_SMALL", pids=8192).pids == 8192
    assert limits_for("BUILD_GENERAL1_SMALL", Resources(pids=100), pids=8192).pids == 100
    for told, pids in (("32768\n", 8192), ("4194304\n", MOST_PROCESSES), ("", MOST_PROCESSES)):
        (tmp_path / "pid_max").write_text(told)
        assert share_of_processes(tmp_path / "pid_max") == pids
    assert share_of_processes(tmp_path / "nothing") == MOST_PROCESSES
