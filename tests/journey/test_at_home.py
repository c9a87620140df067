"""At home (issue 6): everything that stands around CodeBuild goes on working around this agent, in one story.

Templates are deployed, a push comes by EventBridge and SQS, its build reaches a database on the private network with
the project's role, and fails: a rule, a metric, an alarm and a pipeline hear of it. A fix turns all of it green.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pytest

from tests.architecture.templates import load
from tests.fakes.codecommit import Region, codecommit
from tests.fakes.codepipeline import CodePipeline, Job, artifact, serving_codepipeline
from tests.fakes.repository import Repository
from tests.journey.cloud import ACCOUNT, REGION, Cloud
from tests.journey.daemon import Daemon, Json, buildspec
from tests.journey.home.database import Database, database
from tests.journey.home.watch import MINUTE, Watch
from tests.journey.test_codecommit import tell
from tests.journey.test_events import empty
from tests.journey.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

LONG = 180.0
"""Seconds for what takes a few on a machine that has nothing else to do."""
PROVIDER = "Own"
LOGIN = r"""
wget -q -O /tmp/keys --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" "$AWS_CONTAINER_CREDENTIALS_FULL_URI"
of() { sed -n 's/.*"'$1'": *"\([^"]*\)".*/\1/p' /tmp/keys; }
login="$(of AccessKeyId) $(of SecretAccessKey) $(of Token)"
"""
BUILDSPEC = buildspec(
    LOGIN + 'answer=$(printf "%s\\n" "$login" "select $(cat column)" | nc $DATABASE_HOST $DATABASE_PORT)',
    'echo "the database says: $answer"',
    'case $answer in ERROR*) echo "no report without $(cat column)"; exit 3;; esac',
    'export TOTAL=$answer; echo "total $TOTAL" > report.txt',
    env={"exported-variables": ["TOTAL"]},
    artifacts={"files": ["report.txt"]},
)
SAID = 'the database says: ERROR: column "totl" does not exist'


class Home:
    """An account of AWS in which a team has built with CodeBuild so far, and the agent that takes its place."""

    def __init__(self, aws: Cloud, region: Region, pipeline: CodePipeline, place: Path, private: Database) -> None:
        self.aws, self.region, self.pipeline, self.private = aws, region, pipeline, private
        self.began = time.time()
        self.web = f"web-{uuid.uuid4().hex[:8]}"
        self.release = f"{self.web}-release"
        self.agent = f"agent-{self.web}"
        self.repository = Repository(place / "v1" / "repos", self.web)
        self.repository.bare.rename(self.repository.bare.with_suffix(""))
        self.repository.bare = self.repository.bare.with_suffix("")
        self.bucket, self.key = aws.bucket(), aws.key()
        self._inbox: list[Json] = []

    def deploy(self) -> None:
        """Deploy what is in aws/, each with what those before it put out; and the team's own rule."""
        namespace = f"buildspecd/{self.web}"
        repository = f"arn:aws:codecommit:{REGION}:{ACCOUNT}:{self.web}"
        self.triggers = self.aws.deployed("triggers.yml", RepositoryArns=repository)
        # nothing is left out: the server does not know that AWS::NoValue takes a statement out of a policy
        parameters = load("agent-policy.yml")["Parameters"]
        optional = {name: f"arn:aws:s3:::{self.bucket}" for name, one in parameters.items() if one.get("Default") == ""}
        policy = self.aws.deployed(
            "agent-policy.yml",
            Buckets=f"arn:aws:s3:::{self.bucket}/*",
            BucketArns=f"arn:aws:s3:::{self.bucket}",
            KeyArns=self.key,
            ParameterArns=f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{self.web}/*",
            SecretArns=f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{self.web}/*",
            **{
                **optional,
                "RepositoryArns": repository,
                "BuildRoleArns": f"arn:aws:iam::{ACCOUNT}:role/*",
                "QueueArns": self.triggers["QueueArn"],
                "PipelineActionTypes": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:actiontype:Custom/Build/{PROVIDER}/1",
            },
            EventBusArn=f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
            MetricNamespace=namespace,
        )
        ec2 = self.aws.client("ec2")
        subnet = ec2.describe_subnets()["Subnets"][0]
        host = self.aws.deployed(
            "agent-host.yml",
            VpcId=subnet["VpcId"],
            SubnetIds=subnet["SubnetId"],
            ImageId=ec2.describe_images()["Images"][0]["ImageId"],
            AgentPolicyArn=policy["PolicyArn"],
            PackageSource="buildspecd",
            QueueUrl=self.triggers["QueueUrl"],
            AgentName=self.agent,
        )
        self.roles = {
            project: self.aws.deployed(
                "build-role.yml",
                AgentRoleArn=host["AgentRoleArn"],
                ExternalId=f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{project}",
            )["RoleArn"]
            for project in (self.web, self.release)
        }
        self.watch = Watch(self.aws, MetricNamespace=namespace, ProjectName=self.web, AgentName=self.agent)
        rule = Path(__file__).with_name("home") / "notify.yml"
        self.inbox = self.aws.deployed(rule, ProjectNames=f"{self.web},{self.release}")["InboxUrl"]
        self.settings = {
            "queue": {"url": self.triggers["QueueUrl"], "wait": "1s"},
            "metrics": {"namespace": namespace, "agent_name": self.agent},
            "pipeline": {"action": {"provider": PROVIDER}, "pool": "home", "every": "1s"},
            "git": {"ca_file": str(self.region.ca_file)},
        }

    @property
    def environment(self) -> dict[str, str]:
        """What the daemon finds around it: the host's role for keys, and where AWS is."""
        there = {key: value for key, value in self.aws.environment.items() if "KEY" not in key}
        return {**there, **self.region.environment, "AWS_ENDPOINT_URL_CODEPIPELINE": self.pipeline.url}

    def move_in(self, daemon: Daemon, image: str) -> None:
        """Have both projects built by *daemon*: one by pushes, the other by a pipeline."""
        known = {"DATABASE_HOST": self.private.host, "DATABASE_PORT": str(self.private.port)}
        variables = [{"name": name, "value": value} for name, value in known.items()]
        common: dict[str, Any] = {
            "environment": {"environmentVariables": variables},
            "agent": {"preflight": [f"{self.private.host}:{self.private.port}"]},
        }
        source = {"type": "CODECOMMIT", "location": self.region.location(self.web)}
        version, role = "refs/heads/main", self.roles[self.web]
        daemon.project(image, name=self.web, source=source, sourceVersion=version, serviceRole=role, **common)
        both = {"source": {"type": "CODEPIPELINE"}, "artifacts": {"type": "CODEPIPELINE"}}
        daemon.project(image, name=self.release, serviceRole=self.roles[self.release], **both, **common)
        made = daemon.cli("pipeline", "install")
        assert made.returncode == 0, made.stderr.decode()
        assert [one["id"]["provider"] for one in self.pipeline.action_types] == [PROVIDER]

    def push(self, message: str, old: str | None = None, **files: str) -> tuple[str, Job]:
        """Push a commit; CodeCommit tells of it, and the pipeline brings it to its build action."""
        new = self.repository.commit(message, **files)
        tell(self.aws, self.web, old, new)
        place = self.repository.work.with_name(f"{new}.zip")
        self.repository.run("archive", "--format=zip", f"--output={place}", new)
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=f"in/{new}", Body=place.read_bytes())
        job = self.pipeline.offer(
            {"ProjectName": self.release, "Pool": "home"},
            [artifact("Source", self.bucket, f"in/{new}", new)],
            [artifact("Built", self.bucket, f"out/{new}")],
            key=self.key,
        )
        return new, job

    def ends(self, daemon: Daemon, builds: int) -> list[Json]:
        """Wait until the rule's target has had the ends of this many builds; return all that it has had."""

        def look() -> bool:
            self._inbox.extend(self.aws.received(self.inbox))
            return len(self._inbox) >= builds

        try:
            until(look, f"{builds} events", LONG)
        except AssertionError as error:
            raise AssertionError(f"{error}, {self._inbox}\n{daemon.said()[-3000:]}") from None
        return self._inbox

    def log_at(self, link: str) -> str:
        """Return what an operator reads who follows *link* into the console."""
        match = re.fullmatch(r"https://.*#logsV2:log-groups/log-group/(.*)/log-events/(.*)", link)
        assert match, link
        group, stream = (unquote(unquote(part.replace("$", "%"))) for part in match.groups())
        return "\n".join(self.aws.lines(group, stream))


def caller(aws: Cloud, login: str) -> str:
    """Return who AWS says that somebody is who has these keys."""
    keys = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), login.split(), strict=True))
    client = boto3.client("sts", endpoint_url=aws.url, region_name=REGION, **keys)  # type: ignore[call-overload]
    return str(client.get_caller_identity()["Arn"])


@pytest.fixture
def home(aws: Cloud, tmp_path: Path) -> Iterator[Home]:
    place = tmp_path / "region"
    (place / "v1" / "repos").mkdir(parents=True)
    with (
        codecommit(place) as region,
        serving_codepipeline() as pipeline,
        database(partial(caller, aws)) as private,
    ):
        yield Home(aws, region, pipeline, place, private)


def told(job: Job, daemon: Daemon) -> Json:
    """Wait until the pipeline knows how a job ended; return what it was told."""
    try:
        until(lambda: job.state in ("Succeeded", "Failed"), "the end of the job", LONG)
    except AssertionError as error:
        raise AssertionError(f"{error}: {job}\n{daemon.said()[-3000:]}") from None
    return job.told


def at(event: Json) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def test_a_red_push_is_heard_of_everywhere_and_its_fix_turns_everything_green(
    home: Home, busybox: str, new_daemon: Callable[..., Daemon]
) -> None:
    home.deploy()
    watch = home.watch
    assert watch.look("AgentSilent", home.began) == "ALARM", "there is no agent yet"
    daemon = new_daemon(environment=home.environment, settings=home.settings).start()
    home.move_in(daemon, busybox)
    until(lambda: watch.look("AgentSilent", time.time()) == "OK", "the agent's heartbeat", LONG)
    assert watch.look("ProjectFailed", time.time()) == "OK"
    assert watch.told() == ["AgentSilent ALARM", "AgentSilent OK"]

    broken, job = home.push("a report", **{"buildspec.yml": BUILDSPEC}, column="totl")
    failed = {event["detail"]["project-name"]: event for event in home.ends(daemon, 2)}
    assert set(failed) == {home.web, home.release}
    for project, event in failed.items():
        detail = event["detail"]
        assert (event["source"], event["detail-type"]) == ("buildspecd", "CodeBuild Build State Change")
        assert detail["build-status"] == "FAILED", daemon.text(daemon.builds(project)[0])
        assert SAID in home.log_at(detail["additional-information"]["logs"]["deep-link"])
        (build,) = daemon.builds(project)
        assert (build["resolvedSourceVersion"], event["resources"]) == (broken, [build["arn"]])
    initiators = [daemon.builds(project)[0]["initiator"] for project in (home.web, home.release)]
    assert initiators == ["buildspecd/sqs", "codepipeline/shop"]
    until(lambda: watch.look("ProjectFailed", at(failed[home.web])) == "ALARM", "an alarm", LONG)
    assert watch.told() == ["ProjectFailed ALARM"]
    reported = told(job, daemon)["failureDetails"]
    assert (job.state, reported["type"]) == ("Failed", "JobFailed")
    assert reported["externalExecutionId"] == daemon.builds(home.release)[0]["id"]
    said, _, link = reported["message"].partition("; log: ")
    assert "exit status 3" in said
    assert SAID in home.log_at(link)

    fixed, job = home.push("the right column", broken, column="total")
    green = {event["detail"]["project-name"]: event for event in home.ends(daemon, 4)[2:]}
    for project in (home.web, home.release):
        assert green[project]["detail"]["build-status"] == "SUCCEEDED", daemon.text(daemon.builds(project)[1])
        assert daemon.builds(project)[1]["resolvedSourceVersion"] == fixed
    reported = told(job, daemon)
    assert job.state == "Succeeded"
    assert reported["outputVariables"] == {"TOTAL": "42"}
    assert reported["executionDetails"]["externalExecutionId"] == daemon.builds(home.release)[1]["id"]
    assert "the database says: 42" in home.log_at(reported["executionDetails"]["summary"].partition("; log: ")[2])
    assert home.aws.keys(home.bucket) == sorted([f"in/{broken}", f"in/{fixed}", f"out/{fixed}"])
    until(lambda: watch.total("SucceededBuilds", home.web, home.began) == 1, "the metric", LONG)
    assert watch.total("FailedBuilds", home.web, home.began) == 1
    # an alarm is over with its minute; the fix may have come within the same one
    assert watch.look("ProjectFailed", max(at(green[home.web]), at(failed[home.web]) + MINUTE)) == "OK"
    others = ("AgentSilent", "QueueTooLong", "FailureRate", "ManyFailed")
    assert {name: watch.look(name, time.time()) for name in others} == dict.fromkeys(others, "OK")
    assert watch.told() == []

    asked = [(arn.split("/")[1], question) for arn, question in home.private.asked]
    roles = {role.rpartition("/")[2] for role in home.roles.values()}
    assert set(asked) == {(role, question) for role in roles for question in ("select totl", "select total")}
    assert len(asked) == 4
    assert all(":assumed-role/" in arn for arn, _ in home.private.asked)
    until(lambda: empty(home.aws, home.triggers["QueueUrl"]), "an empty queue", LONG)
    assert [len(daemon.builds(project)) for project in (home.web, home.release)] == [2, 2]
    assert len(home.ends(daemon, 4)) == 4
    for project in (home.web, home.release):
        for build in daemon.builds(project):
            daemon.assert_nothing_left(build)
