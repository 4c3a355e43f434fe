"""`from deployments import run, arun`: the same as the command line, from Python."""

import asyncio
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments import arun, run
from deployments.catalog import load_catalog
from deployments.runs import find_run, request_to_resume, run_pipeline
from deployments.settings import Settings
from flows import Call, handler
from flows.errors import FatalError, UnknownName
from flows.model import InvalidParameters, Pipeline
from flows.run_store import RunStore

PIPELINE = Pipeline.model_validate({"name": "counted", "steps": ["count_of_running"]})


@handler(writes="count")
def count_of_running(words: list[str], *, call: Call) -> int:
    call.services["seen"].append((call.index, words))
    return len(words)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home").model_copy(update={"embedding_model": "hashing"})


def recorded(settings: Settings) -> list[tuple[str, str, str]]:
    store = RunStore(settings.run_store_url)
    try:
        return [(each.run_id, each.index, each.status) for each in store.recent(limit=5)]
    finally:
        store.close()


def test_a_pipeline_of_the_catalog_runs_on_an_index_and_is_recorded(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "bees.md").write_text("The bees live in the garden.\n")
    result = run("ingest", source=str(tmp_path / "bees.md"), index="garden", settings=settings)
    assert result.status == "succeeded", result.errors
    assert recorded(settings) == [(result.run_id, "garden", "succeeded")]
    found = run("search", query="Where do bees live?", index="garden", record=False, settings=settings)
    assert [hit.name for hit in found["results"]] == ["bees.md"]
    assert len(recorded(settings)) == 1


def test_a_pipeline_of_ones_own_gets_fields_and_services_besides_those_of_the_settings(settings: Settings) -> None:
    seen: list[Any] = []
    result = run(PIPELINE, {"words": ["to", "be"]}, services={"seen": seen}, index="x", settings=settings)
    assert (result["count"], seen) == (2, [("x", ["to", "be"])])


def test_the_parameter_index_of_a_pipeline_is_the_index_of_its_run(settings: Settings) -> None:
    ported = Pipeline.model_validate(
        {
            "name": "ported",
            "parameters": {"index": {"default": "manuals"}, "words": {"type": "list"}},
            "steps": ["count_of_running"],
        }
    )
    seen: list[Any] = []

    def ask(*given: Any, **more: Any) -> str:
        result = run(ported, *given, services={"seen": seen}, settings=settings, **more)
        assert result.status == "succeeded", result.errors
        return result["index"]

    assert [ask({"words": ["a"]}), ask({"words": ["a"], "index": "x"}), ask({"words": ["a"]}, index="y")] == [
        "manuals",
        "x",
        "y",
    ]
    assert [index for index, _ in seen] == ["manuals", "x", "y"]
    assert [index for _, index, _ in recorded(settings)] == ["y", "x", "manuals"]
    with pytest.raises(InvalidParameters, match="the run has two indexes, 'z' and the parameter index=x; give one"):
        ask({"words": ["a"], "index": "x"}, index="z")


async def test_async_code_awaits_it_and_a_running_loop_is_no_obstacle(settings: Settings) -> None:
    awaited = await arun(PIPELINE, words=["a"], services={"seen": []}, settings=settings)
    blocking = run(PIPELINE, words=["a", "b"], services={"seen": []}, settings=settings)
    assert (awaited["count"], blocking["count"]) == (1, 2)


async def test_a_cancelled_call_stops_the_run(settings: Settings) -> None:
    began = asyncio.Event()

    @handler(name="waits_of_running", effects=())
    async def waits(*, call: Call) -> None:
        began.set()
        await asyncio.Event().wait()

    pipeline = Pipeline.model_validate({"name": "waits", "steps": ["waits_of_running"]})
    calling = asyncio.create_task(arun(pipeline, settings=settings))
    await began.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [status for _, _, status in recorded(settings)] == ["cancelled"]


def test_what_is_wrong_is_said_before_anything_runs(settings: Settings) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ingest'"):
        run("ingets", settings=settings)
    with pytest.raises(InvalidParameters, match=r"ingest has no parameter 'sorce'.*did you mean 'source'"):
        run("ingest", source="x", sorce="y", settings=settings)
    with pytest.raises(InvalidParameters, match="'source' is given twice"):
        run("ingest", {"source": "x"}, source="y", settings=settings)
    with pytest.raises(InvalidParameters, match="max_concurrency must be 1 or more"):
        run("ingest", source="x", max_concurrency=0, settings=settings)
    assert recorded(settings) == []


def test_a_run_that_was_given_fields_is_resumed_with_them(settings: Settings) -> None:
    mended = False

    @handler(name="fails_of_running", writes="longest")
    def longest(words: list[str]) -> str:
        if not mended:
            raise FatalError("not mended")
        return max(words, key=len)

    pipeline = Pipeline.model_validate({"name": "longest", "steps": ["fails_of_running"]})
    assert run(pipeline, words=["to", "be", "not"], settings=settings).status == "failed"
    ((run_id, *_),) = recorded(settings)
    mended = True
    catalog = load_catalog(settings)
    request = request_to_resume(find_run(run_id, settings), catalog=catalog, given={})
    resumed = run_pipeline(replace(request, engine="inline"), settings=settings, catalog=catalog)
    assert (resumed.status, resumed["longest"]) == ("succeeded", "not")


def test_the_example_of_the_client_page_finds_what_it_ingests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    (tmp_path / "manuals").mkdir()
    (tmp_path / "manuals" / "pump.md").write_text("The pump is cleaned with water.\n")
    exec(compile(code, "docs/client.md", "exec"), {})
    assert capsys.readouterr().out.startswith("pump.md ")


def test_importing_it_imports_neither_prefect_nor_sqlalchemy() -> None:
    check = "from deployments import run; import sys; print({'prefect', 'sqlalchemy'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
