"""Markdown tables and short texts for the reports of a run."""

from collections.abc import Iterable, Sequence


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
