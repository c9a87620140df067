"""The driver in real containers: ash of busybox, dash and bash of Debian; users, owners, limits, ends."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.buildspec.plan import PhasePlan
from agent.container import driver
from agent.container.docker import DockerEngine
from agent.container.driver import DriverPlan
from agent.container.spec import ContainerSpec, ContainerState, Mount
from agent.kit.clock import SystemClock
from tests import images
from tests.shell.harness import Ran, phase, until

pytestmark = pytest.mark.docker

SOURCE = "/codebuild/output/src1368/src"


class ContainerBuild:
    """A build in a container of *image*, as the pipeline would run it."""

    def __init__(self, root: Path, image: str, agent_id: str) -> None:
        self.engine = DockerEngine()
        self.root, self.image, self.agent_id = root, image, agent_id
        self.control, self.source, self.secrets = root / "control", root / "source", root / "secrets"
        for directory in (self.source, self.secrets):
            directory.mkdir()
        driver.prepare_control(self.control)
        self.container = ""

    def start(self, memory: int | None = None) -> None:
        mounts = (
            Mount(self.control, driver.CONTROL_TARGET),
            Mount(self.source, SOURCE),
            Mount(self.secrets, driver.SECRETS_TARGET),
        )
        spec = ContainerSpec(
            build_id=f"web:{uuid.uuid4()}",
            agent_id=self.agent_id,
            image=self.image,
            command=driver.COMMAND,
            working_dir="/",
            mounts=mounts,
            tmpfs={driver.SCRATCH_TARGET: driver.SCRATCH_OPTIONS},
            network="none",
            memory=memory,
        )
        self.container = self.engine.create(spec)
        self.engine.start(self.container)

    def begin(self, *phases: PhasePlan, variables: Mapping[str, str], **settings: object) -> DriverPlan:
        given = {
            "phases": phases,
            "source_dir": SOURCE,
            "workspace": SOURCE,
            "checkouts": (SOURCE,),
            "clock_base": driver.clock_base(SystemClock()),
        }
        plan = DriverPlan(**{**given, **settings})  # type: ignore[arg-type]
        driver.write_environment(self.secrets / driver.ENVIRONMENT_FILE, variables)
        driver.write_plan(self.control, plan)
        until(lambda: driver.go(self.control))
        return plan

    @property
    def state(self) -> ContainerState:
        state = self.engine.inspect(self.container)
        assert state is not None
        return state

    def run(
        self,
        *phases: PhasePlan,
        memory: int | None = None,
        variables: Mapping[str, str] | None = None,
        **settings: object,
    ) -> Ran:
        self.start(memory)
        plan = self.begin(*phases, variables=variables or {}, **settings)
        until(lambda: not self.state.running)
        return Ran(self.control, plan, self.state.exit_code)


@pytest.fixture
def agent_id() -> Iterator[str]:
    name = f"shell-{uuid.uuid4()}"
    yield name
    engine = DockerEngine()
    for container in engine.owned(name):
        engine.remove(container)


@pytest.fixture
def debian(tmp_path: Path, agent_id: str) -> ContainerBuild:
    return ContainerBuild(tmp_path, images.debian_image(), agent_id)


@pytest.fixture
def busybox(tmp_path: Path, agent_id: str) -> ContainerBuild:
    return ContainerBuild(tmp_path, images.busybox_image(), agent_id)


@pytest.fixture(params=["busybox", "debian"])
def any_image(request: pytest.FixtureRequest) -> ContainerBuild:
    build = request.getfixturevalue(request.param)
    assert isinstance(build, ContainerBuild)
    return build


def test_a_build_runs_in_its_container(any_image: ContainerBuild) -> None:
    ran = any_image.run(
        phase("INSTALL", "mkdir d && cd d", "X='1 2'"),
        phase("BUILD", "pwd; echo $X; id -u; echo $SECRET | wc -c", "echo x > /dev/stdout"),
        variables={"SECRET": "xyz"},
    )
    assert ran.text.split("\n") == [f"{SOURCE}/d", "1 2", "0", "4", "x"]
    assert ran.result is not None
    assert ran.result.outcome == "completed"
    assert not (any_image.secrets / "environment").exists()
    assert "xyz" not in images.docker("inspect", any_image.container)


def test_case_26_dash_names_script_and_line_four(debian: ContainerBuild) -> None:
    ran = debian.run(phase("BUILD", "[[ a == a ]]"))
    assert ran.text == "/codebuild/output/tmp/script.sh: 4: [[: not found"
    assert ran.statuses == [127]


def test_case_27_bash_when_asked_for(debian: ContainerBuild) -> None:
    assert debian.run(phase("BUILD", "[[ a == a ]]"), shell="bash").statuses == [0]


def test_case_28_bash_words_its_errors_its_own_way(debian: ContainerBuild) -> None:
    ran = debian.run(phase("BUILD", "PWDX"), shell="bash")
    assert ran.text == "/codebuild/output/tmp/script.sh: line 4: PWDX: command not found"
    assert ran.lines[-2].endswith("Reason: exit status 127")


def test_a_shell_that_the_image_lacks_refuses_the_build(busybox: ContainerBuild) -> None:
    ran = busybox.run(phase("INSTALL", "echo never"), shell="bash")
    assert ran.result == driver.Result("refused", None, succeeding=True)


def test_readonly_lasts_under_bash(debian: ContainerBuild) -> None:
    assert debian.run(phase("BUILD", "readonly X=1", "X=2", "echo $X"), shell="bash").statuses[1] != 0


def test_case_31_run_as_holds_for_its_phase(any_image: ContainerBuild) -> None:
    who = 'echo "$(id -un):$(id -gn):$HOME"; echo x > "made-by-$(id -un)"; KEPT=$KEPT.'
    add = "grep -q ^u1: /etc/passwd || useradd -m u1"
    ran = any_image.run(
        phase("INSTALL", add),
        phase("PRE_BUILD", who, f"{who}; echo err >/dev/stderr; echo out >/dev/stdout", run_as="u1"),
        phase("BUILD", who, "echo $KEPT", finally_=("id -un",)),
        phase("POST_BUILD", "id -un", "export HOME=/elsewhere", "echo $HOME", run_as="u1"),
    )
    assert ran.statuses == [0] * 9
    one, root = "u1:u1:/home/u1", "root:root:/root"
    assert ran.text.split("\n") == [one, one, "err", "out", root, "...", "root", "u1", "/elsewhere"]
    assert (any_image.source / "made-by-root").stat().st_uid != 0


def test_run_as_keeps_the_environment_and_its_groups(debian: ContainerBuild) -> None:
    ran = debian.run(
        phase("INSTALL", "groupadd -g 7777 extra && useradd -m -G extra u2"),
        phase("BUILD", 'echo "$GIVEN"; id -G | tr " " "\\n" | grep -c 7777; echo ${PATH##*:}', run_as="u2"),
        variables={"GIVEN": "it's"},
        shell="bash",
    )
    assert ran.text.split("\n") == ["it's", "1", "/codebuild/user/bin"]


def test_run_as_works_through_su_too(debian: ContainerBuild) -> None:
    ran = debian.run(
        phase("INSTALL", "useradd -m u3; rm /usr/bin/setpriv"),
        phase("BUILD", 'echo "$(id -un) $HOME $GIVEN"; exit 9', run_as="u3"),
        variables={"GIVEN": "kept"},
    )
    assert ran.text == "u3 /home/u3 kept"
    assert ran.statuses == [0, 9]


def test_an_image_that_cannot_switch_users_says_so(debian: ContainerBuild) -> None:
    ran = debian.run(
        phase("INSTALL", "useradd -m u3; rm /usr/bin/setpriv /bin/su"),
        phase("PRE_BUILD", "echo never", run_as="u3", on_failure="CONTINUE"),
        phase("BUILD", "id -un"),
    )
    assert ran.text == "root"
    assert "Reason: the image has neither setpriv nor su" in ran.log


def test_git_works_in_a_checkout_of_another_user_and_the_tree_goes_back(debian: ContainerBuild) -> None:
    os.chown(debian.source, 4242, 4243)
    ran = debian.run(phase("BUILD", "git init -q . && git status --short && : > made"), owner=(4242, 4243))
    assert ran.statuses == [0]
    made = (debian.source / "made").stat()
    assert (made.st_uid, made.st_gid) == (4242, 4243)


def test_memory_that_runs_out_fails_the_command_and_is_flagged(busybox: ContainerBuild) -> None:
    eat = "x=0123456789abcdef; while :; do x=$x$x; done"
    ran = busybox.run(phase("BUILD", eat), phase("POST_BUILD", "echo on"), memory=32 << 20)
    assert ran.statuses == [137, 0]
    assert busybox.state.oom_killed
    assert ran.text.endswith("on")


def test_killing_everything_does_not_end_the_container(any_image: ContainerBuild) -> None:
    ran = any_image.run(phase("BUILD", "kill -9 -1", "seq 1 50000"), phase("POST_BUILD", "echo on"))
    assert "\n50000\n" in ran.log
    assert ran.text.endswith("on")


def test_terminating_ends_a_running_build_in_order(any_image: ContainerBuild) -> None:
    any_image.start()
    plan = any_image.begin(phase("BUILD", ": > begun; sleep 600", "echo never", finally_=("echo never",)), variables={})
    until((any_image.source / "begun").exists)
    any_image.engine.terminate(any_image.container, grace=20)
    ran = Ran(any_image.control, plan)
    assert ran.result is not None
    assert ran.result.outcome == "stopped"
    assert ran.text == ""


def test_a_build_that_is_deaf_is_killed_when_the_grace_is_over(busybox: ContainerBuild) -> None:
    busybox.start()
    deaf = "trap '' TERM; : > begun; while :; do :; done"
    busybox.begin(phase("BUILD", deaf), variables={})
    until((busybox.source / "begun").exists)
    busybox.engine.terminate(busybox.container, grace=0.5)
    assert not busybox.state.running
    assert driver.read_result(busybox.control) is None


def test_a_container_that_waits_for_its_build_can_be_ended(any_image: ContainerBuild) -> None:
    any_image.start()
    until(lambda: (any_image.control / "driver.log").exists())
    any_image.engine.terminate(any_image.container, grace=10)
    assert not any_image.state.running


def test_a_process_of_the_build_that_holds_the_log_is_killed_at_the_end(any_image: ContainerBuild) -> None:
    fork = "( while :; do ( sleep 100 & ) ; sleep 0.01; done ) & echo on"
    ran = any_image.run(phase("BUILD", fork))
    assert ran.text.endswith("on")
    assert ran.result is not None
