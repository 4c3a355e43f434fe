"""Process several items of a handler's batch at the same time, in threads that stop when the call is cancelled."""

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_side_by_side(
    function: Callable[[Item], Made], items: Iterable[Item], *, at_once: int, check: Callable[[], None]
) -> list[Made]:
    """Apply `function` to each item, at most `at_once` at a time; return the results in the order of the items.

    `check` is called before each item and while results are awaited. When `check` or `function` raises, no further item
    begins. When the running items are done, the error of the first failed item (in order) is raised.
    """
    if at_once < 1:
        raise ValueError(f"at_once must be 1 or more, not {at_once}")
    listed = list(items)
    made: dict[int, Made] = {}
    errors: dict[int, BaseException] = {}
    waiting = iter(range(len(listed)))
    lock, ended = threading.Lock(), SimpleQueue[None]()
    stopped = threading.Event()

    def numbers() -> Iterator[int]:
        while not stopped.is_set():
            with lock:
                number = next(waiting, None)
            if number is None:
                return
            yield number

    def work() -> None:
        try:
            for number in numbers():
                try:
                    check()
                    made[number] = function(listed[number])
                except BaseException as error:
                    errors[number] = error
                    stopped.set()
        finally:
            ended.put(None)

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), name=f"braid-item-{number}", daemon=True)
        for number in range(min(at_once, len(listed)) - 1)
    ]
    for thread in threads:
        thread.start()
    work()  # the calling thread works as well
    for _ in range(len(threads) + 1):
        ended.get()
    if errors:
        raise errors[min(errors)]
    return [made[number] for number in range(len(listed))]
