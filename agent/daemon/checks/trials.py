"""Trials: buckets, keys, log groups, parameters and secrets of projects, tried by calls that change nothing.

Each is one that AWS looks at only after it has looked at the permission: a part for an upload that does not exist, a
line for a stream that does not, a data key as a dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.daemon.checks.check import Check
from agent.daemon.checks.needs import KEY, WRITE, Account, Need, key_arn, key_statement, statement
from agent.errors import AwsUnavailable, UserError
from agent.model.cause import Cause
from agent.objects.location import BucketLocation

_NOTHING = "buildspecd-doctor"
_DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden", "UnauthorizedOperation")
AwsIn = Callable[[str], Aws]
"""Returns the clients of a region."""


def bucket(name: str, place: BucketLocation, aws: Aws, account: Account) -> Iterator[Check]:
    """Whether the bucket is there, in which region, and whether it may be written to. Raises `BuildspecdError`."""
    arn = f"arn:{account.partition}:s3:::{place.bucket}"
    try:
        with translated("s3:HeadBucket"):
            answer = aws.client("s3").head_bucket(Bucket=place.bucket)
    except AwsRefused as error:
        yield _unseen(name, place.bucket, arn, error, account)
        if error.reason not in _DENIED:
            return
        answer = {}
    region = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region") or account.region
    try:
        _write_nothing(place, aws)
    except AwsRefused as error:
        if error.reason not in _DENIED:
            yield Check(name, "fail", f"{place.bucket} does not take objects: {error.message}", error.hint)
            return
        objects = f"{arn}/{place.prefix}/*" if place.prefix else f"{arn}/*"
        text = f"{place.bucket} may not be written to: {error.message}"
        remedy = "add the statement to the policy of the role; a Deny in the bucket's own policy does the same: "
        look = f"aws s3api get-bucket-policy --bucket {place.bucket}"
        allow = statement("StoreArtifactsCachesLogs", WRITE, [objects])
        yield Check(name, "fail", text, remedy + look, allow)
        return
    except AwsUnavailable as error:
        text = f"{place.bucket} is there; whether it may be written to could not be tried: {error.message}"
        yield Check(name, "warn", text, error.hint or "try again later")
        return
    if region != account.region:
        text = f"{place.bucket} is in {region}, and this agent in {account.region}: slower, and transfer is charged for"
        yield Check(name, "warn", text, f"use a bucket in {account.region}")
    elif answer:
        yield Check(name, "ok", f"{place.bucket} in {region} may be written to")


def _write_nothing(place: BucketLocation, aws: Aws) -> None:
    key = "/".join(part for part in (place.prefix, _NOTHING) if part)
    try:
        with translated("s3:PutObject"):
            aws.client("s3").upload_part(
                Bucket=place.bucket, Key=key, UploadId=_NOTHING, PartNumber=1, Body=b"nothing", ContentLength=7
            )
    except AwsRefused as error:
        if error.reason not in ("NoSuchUpload", "404", "InvalidArgument"):
            raise


def _unseen(name: str, bucket: str, arn: str, error: AwsRefused, account: Account) -> Check:
    if error.reason in ("404", "NoSuchBucket"):
        where = "" if account.region == "us-east-1" else f" --region {account.region}"
        return Check(
            name, "fail", f"there is no bucket {bucket}", f"aws s3 mb s3://{bucket}{where}, or correct the project"
        )
    if error.reason in ("301", "PermanentRedirect"):
        return Check(
            name, "fail", f"{bucket} is in another region than {account.region}", "use a bucket of this region"
        )
    if error.reason in _DENIED:
        allow = statement("ListCaches", ["s3:ListBucket", "s3:ListBucketMultipartUploads"], [arn])
        text = f"{bucket} may not be looked into: {error.message}; or it belongs to somebody else"
        return Check(name, "warn", text, "add the statement to the policy of the role", allow)
    return Check(name, "fail", f"{bucket}: {error.message}", error.hint)


def key(name: str, given: str, aws_in: AwsIn, account: Account) -> Iterator[Check]:
    """Whether a KMS key is there, enabled, and lets this role encrypt. Raises `AwsUnavailable`."""
    arn = key_arn(given, account)
    region = arn.split(":")[3]
    client = aws_in(region).client("kms")
    try:
        with translated("kms:DescribeKey"):
            facts = client.describe_key(KeyId=arn)["KeyMetadata"]
        with translated("kms:GenerateDataKey"):
            _dry_run(client, arn)
    except AwsRefused as error:
        yield _refused_key(name, arn, error, account)
        return
    if not facts.get("Enabled", True):
        state = facts.get("KeyState", "disabled")
        yield Check(
            name, "fail", f"{arn} is {state}", f"aws kms enable-key --region {region} --key-id {facts['KeyId']}"
        )
    elif region != account.region:
        text = f"{arn} is in {region}: S3 takes only keys of a bucket's own region"
        yield Check(name, "warn", text, f"use a key in {account.region}, unless the buckets are in {region}")
    else:
        yield Check(name, "ok", f"{arn} is enabled and may be used")


def _dry_run(client: Any, arn: str) -> None:
    try:
        with translated("kms:GenerateDataKey"):
            client.generate_data_key(KeyId=arn, KeySpec="AES_256", DryRun=True)
    except AwsRefused as error:
        if error.reason != "DryRunOperationException":  # it would have been allowed
            raise


def _refused_key(name: str, arn: str, error: AwsRefused, account: Account) -> Check:
    region = arn.split(":")[3]
    if error.reason in ("NotFoundException", "InvalidArnException"):
        text = f"there is no key {arn}"
        return Check(
            name, "fail", text, f"correct encryptionKey; aws kms list-aliases --region {region} shows what is there"
        )
    if error.reason in _DENIED or (error.cause is Cause.KMS_DENIED and "Denied" in error.reason):
        own = f"aws kms get-key-policy --region {region} --key-id {arn} --policy-name default"
        if "resource-based policy" in error.text or "key policy" in error.text.lower():
            remedy = f"its key policy refuses: add the statement to it; it is shown by: {own}"
            return Check(name, "fail", f"{arn}: {error.message}", remedy, key_statement(account))
        remedy = f"add the statement to the policy of the role; the key's own policy has to let it, too: {own}"
        return Check(name, "fail", f"{arn}: {error.message}", remedy, statement("EncryptWithProjectKeys", KEY, [arn]))
    return Check(name, "fail", f"{arn}: {error.message}", error.hint or "look at the state of the key")


def log_group(name: str, group: str, aws: Aws, need: Need | None) -> Iterator[Check]:
    """Whether lines may be written to *group*. Raises `BuildspecdError`."""
    try:
        with translated("logs:PutLogEvents"):
            aws.client("logs").put_log_events(
                logGroupName=group, logStreamName=_NOTHING, logEvents=[{"timestamp": 0, "message": "nothing"}]
            )
    except AwsRefused as error:
        if error.reason != "ResourceNotFoundException":
            allow = need.statement if need and error.reason in _DENIED else None
            remedy = "add the statement to the policy of the role" if allow else error.hint
            yield Check(name, "fail", f"{group}: {error.message}", remedy, allow)
            return
        if "group" in error.text.lower():
            yield Check(name, "ok", f"{group} is not there yet; the first build makes it")
            return
    yield Check(name, "ok", f"{group} takes lines")


def values(
    name: str, read: Callable[[Sequence[str]], object], references: Sequence[str], needs: Sequence[Need]
) -> Iterator[Check]:
    """Whether parameters or secrets can be read as a build reads them; what they hold is not looked at.

    Raises `BuildspecdError` but for what the user can mend.
    """
    for reference in references:
        try:
            read([reference])
        except UserError as error:
            denied = "Denied" in error.message
            need = next((one for one in needs if denied), None)
            remedy = "add the statement to the policy of the role" if need else error.hint
            yield Check(name, "fail", f"{reference}: {error.message}", remedy, need.statement if need else None)
        else:
            yield Check(name, "ok", f"{reference} can be read")
