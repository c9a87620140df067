"""References into AWS: kept for five minutes, asked for anew when refused, and old ones do while AWS is away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.errors import AwsUnavailable, VariableUnresolved
from agent.kit.clock import SystemClock
from agent.settings.secrets import Secrets


class HandClock(SystemClock):
    """A clock that a test moves."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


class Store:
    """Stands where SSM or Secrets Manager stands."""

    def __init__(self) -> None:
        self.value = "first"
        self.down = False
        self.asked: list[str] = []

    def __call__(self, names: Sequence[str]) -> dict[str, str]:
        self.asked += names
        if self.down:
            raise AwsUnavailable("ssm is away")
        return dict.fromkeys(names, self.value)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def secrets(store: Store, clock: HandClock) -> Secrets:
    return Secrets(parameters=store, secrets=store, clock=clock)


def test_a_secret_out_of_aws_is_kept_for_five_minutes(secrets: Secrets, store: Store, clock: HandClock) -> None:
    assert [secrets("ssm:/t").reveal(), secrets("secretsmanager:t:key").reveal()] == ["first", "first"]
    store.value = "second"
    clock.at += 299
    assert secrets("ssm:/t").reveal() == "first"
    clock.at += 2
    assert secrets("ssm:/t").reveal() == "second"
    assert store.asked == ["/t", "t:key", "/t"]


def test_what_was_refused_is_asked_for_at_once_but_not_by_a_thousand_at_once(
    secrets: Secrets, store: Store, clock: HandClock
) -> None:
    secrets("ssm:/t")
    store.value = "second"
    secrets.forget("ssm:/t")
    assert secrets("ssm:/t").reveal() == "first", "it was asked for this very moment"
    clock.at += 3
    for _ in range(1000):
        secrets.forget("ssm:/t")
        assert secrets("ssm:/t").reveal() == "second"
    assert len(store.asked) == 2


def test_while_aws_is_away_an_old_secret_does_for_an_hour(secrets: Secrets, store: Store, clock: HandClock) -> None:
    secrets("ssm:/t")
    store.down = True
    clock.at += 3599
    assert secrets("ssm:/t").reveal() == "first"
    clock.at += 2
    with pytest.raises(AwsUnavailable):
        secrets("ssm:/t")
    with pytest.raises(AwsUnavailable):
        secrets("ssm:/other")


def test_variables_and_files_are_read_each_time(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    for value in ("one", "two"):
        monkeypatch.setenv("W_TOKEN", value)
        file.write_text(f"{value}\n")
        assert secrets("env:W_TOKEN").reveal() == secrets(f"file:{file}").reveal() == value
    assert secrets("as it stands").reveal() == "as it stands"
    with pytest.raises(VariableUnresolved, match="expected env:NAME"):
        secrets("env:not a name")
