"""What git's complaints mean: a table from its words to our errors. Pure."""

from __future__ import annotations

import re

from agent.aws import NAMELESS
from agent.errors import BuildspecdError, DiskFull, GitUnavailable, SourceNotFound, SourceRefused
from agent.model.cause import Cause
from agent.source.url import without_logins


class MirrorBroken(GitUnavailable):
    """The local copy of a repository is damaged; it is made anew."""


_ACCESS = "check the credential of this source: it may be missing, wrong or expired, or lack the right to read"
_EXISTS = (
    "check location and sourceVersion of the source: was it renamed or removed? A git server also says so where the "
    "credential sees nothing"
)
_TRUST = "name the server's authority in git.ca_file of agent.yml, or in environment.certificate; or set insecureSsl"
_PATH = "the commit holds a path that git does not check out; remove it from the tree"
_NETWORK = "check name, network and proxy between this host and the git server"

_DAMAGED = (
    r"bad object|is corrupt|is empty|unable to read (sha1 file|tree)|packfile .* cannot be|bad config|"
    r"did not send all necessary objects|missing (blob|tree|commit)|invalid sha1 pointer|bad signature|"
    r"unable to resolve reference|unresolved deltas|unable to parse object|object directory .* does not exist|"
    r"index file .* (corrupt|too small)|not a git repository: '"
)
_REFUSED = (
    r"Authentication failed|could not read (Username|Password)|terminal prompts disabled|error: 40[13]|"
    r"Permission denied|[Aa]ccess denied|not authorized|Unauthorized|Forbidden"
)
_MISSING = (
    r"couldn't find remote ref|not our ref|[Nn]ot found|error: 404|error: 410|does not appear to be a git|"
    r"does not exist|could not be found|no such remote|not a git repository|No such file or directory|"
    r"unadvertised object|no matching remote head"
)
_MEANINGS: tuple[tuple[str, type[BuildspecdError], str], ...] = (
    (r"No space left on device|Disk quota exceeded", DiskFull, "free some disk space under state_dir"),
    (_DAMAGED, MirrorBroken, ""),
    (_REFUSED, SourceRefused, _ACCESS),
    (r"Host key verification failed", SourceRefused, "add the server's key to the agent's known_hosts file"),
    (r"certificate|CAfile|unable to get local issuer", SourceRefused, _TRUST),
    (r"transport '.*' not allowed", SourceRefused, "use an https:// URL"),
    (r"invalid path", SourceRefused, _PATH),
    (_MISSING, SourceNotFound, _EXISTS),
)


def explain(complaint: str, place: str) -> BuildspecdError:
    """Return the error that git's standard error means. *place* is the remote's URL, empty for work on this host.

    What nobody knows is `GitUnavailable`: it is tried again, and then it is our fault and not the user's.
    """
    words = without_logins(complaint)
    where = f"{place}: " if place else ""
    if _is_network(words):
        cause = Cause.DNS_FAILED if NAMELESS.search(words) else None
        return GitUnavailable(f"{where}{_gist(words)}", hint=_NETWORK, cause=cause)
    for pattern, kind, hint in _MEANINGS:
        if re.search(pattern, words):
            cause = Cause.SOURCE_INVALID if hint is _PATH else None
            return kind(f"{where}{_gist(words)}", hint=hint, cause=cause)
    return GitUnavailable(f"{where}{_gist(words)}", hint=_NETWORK)


_NETWORK_WORDS = re.compile(
    r"Could not resolve (host|proxy)|Failed to connect|Couldn't connect|Connection (refused|reset|timed out|closed)|"
    r"timed out|Operation too slow|error: (5\d\d|429)|HTTP 5\d\d|early EOF|unexpected disconnect|Empty reply|"
    r"hung up unexpectedly|Temporary failure in name resolution|Network is unreachable|No route to host|"
    r"SSL_ERROR_SYSCALL|TLS connection was non-properly terminated|Too Many Requests"
)


def _is_network(words: str) -> bool:
    return _NETWORK_WORDS.search(words) is not None


_EMPTY_WORDS = (
    "fatal: Could not read from remote repository",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
    "Warning: Permanently added",
)
"""What git says when ssh has failed, whatever ssh said of the reason."""


def _gist(words: str) -> str:
    """Return the one line of git's many that says the most."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_EMPTY_WORDS)] or lines
    telling = [line for line in lines if line.startswith(("fatal:", "ERROR:", "remote:", "error:"))]
    ranked = sorted(telling or lines, key=lambda line: (not line.startswith("fatal:"), not line.startswith("ERROR:")))
    gist = ranked[0] if ranked else "git failed and said nothing"
    for prefix in ("fatal: ", "error: ", "ERROR: ", "remote: "):
        gist = gist.removeprefix(prefix)
    return gist[:500]
