"""OpenDocument texts, presentations and sheets: text, lists, tables, notes and comments in reading order."""

from lxml import etree

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.package import Package, all_text, local_name
from handlers.extraction.readers.spreadsheets import write_rows

_GONE = ("tracked-changes", "forms", "sequence-decls", "title", "desc", "script", "settings", "variable-decls")
_MOST_REPEATED = 200
_MOST_SPACES = 1000
_META = {"title": "title", "creator": "authors", "initial-creator": "authors", "subject": "subject"} | {
    "keyword": "keywords",
    "description": "description",
    "language": "language",
    "creation-date": "created_at",
    "date": "modified_at",
}


def read_odf(file: RawFile) -> Extracted:
    """The text; the page of a block is its slide's number. Headers and footers appear once, at the end."""
    package = Package(file.data, "OpenDocument")
    if "META-INF/manifest.xml" in package and b"encryption-data" in package.read("META-INF/manifest.xml"):
        raise Unreadable("is protected by a password; save it without one")
    assembly = Assembly()
    root = package.xml("content.xml")
    hidden = {
        _attribute(style, "name")
        for style in root.iter("{*}style")
        if any(_attribute(each, "display") == "none" for each in style.iter("{*}text-properties"))
    }
    writer = _Writer(assembly, file, hidden)
    for body in root.iter("{*}body"):
        writer.walk(body)
        writer.end_items()
    if "styles.xml" in package:
        seen: set[str] = set()
        for node in package.xml("styles.xml").iter("{*}header", "{*}footer"):
            lines = "\n".join(line for each in node.iter("{*}p") if (line := writer.line(each)))
            if lines not in seen and any(map(str.isalpha, lines)):
                seen.add(lines)
                assembly.add("paragraph", lines)
    metadata = _metadata(package)
    title = metadata.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, tuple(metadata.items()))


