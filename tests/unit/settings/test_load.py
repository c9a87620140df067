"""agent.yml and the environment become settings, or every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SettingsInvalid, UsageError
from agent.settings.load import LoadedSettings, load_settings, settings_file, variable_name
from agent.settings.schema import Settings, default_runtime_dir, setting_names


def load(tmp_path: Path, text: str, **environ: str) -> LoadedSettings:
    file = tmp_path / "agent.yml"
    file.write_text(text)
    return load_settings(file, environ)


def mistakes(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        load(tmp_path, text, **environ)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "# nothing\n").settings
    assert settings == Settings().anchored(tmp_path)
    assert settings.builds.max_concurrent == 2
    assert settings.poll.every == 30.0
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8470)


def test_without_a_file_the_environment_alone_is_read() -> None:
    settings = load_settings(None, {"BUILDSPECD_STATE_DIR": "/srv/state"}).settings
    assert settings.state_dir == Path("/srv/state")
    assert settings.projects_dir == Path("/etc/buildspecd/projects.d")


def test_every_setting_has_a_variable_that_wins_over_the_file(tmp_path: Path) -> None:
    values = {
        ("aws", "endpoint_url"): "http://127.0.0.1:5000",
        ("http", "listen"): "[::1]:0",
        ("builds", "max_concurrent"): "7",
        ("builds", "stop_grace"): "1m30s",
        ("poll", "every"): "5m",
        ("poll", "slowest"): "1h",
        ("git", "spare_trees"): "2d",
        ("queue", "url"): "https://sqs.eu-central-1.amazonaws.com/123456789012/q",
        ("queue", "wait"): "10s",
        ("pipeline", "action", "category"): "Test",
        ("pipeline", "action", "provider"): "Own",
        ("pipeline", "action", "version"): "2",
        ("pipeline", "pool"): "large",
        ("pipeline", "every"): "10s",
        ("pipeline", "continue_after"): "1h",
        ("webhooks", "allow_unsigned"): "true",
        ("metrics", "per_build"): "true",
        ("metrics", "prometheus"): "false",
        ("events", "topic"): "arn:aws:sns:eu-central-1:123456789012:builds",
        ("events", "topic_events"): "[codebuild-project-build-state-failed]",
        ("webhooks", "sns_topics"): "[arn:aws:sns:eu-central-1:123456789012:pushes]",
        ("images", "rewrite"): "{a/: b/}",
        **{
            ("retention", name): "20d"
            for name in ("builds", "logs", "failed_workspaces", "caches", "mirrors", "images")
        },
        **{("retention", name): "7" for name in ("builds_count", "builds_least", "failed_workspaces_count")},
        **{("retention", name): "7MiB" for name in ("logs_size", "failed_workspaces_size", "caches_size")},
        ("host", "watch_interruptions"): "off",
        ("host", "vpc"): "require",
        ("host", "lifecycle_grace"): "7s",
        ("roles", "port"): "8471",
        ("roles", "imds_guard"): "require",
        ("disk", "reserve"): "7%",
        ("disk", "build_quota"): "7GiB",
        ("disk", "log_quota"): "7GB",
        ("credentials",): "[{host: github.com, token: env:TOKEN}]",
        ("log", "level"): "debug",
        ("log", "format"): "json",
    }
    environ = {variable_name(path): values.get(path, "word") for path in setting_names()}
    settings = load(tmp_path, "builds: {max_concurrent: 3}\nlog:\nmetrics: null\n", **environ).settings
    for path in setting_names():
        found = settings
        for step in path:
            found = getattr(found, step)
        assert found not in ("", None), path
    assert settings.builds.max_concurrent == 7
    assert settings.builds.stop_grace == 90.0
    assert settings.images.rewrite == {"a/": "b/"}
    assert settings.metrics.namespace == "word"
    assert (settings.http.host, settings.http.port) == ("::1", 0)


def test_a_variable_left_empty_says_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "", BUILDSPECD_EVENTS__BUS="").settings.events.bus == "default"


def test_null_turns_metrics_and_events_off_and_means_the_default_elsewhere(tmp_path: Path) -> None:
    off = load(tmp_path, "metrics: null\nevents: {bus: null, source: }\nbuilds:\npoll: {every: ~}\n").settings
    assert off.metrics.namespace is None
    assert off.events.bus is None
    assert off.events.source == "buildspecd"
    assert off.builds.max_concurrent == 2
    assert off.poll.every == 30.0
    assert load(tmp_path, "", BUILDSPECD_METRICS__NAMESPACE="null").settings.metrics.namespace is None


def test_every_mistake_is_reported_at_once_with_its_place_and_what_was_meant(tmp_path: Path) -> None:
    text = """\
