"""The content of a run's pages."""

import asyncio
import base64
import re
import time
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from flows.author import Attempt, Call, ErrorInfo, Outcome, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, TransientError
from flows.model import Pipeline, StepPath, keep_secret
from flows.planning import Plan, make_plan
from flows.reports import Page, StepNames, plan_page, run_page, run_pages, what_came_of_it
from flows.reports.picture import Picture, fitted, text_width
from flows.state import Context


def registry() -> Registry:
    made = Registry()

    @handler(registry=made, writes=None)
    def good(*, call: Call) -> None:
        call.report_cost(tokens=7)
        call.fail_item("a|b.pdf", "no text")

    @handler(registry=made, writes=None)
    def bad() -> None:
        raise FatalError("broken <b> connection refused")

    @handler(registry=made, writes=None)
    def flaky(*, call: Call) -> None:
        if call.attempt == 1:
            raise TransientError("busy")

    @handler(registry=made, writes=None)
    def quiet() -> None: ...

    return made


def planned(*steps: object, **more: object) -> Plan:
    return make_plan(Pipeline.model_validate({"name": "p", "steps": steps, **more}), registry=registry(), given=["xs"])


def ran(plan: Plan) -> RunResult:
    return asyncio.run(run_plan(Prepared(plan, Context({"xs": [1, 2, 3]}))))


def pages_of(plan: Plan, result: RunResult) -> dict[str, str]:
    pages = run_pages(plan, result)
    first = run_page(plan, result, [(page, f"/artifacts/{page.key}") for page in pages])
    return {page.key: page.markdown for page in [*pages, first]}


def svg_of(markdown: str) -> ElementTree.Element:
    """The picture of a page, which must be well-formed."""
    found = re.search(r"!\[[^]]*\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert found is not None
    return ElementTree.fromstring(base64.b64decode(found[1]))


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [str(each.text) for each in svg.iter("{http://www.w3.org/2000/svg}text")]


MIXED = (
    "good",
    {"parallel": ["bad", ["quiet", "quiet"]], "policy": "best_effort", "max_concurrency": 2, "id": "both"},
    {"for_each": "xs", "batch_size": 2, "id": "all", "steps": [{"handler": "flaky", "retry": {"max_attempts": 2}}]},
    {"handler": "quiet", "id": "never", "when": "not xs"},
)


def test_the_pages_of_a_run_say_what_failed_first_and_count_alike() -> None:
    plan = planned(*MIXED)
    result = ran(plan)
    pages = pages_of(plan, result)
    assert set(pages) == {"run", "errors", "outcomes", "timing", "cost", "result"} - ({"result"} - set(pages))
    assert what_came_of_it(result) == "4 steps succeeded, 1 failed; 1 item set aside"
    assert "## ⚠ Succeeded in part in" in pages["run"]
    assert "**4 steps succeeded, 1 failed; 1 item set aside**" in pages["run"]
    assert "- **bad failed**: broken" in pages["run"]
    assert "nothing listens there" in pages["run"]
    assert "[all errors](/artifacts/errors)" in pages["run"]
    outcomes = pages["outcomes"]
    assert outcomes.index("### ✗ Failed (1)") < outcomes.index("### ✓ Succeeded (4)")
    assert "| ✗ | bad (both) | 1 |" in outcomes
    assert "| ✓ | flaky | 2 |" in outcomes
    assert "- `never`: only if `not xs`" in outcomes
    assert "- **a\\|b.pdf**: no text (good)" in outcomes
    assert "Groups that failed" not in outcomes  # `both` succeeded, whatever happened in it
    assert "### ✗ bad failed" in pages["errors"]
    assert "### ⚠ 1 item set aside by good" in pages["errors"]
    assert "both" not in pages["errors"].replace("bad (both)", "")
    assert "**7 tokens**" in pages["cost"]


def test_the_first_page_shows_the_result_then_the_chart_then_the_failures() -> None:
    plan = planned(*MIXED)
    result = ran(plan)
    pages = [Page("result", "The result", "### total\n\n**42**")]
    shown = run_page(plan, result, [(pages[0], "/r")], facts=["Source **manuals** is fresh."]).markdown
    parts = (
        "Succeeded in part",
        "Source **manuals** is fresh.  \nIt cost",
        "**42**",
        "![",
        "Errors and advice",
        "More:",
    )
    assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)
    itself = run_page(plan, replace(result, summary="3 documents: 3 new"), [(pages[0], "/r")]).markdown
    assert "**42**" not in itself
    assert "[the whole result](/r)" in itself
    assert "**1 item set aside by good**: a\\|b.pdf: no text" in itself


