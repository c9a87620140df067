"""Reports: groups, reports and what these list, saved as JSON; they go when they have expired."""

from __future__ import annotations

import zlib

from agent.model.report import Report, ReportDetails, ReportGroup
from agent.store.database import Database

MOST_OF_GROUP = 1000
"""Reports that one group keeps, the newest ones: a project that builds every minute does not fill the disk."""
_GROUP = "SELECT arn, name, type, created, modified FROM report_groups"


class Reports:
    """The tables of report groups, reports and their details."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, report: Report, details: ReportDetails) -> None:
        """Store a report with what it lists, and its group; a report of the same ARN is replaced.

        What has expired by the time that *report* was created goes, and what its group has too many of.
        """
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO report_groups (arn, name, type, created, modified) VALUES (?1,?2,?3,?4,?4) "
                "ON CONFLICT (arn) DO UPDATE SET modified = excluded.modified",
                report.report_group_arn,
                report.name,
                report.type,
                report.created,
            )
            self._database.execute("DELETE FROM reports WHERE arn = ?", report.arn)
            self._database.execute(
                "INSERT INTO reports (arn, report_group, status, created, expired, document) VALUES (?,?,?,?,?,?)",
                report.arn,
                report.report_group_arn,
                report.status,
                report.created,
                report.expired,
                report.model_dump_json(),
            )
            self._database.execute(
                "INSERT INTO report_details (report, document) VALUES (?,?)",
                report.arn,
                zlib.compress(details.model_dump_json().encode()),
            )
            self._database.execute(
                "DELETE FROM reports WHERE arn IN (SELECT arn FROM reports WHERE report_group = ? "
                "ORDER BY created DESC, rowid DESC LIMIT -1 OFFSET ?)",
                report.report_group_arn,
                MOST_OF_GROUP,
            )
            self.prune(report.created)

    def get(self, arn: str) -> Report | None:
        """Return the report with exactly this ARN, or None."""
        row = self._database.row("SELECT document FROM reports WHERE arn = ?", arn)
        return None if row is None else Report.model_validate_json(row[0])

    def details(self, arn: str) -> ReportDetails:
        """Return what a report lists; nothing for a report that is not there."""
        row = self._database.row("SELECT document FROM report_details WHERE report = ?", arn)
        return ReportDetails() if row is None else ReportDetails.model_validate_json(zlib.decompress(row[0]))

    def group(self, arn: str) -> ReportGroup | None:
        """Return the report group with exactly this ARN, or None."""
        row = self._database.row(f"{_GROUP} WHERE arn = ?", arn)
        return None if row is None else _group(*row)

    def groups(self) -> list[ReportGroup]:
        """Return every report group, by name."""
        return [_group(*row) for row in self._database.rows(f"{_GROUP} ORDER BY name, arn")]

    def list(self, *, group: str | None = None, status: str | None = None) -> list[str]:
        """Return ARNs of reports, newest first: of one *group* (its ARN), of one *status*, or all."""
        rows = self._database.rows(
            "SELECT arn FROM reports WHERE (?1 IS NULL OR report_group = ?1) AND (?2 IS NULL OR status = ?2) "
            "ORDER BY created DESC, rowid DESC",
            group,
            status,
        )
        return [str(row[0]) for row in rows]

    def prune(self, now: float) -> int:
        """Drop the reports that have expired, and the groups that have none left; return how many reports."""
        with self._database.transaction():
            gone = self._database.execute("DELETE FROM reports WHERE expired <= ?", now)
            self._database.execute(
                "DELETE FROM report_groups "
                "WHERE NOT EXISTS (SELECT 1 FROM reports WHERE report_group = report_groups.arn)"
            )
        return gone


def _group(arn: str, name: str, kind: str, created: float, modified: float) -> ReportGroup:
    return ReportGroup.model_validate(
        {"arn": arn, "name": name, "type": kind, "created": created, "last_modified": modified}
    )
