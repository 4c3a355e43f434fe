"""Tables of HTML: the rows of data tables; tables used only for layout are left out."""

from collections.abc import Callable

from lxml import etree

_FLOW = ("table", "ul", "ol", "pre", "h1", "h2", "h3", "h4", "form", "dl", "section", "article")
_LONGEST_CELL = 3_000
_MOST_SPANNED = 100
_MOST_COVERED = 500_000


def rows_of(table: etree._Element, words: Callable[[etree._Element], str]) -> list[list[str]] | None:
    """The cells of a data table (a cell that spans several rows or columns appears once); None for a layout table."""
    found = [row for row in table.iter("tr") if _table_of(row) is table]
    if (table.get("role") or "") in ("presentation", "none") or any(
        _is_flow(cell) for row in found for cell in row if _is_cell(cell)
    ):
        return None
    grid: list[list[str]] = []
    taken: dict[tuple[int, int], None] = {}
    for number, row in enumerate(found):
        cells: list[str] = []
        for cell in filter(_is_cell, row):
            while (number, len(cells)) in taken:
                cells.append("")
            column, width, height = len(cells), _span(cell, "colspan"), _span(cell, "rowspan")
            cells.append(words(cell))
            cells.extend([""] * (width - 1))
            for below in range(1, min(height, len(found) - number)):
                taken.update(dict.fromkeys((number + below, column + at) for at in range(width)))
            if len(taken) > _MOST_COVERED:
                return None
        grid.append(cells)
    filled = [cell for row in grid for cell in row if cell]
    widest = max((sum(map(bool, row)) for row in grid), default=0)
    if widest < 2 and len(filled) < 2:
        return None  # a frame around a note
    return None if any(len(cell) > _LONGEST_CELL for cell in filled) else grid


def _table_of(row: etree._Element) -> etree._Element | None:
    return next(row.iterancestors("table"), None)


def _is_cell(node: etree._Element) -> bool:
    return node.tag in ("td", "th")


def _is_flow(cell: etree._Element) -> bool:
    return next(cell.iter(*_FLOW), None) is not None


def _span(cell: etree._Element, name: str) -> int:
    value = (cell.get(name) or "1").strip()
    return min(max(int(value), 1), _MOST_SPANNED) if value.isascii() and value.isdigit() and len(value) < 9 else 1
