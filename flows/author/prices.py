"""Prices: turn the units that a call used (tokens, seconds, images) into money, by a table or a handler's function."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from flows.errors import FatalError, OrchestrationError

PriceOf: TypeAlias = Callable[[Mapping[str, float]], Mapping[str, float] | float]
"""A handler's own price: takes the units of one report and returns money by currency; a plain number is usd."""
ANY_MODEL = "*"
_PRICE = re.compile(r"([a-z]{3})(?:_per_(thousand|million|minute|hour))?")
_PER = {None: 1.0, "thousand": 1e3, "million": 1e6, "minute": 60.0, "hour": 3600.0}


class InvalidPrices(OrchestrationError, ValueError):
    """A price table that cannot be used; the message names the entry."""


@dataclass(frozen=True)
class Prices:
    """Money per unit, by model or resource, then unit, then currency.

    For example `{"openai/gpt-x": {"input_tokens": {"usd": 2.5e-06}}}`.
    """

    table: Mapping[str, Mapping[str, Mapping[str, float]]] = field(
        default_factory=dict[str, Mapping[str, Mapping[str, float]]]
    )

    @property
    def currencies(self) -> frozenset[str]:
        return frozenset(c for units in self.table.values() for prices in units.values() for c in prices)

    def price(self, model: str | None, units: Mapping[str, float]) -> dict[str, float]:
        """The money that `units` of a model cost; the entry `*` holds for all models without an entry."""
        entries = self.table.get(model or "", self.table.get(ANY_MODEL, {}))
        money: dict[str, float] = {}
        for unit, amount in units.items():
            for currency, each in entries.get(unit, {}).items():
                money[currency] = money.get(currency, 0.0) + amount * each
        return money


def read_prices(table: object) -> Prices:
    """Prices as people write them: model, unit, then `usd`, `usd_per_thousand`, `_million`, `_minute` or `_hour`.

    A currency is any three letters. For units that are seconds, a minute is 60 units and an hour 3600.

    Raises:
        InvalidPrices: an entry has another form.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model, units in _mapping_items(table, "prices", '{"openai/gpt-x": {"input_tokens": {"usd_per_million": 2.5}}}'):
        for unit, prices in _mapping_items(
            units, f"the prices of {model!r}", '{"input_tokens": {"usd_per_million": 2.5}}'
        ):
            for name, amount in _mapping_items(prices, f"the price of {model!r}, {unit!r}", '{"usd_per_million": 2.5}'):
                parts = _PRICE.fullmatch(name)
                if parts is None:
                    raise InvalidPrices(
                        f"the price of {model!r}, {unit!r} has the key {name!r}; write a currency, alone or followed "
                        "by _per_thousand, _per_million, _per_minute or _per_hour, for example usd_per_million"
                    )
                if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount < math.inf:
                    raise InvalidPrices(
                        f"the price of {model!r}, {unit!r}, {name!r} is {amount!r}; it must be a number, 0 or more"
                    )
                each = found.setdefault(model, {}).setdefault(unit, {})
                each[parts[1]] = each.get(parts[1], 0.0) + amount / _PER[parts[2]]
    return Prices(found)


def money_for(
    units: Mapping[str, float], *, model: str | None = None, own: PriceOf | None = None, prices: Prices | None = None
) -> dict[str, float]:
    """The money to add for one report of units: by the handler's own price, else by the table.

    Nothing is added if the report has money in it (`usd`, or a currency of the table).
    """
    currencies = (prices.currencies if prices is not None else frozenset[str]()) | {"usd"}
    if any(unit in currencies for unit in units):
        return {}
    if own is not None:
        money = own(units)
        return checked_amounts({"usd": money} if isinstance(money, (int, float)) else dict(money))
    return prices.price(model, units) if prices is not None else {}


def checked_amounts(units: Mapping[str, float]) -> dict[str, float]:
    """`units` as floats.

    Raises:
        FatalError: an amount is negative, infinite or not a number.
    """
    for unit, amount in units.items():
        # Numbers of numpy are accepted, since they can become floats.
        value = float(amount) if hasattr(amount, "__float__") and not isinstance(amount, (str, bool)) else math.nan
        if not 0 <= value < math.inf:
            raise FatalError(f"a cost of {amount!r} {unit} was reported; it must be a number, 0 or more")
    return {unit: float(amount) for unit, amount in units.items()}


def with_tokens(units: Mapping[str, float]) -> dict[str, float]:
    """`units`, and the sum of all kinds of tokens (`input_tokens`, …) as `tokens` if that is missing."""
    kinds = [amount for unit, amount in units.items() if unit.endswith("_tokens")]
    return {**units, "tokens": sum(kinds)} if kinds and "tokens" not in units else dict(units)


def add_up(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Costs added up by unit; the sums are exact, so they do not depend on the order."""
    amounts: dict[str, list[float]] = {}
    for cost in costs:
        for unit, amount in cost.items():
            amounts.setdefault(unit, []).append(amount)
    return {unit: math.fsum(parts) for unit, parts in amounts.items()}


def cost_text(cost: Mapping[str, float]) -> str:
    """A cost as people read it, money first: `0.0125 usd, 5,000 tokens`."""
    ordered = sorted(cost.items(), key=lambda pair: (len(pair[0]) != 3, pair[0]))
    return ", ".join(
        f"{amount:,.0f} {unit}" if amount >= 1e6 else f"{amount:,.4g} {unit}" if amount < 1 else f"{amount:,.6g} {unit}"
        for unit, amount in ordered
    )


def _mapping_items(value: object, name: str, example: str) -> list[tuple[str, object]]:
    if not isinstance(value, Mapping):
        raise InvalidPrices(f"{name} must be a mapping such as {example}, not {value!r}")
    return [(str(key), inner) for key, inner in value.items()]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
