"""Shared by the readers of spreadsheets, and XLS: a heading per sheet, a table per block of consecutive rows."""

import datetime
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.package import OLE_MAGIC, check_password
from handlers.extraction.readers.ole import open_ole, stream

MAX_CELLS = 5_000_000


def read_xls(file: RawFile) -> Extracted:
    """All sheets, including hidden ones, with their last computed values."""
    import python_calamine as calamine

    check_password(file.data)
    if file.data.startswith(OLE_MAGIC):
        # calamine follows circular chains of sectors until memory runs out.
        with open_ole(file.data, "XLS") as container:
            for name in ("Workbook", "Book"):
                stream(container, name)
    try:
        book = calamine.load_workbook(io.BytesIO(file.data))
        names = [sheet.name for sheet in book.sheets_metadata if sheet.typ == calamine.SheetTypeEnum.WorkSheet]
        assembly = Assembly()
        for name in names:
            file.check_time()
            assembly.heading(name, 2)
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
            write_rows(([shown(value) for value in row] for row in rows), assembly)
    except calamine.PasswordError as error:
        raise Unreadable("is protected by a password; save it without one") from error
    except (calamine.CalamineError, OSError) as error:
        raise Unreadable(f"is damaged, or no XLS file: {error}") from error
    return Extracted(assembly.text, assembly.blocks, metadata=(("sheets", str(len(names))),))


def shown(value: Any) -> str:
    """A cell's value as text: whole numbers without a decimal point, dates as ISO 8601."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return number(value)
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case None:
            return ""
        case _:
            return str(value)


def number(value: float) -> str:
    """A number without binary rounding noise, and without a decimal point if it is whole."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"


def write_rows(rows: Iterable[Sequence[str]], assembly: Assembly) -> None:
    """A table for each block of rows between empty rows; titles and notes around a table are paragraphs."""
    for table in _tables(rows):
        # A row with one cell is a title above a table, and a note below it.
        while table and _filled(table[0]) == 1 and (len(table) == 1 or max(map(_filled, table)) > 1):
            assembly.add("paragraph", next(cell for cell in table.pop(0) if cell.strip()))
        assembly.table(table)


def _tables(rows: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    table: list[Sequence[str]] = []
    for row in rows:
        if any(cell.strip() for cell in row):
            table.append(row)
        elif table:
            yield table
            table = []
    if table:
        yield table


def _filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)
