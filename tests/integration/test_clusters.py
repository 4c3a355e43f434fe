"""`task_runner: dask` on a real cluster: calls run elsewhere, and nothing else differs."""

import asyncio
import importlib.util
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.author import REGISTRY, RunResult
from flows.engine import Prepared, run_plan
from flows.errors import OrchestrationError
from flows.model import Pipeline
from flows.planning import Overrides, make_plan
from flows.state import Context, Identity
from tests.support.random_pipelines import random_pipeline

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
)
THREADS_OF_CLUSTER = 2 * 2


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """The scheduler of a cluster of two processes."""
    import dask.config

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from distributed import LocalCluster

        from flows.calling.dask import OURS

        before = set(REGISTRY.handlers)
        with dask.config.set(OURS):
            made: Any = LocalCluster(n_workers=2, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0")
            with made as cluster:
                yield cluster.scheduler_address
    for name in set(REGISTRY.handlers) - before:
        del REGISTRY.handlers[name]


@pytest.fixture(autouse=True)
def handlers(dask_address: str) -> None:
    import tests.support.cluster_handlers  # noqa: F401  (not while tests are collected: their names are common)


async def run(
    pipeline: Pipeline | dict[str, Any], data: dict[str, Any], address: str | None, runner: str | None = "dask"
) -> RunResult:
    from tests.support.cluster_handlers import services

    if isinstance(pipeline, dict):
        pipeline = Pipeline.model_validate({"name": "p", **pipeline})
    overrides = Overrides(task_runner=runner, clusters={"dask": address} if address else {})  # type: ignore[arg-type]
    plan = make_plan(pipeline, given=list(data), overrides=overrides)
    return await run_plan(Prepared(plan, Context(data, identity=Identity("p", "run", "index", services()))))


def seen(result: RunResult) -> list[Any]:
    return [(one.path, one.id, one.status, one.attempts, one.cost, one.failures) for one in result.outcomes]


async def test_a_cluster_and_threads_leave_the_same_state_and_outcomes(dask_address: str) -> None:
    for seed in range(8):
        pipeline = random_pipeline(random.Random(seed))
        data = {"seed": seed, "items": [1, 2, 3], "bag": []}
        here = await run(pipeline, data, None, "threads")
        there = await run(pipeline, data, dask_address)
        assert (there.status, there.fingerprint) == ("succeeded", here.fingerprint), seed
        assert seen(there) == seen(here)


async def test_the_items_of_a_loop_run_in_the_clusters_processes_and_report_as_ever(dask_address: str) -> None:
    pipeline = {
        "reducers": {"answers": "append", "seen": "append"},
        "steps": [
            {"for_each": "items", "steps": ["write_in_context", "ask"], "max_concurrency": 4, "id": "each"},
            "tell_where_async",
        ],
    }
    data = {"items": list(range(12)), "seen": [], "answers": []}
    here = await run(pipeline, data, None, "threads")
    there = await run(pipeline, data, dask_address)
    assert [answer[2] for answer in there.context.data["answers"]] == [2 * item for item in range(12)]
    assert list(there.context.data["seen"]) == list(range(12))
    assert os.getpid() not in {answer[0] for answer in there.context.data["answers"]}
    # Services are made once in a process, not once a call.
    assert {answer[1] for answer in there.context.data["answers"]} == {1}
    assert there.context.data["where_async"] == os.getpid()
    assert there.cost == here.cost == {"tokens": 66.0, "usd": pytest.approx(6.6)}
    assert there.status == "partial"
    assert seen(there) == seen(here)


async def test_the_death_of_a_worker_is_transient(dask_address: str, tmp_path: Path) -> None:
    step = {"handler": "die_once", "options": {"folder": str(tmp_path)}}
    ended = await run({"steps": [step | {"retry": {"max_attempts": 2, "delay_s": 0}}]}, {}, dask_address)
    assert (ended.status, ended.outcomes[0].attempts) == ("succeeded", 2)
    (tmp_path / "died").unlink()
    ended = await run({"steps": [step]}, {}, dask_address)
    assert (ended.status, ended.transient) == ("failed", True)
    assert ended.outcomes[0].error is not None
    assert "the Dask worker that ran it died" in ended.outcomes[0].error.message


@pytest.mark.parametrize(("listens", "status"), [(True, "timed_out"), (False, "abandoned")])
async def test_a_call_on_a_cluster_is_told_when_its_time_is_up(
    dask_address: str, tmp_path: Path, listens: bool, status: str
) -> None:
    options = {"listens": listens, "folder": str(tmp_path)}
    # Once without a limit of time, so that the workers have imported what they need.
    (tmp_path / "go").touch()
    assert (await run({"steps": [{"handler": "wait_for_the_end", "options": options}]}, {}, dask_address)).cost == {
        "late": 1.0
    }
    (tmp_path / "go").unlink()
    (tmp_path / "gone").unlink()
    try:
        ended = await run(
            {"steps": [{"handler": "wait_for_the_end", "options": options, "timeout_s": 1}]}, {}, dask_address
        )
        assert ended.outcomes[0].status == status
        assert ended.cost == {}
    finally:
        (tmp_path / "go").touch()
    for _ in range(1000):
        if listens or (tmp_path / "gone").exists():
            break
        await asyncio.sleep(0.01)
    assert (tmp_path / "gone").exists() is not listens


async def test_a_call_that_waits_for_a_place_in_the_cluster_never_begins_once_it_is_stopped(
    dask_address: str, tmp_path: Path
) -> None:
    folders = [tmp_path / str(number) for number in range(THREADS_OF_CLUSTER + 3)]
    for folder in folders:
        folder.mkdir()
    branches = [
        {"handler": "wait_for_the_end", "timeout_s": 3, "options": {"listens": True, "folder": str(folder)}}
        for folder in folders
    ]
    group = {"parallel": branches, "max_concurrency": "unlimited", "policy": "best_effort"}
    ended = await run({"steps": [group], "max_concurrency": "unlimited"}, {}, dask_address)
    assert [one.status for one in ended.outcomes if one.is_leaf] == ["timed_out"] * len(folders)
    for folder in folders:
        (folder / "go").touch()
    after = await run({"steps": ["tell_where"]}, {}, dask_address)
    assert after.status == "succeeded"
    assert not list(tmp_path.glob("*/gone"))


async def test_an_error_on_the_cluster_is_the_same_error_here_and_its_cost_counts(dask_address: str) -> None:
    ended = await run({"steps": ["spend_in_the_cluster_and_fail"]}, {}, dask_address)
    (outcome,) = ended.outcomes
    assert (outcome.status, outcome.cost) == ("failed", {"tokens": 7.0})
    assert outcome.error is not None
    assert outcome.error.message == "Handler 'spend_in_the_cluster_and_fail' threw exception: broken"


async def test_a_run_without_an_address_has_a_cluster_of_its_own_and_ends_it() -> None:
    me = psutil.Process()
    before = set(me.children(recursive=True))
    ended = await run({"steps": ["tell_where"], "max_concurrency": 2, "task_runner": "dask"}, {}, None, None)
    assert ended.status == "succeeded"
    assert ended.context.data["where"] != os.getpid()
    gone, alive = psutil.wait_procs(set(me.children(recursive=True)) - before, timeout=20)
    # Python's own tracker of shared resources stays for the next time.
    assert not [one for one in alive if "resource_tracker" not in " ".join(one.cmdline())], gone


@pytest.mark.slow
async def test_ray_is_another_place_as_well(tmp_path: Path) -> None:
    steps = [
        "tell_where",
        {"for_each": "items", "steps": ["ask"], "max_concurrency": 2, "id": "each"},
        {
            "handler": "die_once",
            "id": "die_once",
            "options": {"folder": str(tmp_path)},
            "retry": {"max_attempts": 2, "delay_s": 0},
        },
        {
            "parallel": [
                {
                    "handler": "wait_for_the_end",
                    "id": "wait_for_the_end",
                    "timeout_s": 1,
                    "options": {"listens": False, "folder": "."},
                }
            ],
            "policy": "best_effort",
        },
        {"handler": "spend_in_the_cluster_and_fail", "id": "spend_in_the_cluster_and_fail"},
    ]
    pipeline = {"steps": steps, "reducers": {"answers": "append"}}
    ended = await run(pipeline, {"items": [1, 2, 3], "answers": []}, None, "ray")
    outcomes = {one.id: one for one in ended.outcomes}
    assert ended.context.data["where"] != os.getpid()
    assert [answer[2] for answer in ended.context.data["answers"]] == [2, 4, 6]
    assert (outcomes["die_once"].status, outcomes["die_once"].attempts) == ("succeeded", 2)
    # Its process is ended, whether it listens or not.
    assert outcomes["wait_for_the_end"].status == "timed_out"
    assert outcomes["spend_in_the_cluster_and_fail"].cost == {"tokens": 7.0}
    assert [failure.item for failure in ended.failures] == ["three"]


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = r"task_runner 'dask' \(pipeline p\) needs the package 'distributed'.*braid-pipelines\[dask\]"
    with pytest.raises(OrchestrationError, match=message):
        await run({"steps": ["tell_where"], "task_runner": "dask"}, {}, None, None)


async def test_a_cluster_that_is_not_there_is_named() -> None:
    import dask.config

    unreachable = pytest.raises(OrchestrationError, match="the dask cluster at tcp://127.0.0.1:9 cannot be reached")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), unreachable:
        await run({"steps": ["tell_where"]}, {}, "tcp://127.0.0.1:9")


def test_nothing_of_a_cluster_is_imported_unless_asked_for() -> None:
    code = (
        "import sys, flows.engine.engine, deployments.cli\n"
        "sys.exit(','.join({'dask', 'distributed', 'ray', 'tornado'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
