"""HostDoor: the `HostApi` of commit statuses, through the logins of the sources themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.errors import SourceRefused
from agent.kit.service import StopToken
from agent.model.project import Source
from agent.notify.githosts import GitHost, host_of
from agent.notify.statusdesk import Answer
from agent.source.connections import Trust
from agent.source.credentials import GitCredential, Remote
from agent.source.hostapi import HostApi, bearer, login

_TOKEN_USERS = frozenset({"x-access-token", "oauth2", "x-token-auth"})


@dataclass
class HostDoor:
    """Sends a status with what opens its source. *forget* lets a login be had anew, which a host has refused."""

    remote: Callable[[Source], Remote | None]
    api: HostApi
    forget: Callable[[Source], None] = lambda _: None

    def post(self, source: Source, address: str, body: Mapping[str, str], stop: StopToken | None = None) -> Answer:
        """See `HostApi.post` in `agent.notify.statusdesk`."""
        host = host_of(source)
        if host is None:
            raise SourceRefused(f"{source.location} takes no commit statuses")
        place = source.evolve(location=f"{host.web}/{host.repository}.git") if _is_ssh(source) else source
        answer = self._sent(place, host, address, body, stop)
        if answer.status == 401:
            self.forget(place)
            answer = self._sent(place, host, address, body, stop)
        return answer

    def _sent(
        self, place: Source, host: GitHost, address: str, body: Mapping[str, str], stop: StopToken | None
    ) -> Answer:
        remote = self.remote(place)
        if remote is None or remote.credential is None:
            raise SourceRefused(
                f"there is no login for {host.web}, which commit statuses need",
                hint="give the source a token: `credentials` in agent.yml",
            )
        trust = Trust(remote.insecure_ssl, remote.ca_file)
        told = self.api.post(address, headers_for(host, remote.credential), dict(body), trust=trust, stop=stop)
        return Answer(told.status, told.said)


def headers_for(host: GitHost, credential: GitCredential) -> dict[str, str]:
    """Return the headers of a call: a token is carried as one, only Bitbucket knows names and passwords."""
    if host.kind == "bitbucket" and credential.username not in _TOKEN_USERS:
        return login(credential.username, credential.password)
    headers = bearer(credential.password)
    if host.kind == "github":
        headers |= {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    return headers


def _is_ssh(source: Source) -> bool:
    return not (source.location or "").startswith(("https://", "http://"))
