"""The examples of the documentation work: Python runs, pipelines can be planned, and the tutorial gives its result."""

import io
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import text

from deployments.screen import result_tables
from flows import FatalError, handler, parallel, pipeline, run
from flows.author import MERGE_STRATEGIES, REGISTRY, load_modules
from flows.loaders import load_pipeline_text
from flows.planning import make_plan
from flows.state.merge import REDUCERS
from flows.storage import Storage
from handlers.data.functions import FUNCTIONS
from tests.support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = (
    "README.md",
    "docs/tutorial.md",
    "docs/handlers.md",
    "docs/python.md",
    "docs/data.md",
    "docs/jobs.md",
    "docs/testing.md",
    "docs/effects.md",
    "docs/extending.md",
)
"""The pages whose Python is run, all of one page in one module."""
OWN = (
    "word_counts",
    "longest_word",
    "count_words",
    "find_longest_word",
    "read_titles",
    "remember_titles",
    "loudest",
    "translate",
    "fetch_account",
    "tell_editors",
    "save_report",
    "load_totals",
    "formal",
    "casual",
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def documented() -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """Registers the handlers that the pages define; returns the Python names of each page."""
    load_modules(["handlers"])
    made: dict[str, Mapping[str, Any]] = {}
    for name in EXECUTED:
        module = ModuleType(f"documented_{Path(name).stem}")
        sys.modules[module.__name__] = module
        for code in blocks(ROOT / name, "python"):
            exec(compile(code, name, "exec"), module.__dict__)
        made[name] = module.__dict__
    yield made
    for name in OWN:
        del REGISTRY.handlers[name]
    del FUNCTIONS["totals_by_region"], MERGE_STRATEGIES["shortest"], REDUCERS["longest_text"]


def test_the_pages_define_the_handlers_they_speak_of() -> None:
    assert set(OWN) <= set(REGISTRY.handlers)


@pytest.mark.parametrize(
    ("page", "yaml"),
    [
        pytest.param(page.name, yaml, id=f"{page.stem}-{i}")
        for page in PAGES
        for i, yaml in enumerate(blocks(page, "yaml"))
    ],
)
def test_every_pipeline_on_a_page_can_be_planned(page: str, yaml: str) -> None:
    loaded = load_pipeline_text(yaml, file=page)
    plan = make_plan(loaded, given=["sources"])
    assert plan.leaves


def test_the_readme_counts_words(documented: Mapping[str, Mapping[str, Any]]) -> None:
    result = documented["README.md"]["result"]
    assert (result["word_counts"], result.longest_word) == ({"to": 2, "be": 2, "or": 1, "not": 1}, "not")


def test_the_tutorial_counts_words_in_yaml_and_in_python(documented: Mapping[str, Mapping[str, Any]]) -> None:
    (yaml, _) = blocks(ROOT / "docs" / "tutorial.md", "yaml")
    for result in (run(load_pipeline_text(yaml), text="to be or not to be"), documented["docs/tutorial.md"]["result"]):
        assert (result.status, result.longest_word) == ("succeeded", "not")
        assert result["word_counts"] == {"to": 2, "be": 2, "or": 1, "not": 1}


def test_the_tutorial_shows_what_its_pipeline_prints() -> None:
    (yaml, _) = blocks(ROOT / "docs" / "tutorial.md", "yaml")
    (shown,) = blocks(ROOT / "docs" / "tutorial.md", "text")
    result = run(load_pipeline_text(yaml), text="to be or not to be")
    printed = io.StringIO()
    Console(file=printed, width=100).print(result_tables(result))
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert "\n".join(lines).endswith(shown.rstrip())


def test_the_page_of_python_runs_and_makes_a_flow(documented: Mapping[str, Mapping[str, Any]]) -> None:
    page = documented["docs/python.md"]
    assert (page["result"].loudest, page["result"]["translate"]) == (" Loud!", "[de] Quiet. Loud!")
    assert list(page["speech_flow"].parameters.properties) == ["text", "max_concurrency"]


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_testing_page_explores_its_pipeline(documented: Mapping[str, Mapping[str, Any]]) -> None:
    assert documented["docs/testing.md"]["explored"].with_faults > 0


def test_the_handlers_that_write_elsewhere_can_be_called_twice_and_undone(
    documented: Mapping[str, Mapping[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{tmp_path / 'warehouse.db'}")
    warehouse = documented["docs/effects.md"]["warehouse"]()
    with warehouse.begin() as connection:
        connection.execute(text("CREATE TABLE totals (day TEXT, region TEXT, amount REAL, PRIMARY KEY (day, region))"))

    @handler
    def broken() -> None:
        time.sleep(0.2)
        raise FatalError("disk full")

    save = {"handler": "save_report", "options": {"folder": str(tmp_path / "reports")}}
    load = {"handler": "load_totals", "options": {"day": "2026-11-29"}}
    services = {"storage": Storage()}
    for north in (2.0, 3.0):
        both = run(pipeline("both", save, load), totals={"north": north, "south": 1.0}, services=services)
        assert (both.status, both["load_totals"]) == ("succeeded", 2), both.errors
    with warehouse.connect() as connection:
        rows = connection.execute(text("SELECT region, amount FROM totals ORDER BY region")).all()
    warehouse.dispose()
    assert [tuple(row) for row in rows] == [("north", 3.0), ("south", 1.0)]
    saved = tmp_path / "reports" / "totals.json"
    assert json.loads(saved.read_text()) == {"north": 3.0, "south": 1.0}
    failed = run(pipeline("failing", parallel(save, broken)), totals={"north": 4.0}, services=services)
    del REGISTRY.handlers["broken"]
    assert failed.status == "failed"
    assert not saved.exists()


def test_the_strategy_and_the_reducer_of_the_page_combine(documented: Mapping[str, Mapping[str, Any]]) -> None:
    assert documented["docs/extending.md"]["greeted"]["text"] == "Hi Ada!"
    reducers = {"greeting": "longest_text"}
    branches = [{"handler": name, "writes": {name: "greeting"}} for name in ("formal", "casual")]
    reduced = run(pipeline("reduced", {"parallel": branches, "reducers": reducers}), name="Ada")
    assert reduced["greeting"] == "Good morning, Ada."


def test_the_function_on_the_page_of_data_steps_is_called_by_its_name() -> None:
    options = {"function": "totals_by_region", "inputs": ["sales_data"], "output": "totals"}
    sales = [{"region": "north", "amount": 2.0}, {"region": "north", "amount": 3.0}]
    assert run(pipeline("p", {"handler": "transform", "options": options}), sales_data=sales)["totals"] == {
        "north": 5.0
    }
