"""A build that ends in the very moment in which a new daemon looks how it stands."""

from __future__ import annotations

from pathlib import Path

from tests.restart.test_between_steps import die
from tests.restart.world import Mortals, World


def test_a_build_that_ends_while_a_new_daemon_asks_for_it_has_ended_well(tmp_path: Path) -> None:
    mortals, world = Mortals(), World(tmp_path)
    try:
        world.engine.stays_in = "BUILD"
        assert not die(mortals, world, 0, lambda: "Entering phase BUILD" in world.engine.printed)
        world.engine.ends_when_asked = True
        mortals.start(world, 0)
        assert mortals.end() == "SUCCEEDED"
        assert not world.engine.ends_when_asked
        assert world.log_holds(world.engine.printed)
    finally:
        mortals.close()
        world.close()
