"""The contract of `Engine`, over Docker and over the fake."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.container.docker import DockerEngine
from agent.container.engine import Engine
from agent.container.spec import ContainerSpec, ContainerState, Mount, RegistryLogin
from agent.errors import ContainerDied, EngineUnavailable, ImageUnavailable, RegistryUnavailable, UserError
from tests import images
from tests.fakes.engine import FakeEngine
from tests.fakes.registry import FakeRegistry, serving
from tests.shell.harness import until


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "fake":
        return FakeEngine(images=(images.BUSYBOX,))
    images.busybox_image()
    return DockerEngine(agent_id="contract-shell")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as running:
        yield running
        if images.docker("images", "--quiet", running.reference):
            images.docker("rmi", running.reference)


@pytest.fixture
def agent(engine: Engine) -> Iterator[str]:
    name = f"contract-{uuid.uuid4()}"
    yield name
    for container in engine.owned(name):
        engine.remove(container)


@pytest.fixture
def spec(agent: str) -> ContainerSpec:
    return ContainerSpec(
        build_id=f"web:{uuid.uuid4()}",
        agent_id=agent,
        image=images.BUSYBOX,
        command=("/bin/sh", "-c", "sleep 600"),
        working_dir="/",
        mounts=(),
        network="none",
    )


def state_of(engine: Engine, container: str) -> ContainerState:
    state = engine.inspect(container)
    assert state is not None
    return state


def tar_of(**files: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.mode = len(content), 1234, 0o640
            tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


RAW = "grep CapBnd /proc/self/status; exit $(( (0x$(sed -n 's/CapBnd:.//p' /proc/self/status) >> 13) & 1 ))"


@pytest.mark.docker
@pytest.mark.parametrize(("network", "privileged", "may"), [("host", False, 0), ("none", False, 1), ("host", True, 1)])
def test_a_build_in_the_hosts_network_does_not_read_what_others_say_there(
    spec: ContainerSpec, network: str, privileged: bool, may: int
) -> None:
    docker = DockerEngine(agent_id="contract-raw")
    images.busybox_image()
    command = ("/bin/sh", "-c", RAW)
    container = docker.create(replace(spec, command=command, network=network, privileged=privileged))
    try:
        docker.start(container)
        until(lambda: not state_of(docker, container).running)
        assert state_of(docker, container).exit_code == may, "CAP_NET_RAW opens packet sockets on every interface"
    finally:
        docker.remove(container)


def test_facts_name_a_version_and_the_number_of_cpus(engine: Engine) -> None:
    facts = engine.facts()
    assert facts.version
    assert facts.cpus > 0
    assert facts.memory > 0


def test_an_image_on_the_host_is_found_and_another_is_not(engine: Engine) -> None:
    assert engine.has_image(images.BUSYBOX)
    assert not engine.has_image("buildspecd-test/no-such:1")
    assert engine.image_ids()[images.BUSYBOX].startswith("sha256:")


def test_a_created_container_has_not_started(engine: Engine, spec: ContainerSpec) -> None:
    state = state_of(engine, engine.create(spec))
    assert (state.running, state.started) == (False, False)


def test_creating_twice_gives_the_same_container(engine: Engine, spec: ContainerSpec) -> None:
    assert engine.create(spec) == engine.create(spec)
    assert len(engine.owned(spec.agent_id)) == 1


def test_a_container_is_found_by_its_build(engine: Engine, spec: ContainerSpec) -> None:
    assert engine.find(spec.build_id) is None
    container = engine.create(spec)
    assert engine.find(spec.build_id) == container
    assert engine.owned(spec.agent_id) == {container: spec.build_id}
    assert engine.owned("somebody else") == {}


def test_an_image_that_is_not_there_is_unavailable(engine: Engine, spec: ContainerSpec) -> None:
    with pytest.raises(ImageUnavailable):
        engine.create(replace(spec, image="buildspecd-test/no-such:1"))


def test_an_unknown_network_is_the_users_mistake(engine: Engine, spec: ContainerSpec) -> None:
    with pytest.raises(UserError):
        engine.create(replace(spec, network=f"no-such-{uuid.uuid4()}"))


def test_starting_twice_is_harmless_and_the_exit_code_is_told(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    engine.start(container)
    engine.start(container)
    assert state_of(engine, container).running
    ending = engine.create(replace(spec, build_id=f"web:{uuid.uuid4()}", command=("/bin/sh", "-c", "exit 3")))
    engine.start(ending)
    until(lambda: not state_of(engine, ending).running)
    state = state_of(engine, ending)
    assert (state.exit_code, state.started, state.oom_killed) == (3, True, False)


def test_an_image_without_the_command_has_died(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(replace(spec, command=("/no/such/program",)))
    with pytest.raises(ContainerDied):
        engine.start(container)


def test_terminating_ends_it_and_may_be_repeated(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    engine.start(container)
    engine.terminate(container, grace=0.2)
    assert not state_of(engine, container).running
    engine.terminate(container, grace=0.2)
    engine.remove(container)
    engine.terminate(container, grace=0.2)


def test_removing_a_running_container_leaves_nothing_and_may_be_repeated(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    engine.start(container)
    engine.remove(container)
    engine.remove(container)
    assert engine.inspect(container) is None
    assert engine.find(spec.build_id) is None


def test_files_go_in_and_come_out_with_owner_and_mode(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    engine.copy_in(container, "/root", tar_of(first=b"1", second=b"22"))
    stream = engine.copy_out(container, "/root/second")
    assert stream is not None
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        member = tar.getmember("second")
        assert (member.uid, member.mode & 0o777, member.size) == (1234, 0o640, 2)


def test_a_path_that_is_not_there_is_not_copied_out(engine: Engine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    assert engine.copy_out(container, "/no/such/path") is None
    with pytest.raises(UserError):
        engine.copy_in(container, "/no/such/directory", tar_of(a=b""))


def test_a_throw_away_shell_tells_its_status(engine: Engine) -> None:
    assert engine.shell(images.BUSYBOX, "exit 7", {}) == 7


def test_an_engine_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    silent = DockerEngine(base_url=f"unix://{tmp_path}/no.sock")
    fake = FakeEngine()
    fake.down = True
    for engine in (silent, fake):
        with pytest.raises(EngineUnavailable):
            engine.facts()
        with pytest.raises(EngineUnavailable):
            engine.find("web:1")


@pytest.mark.docker
class TestDocker:
    """What only the real engine can show."""

    @pytest.fixture
    def engine(self) -> Engine:
        images.busybox_image()
        return DockerEngine(agent_id="contract-shell")

    def test_a_container_without_our_labels_is_left_alone(self, engine: Engine) -> None:
        foreign = images.docker("create", images.busybox_image(), "sleep", "600")
        try:
            with pytest.raises(UserError):
                engine.remove(foreign)
            with pytest.raises(UserError):
                engine.terminate(foreign, 0)
            assert engine.inspect(foreign) is not None
        finally:
            images.docker("rm", "--force", foreign)

    def test_out_of_memory_is_flagged(self, engine: Engine, spec: ContainerSpec) -> None:
        hungry = replace(
            spec, command=("/bin/sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done"), memory=32 << 20
        )
        container = engine.create(hungry)
        engine.start(container)
        until(lambda: not state_of(engine, container).running)
        state = state_of(engine, container)
        assert (state.oom_killed, state.exit_code) == (True, 137)

    def test_more_cpus_than_the_host_has_are_cut_to_what_it_has(self, engine: Engine, spec: ContainerSpec) -> None:
        container = engine.create(replace(spec, cpus=4096))
        nano = images.docker("inspect", "--format", "{{.HostConfig.NanoCpus}}", container)
        assert int(nano) == engine.facts().cpus * 1_000_000_000

    def test_nothing_of_the_image_runs_but_the_command(self, engine: Engine, spec: ContainerSpec) -> None:
        changes = (
            "--change",
            'ENTRYPOINT ["/bin/false"]',
            "--change",
            "USER 1001",
            "--change",
            "HEALTHCHECK CMD false",
        )
        base = images.docker("create", images.busybox_image())
        image = f"buildspecd-test/odd:{uuid.uuid4()}"
        try:
            images.docker("commit", *changes, base, image)
            script = 'test "$(id -u)" = 0 && exit 5'
            container = engine.create(replace(spec, image=image, command=("/bin/sh", "-c", script)))
            engine.start(container)
            until(lambda: not state_of(engine, container).running)
            assert state_of(engine, container).exit_code == 5
            facts = images.docker(
                "inspect", "--format", "{{.HostConfig.LogConfig.Type}} {{.Config.Healthcheck}}", container
            )
            assert facts.startswith("none ")
            assert "NONE" in facts
            engine.remove(container)
        finally:
            images.docker("rm", base)
            images.docker("rmi", image)

    def test_a_mount_that_is_missing_on_the_host_is_refused(
        self, engine: Engine, spec: ContainerSpec, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError):
            engine.create(replace(spec, mounts=(Mount(tmp_path / "no", "/mnt"),)))

    def test_a_shell_leaves_no_container(self, spec: ContainerSpec) -> None:
        engine = DockerEngine(agent_id=spec.agent_id)
        assert engine.shell(images.BUSYBOX, "true", {}) == 0
        assert engine.owned(spec.agent_id) == {}

    def test_a_registry_that_does_not_answer_is_unavailable(self, engine: Engine) -> None:
        with pytest.raises(RegistryUnavailable):
            engine.pull("127.0.0.1:9/no/such:1", None, lambda line: None)

    def test_an_image_is_pulled_and_may_be_pulled_again(self, engine: Engine, registry: FakeRegistry) -> None:
        for _ in range(2):
            engine.pull(registry.reference, None, lambda line: None)
            assert engine.has_image(registry.reference)

    def test_an_image_that_the_registry_lacks_is_unavailable(self, engine: Engine, registry: FakeRegistry) -> None:
        with pytest.raises(ImageUnavailable):
            engine.pull(registry.reference.replace("app:1", "app:2"), None, lambda line: None)

    def test_a_private_registry_wants_the_right_login(self, engine: Engine, registry: FakeRegistry) -> None:
        registry.login = "AWS:s3cret"
        for login in (None, RegistryLogin("AWS", "wrong")):
            with pytest.raises(ImageUnavailable) as raised:
                engine.pull(registry.reference, login, lambda line: None)
            assert "wrong" not in raised.value.message
        engine.pull(registry.reference, RegistryLogin("AWS", "s3cret"), lambda line: None)
        assert engine.has_image(registry.reference)

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_registry_that_limits_or_fails_may_be_asked_again(
        self, engine: Engine, registry: FakeRegistry, status: int
    ) -> None:
        registry.status = status
        with pytest.raises(RegistryUnavailable):
            engine.pull(registry.reference, None, lambda line: None)
