"""A short run of `buildspecd torture` with real containers, real kills and real faults: every promise is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.kit.service import StopToken
from agent.torture.report import as_document, markdown, text
from agent.torture.run import Order, torture
from tests.images import busybox_image


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.xdist_group("torture")
def test_builds_outlive_a_minute_of_kills_and_faults_and_leave_nothing_behind(tmp_path: Path) -> None:
    order = Order(
        11,
        0.75,
        busybox_image(),
        settle=600,
        directory=tmp_path,
        kill_every=6,
        mishap_every=1.2,
        push_every=4,
    )
    said: list[str] = []
    result = torture(order, StopToken(), said.append)
    assert result.verdict.violations == [], text(result)
    assert result.place is None
    assert list(tmp_path.iterdir()) == []
    assert not [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(tmp_path) in line]
    document = as_document(result)
    assert document["kept"]
    assert document["kills"] >= 3
    assert document["builds"] >= 5
    assert document["kinds"] >= 8
    assert f"seed {order.seed}" in text(result)
    assert f"| kinds of fault | {len(result.faults)} |" in markdown(result)
    assert said[-1] == "auditing"
