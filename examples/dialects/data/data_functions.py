"""The functions that the pipelines and skills in this folder name."""

from typing import Any

from handlers.data import transform

Rows = list[dict[str, Any]]


def _total(rows: Rows) -> float:
    return sum(row["amount"] for row in rows)


@transform
def my_calculation(some_input: float) -> float:
    return 2 * float(some_input)


@transform
def format_summary(analysis_result: str) -> str:
    return f"Summary: {analysis_result}"


@transform
def chart_data(sales_data: Rows, expense_data: Rows) -> list[float]:
    return [_total(sales_data), _total(expense_data)]


@transform
def totals_by_month(sales_data: Rows) -> dict[str, float]:
    totals: dict[str, float] = {}
    for row in sales_data:
        totals[row["date"][:7]] = totals.get(row["date"][:7], 0) + row["amount"]
    return totals


@transform
def stock_value(inventory_data: Rows) -> float:
    return sum(one["count"] * one["price"] for one in inventory_data)


@transform
def sales_report(monthly_totals: dict[str, float], stock: float) -> dict[str, Any]:
    return {"months": monthly_totals, "stock": stock}


@transform
def segment_report(segments: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in segments.items())


# What the skills do here: they are action skills, which need no language model.


@transform
def compare_totals(sales_data: Rows, expense_data: Rows) -> str:
    return "sales exceed expenses" if _total(sales_data) > _total(expense_data) else "expenses exceed sales"


@transform
def look_at(other_input: str) -> dict[str, Any]:
    return {"analysis_result": f"{len(other_input)} characters", "insights": [other_input]}


@transform
def segment(customer_data: Rows) -> dict[str, int]:
    return {"regulars": len(customer_data)}
