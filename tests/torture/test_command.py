"""`buildspecd torture`: Ctrl-C ends it in order, and a report of violated promises is an exit code of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.torture.evidence import Verdict, Violation
from agent.torture.report import as_document, markdown, text
from agent.torture.run import Order, Result
from tests.images import busybox_image, docker


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.xdist_group("torture")
def test_ctrl_c_ends_the_faults_and_what_was_begun_is_settled_audited_and_removed(tmp_path: Path) -> None:
    image = busybox_image()
    words = ["torture", "--seed", "5", "--minutes", "60", "--image", image, "--directory", str(tmp_path), "--json"]
    process = subprocess.Popen([sys.executable, "-m", "agent", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert b"0 kills" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=900)
    document = json.loads(out)
    assert process.returncode == 0, (document, said)
    assert document["interrupted"]
    assert document["violations"] == []
    assert document["evidence"] is None
    assert list(tmp_path.iterdir()) == []
    marked = docker(
        "ps", "--all", "--format", '{{.Label "buildspecd.torture"}}', "--filter", "label=buildspecd.torture"
    )
    assert not [mark for mark in marked.splitlines() if mark.startswith(str(tmp_path))]  # others may run beside it


def test_a_report_names_every_violated_promise_its_build_and_where_the_evidence_lies() -> None:
    verdict = Verdict([Violation("P2", "a line is doubled", "web:1")], ["a gap on record"], {"builds": 3})
    result = Result(Order(7, 30, "image:1"), verdict, kills=200, faults={"kill": 200}, place=Path("/tmp/kept"))
    assert not result.kept
    assert "VIOLATED P2: web:1: a line is doubled" in text(result)
    assert "allowed: a gap on record" in text(result)
    assert "evidence: /tmp/kept" in text(result)
    assert "* P2 web:1: a line is doubled" in markdown(result)
    assert as_document(result)["violations"] == [{"promise": "P2", "build": "web:1", "what": "a line is doubled"}]
