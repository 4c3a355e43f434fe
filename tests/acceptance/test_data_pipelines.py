"""Promise: data pipelines of the `type: parallel` dialect run unchanged, on real databases and a real model's endpoint."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.author import load_modules
from flows.engine import Prepared, run_plan
from flows.loaders import load_pipeline_text
from flows.planning import make_plan
from flows.state import Context, Identity, Services
from handlers.data import AllowedHosts, Rest, load_skills, transform
from handlers.data.functions import FUNCTIONS
from handlers.data.skills import SKILLS
from handlers.models import ChatModel
from tests.support.data import data_services
from tests.support.openai_server import OpenAIServer
from tests.support.paths import EXAMPLES
from tests.support.web_server import WebAnswer, WebServer, run_web_server

DATA = EXAMPLES / "dialects" / "data"
SKILL_FILES = {
    "FinancialAnalyzer": "requires: [sales_data, expense_data]\nproduces: [analysis]",
    "DataAnalyzer": "requires: [other_input]\nproduces: [analysis_result, insights]",
    "CustomerSegments": "requires: [customer_data]\nproduces: [segments]",
}


@pytest.fixture(params=["sqlite", "postgresql", "duckdb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"sqlite": f"sqlite:///{tmp_path / 'shop.db'}", "duckdb": f"duckdb:///{tmp_path / 'shop.duckdb'}"}
    url = urls.get(request.param) or request.getfixturevalue("postgres_url")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in ("sales", "expenses", "customers", "orders"):
            connection.execute(sa.text(f"CREATE TABLE {table} (id INTEGER, amount INTEGER, date DATE)"))
            connection.execute(sa.text(f"INSERT INTO {table} VALUES (1, 10, '2026-01-01'), (2, 32, '2026-02-01')"))
    engine.dispose()
    return url


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with run_web_server(lambda request: WebAnswer([{"item": "tea", "count": 2, "price": 3}])) as server:
        yield server


@pytest.fixture(autouse=True)
def registered(tmp_path: Path) -> Iterator[None]:
    before = [(FUNCTIONS, dict(FUNCTIONS)), (SKILLS, dict(SKILLS))]
    for name, keys in SKILL_FILES.items():
        folder = tmp_path / "skills" / name
        folder.mkdir(parents=True)
        (folder / "skill.md").write_text(f"---\nname: {name}\n{keys}\n---\nSay what is remarkable.\n")
    load_modules(["handlers.data"])
    load_skills([tmp_path / "skills"])

    def total(rows: list[dict[str, Any]]) -> int:
        return sum(row["amount"] for row in rows)

    transform(name="my_calculation")(lambda some_input: some_input * 2)
    transform(name="format_summary")(lambda analysis_result: f"Summary: {analysis_result}")
    transform(name="chart_data")(lambda sales_data, expense_data: [total(sales_data), total(expense_data)])
    transform(name="totals_by_month")(lambda sales_data: {str(row["date"])[:7]: row["amount"] for row in sales_data})
    transform(name="stock_value")(lambda inventory_data: sum(one["count"] * one["price"] for one in inventory_data))
    transform(name="sales_report")(lambda monthly_totals, stock: {"months": monthly_totals, "stock": stock})
    transform(name="segment_report")(lambda segments: segments.upper())
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)  # pyright: ignore


@pytest.fixture
def run(database: str, web: WebServer, openai_server: OpenAIServer, tmp_path: Path) -> Any:
    services: Services = data_services(
        tmp_path,
        connections={"postgres": database},
        rest=Rest(AllowedHosts(private=["127.0.0.1"])),
        chat=ChatModel("small", base_url=openai_server.base_url, api_key=openai_server.api_key),
    )

    def run(name: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        text = (DATA / f"{name}.yaml").read_text(encoding="utf-8")
        text = text.replace("http://127.0.0.1:38471", web.url)
        loaded = load_pipeline_text(text, file=f"{name}.yaml")
        plan = make_plan(loaded.pipeline, given=list(fields or {}), file=f"{name}.yaml", position_of=loaded.position_of)
        context = Context(fields or {}, identity=Identity(loaded.pipeline.name, services=services))
        try:
            result = asyncio.run(run_plan(Prepared(plan, context)))
        finally:
            services.close()
        assert result.status == "succeeded", result.errors
        return dict(context.data)

    return run


def test_basic_parallel_queries(run: Any, openai_server: OpenAIServer) -> None:
    openai_server.reply("Sales exceed expenses.")
    data = run("basic", {"start_date": "2026-01-15"})
    assert [row["amount"] for row in data["sales_data"]] == [32]
    assert [row["amount"] for row in data["expense_data"]] == [32]
    assert data["analysis"] == "Sales exceed expenses."
    assert '"amount": 32' in openai_server.asked("/chat/completions")[0]["messages"][-1]["content"]


def test_mixed_step_types(run: Any, openai_server: OpenAIServer) -> None:
    openai_server.reply({"analysis_result": "odd", "insights": ["one"]})
    data = run("mixed", {"some_input": 21, "other_input": "x"})
    assert len(data["db_data"]) == 2
    assert (data["computed_result"], data["analysis_result"], data["insights"]) == (42, "odd", ["one"])
    assert data["api_data"] == [{"item": "tea", "count": 2, "price": 3}]


def test_three_parallel_blocks(run: Any, openai_server: OpenAIServer) -> None:
    openai_server.reply("regulars")
    data = run("nested")
    assert data["sales_report"] == {"months": {"2026-01": 10, "2026-02": 32}, "stock": 6}
    assert data["segment_report"] == "REGULARS"


def test_the_financial_analysis_pipeline(run: Any, openai_server: OpenAIServer) -> None:
    openai_server.reply("balanced")
    data = run("financial_analysis")
    assert data["summary_report"] == "Summary: balanced"
    assert data["chart_rows"] == [42, 42]


def test_the_old_form_with_an_explicit_merge_keeps_its_shape(run: Any) -> None:
    data = run("explicit_merge")
    assert {name: len(rows) for name, rows in data["merged"].items()} == {"data1": 2, "data2": 2}
    assert set(run("auto_merge")) == {"data1", "data2"}
