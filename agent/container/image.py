"""The build's image: under which name it is pulled, when, and with whose credentials (service.md 1.6.1)."""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from agent.aws import Aws, AwsRefused, translated
from agent.container.engine import Engine
from agent.container.spec import RegistryLogin
from agent.errors import ImageUnavailable
from agent.kit.clock import Clock
from agent.kit.heed import patiently
from agent.model.cause import Cause
from agent.model.project import RegistryCredential

PullPolicy = Literal["always", "if-not-present", "never"]

DEFAULT_REWRITES: Mapping[str, str] = {"aws/codebuild/": "public.ecr.aws/codebuild/"}
"""Curated names cannot be pulled; AWS publishes the same images in its public gallery."""

_ECR_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_TOKEN_LIFETIME = 6 * 3600.0
"""Seconds that we use a token of ECR; it is valid for 12 hours. Its own `expiresAt` is not needed, and not trusted."""


@dataclass(frozen=True)
class EcrRegistry:
    """A private registry of Amazon ECR."""

    account: str
    region: str


def pull_reference(image: str, rewrites: Mapping[str, str] = DEFAULT_REWRITES) -> str:
    """Return the name under which *image* is pulled.

    A key of *rewrites* is a whole name (`aws/codebuild/standard:7.0`), which wins, or a prefix that ends in `/`; of
    several prefixes the longest wins.
    """
    if image in rewrites:
        return rewrites[image]
    prefixes = [key for key in rewrites if key.endswith("/") and image.startswith(key)]
    if not prefixes:
        return image
    prefix = max(prefixes, key=len)
    return rewrites[prefix] + image.removeprefix(prefix)


def registry_host(reference: str) -> str | None:
    """Return the registry that *reference* names, or None: Docker's own hub."""
    host, slash, _ = reference.partition("/")
    return host if slash and ("." in host or ":" in host or host == "localhost") else None


def ecr_registry(reference: str) -> EcrRegistry | None:
    """Return the private ECR registry that holds *reference*, or None."""
    match = _ECR_HOST.fullmatch(registry_host(reference) or "")
    return EcrRegistry(match["account"], match["region"]) if match else None


def must_pull(policy: PullPolicy, *, present: bool) -> bool:
    """Decide whether to pull an image that is, or is not, on the host."""
    return policy == "always" or (policy == "if-not-present" and not present)


class RegistryLogins:
    """Finds what opens a registry. Safe to share between threads.

    *aws_in* returns the AWS access for a region; ECR must be asked in its own. Tokens are kept in memory only.
    """

    def __init__(self, aws_in: Callable[[str], Aws], clock: Clock) -> None:
        self._aws_in = aws_in
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[EcrRegistry, tuple[float, RegistryLogin]] = {}

    def login_for(self, reference: str) -> RegistryLogin | None:
        """Return the login of a private ECR registry; None for any other, and where no AWS credentials are found.

        With None the engine's client uses what `docker login` left on the host. Raises `ImageUnavailable` when AWS
        says no, `AwsUnavailable` when it does not answer.
        """
        registry = ecr_registry(reference)
        if registry is None:
            return None
        with self._lock:
            got_at, login = self._tokens.get(registry, (0.0, None))
            if login is not None and 0 <= self._clock.monotonic() - got_at < _TOKEN_LIFETIME:
                return login
            login = self._ask_ecr(registry)
            if login is not None:
                self._tokens[registry] = (self._clock.monotonic(), login)
            return login

    def _ask_ecr(self, registry: EcrRegistry) -> RegistryLogin | None:
        try:
            with translated("ecr"):
                client = self._aws_in(registry.region).client("ecr")
                answer = client.get_authorization_token()
        except AwsRefused as error:
            if error.reason == "NoCredentials":
                return None
            raise ImageUnavailable(
                f"cannot log in to the registry of account {registry.account} in {registry.region}: {error.message}",
                hint="allow ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer",
                cause=error.finer or Cause.IMAGE_DENIED,
            ) from error
        return _login_from_token(answer["authorizationData"][0]["authorizationToken"], registry)


def credential_login(aws: Aws, credential: RegistryCredential) -> RegistryLogin:
    """Return the login that `registryCredential` refers to: a secret `{"username": ..., "password": ...}`.

    Raises `ImageUnavailable` when it cannot be read or is not of that shape, `AwsUnavailable` when AWS does not answer.
    """
    name = credential.credential
    try:
        with translated("secretsmanager"):
            text = aws.client("secretsmanager").get_secret_value(SecretId=name).get("SecretString", "")
    except AwsRefused as error:
        raise ImageUnavailable(
            f"cannot read the registry credential {name}: {error.message}",
            hint="check registryCredential, and allow secretsmanager:GetSecretValue on that secret",
            cause=error.finer or Cause.IMAGE_DENIED,
        ) from error
    login = _login_from_json(text)
    if login is None:
        raise ImageUnavailable(
            f"the registry credential {name} is not a JSON object with username and password",
            hint='store {"username": "...", "password": "..."} as the text of the secret',
            cause=Cause.IMAGE_DENIED,
        )
    return login


def ensure_image(
    engine: Engine,
    image: str,
    *,
    policy: PullPolicy,
    login: Callable[[str], RegistryLogin | None],
    progress: Callable[[str], None],
    rewrites: Mapping[str, str] = DEFAULT_REWRITES,
    pulling: Callable[[str], None] = lambda _: None,
) -> str:
    """Make *image* present on the host; return the name to create the container with. Safe to repeat.

    A rewritten image that is on the host under its own name is used as it is: somebody put it there. *login* is called
    with the name to be pulled, only when something is pulled, and *pulling* ahead of that where it was not on the host.
    Raises `ImageUnavailable`, `RegistryUnavailable`,
    `EngineUnavailable`, and what *login* raises.
    """
    reference = pull_reference(image, rewrites)
    if reference != image and engine.has_image(image):
        return image
    present = engine.has_image(reference)
    if must_pull(policy, present=present):
        progress(f"Pulling image {reference}")
        if not present:
            pulling(reference)
        engine.pull(reference, patiently(lambda: login(reference)), progress)
    elif not present:
        raise ImageUnavailable(
            f"image {reference} is not on the host and agent.pull is never",
            hint=f"run: docker pull {reference}, or set agent.pull to if-not-present",
        )
    return reference


def _login_from_token(token: str, registry: EcrRegistry) -> RegistryLogin:
    try:
        username, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise ImageUnavailable(
            f"the registry of account {registry.account} in {registry.region} sent an odd token",
            cause=Cause.IMAGE_DENIED,
        )
    return RegistryLogin(username, password)


def _login_from_json(text: str) -> RegistryLogin | None:
    try:
        values = json.loads(text)
    except ValueError:
        return None
    if not isinstance(values, dict):
        return None
    username, password = values.get("username"), values.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        return None
    return RegistryLogin(username, password)
