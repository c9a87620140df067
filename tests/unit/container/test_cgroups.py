"""Cgroups: what a container uses, out of the files of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.container.cgroups import Sample, find

CONTAINER = "ab" * 32


def write(place: Path, files: dict[str, str]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)


def version_1(root: Path, parent: str = "docker/{}", **cpu: str) -> None:
    inner = parent.format(CONTAINER)
    quota = {"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n", "cpuacct.usage": "2500000000\n", **cpu}
    write(root / "cpu,cpuacct" / inner, quota)
    write(
        root / "memory" / inner,
        {
            "memory.usage_in_bytes": "9000\n",
            "memory.limit_in_bytes": "16384\n",
            "memory.stat": "cache 1\ntotal_inactive_file 1000\n",
            "cgroup.procs": "",
        },
    )
    moved = "8:0 Read 100\n8:0 Write 20\n8:16 Read 1\n8:0 Total 120\nTotal 121\n"
    write(root / "blkio" / inner, {"blkio.throttle.io_service_bytes": moved})


def version_2(root: Path, parent: str = "system.slice/docker-{}.scope", cpu_max: str = "150000 100000\n") -> Path:
    write(root, {"cgroup.controllers": "cpu io memory\n"})
    files = {
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "cpu.max": cpu_max,
        "memory.current": "9000\n",
        "memory.max": "max\n",
        "memory.stat": "anon 1\ninactive_file 1000\n",
        "io.stat": "8:0 rbytes=100 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=0\n",
        "cgroup.procs": "77\n78\n",
    }
    place = root / parent.format(CONTAINER)
    write(place, files)
    return place


def sample(root: Path, proc: Path | None = None) -> Sample | None:
    group = find(CONTAINER, root)
    assert group is not None
    return group.sample(proc or root / "no-proc")


def test_version_1_is_read(tmp_path: Path) -> None:
    version_1(tmp_path)
    assert sample(tmp_path) == Sample(cpu=2.5, memory=8000, cpus=2.0, memory_limit=16384, read=101, written=20)


def test_version_1_with_cpu_and_cpuacct_apart_is_read_just_so(tmp_path: Path) -> None:
    version_1(tmp_path)
    (tmp_path / "cpu,cpuacct").rename(tmp_path / "cpuacct")
    inner = f"docker/{CONTAINER}"
    (tmp_path / "cpu" / inner).mkdir(parents=True)
    for file in (tmp_path / "cpuacct" / inner).glob("cpu.*"):
        file.rename(tmp_path / "cpu" / inner / file.name)
    found = sample(tmp_path)
    assert found is not None
    assert (found.cpu, found.cpus) == (2.5, 2.0)


def test_version_2_is_read(tmp_path: Path) -> None:
    version_2(tmp_path)
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert sample(tmp_path) == Sample(cpu=2.5, memory=8000, cpus=1.5, memory_limit=everything, read=101, written=20)


def test_without_a_limit_all_cpus_of_the_host_count(tmp_path: Path) -> None:
    version_2(tmp_path, cpu_max="max 100000\n")
    found = sample(tmp_path)
    assert found is not None
    assert found.cpus == os.cpu_count()


@pytest.mark.parametrize("parent", ["docker/{}", "builds.slice/docker-{}.scope", "a/b/{}"])
def test_containers_are_found_below_any_parent_of_the_engine(tmp_path: Path, parent: str) -> None:
    version_1(tmp_path / "old", parent)
    version_2(tmp_path / "new", parent)
    assert sample(tmp_path / "old")
    assert sample(tmp_path / "new")


def test_a_container_that_is_gone_has_no_sample_and_no_cgroup(tmp_path: Path) -> None:
    place = version_2(tmp_path)
    group = find(CONTAINER, tmp_path)
    for file in place.iterdir():
        file.unlink()
    assert group is not None
    assert group.sample() is None
    assert find("cd" * 32, tmp_path) is None
    assert find("../../etc", tmp_path) is None
    assert find(CONTAINER, tmp_path / "nowhere") is None


@pytest.mark.parametrize(("theirs", "moved"), [("net:[2]", (10, 5)), ("net:[1]", (None, None))])
def test_a_network_is_counted_where_it_is_the_containers_own(
    tmp_path: Path, theirs: str, moved: tuple[int | None, int | None]
) -> None:
    version_2(tmp_path / "cgroup")
    proc = tmp_path / "proc"
    for process, namespace in (("77", theirs), ("self", "net:[1]")):
        (proc / process / "ns").mkdir(parents=True)
        (proc / process / "ns/net").symlink_to(namespace)
    lines = "h1\nh2\n    lo: 99 1 0 0 0 0 0 0 99 1\n  eth0: 10 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n"
    write(proc / "77/net", {"dev": lines})
    found = sample(tmp_path / "cgroup", proc)
    assert found is not None
    assert (found.received, found.sent) == moved
