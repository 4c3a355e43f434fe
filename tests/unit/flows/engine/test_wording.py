"""Messages about groups and steps: the authors' names, correct numbers, and the terms of the dialect."""

import logging
import re
from typing import Any

import pytest

from flows.author import Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError
from flows.loaders import load_pipeline_text
from flows.planning import make_plan
from flows.reports import error_report
from flows.state import Context


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, writes="rows")
    def query(*, source: str = "", output: str = "", fails: bool = False) -> int:
        if fails:
            raise FatalError("connection refused")
        return 1

    @handler(registry=made)
    def job() -> None: ...

    @handler(registry=made)
    def broken_job() -> None:
        raise FatalError("no such account")

    return made


async def run(text: str, registry: Registry) -> RunResult:
    loaded = load_pipeline_text(text, file="p.yaml", name="p")
    plan = make_plan(loaded, registry=registry, given=[])
    return await run_plan(Prepared(plan, Context()))


def messages(caplog: Any) -> list[str]:
    return [re.sub(r"\d+\.\d+", "N", record.getMessage()) for record in caplog.records]


async def test_stages_and_jobs_are_called_so(registry: Registry, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    result = await run("stages:\n  - {name: ingest, jobs: [job, broken_job], max_workers: 1}\n", registry)
    (stage, *_) = result.outcomes
    assert stage.error is not None
    assert (stage.error.kind, stage.error.message) == (
        "PipelineError",
        "Stage ingest: Job broken_job failed: no such account",
    )
    assert "Stage ingest: Job job, Job broken_job" in messages(caplog)
    assert "Job job completed" in messages(caplog)
    assert "arallel step" not in caplog.text


DATA = """
steps:
  - type: parallel
    name: fetch_all
    steps:
      - {type: query, name: sales, source: db, query: a, output: sales_data}
      - {type: query, name: costs, source: db, query: b, output: cost_data}
"""


def data_registry(*failing: str) -> Registry:
    made = Registry()

    @handler(registry=made)
    def query(context: Context, *, source: str, query: str, output: str) -> None:
        if output in failing:
            raise FatalError("connection refused")
        context.data[output] = 1

    return made


async def test_a_block_of_a_data_pipeline_says_its_two_timing_lines(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    await run(DATA, data_registry())
    assert "Pipeline step 0 (fetch_all): executing 2 steps in parallel" in messages(caplog)
    completed = "Pipeline step 0 (fetch_all): parallel execution completed in Ns, produced: [sales_data, cost_data]"
    assert completed in messages(caplog)


async def test_a_plain_step_of_a_data_pipeline_that_failed_says_its_position_and_name() -> None:
    plain = """
steps:
  - {type: query, name: sales, source: db, query: a, output: sales_data}
  - {type: query, name: costs, source: db, query: b, output: cost_data}
  - {type: parallel, name: block, steps: [{type: query, name: more, source: db, query: c, output: more}]}
"""
    result = await run(plain, data_registry("cost_data"))
    messages_by_path = {one.path: one.error.message for one in result.outcomes if one.error is not None}
    assert messages_by_path == {"1": "Pipeline step 1 (costs): connection refused"}


async def test_a_step_of_a_data_pipeline_that_failed_is_known_by_its_position_and_name() -> None:
    result = await run(DATA, data_registry("cost_data"))
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error.message == "Pipeline step 0.1 (costs): connection refused"
    result = await run(DATA, data_registry("cost_data", "sales_data"))
    assert result.outcomes[0].error is not None
    expected = "Pipeline step 0.0 (sales): connection refused; also failed: Pipeline step 0.1 (costs)"
    assert result.outcomes[0].error.message == expected


NAMED = """
name: p
steps:
  - id: fetch
    parallel:
      - {handler: query, name: The Sales, options: {fails: true}}
      - {handler: query, id: costs, reads: {}, writes: {rows: costs}}
      - [{handler: query, id: first, writes: {rows: a}}, {handler: query, id: second, writes: {rows: b}, options: {fails: true}}]
  - {handler: job, name: The End}
"""


async def test_names_of_authors_are_everywhere(registry: Registry, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    result = await run(NAMED, registry)
    by_id = {outcome.id: outcome for outcome in result.outcomes}
    assert "0.0.The_Sales" in by_id
    assert by_id["fetch"].error is not None
    assert by_id["fetch"].error.message == (
        "fetch: 2 of 3 branches failed. First failure: The Sales: connection refused"
    )
    assert by_id["1.The_End"].reason == "fetch failed"
    assert "Executing parallel step fetch with 3 branches: The Sales, costs, steps" in messages(caplog)
    report = error_report(result.outcomes)
    assert report.summary == "2 steps failed. First failure: 0.0.The_Sales: connection refused"


async def test_a_single_failed_step_is_no_parallel_step(registry: Registry) -> None:
    result = await run("name: p\nsteps: [broken_job]\n", registry)
    assert error_report(result.outcomes).summary == "Step failed: 0.broken_job: no such account"
