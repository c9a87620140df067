"""Encryption: which headers make S3 encrypt an object, and whether the key can do it (service.md 11)."""

from __future__ import annotations

import threading
from typing import Final

from agent.aws import Aws, AwsRefused, translated
from agent.errors import UploadRefused
from agent.model.cause import Cause
from agent.objects.store import Encryption

_MANAGED: Final = "alias/aws/s3"
_HINT: Final = (
    "encryptionKey must be an enabled, symmetric key in the region of the bucket, whose policy lets this role call "
    "kms:GenerateDataKey and kms:Decrypt; a key of another account is given by its full ARN"
)


class KeyRing:
    """Looks each KMS key up once, with kms:DescribeKey, and remembers its ARN. Any thread may ask."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._lock = threading.Lock()
        self._arns: dict[str, str] = {}

    def headers(self, encryption: Encryption) -> dict[str, object]:
        """Return the encryption parameters of PutObject; none when encryption is off.

        An alias becomes the ARN of its key, since bucket policies compare ARNs. Raises `UploadRefused` naming the key
        when it is missing, disabled, or not for us.
        """
        if not encryption.enabled:
            return {}
        headers: dict[str, object] = {"ServerSideEncryption": "aws:kms", "BucketKeyEnabled": True}
        if encryption.key and not encryption.key.endswith(_MANAGED):
            headers["SSEKMSKeyId"] = self._arn(encryption.key)
        return headers

    def _arn(self, key: str) -> str:
        with self._lock:
            if key not in self._arns:
                self._arns[key] = self._described(key)
            return self._arns[key]

    def _described(self, key: str) -> str:
        try:
            with translated(f"KMS key {key}"):
                facts = self._aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]
        except AwsRefused as error:
            if error.reason in ("AccessDeniedException", "AccessDenied", "403"):
                return key  # a role may use a key that it may not describe; then S3 has the last word
            raise UploadRefused(
                f"the KMS key {key} cannot be used: {error.text or error.reason}",
                hint=_HINT,
                cause=error.finer or Cause.KMS_DENIED,
            ) from error
        if facts.get("KeyState", "Enabled") != "Enabled":
            raise UploadRefused(
                f"the KMS key {key} cannot be used: its state is {facts['KeyState']}",
                hint=f"enable it: aws kms enable-key --key-id {facts['KeyId']}",
                cause=Cause.KMS_DENIED,
            )
        if facts.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
            raise UploadRefused(
                f"the KMS key {key} cannot be used: it is {facts['KeySpec']}", hint=_HINT, cause=Cause.KMS_DENIED
            )
        return str(facts["Arn"])
