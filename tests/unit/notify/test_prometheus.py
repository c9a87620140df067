"""Prometheus: the page parses, counts what CloudWatch counts, and stays small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from agent.daemon.standing import Standing
from agent.daemon.usage import Totals
from agent.kit.room import Room
from agent.model.build import CacheRecord
from agent.model.status import Status
from agent.notify.prometheus import MOST_PROJECTS, OTHERS, Moment, Prometheus
from tests.unit.notify.builds import told_by
from tests.unit.store.samples import a_build, a_project, started

STANDING = Standing(queued=3, running=2, disks={Path("/a"): Room(30, 100)}, log_lag=7, untold={"eventbridge": 4})


def a_prometheus(usage: dict[str, Totals] | None = None) -> Prometheus:
    return Prometheus(Moment(lambda: STANDING, lambda: usage or {}, lambda: True, "1.2.3", 5.0))


def shown(prometheus: Prometheus) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return name and labels of each sample."""
    page, _ = prometheus.page_for("")
    families: Any = plain(page.decode())
    return {(one.name, tuple(one.labels.values())): one.value for family in families for one in family.samples}


def test_a_build_is_counted_with_its_phases_its_length_and_its_start() -> None:
    prometheus = a_prometheus()
    prometheus.deliver(told_by(a_build(cache=CacheRecord(restored="hit"))))
    prometheus.deliver(told_by(a_build(2), Status.FAILED))
    found = shown(prometheus)
    assert found["buildspecd_builds_total", ("web",)] == 2
    assert found["buildspecd_builds_ended_total", ("web", "FAILED")] == 1
    assert found["buildspecd_builds_ended_total", ("web", "SUCCEEDED")] == 1
    assert found["buildspecd_cache_restores_total", ("web", "hit")] == 1
    assert found["buildspecd_build_duration_seconds_sum", ("web",)] == 27
    assert found["buildspecd_phase_duration_seconds_count", ("PRE_BUILD", "web")] == 2
    assert found["buildspecd_start_latency_seconds_sum", ()] == 9


def test_the_figures_of_the_moment_are_read_when_somebody_asks() -> None:
    found = shown(a_prometheus({"web": Totals(cpu_seconds=2.5, memory=64)}))
    assert found["buildspecd_queue_depth", ()] == 3
    assert found["buildspecd_healthy", ()] == 1
    assert found["buildspecd_disk_free_bytes", ("/a",)] == 30
    assert found["buildspecd_untold_events", ("eventbridge",)] == 4
    assert found["buildspecd_build_cpu_seconds_total", ("web",)] == 2.5
    assert found["buildspecd_info", ("1.2.3",)] == 1


def test_openmetrics_is_for_who_asks_for_it() -> None:
    prometheus = a_prometheus()
    prometheus.deliver(told_by(a_build()))
    page, content_type = prometheus.page_for("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics(page.decode())} >= {"buildspecd_builds", "buildspecd_queue_depth"}
    assert prometheus.page_for("*/*")[1].startswith("text/plain; version=")


def test_projects_beyond_the_limit_share_a_label() -> None:
    prometheus = a_prometheus({f"p{number}": Totals(read=1) for number in range(MOST_PROJECTS + 50)})
    prometheus.deliver([started(a_build(project=a_project(f"p{number}"))) for number in range(MOST_PROJECTS + 50)])
    found = shown(prometheus)
    counted = {labels: value for (name, labels), value in found.items() if name == "buildspecd_builds_total"}
    assert len(counted) == MOST_PROJECTS + 1
    assert counted[OTHERS,] == 50
    assert found["buildspecd_build_storage_read_bytes_total", (OTHERS,)] == 50
