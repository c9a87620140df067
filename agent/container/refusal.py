"""Why the engine could not pull an image, or start a container of it: the user's doing, or not. Pure."""

from __future__ import annotations

from agent.errors import BuildspecdError, ContainerDied, DiskFull, ImageUnavailable, RegistryUnavailable, UserError
from agent.model.cause import Cause

_LATER = ("toomanyrequests", "too many requests", "rate exceeded")
_NAMELESS = (
    "server misbehaving",
    "temporary failure in name resolution",
    "no such host",
    "name or service not known",
)
_ABSENT = (
    "not found",
    "manifest unknown",
    "name unknown",
    "does not exist",
    "no matching manifest",
    "invalid reference format",
    "unsupported manifest",
)
_DENIED = (
    "access denied",
    "access to the resource is denied",
    "unauthorized",
    "no basic auth credentials",
    "authentication required",
    "authorization failed",
    "incorrect username or password",
    "is denied",
    "not authorized",
    "403 forbidden",
)
_REFUSED = frozenset({400, 401, 403, 404})
_FULL = ("no space left on device", "disk quota exceeded")
_NO_SUCH_COMMAND = frozenset({126, 127})
_RUNTIME_SAYS_NO = ("exec format error", "executable file not found", "not a directory", "unable to find user")
_HINT_NEVER = "check the image name, and that this host may pull it: try docker pull"
_HINT_LATER = "the registry may be down or limit the rate of pulls; a mirror or a login helps against limits"


def pull_error(reference: str, text: str, status: int | None = None) -> BuildspecdError:
    """Return the error that fits.

    *status* is the HTTP status of the engine, where it gave one. The engine answers 500 for nearly everything that a
    registry says, or sends a text in the middle of a stream, so its words have to decide.
    """
    words = text.lower()
    message = f"cannot pull {reference}: {text.strip()}"
    if any(word in words for word in _FULL):
        return DiskFull(message, hint="free some disk space: docker system df shows what images take")
    if status == 429 or any(word in words for word in _LATER):
        return RegistryUnavailable(message, hint=_HINT_LATER, cause=Cause.IMAGE_RATE_LIMITED)
    # A host name that does not resolve is a text with "no such host"; a registry's "not found" comes without it.
    if any(word in words for word in _NAMELESS):
        hint = "check the image name, and the name service of this host"
        return RegistryUnavailable(message, hint=hint, cause=Cause.DNS_FAILED)
    # "pull access denied, repository does not exist or may require 'docker login'": the registry does not say which.
    if status in (401, 403) or any(word in words for word in _DENIED):
        return ImageUnavailable(message, hint=_HINT_NEVER, cause=Cause.IMAGE_DENIED)
    if status in _REFUSED or any(word in words for word in _ABSENT):
        return ImageUnavailable(message, hint=_HINT_NEVER, cause=Cause.IMAGE_NOT_FOUND)
    return RegistryUnavailable(message, hint=_HINT_LATER)


def refused_start(container: str, text: str, exit_code: int = 0) -> BuildspecdError | None:
    """Return what it means that the engine's runtime could not make or start *container*; None: a fault of its own.

    *text* is the engine's, whose HTTP status says little: it depends on which part of it has failed.
    """
    words = text.lower()
    if any(word in words for word in _FULL):
        return DiskFull(f"container {container} cannot start: {text}", hint="free some disk space")
    if exit_code not in _NO_SUCH_COMMAND and not any(word in words for word in _RUNTIME_SAYS_NO):
        return None
    if 'exec: "' in words or "exec format error" in words:
        return ContainerDied(
            "Build container found dead before completing the build: the image cannot run /bin/sh",
            hint=f"the engine says: {text}",
        )
    return UserError(
        f"container {container} cannot start: {text}",
        hint="does the image have a file where a directory is needed, or the other way round?",
        cause=Cause.CONTAINER_REFUSED,
    )
