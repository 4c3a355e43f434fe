"""Markdown tables and short texts for the reports of a run."""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def cell(text: str, *, most: int = 200) -> str:
    """A text for a cell of a Markdown table, escaped and shortened."""
    escaped = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return shortened(escaped, most)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a column whose heading ends in ` >` holds numbers and is aligned to the right."""
    return [
        f"| {' | '.join(name.removesuffix(' >') for name in head)} |",
        f"|{'|'.join('---:' if name.endswith(' >') else '---' for name in head)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def time_text(seconds: float) -> str:
    """A time in the unit that suits it: `310 ms`, `4.2 s`, `2.5 min`, `3.1 h`."""
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 120:
        return f"{seconds / 60:.1f} min".replace(".0 ", " ")
    if seconds >= 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    return f"{seconds:.2f} s".replace(".00 ", " ") if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 step`, `2 steps`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def escaped(text: str) -> str:
    """A text on one line without any meaning in Markdown."""
    return _SPECIAL.sub(r"\\\1", re.sub(r"[\r\n]+", " ", text))
