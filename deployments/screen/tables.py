"""The look of all our tables: columns, colours by status, and times of day."""

from collections.abc import Collection
from datetime import datetime
from typing import Literal

from rich.table import Table

STATUS_STYLE = {
    "succeeded": "green",
    "partial": "yellow",
    "failed": "bold red",
    "timed_out": "red",
    "cancelled": "yellow",
    "abandoned": "magenta",
    "skipped": "dim",
    "running": "cyan",
    "crashed": "bold red",
}


def plain_table(
    *columns: str,
    right: Collection[str] = (),
    overflow: Literal["fold", "ellipsis"] = "ellipsis",
    title: str | None = None,
) -> Table:
    """A table without lines; columns in `right` are aligned to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow=overflow)
    return table


def local_time(seconds: float) -> str:
    """The time of day here, with the date; `seconds` count from 1970."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
