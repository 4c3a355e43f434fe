"""Random trees of files on all three stores: every object has one outcome, nothing is overwritten, nothing flaps.

    python -m bench.trees --trees 1000 --stores memory sqlite postgres

A tree has folders in folders, files of one name in several of them, Unicode names in both forms, links, pipes, hidden,
empty, too large, broken and unreadable files, and five sources that lie inside each other (`tests/support/trees.py`).
It is ingested, ingested again, changed and ingested once more, and compared with an index that is made anew. Run it as
a user other than root, so that files may be unreadable. A line of JSON follows for each tree that fails, and one that
adds up all; the exit code is 1 if any failed.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.support.index_stores import index_url
from tests.support.ingesting import settings_in
from tests.support.servers import run_postgres
from tests.support.trees import Tree, check_tree, random_dice

STORES = ("memory", "sqlite", "postgres")
PROGRESS_EVERY_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--server", default="", help="the URL of a PostgreSQL, instead of one of its own")
    parser.add_argument("--files", type=int, default=25, help="of random kinds, besides one good file per folder")
    parser.add_argument("--changes", type=int, default=5)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    counts, began, shown = Counter[str](), time.monotonic(), 0.0
    with contextlib.ExitStack() as opened:
        server = given.server
        if "postgres" in given.stores and not server:
            data = opened.enter_context(tempfile.TemporaryDirectory(prefix="braid-pg-"))
            server = opened.enter_context(run_postgres(Path(data) / "data"))
        for seed in range(given.first, given.first + given.trees):
            for store in given.stores:
                failure = _check(seed, store, server, counts, files=given.files, changes=given.changes)
                counts["trees"] += 1
                if failure:
                    counts["failed"] += 1
                    print(json.dumps({"seed": seed, "store": store, "failure": failure}), flush=True)
            if time.monotonic() - shown > PROGRESS_EVERY_S:
                shown = time.monotonic()
                done = seed - given.first + 1
                print(f"{done} of {given.trees} trees, {shown - began:.0f} s", file=sys.stderr, flush=True)
    spent = sum(os.times()[:4])
    names = ("trees", "ingestions", "failed")
    print(json.dumps({name: counts[name] for name in names} | {"cpu_seconds": round(spent, 1)}))
    return 1 if counts["failed"] else 0


def _check(seed: int, store: str, server: str, counts: Counter[str], *, files: int, changes: int) -> str:
    """The problem with a tree; empty if there is none."""
    with tempfile.TemporaryDirectory(prefix="braid-tree-") as name:
        folder = Path(name)
        url = {
            "memory": f"memory://{seed}-{{index}}",
            "sqlite": f"sqlite:///{folder}/{{index}}.db",
            "postgres": index_url(server, f"tree-{seed}-{{index}}") if server else "",
        }[store]
        kept = settings_in(folder / "kept", index_url=url)
        fresh = settings_in(folder / "fresh", index_url=f"memory://fresh-{seed}-{store}-{{index}}")
        tree = Tree(folder / "in", random_dice(seed))
        try:
            counts["ingestions"] += check_tree(tree, kept, fresh, files=files, changes=changes)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            return f"{last.filename}:{last.lineno}: {type(error).__name__}: {str(error)[:500]}"
        finally:
            tree.open_again()
        return ""


if __name__ == "__main__":
    sys.exit(main())
