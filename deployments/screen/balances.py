"""Tables of the outcomes of all objects of sources, with a line per rule for objects that were left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group as Rows
from rich.console import RenderableType
from rich.text import Text

from deployments.screen.tables import plain_table

_COLUMNS = ("seen", "processed", "unchanged", "set aside", "left out")
_DETAILS = {
    "refreshed": "processed again from stored data",
    "moved": "moved",
    "adopted": "taken over from an earlier release",
    "restated": "with other tags or times",
    "set_aside_before": "set aside before and not tried again",
}


def balance_table(balances: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A row per source; below it, the objects left out per rule, and parts of the counts."""
    table = plain_table("source", *_COLUMNS, right=_COLUMNS, overflow="fold")
    for each in balances:
        left_out: Mapping[str, int] = each["left_out"]
        counts = (each["seen"], each["processed"], each["unchanged"], each["set_aside"], sum(left_out.values()))
        pattern = "" if each["pattern"] == "**/*" else f" ({each['pattern']})"
        table.add_row(Text(f"{each['source']}{pattern}"), *(f"{number:,}" for number in counts))
        for line in _notes(each):
            table.add_row(Text(f"  {line}", "dim"))
    return Rows(Text(""), table)


def _notes(balance: Mapping[str, Any]) -> list[str]:
    left_out = ", ".join(f"{number:,} {rule}" for rule, number in balance["left_out"].items())
    parts = balance["details"]
    details = ", ".join(f"{parts[name]:,} {words}" for name, words in _DETAILS.items() if parts.get(name))
    lines = [f"left out: {left_out}"] if left_out else []
    lines += [f"of these: {details}"] if details else []
    return lines if balance["exact"] else [*lines, "these do not add up, which is a bug of Braid: please report it"]
