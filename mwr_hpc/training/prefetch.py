"""Work done ahead of need in threads, so that the network never waits for its input."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def prefetched(make: Callable[[int], Item], indices: Iterable[int], ahead: int = 4, threads: int = 2) -> Iterator[Item]:
    """Yield make(index) for each index in order, made up to `ahead` items ahead by `threads` threads.

    `make` must depend on nothing but the index. What it raises is raised here, in its place.
    """
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="input") as pool:
        try:
            for index in indices:
                waiting.append(pool.submit(make, index))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_background(items: Iterable[Item], ahead: int = 2) -> Iterator[Item]:
    """Yield the items of an iterable that a thread goes through, up to `ahead` items ahead of us.

    What the iterable raises is raised here. When the consumer stops early, so does the thread.
    """
    results: queue.Queue[tuple[str, Any]] = queue.Queue(ahead)
    abandoned = threading.Event()

    def offer(kind: str, value: Any) -> bool:
        while not abandoned.is_set():
            try:
                results.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            for item in items:
                if not offer("item", item):
                    return
            offer("end", None)
        except BaseException as error:  # handed to the consumer, whatever it is
            offer("error", error)

    thread = threading.Thread(target=run, name="background", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = results.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        abandoned.set()
        thread.join()
