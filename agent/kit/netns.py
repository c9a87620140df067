"""Netns: threads that look out from the network namespace of another process (Linux, as root)."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def inside(namespace: int, work: Callable[[], T]) -> Callable[[], T]:
    """Return *work*, to be done in the network of *namespace*, an open file. For a thread that ends with it: it never
    comes back out. Raises `OSError` where it is not let in."""

    def done() -> T:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(namespace, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return work()

    return done
