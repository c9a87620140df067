"""Findings: what a run finds when all is well, made up, so that a test can spoil one thing of it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

from agent.torture.audit import POLL, STATE_CHANGE
from agent.torture.evidence import Evidence, Excuses, Found
from agent.torture.forge import Head
from agent.torture.recipes import ARTIFACT_FILE, Recipe

PHASE_CHANGE = "CodeBuild Build Phase Change"
RECIPE = Recipe("finally", "7-web-1", 2)
SHA = "a" * 40
ID = "web:00000000-0000-4000-8000-000000000001"


def log_of(recipe: Recipe = RECIPE) -> bytes:
    """Return the log that a build of *recipe* has."""
    lines = ["[Container] 2026/01/01 00:00:00.000000 Entering phase BUILD", ""]
    lines += [line for stream in recipe.streams().values() for line in stream]
    return "".join(f"{line}\n" for line in lines).encode()


def build_of(log: bytes, **members: Any) -> dict[str, Any]:
    """Return a green build whose sinks have all of *log*; *members* replace what it has."""
    delivered = {"cloudwatch": len(log), "s3": len(log)}
    logs = {"bytes": len(log), "delivered": delivered, "gaps": [], "problems": {}}
    return {
        "id": ID,
        "arn": f"arn:aws:codebuild:eu-central-1:0:build/{ID}",
        "projectName": "web",
        "buildNumber": 1,
        "buildStatus": "SUCCEEDED",
        "buildComplete": True,
        "currentPhase": "COMPLETED",
        "startTime": 100.0,
        "endTime": 110.0,
        "initiator": POLL,
        "sourceVersion": SHA,
        "resolvedSourceVersion": SHA,
        "phases": [{"phaseType": kind} for kind in ("SUBMITTED", "QUEUED", "BUILD", "COMPLETED")],
        "buildspecd": {"logs": logs},
        **members,
    }


def event(kind: str, **detail: str) -> dict[str, Any]:
    """Return an entry that EventBridge took."""
    return {"DetailType": kind, "Detail": {name.replace("_", "-"): value for name, value in detail.items()}}


BEGIN = event(STATE_CHANGE, build_status="IN_PROGRESS")
QUEUED = event(PHASE_CHANGE, completed_phase="QUEUED")
BUILT = event(PHASE_CHANGE, completed_phase="BUILD")
END = event(STATE_CHANGE, build_status="SUCCEEDED")
EVENTS = (BEGIN, QUEUED, BUILT, END)


def archive(content: bytes) -> bytes:
    """Return an artifact as it is stored."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr(ARTIFACT_FILE, content)
    return data.getvalue()


def found(log: bytes | None = None, **members: Any) -> Found:
    """Return a build with everything in its place; its log is *log* everywhere."""
    log = log_of() if log is None else log
    return Found(
        build_of(log, **members),
        RECIPE,
        log,
        log,
        tuple(log.decode().splitlines()),
        {"artifacts/1/out.zip": archive(RECIPE.artifact())},
        EVENTS,
    )


def evidence(*builds: Found, **members: Any) -> Evidence:
    """Return what a run found: one push, and *builds*."""
    return replace(Evidence({"web": (Head(SHA, RECIPE),)}, builds or (found(),), Excuses()), **members)
