"""Units become money; invalid prices and costs are refused with their place."""

import pytest

from flows.author import Call, Prices, cost_text, read_prices
from flows.author.prices import InvalidPrices
from flows.errors import FatalError
from flows.state import Identity, Services

TABLE = {
    "openai/gpt-x": {"input_tokens": {"usd_per_million": 2.5}, "output_tokens": {"usd_per_thousand": 0.01}},
    "gpu": {"seconds": {"usd_per_hour": 3.6, "eur_per_minute": 0.06}},
    "*": {"images": {"usd": 0.04}},
}


def call_with(table: object) -> Call:
    return Call(identity=Identity(services=Services({"prices": lambda: read_prices(table)})))


def test_the_table_prices_what_a_call_reports() -> None:
    call = call_with(TABLE)
    call.report_cost("openai/gpt-x", input_tokens=1_000_000, output_tokens=1000)
    call.report_cost("gpu", seconds=10)
    call.report_cost(images=2)
    call.report_cost("nobody/knows", images=1, tokens=5)
    assert call.costs == pytest.approx(
        {
            "input_tokens": 1e6,
            "output_tokens": 1000,
            "tokens": 1_001_005,
            "seconds": 10,
            "images": 3,
            "usd": 2.5 + 0.01 + 0.01 + 0.12,
            "eur": 0.01,
        }
    )


def test_money_that_is_reported_is_not_priced_again_and_a_handlers_own_price_comes_before_the_table() -> None:
    call = call_with(TABLE)
    call.report_cost("openai/gpt-x", input_tokens=1_000_000, usd=1)
    assert call.costs["usd"] == 1
    call.price = lambda units: units["input_tokens"] * 2
    call.report_cost("openai/gpt-x", input_tokens=3)
    assert call.costs["usd"] == 7
    call.price = lambda units: {"eur": 5}
    call.report_cost(anything=1)
    assert call.costs["eur"] == 5


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "3", None, True])
def test_an_amount_that_cannot_be_added_up_is_refused(amount: object) -> None:
    with pytest.raises(FatalError, match="tokens was reported; it must be a number, 0 or more"):
        Call().report_cost(tokens=amount)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "prices must be a mapping such as"),
        ({"m": 3}, "the prices of 'm' must be a mapping"),
        ({"m": {"tokens": 3}}, "the price of 'm', 'tokens' must be a mapping such as .* not 3"),
        (
            {"m": {"tokens": {"usd_per_day": 3}}},
            "the price of 'm', 'tokens' has the key 'usd_per_day'; write a currency",
        ),
        ({"m": {"tokens": {"usd": -3}}}, "the price of 'm', 'tokens', 'usd' is -3; it must be a number, 0 or more"),
    ],
)
def test_a_bad_table_is_refused_with_its_entry(table: object, message: str) -> None:
    with pytest.raises(InvalidPrices, match=message):
        read_prices(table)


def test_people_read_money_first() -> None:
    assert cost_text({"tokens": 1234567.0, "usd": 0.00125, "chunks": 12}) == "0.00125 usd, 12 chunks, 1,234,567 tokens"
    assert Prices().price("m", {"tokens": 1}) == {}
