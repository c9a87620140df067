"""Reporting: result files of a build become reports in groups; what is wrong with them is told (buildspec.md 12)."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from agent.artifacts.select import select
from agent.artifacts.selection import portable
from agent.buildlog.masking import Masker
from agent.buildspec.plan import ArtifactPlan, ReportPlan
from agent.container.driver import Expanded, read_expansions
from agent.errors import ArtifactsMissing, ReportInvalid, UserError
from agent.kit.beyond import Beyond
from agent.kit.files import read_regular, write_atomic
from agent.model.cause import Cause
from agent.model.report import Report, ReportDetails
from agent.pipeline import discovery, lines, masks
from agent.pipeline.commands import DISCOVERY, after_expansions, report_texts
from agent.pipeline.job import Job
from agent.pipeline.places import source_tree
from agent.pipeline.resultfiles import ResultFiles, told
from agent.reports.formats import Format, format_named
from agent.reports.recognise import recognise
from agent.reports.summary import Outcome

MOST_GROUPS = 5
"""Report groups of one build (service.md 2.2)."""
KEPT_SECONDS = 30 * 86400.0
_GROUP_ARN = re.compile(r"arn:[\w-]+:codebuild:[\w-]*:\d*:report-group/(.+)", re.ASCII)
_GROUP_NAME = re.compile(r"[\x20-\x39\x3b-\x7e]{2,128}")
"""ASCII without colons, so that a report's ARN can be taken apart."""
_NAMESPACE = uuid.UUID("2f1c9a52-6c0e-4c5e-9d0a-6f6a3f4f7f11")

Made = tuple[Report, ReportDetails]
Mask = Callable[[str], str]


@dataclass(frozen=True)
class Group:
    """A report group. `number` tells the reports of one build to one group apart."""

    name: str
    arn: str
    number: int = 0


def collect(job: Job) -> None:
    """Store the reports to the buildspec's groups or, where it has none, those of files that are discovered.

    A second call stores the same reports again. Raises `UserError` with all that is wrong with them, in CodeBuild's
    words, when every group has had its turn.
    """
    if job.plan.reports:
        made, troubles = _asked_for(job)
    else:
        made, troubles = _discovered(job), {}
    job.build = job.recorder.reported(job.build, made)
    for report, _ in made:
        job.say(lines.report_made(report))
    if troubles:
        mask = mask_of(job)
        hint = next((error.hint for errors in troubles.values() for error in errors if error.hint), "")
        raise UserError(
            ", ".join(mask(f"[{group}: [{told(errors)}]]") for group, errors in troubles.items()),
            hint=hint,
            cause=Cause.REPORT_INVALID,
        )


def _asked_for(job: Job) -> tuple[list[Made], dict[str, list[UserError]]]:
    """Return the reports to the groups of the buildspec, and what is wrong with them by the groups' names in it."""
    asked = job.plan.reports
    if len(asked) > MOST_GROUPS:
        left_out = ", ".join(report.group for report in asked[MOST_GROUPS:])
        job.say(f"warning: a build reports to at most {MOST_GROUPS} groups; left out: {left_out}")
    found, mask = _expanded(job), mask_of(job)
    made: list[Made] = []
    troubles: dict[str, list[UserError]] = {}
    with tempfile.TemporaryDirectory(prefix="report-", dir=job.paths.scratch) as scratch:
        beyond = Beyond(source_tree(job), lambda path: _fetch(job, path), Path(scratch))
        for index, report in enumerate(asked[:MOST_GROUPS]):
            job.check()
            shown, wrong = report.group, list[UserError]()
            try:
                wanted = expanded_plan(report, index, found)
                shown = wanted.group
                one, wrong = _to_group(job, wanted, index, beyond, made)
                made.append(masked(one, mask))
            except ReportInvalid as error:
                wrong = [error]
            if wrong:
                troubles.setdefault(shown, []).extend(wrong)
    return made, troubles


def _to_group(
    job: Job, wanted: ReportPlan, index: int, beyond: Beyond, made: Sequence[Made]
) -> tuple[Made, list[UserError]]:
    """Return the report to one group, and what is wrong with it. Raises `ReportInvalid` where there cannot be one."""
    group, kind = group_named(job, wanted.group, index), format_named(wanted.file_format)
    _refuse_other_type(job, group, kind, made)
    choice = ArtifactPlan(files=wanted.files, base_directory=wanted.base_directory)
    try:
        chosen = select(choice, beyond, job.say, what="report").files
    except ArtifactsMissing as error:
        return (_report(job, group, kind, None), ReportDetails()), [error]
    files = ResultFiles(kind, ((entry.name, entry.tree, entry.entry) for entry in chosen), job.check)
    outcome = files.outcome()
    report = _report(job, group, kind, outcome)
    if files.troubles:
        report = report.evolve(status="INCOMPLETE")
    return (report, outcome.details if outcome else ReportDetails()), files.troubles


def expanded_plan(report: ReportPlan, index: int, found: Mapping[str, Expanded]) -> ReportPlan:
    """Return *report* with its texts as the build's shell expanded them. Raises `ReportInvalid` where that failed."""

    def text(name: str, raw: str) -> str:
        result = found.get(f"report {index} {name}", Expanded("failed")).value if "$" in raw else raw
        if result is None:
            raise ReportInvalid(f"{name}: the variables in {raw!r} cannot be evaluated")
        return result

    texts = {name: text(name, raw) for name, raw in report_texts(report).items()}
    return report.evolve(
        group=texts["group"],
        file_format=texts["format"],
        base_directory=texts["base"] or None,
        files=tuple(texts[f"file {number}"] for number in range(len(report.files))),
    )


