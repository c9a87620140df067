"""Progress lines of a pull, and whose fault it is when one fails."""

from __future__ import annotations

import pytest

from agent.container.progress import PullProgress
from agent.container.refusal import pull_error
from agent.errors import BuildspecdError, DiskFull, ImageUnavailable, RegistryUnavailable


def downloading(layer: str, current: int, total: int) -> dict[str, object]:
    return {"id": layer, "status": "Downloading", "progressDetail": {"current": current, "total": total}}


def test_a_second_of_events_becomes_one_line() -> None:
    progress = PullProgress("debian:12")
    lines = [progress.line(downloading("a", step * 1_000_000, 50_000_000), step / 10) for step in range(31)]
    assert [index for index, line in enumerate(lines) if line] == [10, 20, 30]
    assert lines[10] == "Pulling debian:12: 0 of 1 layers, 10.0 of 50.0 MB"


def test_layers_are_added_up() -> None:
    progress = PullProgress("x")
    progress.line(downloading("a", 5_000_000, 10_000_000), 0)
    progress.line({"id": "a", "status": "Pull complete"}, 0)
    progress.line({"id": "c", "status": "Already exists"}, 0)
    assert progress.line(downloading("b", 1_000_000, 2_000_000), 5) == "Pulling x: 2 of 3 layers, 11.0 of 12.0 MB"


@pytest.mark.parametrize("event", [{}, {"status": "Digest: x"}, {"id": "12", "status": "Pulling from library/debian"}])
def test_events_without_a_layer_say_nothing(event: dict[str, object]) -> None:
    assert PullProgress("x").line(event, 100) is None


def test_odd_numbers_from_the_engine_are_harmless() -> None:
    progress = PullProgress("x")
    odd: tuple[object, ...] = (None, [], {"current": None, "total": -5}, {"current": "9"})
    for detail in odd:
        progress.line({"id": "a", "status": "Downloading", "progressDetail": detail}, 0)
    assert progress.line({"id": "a", "status": "Extracting"}, 9) == "Pulling x: 0 of 1 layers, 0.0 of 0.0 MB"


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("manifest for x:1 not found: manifest unknown", 404, ImageUnavailable),
        ("pull access denied for x, repository does not exist or may require 'docker login'", 404, ImageUnavailable),
        ("Head https://r/v2/x/manifests/1: no basic auth credentials", 500, ImageUnavailable),
        ("unauthorized: authentication required", 500, ImageUnavailable),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", None, ImageUnavailable),
        ("invalid reference format", 400, ImageUnavailable),
        ("toomanyrequests: You have reached your pull rate limit", 500, RegistryUnavailable),
        ("unauthorized: toomanyrequests", 429, RegistryUnavailable),
        ("dial tcp: lookup r.example: no such host", 500, RegistryUnavailable),
        ("net/http: TLS handshake timeout", 500, RegistryUnavailable),
        ("received unexpected HTTP status: 503 Service Unavailable", 500, RegistryUnavailable),
        ("unexpected EOF", None, RegistryUnavailable),
        ("write /var/lib/docker/tmp/x: no space left on device", None, DiskFull),
    ],
)
def test_a_failed_pull_is_the_users_or_the_registrys(
    text: str, status: int | None, kind: type[BuildspecdError]
) -> None:
    error = pull_error("x:1", text, status)
    assert type(error) is kind
    assert "x:1" in error.message
    assert error.hint
