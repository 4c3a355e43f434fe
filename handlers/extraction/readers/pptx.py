"""PPTX: slide by slide titles, texts, tables, charts and diagrams, then the speaker notes and comments."""

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.package import Package, local_name, relation_id
from handlers.extraction.readers.drawing import chart_rows, chart_title, diagram_lines, paragraph_text

_TITLES = ("title", "ctrTitle")
_REPEATED = ("dt", "ftr", "hdr")
"""Placeholders with text that every slide repeats; it is written only once."""
_NUMBERS = ("sldNum", "sldImg")


def read_pptx(file: RawFile) -> Extracted:
    """A heading for each slide with a title; the page of a block is its slide's number. Hidden slides are included."""
    package = Package(file.data, "PPTX")
    assembly = Assembly()
    slides = slides_of(package)
    repeated: set[str] = set()
    for number, part in enumerate(slides, 1):
        file.check_time()
        _Slide(package, part, number, assembly, repeated).write()
    properties = package.properties()
    title = properties.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, (*properties.items(), ("slide_count", str(len(slides)))))


def slides_of(package: Package) -> list[str]:
    """The parts that are slides, in the order of the presentation."""
    relations = package.relations(package.main_part)
    ids = [relation_id(node) for node in package.xml(package.main_part).iter("{*}sldId")]
    return [relations[each].target for each in ids if each in relations and relations[each].target in package]


@dataclass
class _Slide:
    package: Package
    part: str
    number: int
    assembly: Assembly
    repeated: set[str]

    def write(self) -> None:
        tree = next(self.package.xml(self.part).iter("{*}spTree"), None)
        if tree is not None:
            shapes = list(_shapes(tree))
            titles = [shape for shape in shapes if _placeholder(shape) in _TITLES]
            for shape in titles:
                self.assembly.heading(" ".join(_lines(shape)), 2, page=self.number)
            for shape in shapes:
                if shape not in titles:
                    self._shape(shape)
        for part in self.package.related(self.part, "notesSlide"):
            self._notes(part)
        for part in self.package.related(self.part, "comments"):
            self._comments(part)

    def _shape(self, shape: etree._Element) -> None:
        match local_name(shape):
            case "sp" | "cxnSp":
                kind = _placeholder(shape)
                if kind in _REPEATED:
                    self._repeated(shape)
                elif kind not in _NUMBERS:
                    self._text(shape)
            case "pic":
                described = next((node.get("descr") or "" for node in shape.iter("{*}cNvPr")), "")
                self.assembly.add("caption", described, page=self.number)
            case "graphicFrame":
                self._graphic(shape)
            case _:
                pass

    def _text(self, shape: etree._Element) -> None:
        paragraphs = [(node, paragraph_text(node).strip()) for node in shape.iter("{*}p")]
        paragraphs = [(node, text) for node, text in paragraphs if text]
        if len(paragraphs) < 2 or not _placeholder(shape):
            self.assembly.add("paragraph", "\n".join(text for _, text in paragraphs), page=self.number)
            return
        lines: list[str] = []
        for node, text in paragraphs:
            indent = "  " * _level(node)
            lines.append(f"{indent}- " + text.replace("\n", f"\n{indent}  "))
        self.assembly.add("list", "\n".join(lines), page=self.number)

    def _repeated(self, shape: etree._Element) -> None:
        text = "\n".join(_lines(shape))
        if text not in self.repeated and next(shape.iter("{*}fld"), None) is None:
            self.repeated.add(text)
            self.assembly.add("paragraph", text, page=self.number)

    def _graphic(self, frame: etree._Element) -> None:
        relations = self.package.relations(self.part)
        for node in frame.iter():
            match local_name(node):
                case "tbl":
                    rows = [[" ".join(_lines(cell)) for cell in row.iter("{*}tc")] for row in node.iter("{*}tr")]
                    self.assembly.table(rows, page=self.number)
                case "chart" if (found := relations.get(relation_id(node))) and found.target in self.package:
                    chart = self.package.xml(found.target)
                    self.assembly.add("caption", chart_title(chart), page=self.number)
                    self.assembly.table(chart_rows(chart), page=self.number)
                case "relIds" if (found := relations.get(relation_id(node, "dm"))) and found.target in self.package:
                    lines = diagram_lines(self.package.xml(found.target))
                    self.assembly.add("list", "\n".join(f"- {line}" for line in lines), page=self.number)
                case _:
                    pass

    def _notes(self, part: str) -> None:
        tree = next(self.package.xml(part).iter("{*}spTree"), None)
        shapes = [] if tree is None else [each for each in _shapes(tree) if local_name(each) == "sp"]
        lines = [
            line for shape in shapes if _placeholder(shape) not in (*_REPEATED, *_NUMBERS) for line in _lines(shape)
        ]
        if lines:
            self.assembly.add("paragraph", "Notes: " + "\n".join(lines), page=self.number)

    def _comments(self, part: str) -> None:
        for comment in self.package.xml(part).iter("{*}cm", "{*}reply"):
            texts = [node.text or "" for node in comment.iterchildren("{*}text")]
            if not texts:
                texts = [paragraph_text(node) for node in comment.iterfind("{*}txBody/{*}p")]
            words = " ".join(" ".join(texts).split())
            if words:
                self.assembly.add("paragraph", f"Comment: {words}", page=self.number)


def _shapes(tree: etree._Element) -> Iterator[etree._Element]:
    """The shapes of a tree in order, including those inside groups."""
    for shape in tree:
        if local_name(shape) == "grpSp":
            yield from _shapes(shape)
        else:
            yield shape


def _placeholder(shape: etree._Element) -> str:
    """The placeholder type of a shape; `body` if it is not given, empty if the shape is not a placeholder."""
    found = next(shape.iter("{*}ph"), None)
    return "" if found is None else found.get("type") or "body"


def _level(paragraph: etree._Element) -> int:
    properties = paragraph.find("{*}pPr")
    level = "0" if properties is None else properties.get("lvl") or "0"
    return min(int(level), 8) if level.isdigit() else 0


def _lines(shape: etree._Element) -> list[str]:
    return [line for node in shape.iter("{*}p") if (line := paragraph_text(node).strip())]
