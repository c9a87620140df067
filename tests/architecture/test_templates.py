"""The templates in aws/: linted, deployed, least in what they allow; and their alarms go off for what they are for."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.daemon.standing import Standing
from agent.kit.room import Room
from agent.model.status import Status
from agent.notify.cloudwatch import CloudWatch
from agent.notify.gauges import Gauges
from tests.architecture.templates import FOLDER, load, put_alarms, resolved, state
from tests.journey.cloud import ACCOUNT, Cloud, serving
from tests.unit.notify.builds import told_by
from tests.unit.store.samples import ManualClock, a_build

NAMES = sorted(path.name for path in FOLDER.glob("*.yml"))
NOW = datetime.now(UTC).replace(minute=31, second=30, microsecond=0)
HOST = {"VpcId": "vpc-1", "SubnetIds": "subnet-1", "AgentPolicyArn": "arn:aws:iam::1:policy/x", "PackageSource": "b==1"}


@pytest.fixture(scope="module")
def region() -> Iterator[Cloud]:
    with serving() as cloud:
        yield cloud


def test_every_template_passes_cfn_lint() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [linter, "--non-zero-exit-code", "warning", *(FOLDER / name for name in NAMES)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert len(NAMES) == 5


def test_pushes_and_uploads_go_through_the_rules_into_the_queue(region: Cloud) -> None:
    repository = f"arn:aws:codecommit:us-east-1:{ACCOUNT}:web"
    made = region.deployed("triggers.yml", RepositoryArns=repository, SourceBuckets="sources,more")
    told = [
        ("aws.codecommit", "CodeCommit Repository State Change", {"event": "referenceUpdated"}, [repository]),
        ("aws.codecommit", "CodeCommit Repository State Change", {"event": "other"}, [f"{repository}-of-others"]),
        ("aws.s3", "Object Created", {"bucket": {"name": "more"}}, []),
        ("aws.s3", "Object Created", {"bucket": {"name": "of-others"}}, []),
        ("aws.s3", "Object Deleted", {"bucket": {"name": "more"}}, []),
    ]
    entries = [
        {"Source": source, "DetailType": kind, "Detail": json.dumps(detail), "Resources": resources}
        for source, kind, detail, resources in told
    ]
    assert region.client("events").put_events(Entries=entries)["FailedEntryCount"] == 0
    sqs = region.client("sqs")
    url = f"{region.url}/{ACCOUNT}/{made['QueueUrl'].rpartition('/')[2]}"
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)["Messages"]
    assert sorted(json.loads(one["Body"])["source"] for one in got) == ["aws.codecommit", "aws.s3"]
    facts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    dead = made["DeadLetterUrl"].rpartition("/")[2]
    assert json.loads(facts["RedrivePolicy"])["deadLetterTargetArn"].endswith(dead)


def test_only_the_rules_may_write_to_the_queue() -> None:
    statements = resolved("triggers.yml", RepositoryArns="r", SourceBuckets="b")["QueuePolicy"]["PolicyDocument"]
    allowed = [one for one in statements["Statement"] if one["Effect"] == "Allow"]
    assert [one["Principal"] for one in allowed] == [{"Service": "events.amazonaws.com"}] * 2
    assert [one["Condition"]["ArnEquals"]["aws:SourceArn"] for one in allowed] == ["Pushes.Arn", "Uploads.Arn"]
    assert len(resolved("triggers.yml")["QueuePolicy"]["PolicyDocument"]["Statement"]) == 1


def test_the_role_of_builds_is_for_the_agent_alone_and_for_one_project(region: Cloud) -> None:
    project = f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/web"
    made = region.deployed("build-role.yml", AgentRoleArn=f"arn:aws:iam::{ACCOUNT}:role/agent", ExternalId=project)
    role = region.client("iam").get_role(RoleName=made["RoleArn"].rpartition("/")[2])["Role"]
    assume, _tag = role["AssumeRolePolicyDocument"]["Statement"]
    assert assume["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:role/agent"}
    assert assume["Condition"] == {"StringEquals": {"sts:ExternalId": project}}


def test_the_policy_of_the_agent_can_be_deployed_and_names_what_it_was_given(region: Cloud) -> None:
    wanted = {
        name: one
        for name, one in load("agent-policy.yml")["Parameters"].items()
        if "Default" not in one or not one["Default"]
    }
    given = {name: f"arn:aws:s3:::{name.lower()}" for name in wanted}
    made = region.deployed("agent-policy.yml", **given)
    iam = region.client("iam")
    version = iam.get_policy_version(PolicyArn=made["PolicyArn"], VersionId="v1")["PolicyVersion"]["Document"]
    statements = {one["Sid"]: one for one in version["Statement"]}
    assert statements["TellTopicsOfBuilds"]["Resource"] == [given["TopicArns"]]
    assert statements["TellTopicsOfBuilds"]["Action"] == "sns:Publish"


def test_the_host_is_one_instance_that_nothing_connects_to(region: Cloud) -> None:
    ec2 = region.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    given = {**HOST, "VpcId": subnet["VpcId"], "SubnetIds": subnet["SubnetId"], "ImageId": image}
    asked = region.client("autoscaling")
    known = {one["AutoScalingGroupName"] for one in asked.describe_auto_scaling_groups()["AutoScalingGroups"]}
    made = region.deployed("agent-host.yml", **given)
    (group,) = ec2.describe_security_groups(GroupIds=[made["GroupId"]])["SecurityGroups"]
    assert group["IpPermissions"] == []
    groups = asked.describe_auto_scaling_groups()["AutoScalingGroups"]
    (hosts,) = (one for one in groups if one["AutoScalingGroupName"] not in known)
    assert (hosts["MinSize"], hosts["MaxSize"], len(hosts["Instances"])) == (1, 1, 1)


def test_the_host_keeps_its_credentials_and_its_disk_to_itself() -> None:
    data = resolved("agent-host.yml", **HOST)["Template"]["LaunchTemplateData"]
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
    }
    assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_the_script_of_the_host_is_one_that_a_shell_understands() -> None:
    script = resolved("agent-host.yml", **HOST)["Template"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    said = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    assert "${" not in script


class Watched:
    """Alarms stored in a region, over a namespace of their own."""

    def __init__(self, region: Cloud) -> None:
        self.region, self.client = region, region.client("cloudwatch")
        self.namespace, self.clock = f"t{uuid.uuid4().hex}", ManualClock(NOW.timestamp())
        given = {"MetricNamespace": self.namespace, "ProjectName": "web", "AgentName": "ci-1"}
        self.names = put_alarms(self.client, uuid.uuid4().hex[:8], **given)

    def states(self) -> dict[str, str]:
        """Return the state of each alarm, judged by its definition as the server has it."""
        stored = self.client.describe_alarms(AlarmNames=list(self.names.values()))["MetricAlarms"]
        named = {one["AlarmName"]: one for one in stored}
        at = datetime.fromtimestamp(self.clock.at, UTC)
        return {name: state(self.client, named[full], at) for name, full in self.names.items()}

    def build(self, *ends: Status) -> None:
        """Have builds end now."""
        sink = CloudWatch(self.region, self.namespace)
        for number, status in enumerate(ends, 1):
            sink.deliver(told_by(a_build(number, at=self.clock.at - 20), status))

    def minutes(self, count: int, standing: Standing, *, healthy: bool = True) -> None:
        """Let the agent tell for *count* minutes how it stands."""
        gauges = Gauges(self.region, self.namespace, "ci-1", lambda: standing, list, lambda: healthy, self.clock)
        for _ in range(count):
            self.clock.at += 60
            gauges.turn()


def a_standing(*, queued: int = 0, free: int = 50) -> Standing:
    return Standing(queued=queued, disks={Path("/"): Room(free, 100)})


@pytest.fixture
def watched(region: Cloud) -> Watched:
    return Watched(region)


def test_a_failed_build_makes_the_alarm_of_its_project_go_off_and_a_good_one_does_not(watched: Watched) -> None:
    watched.build(Status.SUCCEEDED)
    assert watched.states()["ProjectFailed"] == "OK"
    watched.build(Status.FAILED)
    assert watched.states()["ProjectFailed"] == "ALARM"
    assert watched.states()["ManyFailed"] == "OK"
    watched.clock.at += 120
    assert watched.states()["ProjectFailed"] == "OK"


def test_many_failures_and_a_bad_rate_make_their_alarms_go_off(watched: Watched) -> None:
    watched.build(*[Status.FAILED] * 3)
    assert watched.states()["ManyFailed"] == "OK"
    watched.clock.at += 3 * 3600
    watched.build(*[Status.SUCCEEDED] * 3, *[Status.FAILED] * 4)
    assert watched.states()["ManyFailed"] == "ALARM"
    assert watched.states()["FailureRate"] == "OK"  # one hour of three
    watched.clock.at += 3600
    watched.build(*[Status.SUCCEEDED] * 3, *[Status.TIMED_OUT] * 4)
    assert watched.states()["FailureRate"] == "ALARM"
    watched.clock.at += 3600
    watched.build(*[Status.FAILED] * 2)  # too few to say
    watched.clock.at += 3600
    assert watched.states()["FailureRate"] == "OK"


def test_a_silent_agent_makes_the_alarm_go_off_and_one_that_hangs_does_too(watched: Watched) -> None:
    assert watched.states()["AgentSilent"] == "ALARM"
    watched.minutes(6, a_standing())
    assert watched.states()["AgentSilent"] == "OK"
    watched.minutes(6, a_standing(), healthy=False)
    assert watched.states()["AgentSilent"] == "ALARM"


def test_a_long_queue_and_a_full_disk_make_their_alarms_go_off(watched: Watched) -> None:
    watched.minutes(15, a_standing())
    assert {watched.states()[name] for name in ("QueueTooLong", "DiskFull", "LogsLate")} == {"OK"}
    watched.clock.at += 900
    watched.minutes(15, a_standing(queued=11, free=14))
    states = watched.states()
    assert (states["QueueTooLong"], states["DiskFull"]) == ("ALARM", "ALARM")


def statements(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every statement of every policy below *node*."""
    if isinstance(node, list):
        for one in node:
            yield from statements(one)
    elif isinstance(node, dict):
        yield from (one for one in node.get("Statement", ()) if isinstance(one, dict))
        for one in node.values():
            yield from statements(one)


@pytest.mark.parametrize("name", NAMES)
def test_no_policy_allows_all_actions_of_a_service_or_lets_everybody_in(name: str) -> None:
    given = {key: "x" for key, one in load(name)["Parameters"].items() if not one.get("Default")}
    found = [one for one in statements(list(resolved(name, **given).values())) if one["Effect"] == "Allow"]
    assert found or name == "alarms.yml"
    for one in found:
        actions = one["Action"] if isinstance(one["Action"], list) else [one["Action"]]
        assert not [action for action in actions if "*" in action], one
        assert one.get("Principal") != "*", one
        if one.get("Resource") == "*":
            assert one["Sid"] in ("CountBuilds", "DoPipelineJobs", "FindLifecycleHooks", "PullImages")