def group_named(job: Job, text: str, number: int = 0) -> Group:
    """Return the group that *text* means: an ARN as it is, else `<project>-<name>`. Raises `ReportInvalid`."""
    if text.startswith("arn:"):
        match = _GROUP_ARN.fullmatch(text)
        name, arn = (match[1] if match else ""), text
    else:
        name = f"{job.build.project.name}-{text}" if text else ""
        arn = f"{job.build.arn.partition(':build/')[0]}:report-group/{name}"
    if not _GROUP_NAME.fullmatch(name):
        raise ReportInvalid(f"Invalid report group name or ARN: {text[:200]!r}")
    return Group(name, arn, number)


def _refuse_other_type(job: Job, group: Group, kind: Format, made: Sequence[Made]) -> None:
    """A group holds reports of one type; the one that this build has begun to fill is not stored yet."""
    stored = job.recorder.report_group(group.arn)
    types = {stored.type} if stored else {report.type for report, _ in made if report.report_group_arn == group.arn}
    for other in types - {kind.type}:
        raise ReportInvalid(f"the report group {group.name} is of type {other}, and {kind.name} makes {kind.type}")


def _report(job: Job, group: Group, kind: Format, outcome: Outcome | None) -> Report:
    created = job.tools.clock.now()
    identity = uuid.uuid5(_NAMESPACE, f"{job.build.arn} {group.arn} {group.number}")  # the same when done again
    return Report(
        arn=f"{group.arn.replace(':report-group/', ':report/', 1)}:{identity}",
        type=kind.type,
        name=group.name,
        report_group_arn=group.arn,
        execution_id=job.build.arn,
        status=outcome.status if outcome else "INCOMPLETE",
        created=created,
        expired=created + KEPT_SECONDS,
        truncated=bool(outcome and outcome.truncated),
        test_summary=outcome and outcome.test_summary,
        code_coverage_summary=outcome and outcome.code_coverage_summary,
    )


def _discovered(job: Job) -> list[Made]:
    """Return the reports of files that nobody asked for; nothing about them fails a build (buildspec.md 12.3)."""
    pattern = discovery.wanted(_expanded(job)[DISCOVERY].value)
    if pattern is None:
        return []
    for line in lines.discovery_begins(pattern):
        job.say(line)
    tree, clock = source_tree(job), job.tools.clock
    began = clock.monotonic()
    hits = discovery.discover(tree, pattern, recognise, clock.monotonic)
    for line in lines.discovery_ends(len(hits.files), _as_first_measured(job, clock.monotonic() - began)):
        job.say(line)
    for name in hits.unreadable:
        job.say(f"warning: {portable(name)} cannot be read; it is left out of the reports")
    mask, made = mask_of(job), []
    for kind, group in groupby(sorted(hits.files, key=lambda hit: hit[1]), key=lambda hit: hit[1]):
        entries = [(portable(name), tree, f"{tree.start}/{name}" if tree.start else name) for name, _ in group]
        one, troubles = _of_format(job, format_named(kind), ResultFiles(format_named(kind), entries, job.check))
        if troubles:
            job.say(mask(f"warning: auto-discovered {kind}: {told(troubles)}"))
        made += [masked(one, mask)] if one else []
    return made


def _of_format(job: Job, kind: Format, files: ResultFiles) -> tuple[Made | None, list[UserError]]:
    """Return the report of those discovered *files* that could be understood, and what is wrong with the others."""
    try:
        group = group_named(job, f"{kind.name}-AutoDiscovered")
        _refuse_other_type(job, group, kind, ())
    except ReportInvalid as error:
        return None, [error]
    outcome = files.outcome()
    if outcome is None:
        return None, files.troubles
    return (_report(job, group, kind, outcome), outcome.details), files.troubles


def _as_first_measured(job: Job, seconds: float) -> float:
    """Return how long the search took when it was first done: a step that runs again must say what it said before."""
    kept = job.paths.scratch / "discovery"
    try:
        return float(read_regular(kept) or "")
    except ValueError:
        write_atomic(kept, f"{seconds:.6f}".encode(), sync=False)
        return seconds


def mask_of(job: Job) -> Mask:
    """Return what takes the secrets of a build out of a text; what comes out can be stored, whatever went in."""
    masker = Masker(masks.kept(job.paths))
    return lambda text: masker.mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def masked(made: Made, mask: Mask) -> Made:
    """Return a report whose texts are masked, as the log is: they end up on a disk and on screens."""
    report, details = made
    texts = ("name", "prefix", "test_suite_name", "message", "test_raw_data_path")
    cases = (
        case.evolve(**{text: mask(value) for text in texts if (value := getattr(case, text))})
        for case in details.test_cases
    )
    files = (file.evolve(file_path=mask(file.file_path)) for file in details.code_coverages)
    return report, ReportDetails(test_cases=tuple(cases), code_coverages=tuple(files))


def _expanded(job: Job) -> dict[str, Expanded]:
    return read_expansions(job.paths.control, "after", after_expansions(job))


def _fetch(job: Job, path: str) -> Iterator[bytes] | None:
    return job.tools.engine.copy_out(job.container, path) if job.container else None
