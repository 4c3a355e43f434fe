"""Kills the Prefect server in the middle of a run, and counts the losses: `python -m bench.server_loss`.

The run, in a process of its own, has twelve calls one after the other, side by side and in a loop. The server gets
SIGKILL while they go on and comes back on the same port with the same database, `--away` seconds later, or only after
the run has ended. Then the run store must know every call that finished, `braid resume` must end as an undisturbed run
does, and do only what had not succeeded. `--die` also kills the run's own process while the server is away.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.prefect_server import Server

CALLS = 12
PIPELINE = """\
name: server-loss
steps:
  - begin
  - second
  - parallel: [left, right, third_branch]
    max_concurrency: 3
  - for_each: items
    id: each
    max_concurrency: 2
    collect: [doubled]
    steps: [double]
  - end
"""
HANDLERS = '''\
"""Handlers that take a moment and leave a line when they have done their work."""

import os
import time
from pathlib import Path

from flows.author import handler


def _work(name: str) -> None:
    time.sleep(float(os.environ.get("LOSS_WORK_S", "0.5")))
    with Path(os.environ["LOSS_CALLS"]).open("a") as file:
        file.write(name + "\\n")


@handler(name="begin", writes="items")
def begin() -> list[int]:
    _work("begin")
    return list(range(6))


def _made(name: str) -> None:
    def work(items: list[int]) -> int:
        _work(name)
        return sum(items) + len(name)

    handler(name=name, writes=f"{name}_sum")(work)


for _name in ("second", "left", "right", "third_branch"):
    _made(_name)


@handler(name="double", writes="doubled")
def double(item: int) -> int:
    _work(f"double {item}")
    return item * 2


@handler(name="end", writes="total")
def end(doubled: list[int], left_sum: int) -> int:
    _work("end")
    return sum(doubled) + left_sum
'''


def measure(*, away_s: float | None, die: bool = False, kill_after: int = 5, work_s: float = 0.5) -> dict[str, Any]:
    """One loss of the server; `away_s` None: it comes back only when the run's process has ended."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "loss_handlers.py").write_text(HANDLERS)
        (folder / "loss.yaml").write_text(PIPELINE)
        calls = folder / "calls"
        calls.touch()
        with Server(folder / "prefect") as server:
            environment = _environment(folder, server.url, work_s)
            undisturbed = _child(
                "inline", environment | {"LOSS_CALLS": os.devnull, "BRAID_HOME": str(folder / "quiet")}
            )
            began = time.monotonic()
            run = _start("prefect", environment)
            _wait_for(lambda: len(calls.read_text().splitlines()) >= kill_after, run)
            server.kill()
            if die:
                _wait_for(lambda: len(calls.read_text().splitlines()) >= kill_after + 2, run)
                run.kill()
            elif away_s is not None:
                time.sleep(away_s)
                server.start()
            first = _end(run)
            took = time.monotonic() - began
            if not server.is_up:
                server.start()
            before = Counter(calls.read_text().splitlines())
            stored = _stored(folder)
            resumed = None if first.get("status") == "succeeded" else _child("resume", environment)
            both = Counter(calls.read_text().splitlines())
            states = _states(folder, environment)
            if "Running" in states:
                command = [sys.executable, "-m", "deployments", "doctor", "--repair"]
                subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
            repaired = _states(folder, environment) if "Running" in states else states
        last = resumed or first
        return {
            "away_s": away_s,
            "process_killed": die,
            "first": first,
            "seconds": round(took, 1),
            "calls_finished": sum(before.values()),
            "kept": len(stored),
            "resumed": resumed,
            "again": sum((both - before).values()),
            "twice": sorted(name for name, count in both.items() if count > 1),
            "lost": len(set(both) ^ _names())
            + (last.get("hash") != undisturbed["hash"])
            + max(0, sum((both - before).values()) - (CALLS - len(stored))),
            "states": states,
            "states_after_repair": repaired,
        }


def _names() -> set[str]:
    return {"begin", "second", "left", "right", "third_branch", "end", *(f"double {item}" for item in range(6))}


def _environment(folder: Path, url: str, work_s: float) -> dict[str, str]:
    return {
        **os.environ,
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(folder / "client"),
        "BRAID_HOME": str(folder / "home"),
        "LOSS_CALLS": str(folder / "calls"),
        "LOSS_WORK_S": str(work_s),
        "LOSS_PIPELINE": str(folder / "loss.yaml"),
        "BRAID_HANDLER_MODULES": "loss_handlers",
        "PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()]),
    }


def _start(what: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.server_loss", "--child", what]
    with Path(environment["BRAID_HOME"]).with_suffix(f".{what}.log").open("w") as log:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)


def _end(run: "subprocess.Popen[str]", seconds: float = 600.0) -> dict[str, Any]:
    out, _ = run.communicate(timeout=seconds)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"ended": run.returncode}


def _child(what: str, environment: Mapping[str, str]) -> dict[str, Any]:
    return _end(_start(what, environment))


def _wait_for(condition: Any, run: "subprocess.Popen[str]", seconds: float = 180.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if run.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the run ended too early or took too long (exit code {run.poll()})")
        time.sleep(0.05)


def _stored(folder: Path) -> set[str]:
    from flows.run_store import RunStore

    store = RunStore(f"sqlite:///{folder / 'home' / 'runs.db'}")
    try:
        return {call.key for record in store.recent() for call in store.finished_calls(record.chain)}
    finally:
        store.close()


def _states(folder: Path, environment: Mapping[str, str]) -> list[str]:
    code = (
        "import asyncio\nfrom prefect import get_client\n"
        "async def main():\n    async with get_client() as client:\n"
        "        for run in await client.read_flow_runs(): print(run.state_name)\n"
        "asyncio.run(main())"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=dict(environment), capture_output=True, text=True)
    return ended.stdout.split()


def child(what: str) -> None:
    """Run, or resume the newest run, and print how it ended."""
    from deployments.catalog import load_catalog
    from deployments.runs import Request, find_run, request_to_resume, run_pipeline
    from deployments.settings import load_settings
    from flows.run_store import RunStore

    settings = load_settings()
    catalog = load_catalog(settings)
    if what == "resume":
        store = RunStore(settings.run_store_url)
        newest = store.recent(limit=1)[0].run_id
        store.close()
        request = request_to_resume(find_run(newest, settings), catalog=catalog, given={})
    else:
        loaded = catalog.find(os.environ["LOSS_PIPELINE"])
        request = Request(loaded, engine="inline" if what == "inline" else "prefect")
    result = run_pipeline(request, settings=settings, catalog=catalog)
    print(
        json.dumps(
            {
                "status": result.status,
                "hash": result.fingerprint,
                "run": result.run_id,
                "errors": [o.error.message for o in result.outcomes if o.error],
            }
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=["inline", "prefect", "resume"])
    parser.add_argument("--away", type=float, nargs="*", default=[3.0])
    parser.add_argument("--keep-away", action="store_true", help="It comes back only after the run.")
    parser.add_argument("--die", action="store_true", help="The run's process is killed, too.")
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child)
        return
    for away_s in chosen.away:
        print(json.dumps(measure(away_s=away_s)), flush=True)
    if chosen.keep_away:
        print(json.dumps(measure(away_s=None)), flush=True)
    if chosen.die:
        print(json.dumps(measure(away_s=None, die=True)), flush=True)


if __name__ == "__main__":
    main()
