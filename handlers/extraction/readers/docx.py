"""DOCX: paragraphs, lists, tables and text boxes in reading order, with footnotes and comments in place."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.package import Package, local_name, relation_id
from handlers.extraction.readers.docx_styles import Numbering, Styles, attribute, is_on, math_text
from handlers.extraction.readers.drawing import chart_rows, chart_title, diagram_lines, paragraph_text

_GONE = ("del", "moveFrom", "instrText", "delText", "delInstrText", "rPr", "pPr", "Fallback", "sdtPr", "sectPr", "rt")
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes", "commentReference": "comments"}


def read_docx(file: RawFile) -> Extracted:
    """The body; then each header and footer once. Hidden and deleted text is left out."""
    package = Package(file.data, "DOCX")
    main = package.main_part
    root = package.xml(main)
    assembly = Assembly()
    writer = _Writer(package, main, file, assembly, Styles(package, main), Numbering(package, main))
    writer.write(root.iter("{*}body"))
    writer.write_around()
    properties = package.properties()
    title = properties.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, tuple(properties.items()))


@dataclass
class _Pending:
    """The objects that a paragraph refers to, which are written directly after it."""

    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    boxes: list[etree._Element] = field(default_factory=list[etree._Element])
    captions: list[str] = field(default_factory=list[str])
    drawings: list[etree._Element] = field(default_factory=list[etree._Element])


class _Writer:
    """Writes elements of a part into an assembly; neighbouring items of a list become one block."""

    def __init__(
        self, package: Package, part: str, file: RawFile, assembly: Assembly, styles: Styles, numbering: Numbering
    ) -> None:
        self._package = package
        self._part = part
        self._file = file
        self._assembly = assembly
        self._styles = styles
        self._numbering = numbering
        self._relations = package.relations(part)
        self._items: list[str] = []
        self._notes = {kind: self._read_notes(kind) for kind in ("footnotes", "endnotes", "comments")}

    def write(self, bodies: Iterator[etree._Element]) -> None:
        for body in bodies:
            self._walk(body)
        self._end_items()

    def write_around(self) -> None:
        """Write the distinct headers and footers of all sections, at the end."""
        seen: set[str] = set()
        for kind in ("header", "footer"):
            for part in self._package.related(self._part, kind):
                lines = [self._line(node, _Pending()) for node in self._package.xml(part).iter("{*}p")]
                text = "\n".join(line for line in lines if line)
                if text not in seen and any(map(str.isalpha, text)):
                    seen.add(text)
                    self._assembly.add("paragraph", text)

    def _read_notes(self, kind: str) -> dict[str, etree._Element]:
        found: dict[str, etree._Element] = {}
        for part in self._package.related(self._part, kind):
            for note in self._package.xml(part):
                if attribute(note, "type") not in ("separator", "continuationSeparator", "continuationNotice"):
                    found[attribute(note, "id")] = note
        return found

    def _walk(self, parent: etree._Element) -> None:
        for node in parent:
            match local_name(node):
                case "p":
                    self._file.check_time()
                    self._paragraph(node)
                case "tbl":
                    self._table(node)
                case "altChunk":
                    self._chunk(node)
                case name if name not in _GONE:
                    self._walk(node)
                case _:
                    pass

    def _paragraph(self, node: etree._Element) -> None:
        pending = _Pending()
        text = self._line(node, pending)
        properties = node.find("{*}pPr")
        style = attribute(None if properties is None else properties.find("{*}pStyle"))
        level = self._level(properties, style)
        mark, depth = self._mark(properties, style) if text else ("", 0)
        if level and text:
            self._end_items()
            self._assembly.heading(f"{mark} {text}" if mark not in ("", "-") else text, level)
        elif mark:
            indent = "  " * depth
            self._items.append(f"{indent}{mark} " + text.replace("\n", f"\n{indent}  "))
        elif text:
            self._end_items()
            self._assembly.add("paragraph", text)
        if pending != _Pending():
            self._end_items()
            self._write_pending(pending)

    def _level(self, properties: etree._Element | None, style: str) -> int:
        own = attribute(None if properties is None else properties.find("{*}outlineLvl"))
        if own.isdigit():
            return int(own) + 1 if int(own) < 9 else 0
        return self._styles.heading_level(style)

    def _mark(self, properties: etree._Element | None, style: str) -> tuple[str, int]:
        number, level = self._styles.numbering(style)
        own = None if properties is None else properties.find("{*}numPr")
        if own is not None:
            number = attribute(own.find("{*}numId")) or number
            level = attribute(own.find("{*}ilvl")) or level
        depth = int(level) if level.isdigit() else 0
        return self._numbering.mark(number, depth) if number else "", depth

    def _write_pending(self, pending: _Pending) -> None:
        for box in pending.boxes:
            self._walk(box)
        self._end_items()
        for caption in pending.captions:
            self._assembly.add("caption", caption)
        for drawing in pending.drawings:
            self._drawing(drawing)
        for number, (kind, identity) in enumerate(pending.notes, 1):
            note = self._notes[kind].get(identity)
            if note is None:
                continue
            words = " ".join(filter(None, (self._line(each, _Pending()) for each in note.iter("{*}p"))))
            label = f"Comment ({attribute(note, 'author')}):" if kind == "comments" else f"[{number}]"
            if words:
                self._assembly.add("paragraph", f"{label.replace(' ()', '')} {words}")

    def _drawing(self, node: etree._Element) -> None:
        found = self._relations.get(relation_id(node, "dm" if local_name(node) == "relIds" else "id"))
        if found is None or found.target not in self._package:
            return
        part = self._package.xml(found.target)
        if local_name(node) == "relIds":
            self._assembly.add("list", "\n".join(f"- {line}" for line in diagram_lines(part)))
        else:
            self._assembly.add("caption", chart_title(part))
            self._assembly.table(chart_rows(part))

    def _line(self, paragraph: etree._Element, pending: _Pending) -> str:
        """The text of a paragraph without its anchored objects."""
        parts: list[str] = []
        properties = paragraph.find("{*}pPr")
        hidden = self._styles.is_hidden(attribute(None if properties is None else properties.find("{*}pStyle")))
        if not hidden:
            self._collect(paragraph, parts, pending)
        return "".join(parts).strip()

    def _collect(self, parent: etree._Element, parts: list[str], pending: _Pending) -> None:
        for node in parent:
            match local_name(node):
                case name if name in _GONE:
                    pass
                case "r" if is_on(node.find("{*}rPr"), "vanish") and not is_on(node.find("{*}rPr"), "webHidden"):
                    pass
                case "r" if attribute(node.find("{*}rPr/{*}vertAlign")) == "superscript":
                    self._raised(node, parts, pending)
                case "t":
                    parts.append(node.text or "")
                case "tab" | "ptab":
                    parts.append("\t")
                case "br" | "cr":
                    parts.append("\n")
                case "noBreakHyphen":
                    parts.append("-")
                case "sym":
                    code = attribute(node, "char")
                    parts.append(chr(int(code, 16)) if len(code) == 4 and code.isalnum() and code.isascii() else "")
                case "oMath":
                    parts.append(math_text(node))
                case "txbxContent":
                    pending.boxes.append(node)
                case "docPr" if described := " ".join((attribute(node, "descr") or attribute(node, "title")).split()):
                    pending.captions.append(described)
                case "chart" | "relIds":
                    pending.drawings.append(node)
                case "p" if local_name(parent) == "txBody":
                    parts.append(f" {paragraph_text(node)} ")
                case name if name in _NOTES:
                    self._refer(_NOTES[name], attribute(node, "id"), parts, pending)
                case _:
                    self._collect(node, parts, pending)

    def _raised(self, run: etree._Element, parts: list[str], pending: _Pending) -> None:
        raised: list[str] = []
        self._collect(run, raised, pending)
        before, text = "".join(parts)[-1:], "".join(raised)
        parts.append(f"^{text}" if before.isalnum() and text[:1].isdigit() else text)

    def _refer(self, kind: str, identity: str, parts: list[str], pending: _Pending) -> None:
        if identity not in self._notes[kind]:
            return
        pending.notes.append((kind, identity))
        if kind != "comments":
            parts.append(f"[{len(pending.notes)}]")

    def _table(self, table: etree._Element) -> None:
        self._end_items()
        rows: list[list[str]] = []
        pending = _Pending()
        cells = [cell for row in _parts(table, "tr") for cell in _parts(row, "tc")]
        if len(cells) == 1:  # a frame around a note
            self._walk(cells[0])
            self._end_items()
            return
        for row in _parts(table, "tr"):
            self._file.check_time()
            texts: list[str] = []
            for cell in _parts(row, "tc"):
                properties = cell.find("{*}tcPr")
                span = attribute(None if properties is None else properties.find("{*}gridSpan"))
                texts.append(
                    " ".join(
                        filter(None, (self._line(each, pending) for each in cell.iter("{*}p") if not _in_box(each)))
                    )
                )
                texts.extend([""] * (min(int(span), 100) - 1 if span.isdigit() else 0))
            rows.append(texts)
        self._assembly.table(rows)
        self._write_pending(pending)

    def _chunk(self, node: etree._Element) -> None:
        from handlers.extraction.readers.html import decode_page, write_fragment

        found = self._relations.get(relation_id(node))
        if found is not None and found.target.endswith((".html", ".htm", ".xhtml")) and found.target in self._package:
            self._end_items()
            write_fragment(decode_page(self._package.read(found.target)).text, self._assembly, self._file)

    def _end_items(self) -> None:
        if self._items:
            self._assembly.add("list", "\n".join(self._items))
            self._items.clear()


def _parts(node: etree._Element, name: str) -> Iterator[etree._Element]:
    """The rows of a table, or the cells of a row, by the name of their element, without those of nested tables."""
    for inner in node:
        match local_name(inner):
            case found if found == name:
                yield inner
            case "sdt" | "sdtContent" | "customXml" | "ins":
                yield from _parts(inner, name)
            case _:
                pass


def _in_box(paragraph: etree._Element) -> bool:
    """Whether it is in a text box, which is written after the table that anchors it."""
    return next(paragraph.iterancestors("{*}txbxContent"), None) is not None
