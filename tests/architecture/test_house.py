"""The house around the code: scripts, unit file, image, lock file, and what no file may name."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.settings.schema import DEFAULT_FILE
from tests.architecture.source import ROOT, files, place

FORBIDDEN = re.compile(
    "|".join(
        [
            # Written apart, so that this file does not find itself.
            r"/work/" + r"(main|shared|steering|\.library|\.mirror)\b",
            r"/tmp/" + r"(prep|bash_jobs)\b",
            r"\bpypi" + r"\.org\b",
            r"\bpython" + r"hosted\.org\b",
            r"\bregistry\.npm" + r"js\.org\b",
            r"\bproxy\.golang" + r"\.org\b",
            r"\bnpm" + r"js\.com\b",
        ]
    )
)
UNIT = ROOT / "systemd" / "buildspecd.service"
GUARD = ROOT / "systemd" / "buildspecd-guard.service"


def _is_shell(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    with path.open("rb") as file:
        return re.match(rb"#!.*[/ ](ba|da)?sh( |$)", file.readline(200).strip()) is not None


def test_no_file_names_this_machine_or_a_package_registry() -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [place(path, text.count("\n", 0, hit.start()) + 1) for hit in FORBIDDEN.finditer(text)]
    assert found == []


def test_shellcheck_has_nothing_to_say() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: `.ci/setup test` does it")
    scripts = [str(path) for path in files() if _is_shell(path)]
    assert len(scripts) >= 5
    done = subprocess.run(["shellcheck", "--external-sources", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_script_of_the_house_can_be_started() -> None:
    scripts = ["setup", "engine", "check", "run", "lock"]
    assert [name for name in scripts if not os.access(ROOT / ".ci" / name, os.X_OK)] == []
    assert os.access(ROOT / "tests" / "tools" / "runc-nores", os.X_OK)


def test_the_lock_file_holds_names_and_versions_and_nothing_else() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[a-z0-9-]+==[0-9A-Za-z.+]+", line)]
    assert wrong == []
    assert "://" not in "\n".join(lines)


def test_make_tells_what_it_can_do() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("setup", "demo", "test", "check", "bench", "image"):
        assert f"make {target} " in done.stdout


def _systemd_analyze(unit: Path, *words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: `.ci/setup test` does it")
    return subprocess.run(["systemd-analyze", *words, str(unit)], capture_output=True, text=True)


@pytest.fixture(params=[UNIT, GUARD], ids=lambda file: file.stem)
def unit(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a unit file with a program in it that is there."""
    copy = tmp_path / request.param.name
    copy.write_text(request.param.read_text().replace("/opt/buildspecd/bin/buildspecd", "/bin/true"))
    return copy


def test_systemd_understands_every_line_of_the_unit_file(unit: Path) -> None:
    done = _systemd_analyze(unit, "verify")
    assert [line for line in (done.stdout + done.stderr).splitlines() if "buildspecd" in line] == []


def test_the_service_is_well_sandboxed(unit: Path) -> None:
    done = _systemd_analyze(unit, "security", "--offline=true", "--threshold=29")
    assert done.returncode == 0, done.stdout[-400:]


def test_a_stop_of_the_service_ends_no_build_and_keeps_its_secrets() -> None:
    text = UNIT.read_text()
    assert "RuntimeDirectoryPreserve=yes" in text
    assert "Restart=always" in text
    assert re.search(r"^Requires=", text, re.MULTILINE) is None
    assert str(DEFAULT_FILE.parent) in text


def test_the_test_runtime_leaves_out_one_capability_and_becomes_runc(tmp_path: Path) -> None:
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    runc.chmod(0o755)

    def run(*words: str) -> list[str]:
        tool = ROOT / "tests" / "tools" / "runc-nores"
        done = subprocess.run([tool, *words], env={"RUNC": str(runc)}, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    granted = {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]}
    bundle, process = tmp_path / "config.json", tmp_path / "process.json"
    bundle.write_text(json.dumps({"process": {"capabilities": granted}, "hostname": "x"}))
    process.write_text(json.dumps({"capabilities": granted}, separators=(",", ":")))
    words = ["--root", "/r", "create", "--bundle", str(tmp_path), "an id"]
    assert run(*words) == words
    assert run("exec", f"--process={process}", "id")[0] == "exec"
    assert run("--version") == ["--version"]
    left = {"bounding": ["CAP_CHOWN"], "effective": []}
    assert json.loads(bundle.read_text()) == {"process": {"capabilities": left}, "hostname": "x"}
    assert json.loads(process.read_text()) == {"capabilities": left}
