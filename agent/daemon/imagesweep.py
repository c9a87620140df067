"""Sweeping images: those that we pulled, that no container has, and that no build has had for long."""

from __future__ import annotations

from agent.container.upkeep import Upkeep
from agent.errors import EngineUnavailable
from agent.kit.logging import get_logger
from agent.store.pulled import PulledImages

_log = get_logger("janitor")


def sweep_images(pulled: PulledImages, upkeep: Upkeep, before: float) -> int:
    """Remove the images of ours that no build has had since *before*; return how many went.

    One whose name means another image by now is somebody else's, and struck out. Raises `EngineUnavailable`.
    """
    removed = 0
    for image in pulled.unused_since(before):
        if not image.image and upkeep.image_id(image.reference):
            pulled.forget(image.reference)  # nobody saw the end of that pull: it may be another's
        elif upkeep.remove_image(image.reference, image.image):
            _log.info("removed an image that no build uses", image=image.reference)
            pulled.forget(image.reference)
            removed += 1
    return removed


def shed_images(pulled: PulledImages, upkeep: Upkeep, before: float) -> None:
    """Remove them ahead of their time; an engine that does not answer is left alone."""
    try:
        sweep_images(pulled, upkeep, before)
    except EngineUnavailable as error:
        _log.warning("images stay for now", error=error.message)
