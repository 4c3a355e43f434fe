"""Settings and parameters become a pipeline and services that can run."""

import pickle
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.catalog import load_catalog
from deployments.environment import DEFAULTS, set_prefect_defaults
from deployments.runs import Request, load_handlers, make_services, plan_request, prepare
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from flows.engine import new_run_id
from flows.errors import OrchestrationError
from flows.planning import Limit


def test_services_follow_a_handler_into_another_process(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, embedding_model="hashing")
    services = pickle.loads(pickle.dumps(make_services(settings, "x")))
    assert services["index_store"].statistics()["documents"] == 0
    assert services["embedder"].embed_query("a question").shape == (256,)
    assert services["artifacts_url"] == str(tmp_path / "artifacts")
    assert not (tmp_path / "indexes").exists()
    services["index_store"].put_failures([])
    assert (tmp_path / "indexes" / "x.db").exists()
    services.close()


def test_a_prepared_run_knows_its_index_and_has_its_parameters(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with closing(make_services(settings, "x")) as services:
        services["index_store"].put_failures([])
    catalog = load_catalog(settings)
    request = Request(catalog.find("search"), {"query": "why", "top_k": "3"}, index="x")
    made = prepare(request, settings=settings, catalog=catalog, run_id="r1")
    assert (made.context.index, made.context.execution_id, made.context.pipeline_id) == ("x", "r1", "search")
    given = {"query": "why", "top_k": 3, "access": None, "filters": None, "unrelated_below": None}
    assert dict(made.context.data) == given | {"multi_query": False, "hyde": False, "explain": False}
    with pytest.raises(InvalidSettings):
        prepare(replace(request, index="../x"), settings=settings, catalog=catalog)


def test_the_command_line_wins_over_the_environment() -> None:
    catalog = load_catalog(Settings())
    load_handlers(Settings())

    def limit(ceiling: Limit | None, max_workers: int | None) -> Limit:
        request = Request(catalog.find("search"), ceiling=ceiling)
        return plan_request(request, settings=Settings(max_workers=max_workers), catalog=catalog).limit

    assert limit(Limit(2, "--max-workers"), 5) == Limit(2, "--max-workers")
    assert limit(None, 5).value == 5
    assert limit(None, None).value is None


def test_run_ids_are_unique_and_sort_by_time() -> None:
    moment = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
    ids = [new_run_id(lambda i=i: moment + timedelta(milliseconds=i)) for i in range(50)]
    assert ids == sorted(ids)
    assert len({new_run_id(lambda: moment) for _ in range(200)}) > 195
    assert ids[0].startswith("261121-050000000-")


def test_a_handler_module_that_is_not_there_is_named() -> None:
    with pytest.raises(OrchestrationError, match=r"BRAID_HANDLER_MODULES names 'nowhere\.to_be_found'"):
        load_handlers(Settings(handler_modules=("nowhere.to_be_found",)))


def test_prefect_defaults_leave_alone_what_the_user_set() -> None:
    environment = {"DO_NOT_TRACK": "0"}
    set_prefect_defaults(environment)
    assert environment == DEFAULTS | {"DO_NOT_TRACK": "0"}
