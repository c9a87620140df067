"""Audit: holds what a torture run has found against the promises of the house. Pure."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence

from agent.model.cause import EXPLANATIONS, Cause
from agent.torture.evidence import Evidence, Found, Json, Verdict
from agent.torture.forge import Head
from agent.torture.logaudit import wrong_copies, wrong_lines
from agent.torture.recipes import ARTIFACT_FILE, CONTAINED

POLL = "buildspecd/poll"
STATE_CHANGE = "CodeBuild Build State Change"
_ZEROS = {"", "-"}


def audit(evidence: Evidence) -> Verdict:
    """Return every promise that was not kept, with what shows it."""
    verdict = Verdict()
    for project, heads in evidence.heads.items():
        polled = [one for one in evidence.builds if project_of(one) == project and one.build["initiator"] == POLL]
        verdict.blame("P1", (f"{project}: {what}" for what in unbuilt(heads, polled, verdict)))
    for found in evidence.builds:
        verdict.count("builds")
        _audit_build(found, evidence, verdict)
    verdict.blame("P2", evidence.exposed)
    verdict.blame("P3", evidence.left)
    verdict.blame("P1", evidence.broken)
    return verdict


def project_of(found: Found) -> str:
    """Return the name of the project of a build."""
    return str(found.build["projectName"])


def head_of(build: Json) -> str:
    """Return the commit that a build is of."""
    return str(build.get("resolvedSourceVersion") or build.get("sourceVersion") or "")


def unbuilt(heads: Sequence[Head], builds: Sequence[Found], verdict: Verdict) -> Iterator[str]:
    """Yield what is wrong with the builds of a branch: each head is built once, or a later build stands for it."""
    line = [head.sha for head in heads]
    built = Counter(head_of(one.build) for one in builds)
    covered = set(_covered(line, builds))
    for place, sha in enumerate(line):
        what = f"push {place + 1} of {len(line)}, {sha[:12]}"
        if built[sha] > 1:
            yield f"{what} was built {built[sha]} times"
        elif not built[sha] and place not in covered:
            yield f"{what} was not built, and no build says that it stands for it"
        verdict.count("pushes built" if built[sha] else "pushes passed over")
    for sha in built.keys() - set(line):
        yield f"a build is of {sha[:12]}, which nobody pushed"
    if line and not built[line[-1]]:
        yield f"the last head {line[-1][:12]} was not built"


def _covered(line: Sequence[str], builds: Sequence[Found]) -> Iterator[int]:
    """Yield the places in *line* for which a build of a later place says that it stands."""
    known = [one.build for one in builds if head_of(one.build) in line]
    first = min((build["buildNumber"] for build in known), default=0)
    for build in known:
        end, ours = line.index(head_of(build)), build["buildspecd"]
        spans = [span.split("..") for span in ours.get("passedOver") or ()]
        if ours.get("previousRevision") or build["buildNumber"] == first:
            spans.append([ours.get("previousRevision") or "", head_of(build)])
        for old, new in spans:
            start = line.index(old) if old in line else -1
            stop = line.index(new) if new in line else -1
            yield from range(start + 1, min(stop + 1, end))


def _audit_build(found: Found, evidence: Evidence, verdict: Verdict) -> None:
    build = found.build
    if not build["buildComplete"]:
        verdict.blame("P1", [f"it has not ended: {build['currentPhase']}"], found.id)
        return
    verdict.count(f"ended {build['buildStatus']}")
    verdict.blame("P1", wrong_ends(found), found.id)
    natural, problem = judge_end(found, evidence, verdict)
    verdict.blame("P7", problem, found.id)
    torn = evidence.excuses.torn(build)
    spared = build["buildspecd"].get("cause") != Cause.OUT_OF_MEMORY  # the kernel may have chosen the driver
    whole = natural and spared and found.recipe is not None and found.recipe.outcome.whole and not torn
    verdict.blame("P2", wrong_copies(found), found.id)
    problems = list(wrong_lines(found, whole=whole))
    if torn:
        verdict.allowed += [f"{found.id}: {what} (the disk was full while it ran)" for what in problems]
    else:
        verdict.blame("P2", problems, found.id)
    for gap in build["buildspecd"]["logs"]["gaps"]:
        verdict.allowed.append(f"{found.id}: a gap on record: {gap}")
    verdict.count("lines", found.spool.count(b"\n"))
    verdict.count("bytes", len(found.spool))
    if build["buildStatus"] == "SUCCEEDED" and found.recipe is not None:
        verdict.blame("P1", wrong_outputs(found), found.id)


def judge_end(found: Found, evidence: Evidence, verdict: Verdict) -> tuple[bool, list[str]]:
    """Return whether a build ended as its recipe says, and what is wrong where neither that nor a fault explains it."""
    build, recipe = found.build, found.recipe
    status, cause = str(build["buildStatus"]), str(build["buildspecd"].get("cause") or "")
    if recipe is None:
        return False, [f"nobody asked for it; it ended {status} {cause}"]
    if status in recipe.outcome.statuses and cause in recipe.outcome.causes:
        return True, []
    shown = f"{recipe.kind}: it ended {status} {cause or 'without a cause'}: {_context(build)}"
    if not cause:
        return False, [shown]
    if not fits(status, Cause(cause)):
        return False, [f"{shown}; the cause is {'not ' if status == 'FAULT' else ''}one of a FAULT"]
    kind = evidence.excuses.explain(build, cause)
    if kind is None:
        return False, [f"{shown}; no fault explains it"]
    verdict.count(f"explained by {kind}")
    return False, []


def fits(status: str, cause: Cause) -> bool:
    """Whether *cause* is one of those that docs/FAILURES.md gives for *status*."""
    if cause is Cause.HOST_DISK_FULL and status == "FAILED":
        return True  # a command failed of it
    return (EXPLANATIONS[cause].whose == "fault") == (status == "FAULT")


def _context(build: Json) -> str:
    said = [context.get("message", "") for phase in build["phases"] for context in phase.get("contexts", ())]
    return next((text for text in said if text), "")[:200]


def wrong_ends(found: Found) -> Iterator[str]:
    """Yield what is wrong with the events of a build: begin, phases in order, one end; each may come twice."""
    first: dict[str, Json] = {}
    for event in found.events:
        first.setdefault(json.dumps([event["DetailType"], event["Detail"]], sort_keys=True), event)
    distinct = list(first.values())
    states = [event for event in distinct if event["DetailType"] == STATE_CHANGE]
    ends = [event["Detail"]["build-status"] for event in states if event["Detail"]["build-status"] != "IN_PROGRESS"]
    if ends != [found.build["buildStatus"]]:
        yield f"its ends in EventBridge: {ends or 'none'}; the build says {found.build['buildStatus']}"
        return
    if states[0]["Detail"]["build-status"] != "IN_PROGRESS" or distinct[0] is not states[0]:
        yield "EventBridge did not get its begin first"
    if distinct[-1] is not states[-1]:
        yield "EventBridge got another event behind its end"
    if found.build["buildspecd"].get("reruns"):
        return
    told = [event["Detail"]["completed-phase"] for event in distinct if event["DetailType"] != STATE_CHANGE]
    known = [phase["phaseType"] for phase in found.build["phases"]]
    if told != [phase for phase in known if phase in told]:
        yield f"its phases in EventBridge are {told}, those of the build {known}"


def wrong_outputs(found: Found) -> Iterator[str]:
    """Yield what is wrong with what a green build left: artifact, reports, exported variables."""
    recipe, build = found.recipe, found.build
    if recipe is None:
        return
    if project_of(found) not in CONTAINED and recipe.kind != "by-hand":
        yield from _wrong_artifacts(found)
    if recipe.kind == "report" and len(build.get("reportArns", ())) != 1:
        yield f"it has {len(build.get('reportArns', ()))} reports, one was made"
    if recipe.kind == "exported":
        values = {one["name"]: one["value"] for one in build.get("exportedEnvironmentVariables", ())}
        if values != {"WORD": f"word-{recipe.tag}"}:
            yield f"its exported variables are {values}"


def _wrong_artifacts(found: Found) -> Iterator[str]:
    if len(found.artifacts) != 1:
        yield f"it has {len(found.artifacts)} artifacts in the bucket: {', '.join(found.artifacts) or 'none'}"
        return
    (data,) = found.artifacts.values()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            content = archive.read(ARTIFACT_FILE) if ARTIFACT_FILE in names else b""
    except zipfile.BadZipFile as error:
        yield f"its artifact is no ZIP archive: {error}"
        return
    if names != [ARTIFACT_FILE] or (found.recipe and content != found.recipe.artifact()):
        yield f"its artifact holds {names}, and {len(content)} bytes that are not what the build wrote"