class _Writer:
    def __init__(self, assembly: Assembly, file: RawFile, hidden: set[str]) -> None:
        self._assembly = assembly
        self._file = file
        self._hidden = hidden
        self._items: list[str] = []
        self._page: int | None = None
        self._after: list[etree._Element] = []

    def walk(self, parent: etree._Element) -> None:
        for node in parent:
            self._file.check_time()
            match local_name(node):
                case "h":
                    self.end_items()
                    level = _attribute(node, "outline-level")
                    self._assembly.heading(self.line(node), int(level) if level.isdigit() else 1, page=self._page)
                    self._flush_after()
                case "p":
                    self.end_items()
                    self._assembly.add("paragraph", self.line(node), page=self._page)
                    self._flush_after()
                case "list":
                    self._list(node, 0)
                    self.end_items()
                case "table":
                    self._sheet(node) if local_name(parent) == "spreadsheet" else self._table(node)
                case "page" if local_name(parent) == "presentation":
                    self._page = (self._page or 0) + 1
                    self.walk(node)
                case "notes":
                    self._notes(node)
                case "annotation":
                    self._comment(node)
                case "frame" if _attribute(node, "class") == "title":
                    self._assembly.heading(" ".join(self.line(each) for each in node.iter("{*}p")), 2, page=self._page)
                case name if name not in _GONE:
                    self.walk(node)
                case _:
                    pass

    def end_items(self) -> None:
        if self._items:
            self._assembly.add("list", "\n".join(self._items), page=self._page)
            self._items.clear()

    def line(self, node: etree._Element) -> str:
        """The text of a paragraph; its boxes, notes and comments are collected and written after it."""
        parts: list[str] = []
        self._collect(node, parts)
        return "".join(parts).strip()

    def _collect(self, node: etree._Element, parts: list[str]) -> None:
        if _attribute(node, "style-name") in self._hidden:
            return
        parts.append(_squeezed(node.text))
        for child in node:
            match local_name(child):
                case "s":
                    count = _attribute(child, "c")
                    parts.append(" " * min(int(count) if count.isdigit() else 1, _MOST_SPACES))
                case "tab":
                    parts.append("\t")
                case "line-break":
                    parts.append("\n")
                case "note":
                    parts.append(f"[{all_text(next(child.iter('{*}note-citation'), child)).strip()}]")
                    self._after.append(child)
                case "text-box" | "annotation" | "table":
                    self._after.append(child)
                case "annotation-end" | "bookmark" | "hidden-text" | "soft-page-break":
                    pass
                case "ruby":
                    parts.append(all_text(next(child.iter("{*}ruby-base"), child)))
                case "title" | "desc" if local_name(node) in ("frame", "image"):
                    pass
                case "object" | "image":
                    pass
                case _:
                    self._collect(child, parts)
            parts.append(_squeezed(child.tail))

    def _flush_after(self) -> None:
        while self._after:
            node = self._after.pop(0)
            match local_name(node):
                case "note":
                    number = all_text(next(node.iter("{*}note-citation"), node)).strip()
                    body = next(node.iter("{*}note-body"), node)
                    words = " ".join(self.line(each) for each in body.iter("{*}p"))
                    self._assembly.add("paragraph", f"[{number}] {words}", page=self._page)
                case "annotation":
                    self._comment(node)
                case "table":
                    self._table(node)
                case _:
                    self.walk(node)
                    self.end_items()

    def _comment(self, node: etree._Element) -> None:
        words = " ".join(self.line(each) for each in node.iter("{*}p"))
        author = next((all_text(each) for each in node.iter("{*}creator")), "")
        if words:
            self._assembly.add("paragraph", f"Comment ({author}): {words}".replace(" ()", ""), page=self._page)

    def _notes(self, node: etree._Element) -> None:
        lines = [line for each in node.iter("{*}p") if (line := self.line(each))]
        if lines:
            self._assembly.add("paragraph", "Notes: " + "\n".join(lines), page=self._page)

    def _list(self, node: etree._Element, depth: int) -> None:
        for item in node:
            mark = "- "
            for child in item:
                indent = "  " * depth
                match local_name(child):
                    case "list":
                        self._list(child, depth + 1)
                    case "h":
                        self.end_items()
                        level = _attribute(child, "outline-level")
                        heading = self.line(child)
                        self._assembly.heading(heading, int(level) if level.isdigit() else 1, page=self._page)
                    case "p":
                        if text := self.line(child):
                            self._items.append(indent + mark + text.replace("\n", f"\n{indent}  "))
                            mark = "  "
                        if self._after:
                            self.end_items()
                            self._flush_after()
                    case _:
                        self.end_items()
                        self.walk(child)

    def _sheet(self, sheet: etree._Element) -> None:
        self._assembly.heading(_attribute(sheet, "name"), 2)
        write_rows(self._rows(sheet), self._assembly)
        self._flush_after()

    def _table(self, table: etree._Element) -> None:
        self.end_items()
        self._assembly.table(self._rows(table), page=self._page)
        self._flush_after()

    def _rows(self, table: etree._Element) -> list[list[str]]:
        rows: list[list[str]] = []
        for row in table.iter("{*}table-row"):
            if next(row.iterancestors("{*}table")) is not table:
                continue
            self._file.check_time()
            cells: list[str] = []
            for cell in row:
                if local_name(cell) not in ("table-cell", "covered-table-cell"):
                    continue
                text = " ".join(filter(None, (self.line(each) for each in cell.iter("{*}p", "{*}h"))))
                repeated = _attribute(cell, "number-columns-repeated")
                times = min(int(repeated), _MOST_REPEATED) if repeated.isdigit() else 1
                cells.extend([text] * times)
            rows.append(cells)
        return rows


def _squeezed(text: str | None) -> str:
    """Any white space of the source is one space; ODF writes more as elements."""
    if not text:
        return ""
    words = " ".join(text.split())
    before, after = text[0].isspace(), text[-1].isspace()
    return f"{' ' if before else ''}{words}{' ' if after and words else ''}"


def _attribute(node: etree._Element, name: str) -> str:
    return next((str(value) for key, value in node.items() if str(key).rpartition("}")[2] == name), "")


def _metadata(package: Package) -> dict[str, str]:
    found: dict[str, str] = {}
    if "meta.xml" in package:
        for node in package.xml("meta.xml").iter():
            key = _META.get(local_name(node))
            if key and (value := " ".join(all_text(node).split())):
                found.setdefault(key, value)
    return found
