"""Markdown tables and short texts, for what a run leaves to be read."""

from collections.abc import Iterable, Sequence


def cell(text: str, *, most: int = 200) -> str:
    """A text as it can stand in a cell of a Markdown table."""
    escaped = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return shortened(escaped, most)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a heading that ends in ` >` is for numbers and stands at the right."""
    return [
        f"| {' | '.join(name.removesuffix(' >') for name in head)} |",
        f"|{'|'.join('---:' if name.endswith(' >') else '---' for name in head)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
