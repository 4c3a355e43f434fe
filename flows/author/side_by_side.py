"""Several items of a handler's batch at once, in threads that stop when the call is no longer wanted."""

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
    """`function` of every item, in the order of the items; at most `at_once` of them run at the same time.

    `check` is called before every item, and while results are awaited; when it raises, no further item begins. After an
    error of `function` none begins either; the error of the first item in order that has one is raised, when those that
    have begun are done.
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
    work()  # this thread is one of them
    for _ in range(len(threads) + 1):
        ended.get()
    if errors:
        raise errors[min(errors)]
    return [made[number] for number in range(len(listed))]
