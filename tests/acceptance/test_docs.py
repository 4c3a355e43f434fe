"""What the documentation shows works: its Python runs, its pipelines can be planned, the tutorial gives a result."""

import asyncio
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from flows.author import REGISTRY, load_modules
from flows.engine import Prepared, run_plan
from flows.loaders import load_pipeline_text
from flows.model import Pipeline
from flows.planning import make_plan
from flows.state import Context
from handlers.data.functions import FUNCTIONS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN = ("count_words", "find_longest_word", "read_titles", "remember_titles", "fetch_account", "tell_editors")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def documented_handlers() -> Iterator[None]:
    """The handlers that the pages define, as if a team had written them."""
    load_modules(["handlers"])
    for page in (ROOT / "docs" / name for name in ("tutorial.md", "handlers.md", "data.md", "jobs.md")):
        for number, code in enumerate(blocks(page, "python")):
            module = ModuleType(f"documented_{page.stem}_{number}")
            sys.modules[module.__name__] = module
            exec(compile(code, str(page), "exec"), module.__dict__)
    yield
    for name in OWN:
        del REGISTRY.handlers[name]
    del FUNCTIONS["totals_by_region"]


def test_the_pages_define_the_handlers_they_speak_of() -> None:
    assert set(OWN) <= set(REGISTRY.handlers)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        pytest.param(page.name, text, id=f"{page.stem}-{i}")
        for page in PAGES
        for i, text in enumerate(blocks(page, "yaml"))
    ],
)
def test_every_pipeline_on_a_page_can_be_planned(page: str, text: str) -> None:
    loaded = load_pipeline_text(text, source=page)
    plan = make_plan(loaded.pipeline, given=["sources"], source=page, place=loaded.place)
    assert plan.leaves


def test_the_tutorial_counts_words() -> None:
    (text, _) = blocks(ROOT / "docs" / "tutorial.md", "yaml")
    plan = make_plan(load_pipeline_text(text).pipeline, given=["text"])
    context = Context({"text": "to be or not to be"})
    result = asyncio.run(run_plan(Prepared(plan, context)))
    assert result.status == "succeeded"
    assert context.data["word_counts"] == {"to": 2, "be": 2, "or": 1, "not": 1}
    assert context.data["longest_word"] == "not"


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_testing_page_explores_its_pipeline() -> None:
    (code,) = blocks(ROOT / "docs" / "testing.md", "python")
    page = ModuleType("documented_testing")
    exec(compile(code, "docs/testing.md", "exec"), page.__dict__)
    assert page.__dict__["explored"].with_faults > 0


def test_the_function_on_the_page_of_data_steps_is_called_by_its_name() -> None:
    options = {"function": "totals_by_region", "inputs": ["sales_data"], "output": "totals"}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [{"handler": "transform", "options": options}]}))
    context = Context({"sales_data": [{"region": "north", "amount": 2.0}, {"region": "north", "amount": 3.0}]})
    asyncio.run(run_plan(Prepared(plan, context)))
    assert context.data["totals"] == {"north": 5.0}
