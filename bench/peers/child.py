"""One measurement, in a process of its own: do the work of a row once with one system, check it, print the figures."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.peers.work import LEDGER, ROWS, Case, Row


def make_case(system: str, row: Row, folder: str, batch: str) -> Case:
    match system:
        case "threads":
            from bench.peers import threads

            return threads.case(row, folder)
        case "hamilton":
            from bench.peers import hamilton_peer

            return hamilton_peer.case(row, folder)
        case "haystack":
            from bench.peers import haystack_peer

            return haystack_peer.case(row, folder)
        case "dbos":
            from bench.peers import dbos_peer

            return dbos_peer.case(row, folder)
        case "prefect":
            from bench.peers import by_hand

            return by_hand.case(row, folder, batch=batch)
        case _:
            from bench.peers import braid

            engine = "prefect" if "prefect" in system else "inline"
            return braid.case(row, folder, engine=engine, recorded="recorded" in system, batch=batch)


def main() -> None:
    system, name, batch = sys.argv[1:4]
    row = ROWS[name]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        once = make_case(system, row, folder, batch)
        used, began = _cpu_s(), time.perf_counter()
        once()
        seconds, cpu_s = time.perf_counter() - began, _cpu_s() - used
    LEDGER.check(row)
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mb": _peak_mb()}))


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # `ru_maxrss` includes the parent before the exec
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
