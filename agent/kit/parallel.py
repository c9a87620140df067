"""Parallel: one piece of work for each of many items, on a few threads, until all are done or one goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.kit.heed import followed

Item = TypeVar("Item")


def for_each(items: Iterable[Item], work: Callable[[Item], object], *, threads: int, name: str) -> None:
    """Do *work* with every item; *items* is drawn from as threads become free, so that it may be long.

    After the first error no further item is begun; it is raised when what was under way has ended.
    """
    lock, over, source = threading.Lock(), threading.Event(), iter(items)

    def drain() -> None:
        while not over.is_set():
            try:
                with lock:
                    item = next(source)
                work(item)
            except StopIteration:
                return
            except BaseException:
                over.set()
                raise

    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        pending = [pool.submit(followed(drain)) for _ in range(threads)]
    for future in pending:
        future.result()
