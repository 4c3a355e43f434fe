"""A shortened night in which every process is killed in turn: `python -m bench.night --minutes 60`.

`braid up` and a worker of a second pool are restarted when they end, as systemd does; there is no other intervention.
Schedules start a run every minute, every two and every ten. Meanwhile server, worker, the process of a run, the page
for searching, `braid up` and the other worker are killed, a run is cancelled, the disk is full for half a minute, and
all is stopped and started again. Two minutes after the last start, every promise is checked; the exit code is 1 if one
is broken.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

from bench.night_checks import broken_promises, summary
from bench.night_world import POOLS, World, night_world

SETTLE_S = 120.0
"""Seconds after the last start until everything must be right."""


def accidents(world: World) -> Iterator[tuple[str, Callable[[], None]]]:
    """The accidents, in turn and without end."""
    return cycle(
        [
            ("kill the server", lambda: world.kill_program("server")),
            ("kill the process of a run", world.kill_flow),
            ("kill the worker", lambda: world.kill_program("worker")),
            ("cancel a run", world.cancel),
            ("kill `braid up`", world.kill_up),
            ("kill the worker of the other pool", world.kill_second),
            ("fill the disk for 30 s", world.fill_disk),
            ("kill server and worker together", lambda: _both(world)),
            ("kill `braid serve`", lambda: world.kill_program("serve")),
            ("stop `braid up` and start it again", world.restart_up),
        ]
    )


def _both(world: World) -> None:
    world.kill_program("server")
    world.kill_program("worker")


def night(world: World, minutes: float, every_s: float) -> list[str]:
    """Run the night, and return the broken promises."""
    world.note("start")
    world.wait(180, until=world.is_up)
    world.wait(60, until=lambda: "Braid is at" in (world.folder / "up.log").read_text())
    for name, pool in POOLS.items():
        if pool != "braid":
            print(world.braid("deploy", name, "--work-pool", pool))
    began = time.time()
    happening = accidents(world)
    while time.time() - began < minutes * 60:
        world.wait(every_s)
        name, happen = next(happening)
        world.note(name)
        try:
            happen()
        except Exception as error:
            world.note(f"  it could not happen: {type(error).__name__}: {error}")
    world.note("stop `braid up` and start it again, for the last time")
    world.restart_up()
    ended = time.time()
    world.wait(180, until=world.is_up)
    world.wait(SETTLE_S)
    world.note("look")
    return broken_promises(world, began, ended)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=75.0, metavar="S", help="Seconds between two accidents.")
    parser.add_argument("--keep", action="store_true", help="Leave the folder with the logs, also after a good night.")
    chosen = parser.parse_args()
    name = tempfile.mkdtemp(prefix="braid-night-")
    print(f"folder: {name}", flush=True)
    with night_world(Path(name)) as world:
        broken = night(world, chosen.minutes, chosen.every)
        for line in broken:
            print(f"BROKEN {line}")
        print(json.dumps({"runs": summary(world), "accidents": len(world.happened), "broken": len(broken)}))
    if not chosen.keep and not broken:
        shutil.rmtree(name, ignore_errors=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
