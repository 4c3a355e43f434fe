"""Failures grouped by cause, each with a hint."""

import pytest

import flows.reports.causes
from flows.author import Call, Registry, RunResult, handler
from flows.engine import Prepared, run_plan
from flows.errors import FatalError, TransientError
from flows.model import Pipeline
from flows.planning import Plan, make_plan
from flows.reports import StepNames, error_json, error_report
from flows.reports.causes import add_hint, hint_for
from flows.reports.error_page import error_markdown
from flows.reports.errors import normalised
from flows.state import Context


@pytest.fixture(autouse=True)
def _hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.reports.causes, "_HINTS", list(flows.reports.causes._HINTS))


async def failed_run(policy: str = "all_or_nothing") -> RunResult:
    return await run_plan(Prepared(failing_plan(policy), Context()))


def failing_plan(policy: str = "all_or_nothing") -> Plan:
    made = Registry()

    @handler(registry=made)
    def call_service(*, number: int) -> None:
        if number % 2:
            raise TransientError(f"GET http://10.0.0.{number}/v1: connection refused after {number}.5 s")
        raise FatalError(f"'/data/in/{number}.pdf' has no field 'name{number}'")

    @handler(registry=made)
    def sets_aside(*, call: Call) -> None:
        call.fail_item("a.pdf", "page 3: no text")
        call.fail_item("b.pdf", "page 17: no text")

    @handler(registry=made)
    def never() -> None: ...

    branches = [{"handler": "call_service", "id": f"c{i}", "options": {"number": i}} for i in range(10)]
    steps = ["sets_aside", {"parallel": branches, "policy": policy, "id": "services"}, "never"]
    return make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=made, given=[])


async def test_ten_branches_with_two_causes_are_two_groups_and_one_line() -> None:
    report = error_report((await failed_run()).outcomes)
    first = "c0: '/data/in/0.pdf' has no field 'name0'"
    known = f"services: 10 of 10 handlers failed. First failure: {first}"
    assert (
        report.summary == f"10 steps failed. First failure: {first}; 2 items set aside. First: a.pdf: page 3: no text"
    )
    assert report.groups == (("services", known),)
    assert report.never_started == 1
    first, second, third = report.causes
    assert (first.kind, first.text, first.count, first.retryable) == (
        "FatalError",
        "<value> has no field <value>",
        5,
        False,
    )
    assert (second.text, second.count, second.retryable) == ("GET <address> connection refused after <n> s", 5, True)
    assert second.hint.startswith("nothing listens there")
    assert (second.example_path, second.example_step, second.steps) == ("1.1", "c1", ("c1", "c3", "c5", "c7", "c9"))
    assert (third.kind, third.text, third.count, third.example_item) == ("set aside", "page <n>: no text", 2, "a.pdf")


async def test_the_page_has_a_card_per_cause_with_its_places_and_what_to_do() -> None:
    report = error_report((await failed_run("best_effort")).outcomes)
    page = error_markdown(report, StepNames(failing_plan("best_effort")))
    assert "### ✗ c0 failed, 5 times" in page
    assert "> '/data/in/0.pdf' has no field 'name0'" in page
    assert "- **Where**: c0 (services), also c2, c4, c6, c8" in page
    assert "- **Try again?** yes, the cause may pass by itself" in page
    assert "- **Advice**: nothing listens there" in page
    assert "### ⚠ 2 items set aside by sets\\_aside" in page
    assert "> **a.pdf**: page 3: no text" in page
    assert "Failed as a consequence" not in page
    assert error_json(report)["causes"][0]["steps"] == ("c0", "c2", "c4", "c6", "c8")
    assert error_markdown(error_report([]), StepNames(failing_plan())) == ""


async def test_a_merge_that_fails_is_a_cause_of_its_own_and_items_are_one_cause() -> None:
    made = Registry()

    @handler(registry=made)
    def clash(context: Context) -> None:
        context.data["x"] = id(context)

    @handler(registry=made)
    def checks(item: int) -> None:
        raise ValueError(f"item {item} is bad")

    group = {"parallel": [{"handler": "clash", "id": name} for name in "ab"], "id": "both"}
    loop = {"for_each": "xs", "steps": ["checks"], "tolerated_failure": 9, "id": "all"}
    plan = make_plan(Pipeline.model_validate({"name": "p", "steps": [loop, group]}), registry=made, given=["xs"])
    report = error_report((await run_plan(Prepared(plan, Context({"xs": [1, 2, 3]})))).outcomes)
    first, second = report.causes
    assert (first.count, first.steps, first.example_item) == (3, ("0.0.checks",), "[0]")
    assert first.text == "Handler <value> threw exception: item <n> is bad"
    assert (second.kind, second.example_step) == ("MergeConflict", "both")
    assert second.hint.startswith("two branches write one field")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("HTTP 429: too many requests, request 8c1f4a2b9d", "HTTP 429: too many requests, request <id>"),
        ("Error code: 503 after 12 attempts", "Error code: 503 after <n> attempts"),
        ("cannot open /var/data/x y/1.bin", "cannot open <path>"),
        ("run 3f2b8c1e-1111-4222-8333-123456789abc of me@example.org", "run <id> of <mail>"),
        ("report 2026.pdf: 3 of 4 pages", "report <file>: <n> of <n> pages"),
        ("either/or is fine, 50% too", "either/or is fine, <n>% too"),
    ],
)
def test_what_differs_from_case_to_case_is_taken_out(message: str, text: str) -> None:
    assert normalised(message) == text


@pytest.mark.parametrize(
    ("kind", "message", "starts"),
    [
        ("ConnectError", "All connection attempts failed", "nothing listens there"),
        ("HTTPStatusError", "Client error '401 Unauthorized' for url", "not signed in"),
        ("ClientError", "(403) Forbidden", "signed in but not allowed"),
        ("X", "HTTP 429", "the service limits"),
        ("StepTimeout", "a timed out after 2.00 s", "it took too long"),
        ("MissingRead", "a reads the field 'x', which no step has written", "no earlier step"),
        ("UnsupportedValue", "socket", "put plain data"),
        ("OSError", "[Errno 28] No space left on device", "free space"),
        ("KeyError", "'colour'", ""),
    ],
)
def test_known_causes_come_with_what_to_do(kind: str, message: str, starts: str) -> None:
    hint = hint_for(kind, message)
    assert hint.startswith(starts)
    assert bool(hint) == bool(starts)


def test_a_team_can_say_it_better() -> None:
    add_hint("ask the warehouse team", pattern="ORA-[0-9]+")
    assert hint_for("DatabaseError", "ORA-12541: connection refused") == "ask the warehouse team"
    with pytest.raises(ValueError, match="a hint needs a pattern or kinds"):
        add_hint("always")