state_dirr: /x
builds: {max_concurrent: zero, stop_grace: 5x}
http:
  listen: nope
poll: []
log: {level: inf}
metrics: {namespace: a b}
events: {source: aws.codebuild}
"""
    assert mistakes(tmp_path, text) == [
        "agent.yml:1:1: unknown key state_dirr; did you mean 'state_dir'?",
        "agent.yml:2:26: builds.max_concurrent: expected a whole number, not 'zero'",
        "agent.yml:2:44: builds.stop_grace: expected a duration such as 30s, 5m or 1h, not '5x'",
        "agent.yml:4:11: http.listen: expected HOST:PORT such as 127.0.0.1:8470 or [::1]:8470, not 'nope'",
        "agent.yml:5:7: poll: expected a mapping, not a list",
        "agent.yml:6:14: log.level: expected 'debug', 'info', 'warning' or 'error', not 'inf'; did you mean 'info'?",
        "agent.yml:7:22: metrics.namespace: expected a text that matches ^[0-9A-Za-z.\\-_/#:]+$, not 'a b'",
        "agent.yml:8:18: events.source: EventBridge keeps sources that start with 'aws.' for AWS itself",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("builds: {max_concurrent: 0}", "agent.yml:1:26: builds.max_concurrent: expected at least 1, not '0'"),
        ("poll: {every: 10ms}", "agent.yml:1:15: poll.every: expected at least 1, not 0.01"),
        ("a: [", "agent.yml:1:5: not valid YAML or JSON: did not find expected node content"),
        ("- 1", "agent.yml:1:1: here: expected a mapping, not a list"),
        ("poll: {}\npoll: {}", "agent.yml:2:1: the key 'poll' stands here and in line 1"),
    ],
)
def test_a_mistake_is_told_in_words(tmp_path: Path, text: str, message: str) -> None:
    assert message in mistakes(tmp_path, text)


def test_a_mistake_in_a_variable_names_the_variable(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "poll: {every: 1m}", BUILDSPECD_POLL__EVERY="soon", BUILDSPECD_HTTP__LISTN="x:1")
    assert "BUILDSPECD_HTTP__LISTN" in found[0]
    assert "did you mean 'HTTP__LISTEN'?" in found[0]
    assert "BUILDSPECD_POLL__EVERY" in found[1]
    assert "poll.every: expected a duration" in found[1]


def test_a_variable_that_is_nearly_a_setting_is_warned_of_and_others_are_let_be(tmp_path: Path) -> None:
    loaded = load(tmp_path, "", BUILDSPECD_STATEDIR="/x", BUILDSPECD_HOOK_SECRET="s3cret", BUILDSPECD_CONFIG="x")
    assert [problem.file for problem in loaded.warnings] == ["BUILDSPECD_STATEDIR"]
    assert not loaded.warnings[0].fatal
    assert "s3cret" not in repr(loaded)


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, "state_dir: state\nruntime_dir: ../run\nprojects_dir: /p\n").settings
    assert settings.state_dir == tmp_path / "state"
    assert settings.runtime_dir == tmp_path / "../run"
    assert settings.projects_dir == Path("/p")


def test_the_runtime_directory_is_in_memory_and_writable() -> None:
    assert default_runtime_dir({"RUNTIME_DIRECTORY": "/run/buildspecd:/run/other"}) == Path("/run/buildspecd")
    assert default_runtime_dir({}).parts[1] in ("run", "dev")


def test_the_settings_file_is_the_one_given_or_that_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.touch()
    assert settings_file(file, {"BUILDSPECD_CONFIG": "/none"}) == file
    assert settings_file(None, {"BUILDSPECD_CONFIG": str(file)}) == file
    with pytest.raises(UsageError, match="there is no settings file /none"):
        settings_file(None, {"BUILDSPECD_CONFIG": "/none"})


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load_settings(tmp_path, {})
