"""The one door to boto3: clients, endpoints and retries; an AWS error becomes one of ours."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agent.errors import AwsUnavailable, BuildspecdError, DiskFull, UserError
from agent.model.cause import Cause

if TYPE_CHECKING:
    import boto3

UNKNOWN_ACCOUNT = "000000000000"
FALLBACK_REGION = "us-east-1"
PATIENCE_SECONDS = 60.0
"""For how long a call waits to hear something of its answer."""

_CREDENTIAL_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
)

NAMELESS = re.compile(
    r"Name or service not known|[Tt]emporary failure in name resolution|No address associated with hostname|"
    r"nodename nor servname|NameResolutionError|Could not resolve (host|proxy)|Could not resolve hostname"
)
"""What resolvers say, through whatever library, of a name that they do not find."""
_EXPIRED = re.compile(r"ExpiredToken|RequestExpired|[Tt]oken (included in the request )?(is|has) expired|has expired")
_KMS = re.compile(r"\bkms:|\bKMS key\b|arn:aws[a-z-]*:kms:")
_LINKS = 6
_LONGEST_WAIT = 600.0

_LATER = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "InternalError",
        "InternalFailure",
        "InternalServiceError",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "KMSInternalException",
        "DependencyTimeoutException",
        "ExpiredToken",
        "ExpiredTokenException",
    }
)

_CLOCK = "set the clock of this host (`timedatectl`, `chronyc tracking`): AWS takes no request that is minutes off"
_KEYS = "the access key of this host is wrong, or was deleted: check its role, or aws.profile in agent.yml"
_OFF = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_UNKNOWN_KEYS = frozenset(
    {"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
    | {"InvalidSignatureException", "InvalidToken"}
)
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body)", re.IGNORECASE)
_OFF_WORDS = ("Signature expired", "Signature not yet current")


class AwsRefused(UserError):
    """AWS said no, and would say so again. `reason` is AWS's own error code, `text` its message.

    `trace` is what AWS's support asks for: `status code: 400, request id: ...`; empty where nobody answered.
    """

    default_cause = Cause.AWS_DENIED

    def __init__(
        self, message: str, *, reason: str, text: str, hint: str = "", trace: str = "", cause: Cause | None = None
    ) -> None:
        super().__init__(message, hint=hint, cause=cause)
        self.reason = reason
        self.text = text
        self.trace = trace

    @property
    def finer(self) -> Cause | None:
        """The cause, where it says more than that AWS said no: then it holds whatever it was asked for."""
        return None if self.cause is Cause.AWS_DENIED else self.cause


@dataclass(frozen=True)
class Proxies:
    """HTTP proxies by the scheme of what is asked for, as URLs, and the hosts that are asked directly."""

    by_scheme: Mapping[str, str] = field(repr=False)
    direct: tuple[str, ...] = ()

    def spare(self, url: str) -> bool:
        """Whether the host of *url* is asked directly: it, a domain above it, its network, or `*` is listed."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        names = {"*", host, f"{host}:{parts.port}"}
        return any(one in names or host.endswith("." + one) or _in_network(host, one) for one in self.direct)


@dataclass(frozen=True)
class Keys:
    """Credentials that somebody else handed out for a while; kept in memory alone, and shown nowhere."""

    access: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False)


