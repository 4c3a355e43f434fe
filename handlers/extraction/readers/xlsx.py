"""XLSX: a heading per sheet, a table per block of consecutive rows, then comments, text boxes and charts.

Cells are read one by one, because a full grid would need terabytes for one word in a sheet's last cell.
"""

import datetime
import io
import re
from collections.abc import Iterator

from lxml import etree

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.package import Package, relation_id, unreadable_xml
from handlers.extraction.readers.drawing import chart_rows, chart_title, paragraph_text
from handlers.extraction.readers.spreadsheets import MAX_CELLS, number, write_rows

_LETTERS = re.compile(r"[A-Z]{1,3}")
_NOT_A_FORMAT = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.')
_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
_PERCENTS = (9, 10)


def read_xlsx(file: RawFile) -> Extracted:
    """All sheets with their last computed values, including hidden sheets, rows and columns."""
    package = Package(file.data, "XLSX")
    main = package.main_part
    book, relations = package.xml(main), package.relations(main)
    values = _Values(package, main, from_1904=next((_is_1904(each) for each in book.iter("{*}workbookPr")), False))
    assembly = Assembly()
    count = 0
    for sheet in book.iter("{*}sheet"):
        relation = relations.get(relation_id(sheet))
        if relation is None or relation.target not in package:
            continue
        count += 1
        assembly.heading(sheet.get("name") or "", 2)
        if relation.kind == "worksheet":
            _write_cells(package.read(relation.target), values, assembly, file)
        _write_around(package, relation.target, assembly)
    properties = package.properties()
    title = properties.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, (*properties.items(), ("sheets", str(count))))


class _Values:
    """The shared strings and number formats of cells."""

    def __init__(self, package: Package, main: str, *, from_1904: bool) -> None:
        self._start = datetime.datetime(1904, 1, 1) if from_1904 else datetime.datetime(1899, 12, 30)
        self._strings = [
            _string(entry)
            for part in package.related(main, "sharedStrings")
            for entry in package.xml(part).iter("{*}si")
        ]
        self._formats: list[int] = []
        self._codes: dict[int, str] = {}
        for part in package.related(main, "styles"):
            root = package.xml(part)
            for each in root.iter("{*}numFmt"):
                self._codes[_whole(each.get("numFmtId"))] = _NOT_A_FORMAT.sub("", each.get("formatCode") or "").lower()
            for cells in root.iter("{*}cellXfs"):
                self._formats += [_whole(each.get("numFmtId")) for each in cells.iter("{*}xf")]

    def shown(self, cell: etree._Element) -> str:
        """A cell's value as displayed, but with all its digits."""
        kind = cell.get("t") or "n"
        if kind == "inlineStr":
            return _string(cell)
        text = next((each.text or "" for each in cell.iterchildren("{*}v")), "")
        match kind:
            case "s":
                at = _whole(text)
                return self._strings[at] if 0 <= at < len(self._strings) else ""
            case "b":
                return "TRUE" if text.strip() == "1" else "FALSE"
            case "n" if text:
                return self._number(text, _whole(cell.get("s")))
            case _:
                return text

    def _number(self, text: str, style: int) -> str:
        try:
            value = float(text)
        except ValueError:
            return text
        kind = self._formats[style] if 0 <= style < len(self._formats) else 0
        code = self._codes.get(kind, "")
        if kind in _PERCENTS or "%" in code:
            return f"{number(value * 100)}%"
        if kind in _DATES or re.search(r"[dyhs]|mmm", code):
            return self._date(value)
        return number(value)

    def _date(self, value: float) -> str:
        try:
            moment = self._start + datetime.timedelta(seconds=round(value * 86_400))
        except (OverflowError, ValueError):
            return number(value)
        if 0 <= value < 1:
            return moment.time().isoformat()
        return moment.date().isoformat() if moment.time() == datetime.time() else moment.isoformat(" ")


def _write_cells(data: bytes, values: _Values, assembly: Assembly, file: RawFile) -> None:
    rows: list[dict[int, str]] = []
    cells = last = 0
    for row in _rows(data):
        file.check_time()
        number_of_row = _whole(row.get("r")) or last + 1
        if number_of_row > last + 1 and rows:
            rows.append({})
        last = number_of_row
        found: dict[int, str] = {}
        for cell in row.iterchildren("{*}c"):
            column = _column(cell.get("r") or "") or len(found) + 1
            if text := values.shown(cell):
                found[column] = text
        cells += len(found)
        if cells > MAX_CELLS:
            raise Unreadable(f"has a sheet of more than {MAX_CELLS:,} cells; split it")
        rows.append(found)
        row.clear()
    columns = sorted({column for row in rows for column in row})
    write_rows(([row.get(column, "") for column in columns] for row in rows), assembly)


def _rows(data: bytes) -> Iterator[etree._Element]:
    try:
        events = etree.iterparse(
            io.BytesIO(data), tag="{*}row", resolve_entities=False, no_network=True, huge_tree=True
        )
        for _, row in events:
            yield row
    except etree.XMLSyntaxError as error:
        raise unreadable_xml("a sheet in it", error) from error


def _write_around(package: Package, part: str, assembly: Assembly) -> None:
    for kind in ("comments", "threadedComment"):
        for found in package.related(part, kind):
            for comment in package.xml(found).iter("{*}comment", "{*}threadedComment"):
                words = " ".join("".join(each.text or "" for each in comment.iter("{*}t", "{*}text")).split())
                if words and not words.startswith("[Threaded comment]"):
                    assembly.add("paragraph", f"Comment ({comment.get('ref')}): {words}")
    for drawing in package.related(part, "drawing"):
        for shape in package.xml(drawing).iter("{*}txBody"):
            assembly.add("paragraph", "\n".join(map(paragraph_text, shape.iter("{*}p"))))
        for found in package.related(drawing, "chart"):
            chart = package.xml(found)
            assembly.add("caption", chart_title(chart))
            assembly.table(chart_rows(chart))


def _string(entry: etree._Element) -> str:
    """The runs of a string, without phonetic guides."""
    readings = {each for reading in entry.iter("{*}rPh") for each in reading.iter("{*}t")}
    return "".join(each.text or "" for each in entry.iter("{*}t") if each not in readings)


def _column(reference: str) -> int:
    found = _LETTERS.match(reference)
    column = 0
    for letter in found[0] if found else "":
        column = 26 * column + ord(letter) - ord("A") + 1
    return column


def _is_1904(properties: etree._Element) -> bool:
    return properties.get("date1904") in ("1", "true")


def _whole(text: str | None) -> int:
    return int(text) if text and text.strip().isascii() and text.strip().isdigit() and len(text) < 10 else 0
