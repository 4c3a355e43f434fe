"""The cost of isolating a context with 10,000 documents for a branch, compared with `copy.deepcopy`, in one run.

python -m bench.isolation
"""

import copy
import statistics
import time
from collections.abc import Callable

from flows.state import Context

DOCUMENTS = 10_000


def measured(work: Callable[[], object], rounds: int) -> float:
    """Median milliseconds of one call."""
    times: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    documents = {
        f"doc-{i}": {"id": i, "tags": ["a", "b"], "parts": [{"page": 1, "words": [1, 2, 3]}]} for i in range(DOCUMENTS)
    }
    context = Context(documents=documents)

    def fork_and_change_one() -> None:
        branch = context.fork()
        branch.documents["doc-77"]["parts"][0]["words"].append(4)
        branch.delta()

    print(f"a context with {DOCUMENTS:,} documents, median milliseconds a branch:")
    print(f"  fork                                    {measured(context.fork, 1000):9.4f}  (the promise: below 0.05)")
    print(f"  fork, change one deep value, its delta  {measured(fork_and_change_one, 1000):9.4f}")
    print(f"  copy.deepcopy of the documents          {measured(lambda: copy.deepcopy(documents), 5):9.4f}")


if __name__ == "__main__":
    main()