class Aws:
    """Clients of one set of credentials. Safe to share between threads; nothing is imported before the first use."""

    def __init__(
        self,
        *,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        """*proxies* replace those of this process's own environment."""
        self._region = region
        self._profile = profile
        self._endpoint_url = endpoint_url
        self._proxies = proxies
        self._lock = threading.RLock()
        self._session: boto3.Session | None = None
        self._clients: dict[tuple[str, int, float], Any] = {}
        self._account: str | None = None

    def client(self, service: str, *, attempts: int = 4, patience: float = PATIENCE_SECONDS) -> Any:
        """Return the client of *service*, made once. Use it inside `translated`.

        *attempts* 1 is for a call that must not be sent twice unseen: botocore then repeats nothing by itself.
        *patience* is for how many seconds nothing may be heard of an answer.
        """
        with self._lock:
            kind = (service, attempts, patience)
            if kind not in self._clients:
                client = self._made(*kind, self._proxies.by_scheme if self._proxies else None)
                if self._proxies and self._proxies.spare(client.meta.endpoint_url):
                    client = self._made(*kind, {})
                self._clients[kind] = client
            return self._clients[kind]

    def through(self, proxies: Proxies) -> Aws:
        """Return clients of the same credentials that go through *proxies*."""
        other = Aws(region=self._region, profile=self._profile, endpoint_url=self._endpoint_url, proxies=proxies)
        other._session = self._open()
        return other

    def with_keys(self, keys: Keys) -> Aws:
        """Return clients that reach AWS the same way, and are let in by *keys*."""
        import boto3

        other = Aws(region=self.region, endpoint_url=self._endpoint_url, proxies=self._proxies)
        with translated("session"):
            other._session = boto3.Session(
                aws_access_key_id=keys.access,
                aws_secret_access_key=keys.secret,
                aws_session_token=keys.token,
                region_name=self.region,
            )
        return other

    def _made(self, service: str, attempts: int, patience: float, proxies: Mapping[str, str] | None) -> Any:
        from botocore.config import Config

        session: Any = self._open()  # boto3's types know a service only as a literal
        with translated(service):
            client = session.client(
                service,
                endpoint_url=self._endpoint_url,
                region_name=self.region,
                config=Config(
                    connect_timeout=min(5.0, patience),
                    read_timeout=patience,
                    retries={"mode": "standard", "total_max_attempts": attempts},
                    max_pool_connections=16,
                    user_agent_extra="buildspecd",
                    proxies=proxies,
                ),
            )
        client.meta.events.register("before-parse.*", _check_result)
        client.meta.events.register("after-call.*", _check_sender)
        return client

    @property
    def region(self) -> str:
        """The region in use: the setting, the environment or profile, else `us-east-1`."""
        return self._region or self._open().region_name or FALLBACK_REGION

    @property
    def account(self) -> str:
        """The account of the credentials, asked for once; zeros where nobody can say."""
        with self._lock:
            if self._account is None:
                try:
                    with translated("sts"):
                        self._account = str(self.client("sts").get_caller_identity()["Account"])
                except BuildspecdError:
                    return UNKNOWN_ACCOUNT
            return self._account

    def identify(self) -> str:
        """Return who AWS says that we are. Raises `AwsRefused` or `AwsUnavailable`."""
        with translated("sts"):
            who = self.client("sts").get_caller_identity()
        return f"{who['Account']} as {who['Arn']}"

    def frozen_keys(self) -> tuple[str, str, str | None]:
        """Return access key id, secret key and session token as they are now; botocore renews those that end.

        Raises `AwsRefused` where there are none.
        """
        with translated("credentials"):
            found: Any = self._open().get_credentials()
            keys = found.get_frozen_credentials() if found is not None else None
        if keys is None or not keys.access_key or not keys.secret_key:
            raise AwsRefused(
                "no AWS credentials were found",
                reason="NoCredentials",
                text="no AWS credentials were found",
                hint="give the host an instance role, or set aws.profile in agent.yml",
                cause=Cause.CREDENTIALS_MISSING,
            )
        return str(keys.access_key), str(keys.secret_key), keys.token

    def in_sight(self) -> bool:
        """Whether AWS credentials are likely to be found; asks nobody and imports nothing, so that it costs nothing."""
        return self._profile is not None or self._endpoint_url is not None or _traces(os.environ)

    def _open(self) -> boto3.Session:
        with self._lock:
            if self._session is None:
                import boto3

                with translated("session"):
                    self._session = boto3.Session(profile_name=self._profile, region_name=self._region)
            return self._session


class Detour(Aws):
    """The clients of *direct*, until they are told to go through proxies."""

    def __init__(self, direct: Aws) -> None:
        self._direct = self._way = direct

    def take(self, proxies: Proxies) -> None:
        """Go through *proxies* from now on."""
        self._way = self._direct.through(proxies)

    def client(self, service: str, *, attempts: int = 4, patience: float = PATIENCE_SECONDS) -> Any:
        """See `Aws.client`."""
        return self._way.client(service, attempts=attempts, patience=patience)

    @property
    def region(self) -> str:
        """See `Aws.region`."""
        return self._direct.region


def _check_result(response_dict: Any, operation_model: Any, **_: Any) -> None:
    """Raise when the answer of an older service (STS, Auto Scaling) is none: botocore makes a KeyError of it."""
    if operation_model.service_model.resolved_protocol != "query" or response_dict["status_code"] >= 300:
        return
    if f"<{operation_model.name}Response".encode() not in response_dict["body"]:
        raise AwsUnavailable("a page came back that is not of AWS", hint="check the endpoint and the proxy")


def _check_sender(http_response: Any, model: Any, **_: Any) -> None:
    """Raise when a proxy's page came back with status 200: botocore takes it for an answer that has no members.

    AWS answers with a page only where somebody stored one in S3, and that has an ETag.
    """
    headers = http_response.headers
    page = str(headers.get("content-type", "")).startswith("text/html") and "etag" not in headers
    if not page or http_response.status_code >= 300:
        return
    if model.has_streaming_output or _PAGE.match(http_response.content):
        raise AwsUnavailable("a page came back that is not of AWS", hint="check the endpoint and the proxy")


def _in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host.strip("[]")) in ip_network(network, strict=False)
    except ValueError:
        return False


