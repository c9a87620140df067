"""Places: where the repositories of the day lie, and what a push to each makes the world say."""

from __future__ import annotations

import io
import json
import subprocess
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes import hooks
from tests.fakes.repository import git
from tests.journey.cloud import ACCOUNT, REGION, Cloud
from tests.journey.daemon import buildspec
from tests.journey.day.plan import Plot, Push
from tests.journey.waiting import until

CODECOMMIT = f"git-codecommit.{REGION}.amazonaws.com"
SPEC = buildspec("cat text")


@dataclass(frozen=True)
class News:
    """What is told of one push: to a hook (`event` is the host's word for it), or, as it is, through a queue."""

    plot: Plot
    body: bytes
    event: str = ""


class GitPlace:
    """Bare repositories below *root*, pushed to without a work tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def make(self, name: str) -> None:
        """Make an empty repository."""
        path = self.root / name
        git(self.root, "init", "-q", "-b", "main", "--bare", str(path))
        git(path, "config", "uploadpack.allowAnySHA1InWant", "true")

    def push(self, push: Push, name: str, text: str, heads: list[str], main: list[str]) -> str:
        """Add a commit to the ref of *push*, which had *heads*, or begins at the first of *main*; return it.

        A forced one takes the place of the last.
        """
        known = heads or main[:1]
        start = known[:-1] if push.forced and heads else known
        files = {"buildspec.yml": SPEC, "text": f"{text}\n"}
        stream = [f"commit {push.ref}\nmark :1\ncommitter D <d@example.com> 1700000000 +0000\n", _data(text)]
        # A ref is moved even where the new commit does not follow: `from` says where it starts, not where the ref is.
        stream.append(f"from {start[-1]}\n" if start else "")
        stream += [f"M 100644 inline {path}\n{_data(content)}" for path, content in files.items()]
        stream.append("get-mark :1\n")
        command = ["git", "-C", str(self.root / name), "fast-import", "--quiet", "--force"]
        done = subprocess.run(command, input="".join(stream).encode(), capture_output=True, check=True)
        return done.stdout.decode().strip()


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"


class World:
    """All places. `heads` holds what each ref of each repository has pointed to, in order."""

    def __init__(self, place: Path, aws: Cloud) -> None:
        self.aws = aws
        self.git = {kind: GitPlace(place / kind) for kind in ("http", "codecommit", "file")}
        self.http_url = ""
        self.heads: dict[str, dict[str, list[str]]] = {}
        self.bucket = aws.bucket()
        self.rule = f"day-{uuid.uuid4().hex[:10]}"
        self.staging = str(aws.client("sqs").create_queue(QueueName=self.rule)["QueueUrl"])
        self._wire()

    def _wire(self) -> None:
        """Have S3 and, by a rule of EventBridge, CodeCommit tell a queue of ours, from which news is passed on."""
        s3, events = self.aws.client("s3"), self.aws.client("events")
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.rule}"
        s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
        )
        pattern = {"source": ["aws.codecommit"], "detail": {"repositoryName": [{"prefix": self.rule}]}}
        events.put_rule(Name=self.rule, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=self.rule, Targets=[{"Id": "1", "Arn": arn}])
        list(self.aws.received(self.staging))  # S3's test message

    def make(self, plot: Plot) -> None:
        """Make the repository of *plot*, empty."""
        self.heads[plot.name] = {ref: [] for ref in plot.refs or ("object",)}
        if plot.kind != "s3":
            self.git[plot.kind].make(self._repository(plot))

    def _repository(self, plot: Plot) -> str:
        """Return the name of a repository, which a rule of its own tells apart from those of other tests."""
        return f"v1/repos/{self.rule}-{plot.name}" if plot.kind == "codecommit" else f"{plot.name}.git"

    def location(self, plot: Plot) -> str:
        """Return the location of the source."""
        if plot.kind == "s3":
            return f"{self.bucket}/{plot.name}.zip"
        if plot.kind == "codecommit":
            return f"https://{CODECOMMIT}/{self._repository(plot)}"
        if plot.kind == "http":
            return f"{self.http_url}/{plot.name}.git"
        return f"file://{self.git['file'].root / self._repository(plot)}"

    def push(self, push: Push) -> News:
        """Push; return what the world says of it."""
        heads = self.heads[push.plot.name]
        before, text = heads[push.ref], f"{push.plot.name} {push.ref} {len(heads[push.ref])}"
        if push.plot.kind == "s3":
            before.append(self._upload(push.plot, text))
            return News(push.plot, self._said())
        main = next(iter(heads.values()))
        after = self.git[push.plot.kind].push(push, self._repository(push.plot), text, before, main)
        old = before[-1] if before else None
        before.append(after)
        if push.plot.kind == "codecommit":
            self._codecommit(push, old, after)
            return News(push.plot, self._said())
        return _webhook(push, old, after, self.location(push.plot))

    def _upload(self, plot: Plot, text: str) -> str:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("buildspec.yml", SPEC)
            archive.writestr("text", f"{text}\n")
        answer = self.aws.client("s3").put_object(Bucket=self.bucket, Key=f"{plot.name}.zip", Body=data.getvalue())
        return str(answer["VersionId"])

    def _codecommit(self, push: Push, old: str | None, new: str) -> None:
        detail = {
            "callerUserArn": f"arn:aws:iam::{ACCOUNT}:user/ada",
            "event": "referenceUpdated" if old else "referenceCreated",
            "repositoryName": self._repository(push.plot).rpartition("/")[2],
            "referenceFullName": push.ref,
            "referenceName": push.ref.rpartition("/")[2],
            "referenceType": "branch",
            "commitId": new,
            **({"oldCommitId": old} if old else {}),
        }
        kind = "CodeCommit Repository State Change"
        entry = {"Source": "aws.codecommit", "DetailType": kind, "Detail": json.dumps(detail)}
        self.aws.client("events").put_events(Entries=[entry])

    def _said(self) -> bytes:
        """Return the one message that has come to our queue."""
        found: list[Any] = []

        def heard() -> bool:
            found.extend(self.aws.received(self.staging))
            return bool(found)

        until(heard, "the event of a push")
        (message,) = found
        return json.dumps(message).encode()


def _webhook(push: Push, old: str | None, new: str, location: str) -> News:
    """Return the delivery that the host of the repository makes."""
    name, zeros = push.ref.rpartition("/")[2], hooks.ZEROS
    match push.plot.hook:
        case "gitlab":
            payload = hooks.gitlab_push(push.ref, old or zeros, new)
            payload["project"] |= {"git_http_url": location, "web_url": location, "git_ssh_url": None}
            return News(push.plot, hooks.body_of(payload), "Push Hook")
        case "bitbucket":
            change = (hooks.bitbucket_ref(name, old) if old else None, hooks.bitbucket_ref(name, new))
            payload = hooks.bitbucket_push(change)
            payload["repository"]["links"]["html"]["href"] = location
            return News(push.plot, hooks.body_of(payload), "repo:push")
    payload = hooks.github_push(push.ref, old or zeros, new, location)
    return News(push.plot, hooks.body_of(payload), "push")
