"""Jobs of CodePipeline, from the question for them to their artifacts: one green and one red, over a killed agent."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.codepipeline import CodePipeline, Job, artifact, serving_codepipeline
from tests.journey.cloud import ACCOUNT, Cloud
from tests.journey.daemon import Daemon, Json, buildspec, failure
from tests.journey.waiting import PATIENCE, until
from tests.unit.source.zips import Item, Zip

pytestmark = pytest.mark.docker

MAIN = buildspec(
    "echo from $CODEBUILD_SOURCE_VERSION at $CODEBUILD_RESOLVED_SOURCE_VERSION by $CODEBUILD_INITIATOR",
    "cat $CODEBUILD_SRC_DIR_my_lib/lib.txt > made.txt",
    "while [ ! -e go ]; do sleep 0.1; done",
    "echo $STAGE >> made.txt; export VERSION=1.$STAGE",
    env={"exported-variables": ["VERSION"]},
    artifacts={
        "files": ["nothing-of-this"],
        "secondary-artifacts": {"Built": {"files": ["made.txt"]}, "Other": {"files": ["lib/*", "buildspec.yml"]}},
    },
)


@pytest.fixture
def pipeline() -> Iterator[CodePipeline]:
    with serving_codepipeline() as service:
        yield service


@pytest.fixture
def worker(aws: Cloud, pipeline: CodePipeline, new_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon that does the jobs of one pool."""
    settings = {"pipeline": {"action": {"provider": "Own"}, "pool": "here", "every": "1s"}}
    environment = {**aws.environment, "AWS_ENDPOINT_URL_CODEPIPELINE": pipeline.url}
    return new_daemon(environment=environment, settings=settings).start()


def put(aws: Cloud, bucket: str, name: str, files: dict[str, str]) -> None:
    data = Zip([Item(path, text.encode()) for path, text in files.items()]).bytes()
    aws.client("s3").put_object(Bucket=bucket, Key=f"shop/{name}/abc", Body=data)


def ended(worker: Daemon, job: Job, build: Json) -> None:
    def over() -> bool:
        return job.state in ("Succeeded", "Failed")

    try:
        until(over, "the end of the job", PATIENCE)
    except AssertionError:
        raise AssertionError(f"{job}\n{worker.text(build)[-2000:]}\n{worker.said()[-3000:]}") from None


def test_a_green_and_a_red_job_end_as_they_should_though_the_agent_is_killed(
    aws: Cloud, pipeline: CodePipeline, worker: Daemon, busybox: str
) -> None:
    both = {"source": {"type": "CODEPIPELINE"}, "artifacts": {"type": "CODEPIPELINE"}}
    project = worker.project(busybox, **both)
    bucket, key = aws.bucket(), aws.key()
    put(aws, bucket, "Main", {"buildspec.yml": MAIN, "lib/one": "1"})
    put(aws, bucket, "my-lib", {"lib.txt": "of the library\n"})
    put(aws, bucket, "Plain", {"buildspec.yml": buildspec("true", artifacts={"files": ["*"]})})
    put(aws, bucket, "Red", {"buildspec.yml": buildspec("echo before", "exit 7")})
    variables = json.dumps([{"name": "STAGE", "value": "beta"}])
    configuration = {"ProjectName": project, "Pool": "here", "EnvironmentVariables": variables}
    green = pipeline.offer(
        {**configuration, "PrimarySource": "Main"},
        [artifact("my-lib", bucket, "shop/my-lib/abc"), artifact("Main", bucket, "shop/Main/abc", "4f1d" * 10)],
        [artifact("Built", bucket, "shop/Built/1"), artifact("Other", bucket, "shop/Other/1")],
        key=key,
    )
    build = until(lambda: next(iter(worker.builds(project)), None), "the build of the job")
    assert build is not None
    worker.until_said(build, "from arn:aws:s3:::")
    assert worker.process is not None
    worker.process.kill()
    worker.process.wait(30)
    worker.start()
    (worker.workspace(build) / "s3" / "00" / "go").touch()
    ended(worker, green, build)
    build = worker.ended(build)
    said = worker.text(build)
    assert green.state == "Succeeded", (green.told, said)
    assert f"from arn:aws:s3:::{bucket}/shop/Main/abc at {'4f1d' * 10} by codepipeline/shop" in said
    assert green.told["outputVariables"] == {"VERSION": "1.beta"}
    assert green.told["executionDetails"]["externalExecutionId"] == build["id"]
    assert "logsV2:log-groups" in green.told["executionDetails"]["summary"]
    made, facts = aws.object(bucket, "shop/Built/1")
    assert zipfile.ZipFile(io.BytesIO(made)).read("made.txt") == b"of the library\nbeta\n"
    assert (facts["ServerSideEncryption"], facts["SSEKMSKeyId"]) == ("aws:kms", key)
    other, _ = aws.object(bucket, "shop/Other/1")
    assert sorted(zipfile.ZipFile(io.BytesIO(other)).namelist()) == ["buildspec.yml", "lib/one"]
    worker.assert_nothing_left(build)

    red = pipeline.offer(
        configuration, [artifact("Red", bucket, "shop/Red/abc")], [artifact("Built", bucket, "shop/Built/2")]
    )
    missing = pipeline.offer(configuration, [artifact("Red", bucket, "shop/Red/none")])
    aws.client("s3").put_object(Bucket=bucket, Key="shop/Text/abc", Body=b"no zip " * 100)
    broken = pipeline.offer(configuration, [artifact("Text", bucket, "shop/Text/abc")])
    plain = [artifact("Plain", bucket, "shop/Plain/abc")]
    outputs = [artifact("Built", bucket, "shop/Built/3"), artifact("Other", bucket, "shop/Other/3")]
    unmade = pipeline.offer(configuration, plain, outputs)
    no_key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000"
    keyless = pipeline.offer(configuration, plain, outputs[:1], key=no_key)
    for job in (red, missing, broken, unmade, keyless):
        ended(worker, job, build)
    told = red.told["failureDetails"]
    assert (red.state, told["type"]) == ("Failed", "JobFailed")
    assert "exit 7. Reason: exit status 7" in told["message"]
    assert "logsV2:log-groups" in told["message"]
    told = missing.told["failureDetails"]
    assert (missing.state, told["type"]) == ("Failed", "ConfigurationError")
    assert "input artifact Red: NoSuchKey" in told["message"]
    for job, message in (
        (broken, f"input artifact Text: zip: not a valid zip file: arn:aws:s3:::{bucket}/shop/Text/abc"),
        (unmade, "the buildspec makes no output artifact Built, Other"),
        (keyless, f"the KMS key {no_key} cannot be used"),
    ):
        told = job.told["failureDetails"]
        assert told["type"] == "ConfigurationError"
        assert message in told["message"]
    assert len(worker.builds(project)) == 6, "no job was done twice"
    assert not {"shop/Built/2", "shop/Built/3"} & set(aws.keys(bucket))
    assert {failure(one)[0] for one in worker.builds(project)[1:]} == {"BUILD", "DOWNLOAD_SOURCE", "UPLOAD_ARTIFACTS"}
    assert "ASIA" not in worker.said()
    assert not any(b"secret-ASIA" in file.read_bytes() for file in worker.state.rglob("*") if file.is_file())
