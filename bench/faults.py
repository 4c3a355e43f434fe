"""Injects every fault that we can, and counts tries, survived tries and losses.

    python -m bench.faults                  all rows, some minutes; a Prefect server and a PostgreSQL are started
    python -m bench.faults --quick          fewer tries, without servers: a minute
    python -m bench.faults --only "full disk"

A try is survived if the run, or the run that resumes it, ends exactly as an undisturbed one (status and hash of the
final state). Losses are kept calls that are repeated, missing outcomes, and different results. The exit code is 1 if
anything was lost or not survived.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.call_faults import cancelled, clock_jumps, dead_workers, endless_threads, storms
from bench.fault_tries import Row
from bench.store_faults import concurrent_runs, corrupt_content, full_disk, kills, undo_interrupted
from flows.reports.tables import markdown_table


def server_loss(fault: str, **how: Any) -> Row:
    from bench.server_loss import measure

    found = measure(**how)
    last = found["resumed"] or found["first"]
    return Row(fault, 1, int(last.get("status") == "succeeded"), found["lost"])


def rows(*, quick: bool) -> dict[str, Callable[[], Row]]:
    """The rows by their names; the quick ones need no server."""
    few, many = (6, 12) if quick else (24, 48)
    found: dict[str, Callable[[], Row]] = {
        "killed, SQLite": lambda: kills("SQLite", every=12 if quick else 1),
        "full disk": lambda: full_disk(few),
        "dead workers": lambda: dead_workers(4 if quick else 20),
        "endless threads": lambda: endless_threads(few),
        "concurrent runs": lambda: concurrent_runs(20),
        "cancelled": lambda: cancelled(many),
        "storms": lambda: storms(few),
        "clock jumps": lambda: clock_jumps(few),
        "corrupt": lambda: corrupt_content(few),
        "undo": lambda: undo_interrupted(12),
    }
    if not quick:
        found |= {
            "killed, PostgreSQL": lambda: kills("PostgreSQL", every=1),
            "server away 3 s": lambda: server_loss("Prefect server killed in a run, back after 3 s", away_s=3.0),
            "server away": lambda: server_loss("Prefect server killed in a run, back after its end", away_s=None),
            "server and run": lambda: server_loss(
                "Prefect server killed in a run, then the run's process", away_s=None, die=True
            ),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Fewer tries, no servers.")
    parser.add_argument("--only", action="append", help="This row; may be repeated.")
    chosen = parser.parse_args()
    logging.getLogger("flows").addHandler(logging.NullHandler())
    made: list[tuple[Row, str]] = []
    for name, row in rows(quick=chosen.quick).items():
        if chosen.only and name not in chosen.only:
            continue
        began = time.monotonic()
        made.append((row(), f'`python -m bench.faults --only "{name}"`'))
        print(f"{name}: {made[-1][0]} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    table = [(row.fault, str(row.tried), str(row.survived), str(row.lost), command) for row, command in made]
    print("\n".join(markdown_table(("fault", "tried >", "survived >", "lost >", "command"), table)))
    return 0 if all(row.ok for row, _ in made) else 1


if __name__ == "__main__":
    sys.exit(main())
