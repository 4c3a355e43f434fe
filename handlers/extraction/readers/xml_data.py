"""XML of any kind: flowing text becomes paragraphs, short values become lines with the name of their element."""

from lxml import etree

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.package import all_text, local_name, parse_xml

_LONGEST_VALUE = 120
_INLINE = frozenset("a b i em strong u emphasis italic bold sub sup xref code span link ref hi term tt name q".split())
_HEADINGS = ("title", "head", "heading")
_PARAGRAPHS = ("p", "para", "simpara", "ab", "abstract", "description", "summary", "text", "content", "td", "entry")
_TOO_DEEP = 200


def read_xml(file: RawFile) -> Extracted:
    """All text and all values of attributes, in order; entities are not expanded."""
    root = parse_xml(file.data)
    writer = _Writer(file)
    writer.walk(root, 0)
    writer.end_lines()
    title = next((all_text(node) for node in root.iter("{*}title", "title")), "")
    return Extracted(writer.assembly.text, writer.assembly.blocks, " ".join(title.split())[:200])


class _Writer:
    def __init__(self, file: RawFile) -> None:
        self.assembly = Assembly()
        self._file = file
        self._lines: list[str] = []

    def walk(self, node: etree._Element, depth: int) -> None:
        name = local_name(node)
        if not name:
            self._lines.append(all_text(node))  # an entity that was not expanded
            return
        self._file.check_time()
        self._attributes(node, name)
        children = [child for child in node if local_name(child)]
        if depth > _TOO_DEEP or _flows(node, children):
            text = " ".join(all_text(node).split())
            if name.lower() in _HEADINGS and len(text) <= _LONGEST_VALUE:
                self.end_lines()
                self.assembly.heading(text, min(6, max(1, depth)))
            elif children or len(text) > _LONGEST_VALUE or name.lower() in _PARAGRAPHS:
                self.end_lines()
                self.assembly.add("paragraph", text)
            elif text:
                self._lines.append(f"{name}: {text}")
            for child in children:
                for each in child.iter():
                    if local_name(each):
                        self._attributes(each, local_name(each))
            return
        if text := " ".join((node.text or "").split()):
            self._lines.append(text)
        for child in children:
            self.walk(child, depth + 1)
            if tail := " ".join((child.tail or "").split()):
                self._lines.append(tail)

    def end_lines(self) -> None:
        if self._lines:
            self.assembly.add("list", "\n".join(self._lines))
            self._lines.clear()

    def _attributes(self, node: etree._Element, name: str) -> None:
        for key, value in node.items():
            if words := " ".join(str(value).split()):
                self._lines.append(f"{name} {str(key).rpartition('}')[2]}: {words}")


def _flows(node: etree._Element, children: list[etree._Element]) -> bool:
    """Whether this is flowing text: words, perhaps with inline elements."""
    if not children:
        return True
    around = (node.text or "") + "".join(child.tail or "" for child in children)
    return bool(around.strip()) and all(local_name(child).lower() in _INLINE or not len(child) for child in children)