def test_there_are_no_pages_that_have_nothing_to_say() -> None:
    plan = planned("quiet", outputs={})
    pages = pages_of(plan, ran(plan))
    assert set(pages) == {"run", "outcomes", "timing"}
    assert "## ✓ Succeeded in" in pages["run"]
    assert "**1 step succeeded**" in pages["run"]
    assert "What went wrong" not in pages["run"]


def test_a_failed_run_says_how_to_go_on() -> None:
    plan = planned("quiet", {"parallel": ["bad", "quiet"], "id": "both"}, "good")
    pages = pages_of(plan, ran(plan))
    assert "## ✗ Failed in" in pages["run"]
    assert "braid resume run" in pages["run"]
    assert "### ✗ Groups that failed (1)" in pages["outcomes"]
    assert "1 step did not start because of it." in pages["errors"]


def test_the_plan_is_drawn_with_its_groups_and_limits() -> None:
    svg = svg_of(plan_page(planned(*MIXED)).markdown)
    texts = texts_of(svg)
    for text in (
        "good",
        "both · 2 at once · best_effort",
        "all · for each of xs · 2 per batch · 4 at a time",
        "if not xs · quiet",
    ):
        assert text in texts


@pytest.mark.parametrize("branches", [30, 2000])
def test_the_plan_of_a_wide_group_is_drawn_small_and_soon(branches: int) -> None:
    steps = [{"handler": "quiet", "id": f"step{number}"} for number in range(branches)]
    plan = planned({"parallel": steps})
    began = time.process_time()
    page = plan_page(plan)
    assert time.process_time() - began < 1.0
    assert len(page.markdown) < 100_000
    assert f"and {branches - 24} branches" in texts_of(svg_of(page.markdown)) or branches > 100


def test_the_chart_shows_work_waiting_retries_and_failures() -> None:
    plan = planned(*MIXED)
    svg = svg_of(pages_of(plan, ran(plan))["timing"])
    kinds = {each.get("class") for each in svg.iter("{http://www.w3.org/2000/svg}path")}
    assert {"work", "again", "fail"} <= kinds | ({"work"} if "path" in kinds else set())
    assert {"good", "bad", "flaky", "all", "both"} <= set(texts_of(svg))


def many(calls: int) -> RunResult:
    """A run with so many calls of forty steps."""
    outcomes = tuple(
        Outcome(
            StepPath(f"{number % 40}[{number // 40}].0"),
            f"{number % 40}.0.quiet[{number // 40}]",
            "step",
            "failed" if number % 97 == 0 else "succeeded",
            1000.0 + number / 10,
            0.5,
            {"resource api": 0.25},
            1000.0 + number / 10 - 0.25,
            1,
            error=ErrorInfo("FatalError", f"number {number}") if number % 97 == 0 else None,
            tries=(Attempt(1, "succeeded", 1000.0 + number / 10, 0.5),),
        )
        for number in range(calls)
    )
    return RunResult("p", "r", "partial", outcomes, Context(), 1000.0, calls / 10)


def test_pages_of_two_thousand_calls_are_small_and_made_soon() -> None:
    plan, result = planned("quiet"), many(2000)
    began = time.process_time()
    pages = pages_of(plan, result)
    assert time.process_time() - began < 1.0
    assert max(map(len, pages.values())) < 150_000


def test_calls_have_names_instead_of_coordinates() -> None:
    loop = {"for_each": "batches", "id": "batches", "steps": [{"parallel": ["quiet", "good"], "id": "enrichments"}]}
    pipeline = Pipeline.model_validate({"name": "p", "steps": [loop, "bad", "bad"]})
    plan = make_plan(pipeline, registry=registry(), given=["batches"])
    result = asyncio.run(run_plan(Prepared(plan, Context({"batches": [[1], [2, 3]]}))))
    names = StepNames(plan).learn(result.outcomes)
    assert [names.call(each.path, each.id) for each in result.outcomes if each.is_leaf] == [
        "quiet · batch 1 of 2 (enrichments)",
        "good · batch 1 of 2 (enrichments)",
        "quiet · batch 2 of 2 (enrichments)",
        "good · batch 2 of 2 (enrichments)",
        "bad #1",
        "bad #2",
    ]


def test_pictures_hold_any_text_but_no_secret() -> None:
    keep_secret(["hunter22"])
    picture = Picture()
    picture.text(0, 0, 'a <b> & "c" \x00 hunter22')
    svg = picture.svg(10, about="<&>")
    assert texts_of(ElementTree.fromstring(svg)) == ['a <b> & "c"  ***']


def test_texts_are_cut_only_where_they_do_not_fit() -> None:
    assert fitted("generate_dense_embeddings", 400) == "generate_dense_embeddings"
    short = fitted("generate_dense_embeddings", 80)
    assert short.endswith("…")
    assert text_width(short) <= 80