def _traces(environ: Mapping[str, str]) -> bool:
    if any(environ.get(name) for name in _CREDENTIAL_VARIABLES):
        return True
    home = Path(environ.get("HOME", "/"))
    named = [environ.get(name) for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")]
    files = [*(Path(name) for name in named if name), home / ".aws/credentials", home / ".aws/config"]
    if any(file.is_file() for file in files):
        return True
    vendor = Path("/sys/devices/virtual/dmi/id/sys_vendor")
    return vendor.is_file() and vendor.read_text(errors="replace").strip() == "Amazon EC2"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what botocore raises inside the block into `AwsRefused`, `AwsUnavailable` or `DiskFull`."""
    import botocore.exceptions as botocore
    from botocore.parsers import ResponseParserError

    try:
        yield
    except botocore.ClientError as error:
        raise _from_answer(error.response, doing) from error
    except (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.ProfileNotFound) as error:
        raise AwsRefused(
            f"{doing}: {error}",
            reason="NoCredentials",
            text=str(error),
            hint="give the host an instance role, or set aws.profile in agent.yml",
            cause=Cause.CREDENTIALS_MISSING,
        ) from error
    except botocore.ParamValidationError as error:
        raise AwsRefused(f"{doing}: {error}", reason="ParamValidation", text=str(error)) from error
    except (botocore.BotoCoreError, botocore.HTTPClientError) as error:
        hint = "check network, endpoint and credentials"
        raise AwsUnavailable(f"{doing}: {error}", hint=hint, cause=_cause_of_silence(error)) from error
    except ResponseParserError as error:  # a page of somebody in between, where XML was expected
        text = f"{doing}: a page came back that is not of AWS"
        raise AwsUnavailable(text, hint="check the endpoint and the proxy") from error
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(f"{doing}: no space left on the host", hint="free some disk space") from error
        raise


def _from_answer(response: Any, doing: str) -> BuildspecdError:
    error = response.get("Error", {})
    code, text = str(error.get("Code", "Unknown")), str(error.get("Message", ""))
    http = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    if code in _LATER or http >= 500 or http == 429:
        later = AwsUnavailable(
            f"{doing}: {code}: {text}", cause=Cause.CREDENTIALS_EXPIRED if _EXPIRED.search(code) else None
        )
        later.retry_after = _seconds(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("retry-after"))
        return later
    trace = f"status code: {http}, request id: {response.get('ResponseMetadata', {}).get('RequestId', '')}"
    hint, cause = _hint(code, text), _cause_of_refusal(code, text)
    return AwsRefused(f"{doing}: {code}: {text}", reason=code, text=text, trace=trace, hint=hint, cause=cause)


def _cause_of_refusal(code: str, text: str) -> Cause | None:
    """Return why AWS says no, where that is not just a permission of the service that was asked. Pure."""
    if code.startswith("KMS") or (_KMS.search(text) and ("Denied" in code or code == "403")):
        return Cause.KMS_DENIED
    if code in _UNKNOWN_KEYS and not _EXPIRED.search(text) and not any(words in text for words in _OFF_WORDS):
        return Cause.CREDENTIALS_MISSING
    expired = code in _OFF or _EXPIRED.search(code) or _EXPIRED.search(text) or any(one in text for one in _OFF_WORDS)
    return Cause.CREDENTIALS_EXPIRED if expired else None


def _cause_of_silence(error: BaseException) -> Cause | None:
    """Return why AWS was not even reached, as far as what botocore and the libraries below it say tells."""
    texts = [str(error), str(getattr(error, "kwargs", {}).get("error", ""))]
    links: BaseException | None = error
    for _ in range(_LINKS):
        links = links and (links.__cause__ or links.__context__)
        texts.append(str(links or ""))
    said = " ".join(texts)
    if NAMELESS.search(said):
        return Cause.DNS_FAILED
    return Cause.CREDENTIALS_EXPIRED if _EXPIRED.search(said) else None


def _seconds(text: str | None) -> float | None:
    """Return the value of Retry-After, which may be a date, too: then nothing."""
    return min(float(text), _LONGEST_WAIT) if text and text.isdecimal() and text.isascii() else None


def _hint(code: str, text: str) -> str:
    """Return what to do about a refusal that concerns neither the thing nor the permission that was asked for."""
    if code in _OFF or any(words in text for words in _OFF_WORDS):
        return _CLOCK
    return _KEYS if code in _UNKNOWN_KEYS else ""
