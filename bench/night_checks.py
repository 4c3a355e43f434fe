"""The checks after `bench.night`: nothing is lost or duplicated, and every run has one correct final state."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import psutil

from bench.night_world import POOLS, STEPS, World

_WORDS = {
    "succeeded": "Completed",
    "partial": "PartialSuccess",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "crashed": "Crashed",
    "running": "Running",
}
_PERIOD_S = {"minutely": 60, "ten_minutely": 600, "elsewhere": 120}
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def broken_promises(world: World, began: float, ended: float) -> list[str]:
    """A line for each broken promise; empty after a good night."""
    deployments = {each["id"]: each for each in world.all("/deployments/filter", {})}
    runs = world.all("/flow_runs/filter", {})
    recorded = json.loads(world.braid("runs", "--limit", "10000", "--json"))["runs"]
    return [
        *_schedules(deployments, runs, began, ended),
        *_ends(world, runs, recorded),
        *_ledger(world, runs),
        *_task_runs(world),
        *_service(world),
    ]


def _schedules(deployments: Mapping[str, Any], runs: list[dict[str, Any]], began: float, ended: float) -> Iterator[str]:
    names = {each["name"]: each for each in deployments.values()}
    for name, period_s in _PERIOD_S.items():
        if name not in names or not any(each["active"] for each in names[name]["schedules"]):
            yield f"{name}: its schedule is gone"
            continue
        due = Counter(
            _seconds(run["expected_start_time"])
            for run in runs
            if run["deployment_id"] == names[name]["id"] and run["auto_scheduled"]
        )
        first = int(began // period_s + 1) * period_s
        for moment in range(first, int(ended), period_s):
            if due[moment] != 1:
                yield f"{name}: {due[moment]} runs were scheduled for {datetime.fromtimestamp(moment):%H:%M}, not 1"


def _ends(world: World, runs: list[dict[str, Any]], recorded: list[dict[str, Any]]) -> Iterator[str]:
    newest: dict[str, dict[str, Any]] = {}
    for record in recorded:
        newest.setdefault(record["flow_run_id"], record)
    alive = {process.environ()["PREFECT__FLOW_RUN_ID"] for process in world.flow_processes()}
    for run in runs:
        name, state = f"{run['name']} ({run['id'][:8]})", run["state_name"]
        record = newest.get(run["id"])
        if run["state_type"] in ("RUNNING", "PENDING", "CANCELLING") and run["id"] not in alive:
            yield f"{name}: reads {state}, and has no process"
        if record is not None and _WORDS[record["status"]] != state and run["id"] not in alive:
            yield f"{name}: reads {state} in Prefect, and {record['status']} in `braid runs`"
        if record is None and run["state_type"] == "COMPLETED":
            yield f"{name}: reads {state}, and `braid runs` does not know it"


def _ledger(world: World, runs: list[dict[str, Any]]) -> Iterator[str]:
    done = Counter(world.ledger())
    for (flow_run, step), count in done.items():
        if count > 1:
            yield f"{flow_run[:8]}: {step} was done {count} times"
    for run in runs:
        steps = {step for flow_run, step in done if flow_run == run["id"]}
        if run["state_name"] == "Completed" and steps != STEPS:
            yield f"{run['name']} ({run['id'][:8]}): reads Completed without {', '.join(sorted(STEPS - steps))}"


def _task_runs(world: World) -> Iterator[str]:
    over = {"state": {"type": {"any_": list(_FINAL)}}}
    going = {"state": {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED", "CANCELLING"]}}}
    for task_run in world.all("/task_runs/filter", {"flow_runs": over, "task_runs": going}):
        yield f"task run {task_run['name']} of {task_run['flow_run_id'][:8]} reads {task_run['state_name']} for ever"


def _service(world: World) -> Iterator[str]:
    if not world.is_up():
        yield "the server does not answer"
        return
    for pool in set(POOLS.values()):
        workers = world.post(f"/work_pools/{pool}/workers/filter", {})
        if not any(worker["status"] == "ONLINE" for worker in workers):
            yield f"no worker of {pool} is online"
    if not world.program("serve").is_running() or world.program("serve").status() == psutil.STATUS_ZOMBIE:
        yield "`braid serve` does not run"


def summary(world: World) -> dict[str, Any]:
    """How the runs ended, by state."""
    return dict(Counter(run["state_name"] for run in world.all("/flow_runs/filter", {}) if run["run_count"]))


def _seconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp())
