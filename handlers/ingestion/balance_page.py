"""The balance of an ingestion as a Markdown page, with the names of objects possibly left out by mistake."""

from collections.abc import Iterator

from handlers.ingestion.balance import Balance
from handlers.sources import RULES, STRICT
from handlers.stores import IndexSources


def balance_markdown(balance: Balance, store: IndexSources, *, named: int) -> str:
    """A table with the counts, and up to `named` objects per rule that `strict` turns into an error."""
    return "\n".join(_lines(balance, store, named))


def _lines(balance: Balance, store: IndexSources, named: int) -> Iterator[str]:
    yield f"**{_cell(balance.source)}** ({_cell(balance.pattern)})"
    yield ""
    yield "| objects | number |"
    yield "|---|---:|"
    yield f"| **seen** | **{balance.seen:,}** |"
    for name, number in (
        ("processed", balance.processed),
        ("unchanged", balance.unchanged),
        ("set aside", balance.set_aside),
    ):
        yield f"| {name} | {number:,} |"
    for rule, meaning in RULES.items():
        if balance.left_out.get(rule):
            yield f"| left out: {rule} ({meaning}) | {balance.left_out[rule]:,} |"
    for rule in STRICT:
        if balance.left_out.get(rule):
            yield ""
            yield f"Left out by the rule {rule}:"
            yield ""
            for each in store.left_out(balance.source, balance.pattern, rule=rule, limit=named):
                yield f"- {_cell(each.name)}: {_cell(each.reason)}"
            if balance.left_out[rule] > named:
                yield f"- and {balance.left_out[rule] - named:,} more (`braid documents status --left-out`)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
