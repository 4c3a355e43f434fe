"""XLSX, XLS and XLSB: a heading for each sheet, a table for each stretch of rows, then comments and drawings."""

import datetime
import io
from collections.abc import Iterator, Sequence
from typing import Any

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import XLSX, Extracted, RawFile, Unreadable
from handlers.extraction.package import Package, local_name
from handlers.extraction.readers.drawing import chart_rows, chart_title, paragraph_text

_MAX_ROWS = 200_000
_MOST_CELLS = 5_000_000


def read_workbook(file: RawFile) -> Extracted:
    """All sheets with their values as shown last; hidden sheets, rows and columns are included."""
    import python_calamine as calamine

    package = Package(file.data, "XLSX") if file.mime_type == XLSX else None
    try:
        book = calamine.load_workbook(io.BytesIO(file.data))
        names = [sheet.name for sheet in book.sheets_metadata if sheet.typ == calamine.SheetTypeEnum.WorkSheet]
    except calamine.PasswordError as error:
        raise Unreadable("is protected by a password; save it without one") from error
    except (calamine.CalamineError, OSError) as error:
        raise Unreadable(f"is damaged, or no workbook: {error}") from error
    assembly = Assembly()
    for name in names:
        file.check_time()
        assembly.heading(name, 2)
        try:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=True)
        except (calamine.CalamineError, OSError) as error:
            raise Unreadable(f"is damaged: its sheet {name!r} cannot be read ({error})") from error
        if len(rows) > _MAX_ROWS or len(rows) * max(map(len, rows), default=0) > _MOST_CELLS:
            raise Unreadable(f"has a sheet {name!r} of more than {_MAX_ROWS:,} rows or {_MOST_CELLS:,} cells; split it")
        write_rows([[shown(value) for value in row] for row in rows], assembly)
    if package is not None:
        _write_drawings(package, assembly)
    properties = package.properties() if package is not None else {}
    title = properties.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, (*properties.items(), ("sheets", str(len(names)))))


def write_rows(rows: Sequence[Sequence[str]], assembly: Assembly) -> None:
    """A table for each stretch of rows between empty ones; titles and notes around a table are paragraphs."""
    for table in _tables(rows):
        _write(table, assembly)


def shown(value: Any) -> str:
    """A cell's value as people write it: whole numbers without a point, dates as ISO 8601."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case float():
            return f"{value:.15g}"
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case None:
            return ""
        case _:
            return str(value)


def _tables(rows: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Rows between empty ones: several tables often stand on one sheet."""
    table: list[Sequence[str]] = []
    for row in rows:
        if any(cell.strip() for cell in row):
            table.append(row)
        elif table:
            yield table
            table = []
    if table:
        yield table


def _write(table: list[Sequence[str]], assembly: Assembly) -> None:
    # A line with one cell above a table is its title, and below it a note.
    while table and sum(bool(cell.strip()) for cell in table[0]) == 1 and (len(table) == 1 or _width(table) > 1):
        assembly.add("paragraph", next(cell for cell in table.pop(0) if cell.strip()))
    assembly.table(table)


def _width(table: Sequence[Sequence[str]]) -> int:
    return max(sum(bool(cell.strip()) for cell in row) for row in table)


def _write_drawings(package: Package, assembly: Assembly) -> None:
    """Comments, text boxes and charts, part by part."""
    for name in sorted(package.names):
        folder, _, file = name.rpartition("/")
        if not name.endswith(".xml"):
            continue
        if (folder == "xl" and file.startswith("comments")) or folder in ("xl/comments", "xl/threadedComments"):
            for comment in package.xml(name).iter("{*}comment", "{*}threadedComment"):
                words = " ".join("".join(node.text or "" for node in comment.iter("{*}t", "{*}text")).split())
                if words and not words.startswith("[Threaded comment]"):
                    assembly.add("paragraph", f"Comment ({comment.get('ref')}): {words}")
        elif folder == "xl/drawings":
            for shape in package.xml(name).iter("{*}txBody"):
                lines = [paragraph_text(node) for node in shape.iter() if local_name(node) == "p"]
                assembly.add("paragraph", "\n".join(lines))
        elif folder == "xl/charts" and file.startswith("chart"):
            chart = package.xml(name)
            assembly.add("caption", chart_title(chart))
            assembly.table(chart_rows(chart))
