"""HTML: all words that a reader of the page sees, without its navigation."""

import re
from collections.abc import Sequence
from copy import deepcopy

from lxml import etree
from lxml.html import HTMLParser, document_fromstring

from handlers.extraction.assembly import Assembly
from handlers.extraction.decoding import Decoded, decode
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.package import all_text
from handlers.extraction.readers.html_flow import Flow
from handlers.extraction.readers.html_navigation import drop_navigation
from handlers.extraction.readers.html_tables import rows_of

_CHARSET = re.compile(rb"""<(?:meta[^>]+charset|\?xml[^>]+encoding)\s*=\s*["']?\s*([^\s"'/>;]+)""", re.IGNORECASE)
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*>")
_METADATA = {
    "author": "authors",
    "description": "description",
    "keywords": "keywords",
    "dc.creator": "authors",
    "article:author": "authors",
    "date": "created_at",
    "article:published_time": "created_at",
}
_BLOCKS = frozenset(
    "address article aside body blockquote caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu noframes ol optgroup option p "
    "pre search section summary table tbody td tfoot th thead tr ul".split()
)
_DROPPED = frozenset(
    "script style head template noscript select datalist input iframe object embed applet audio video canvas map area "
    "param source track link meta title base progress meter rp".split()
)
_MATH = [prefix + name for name in ("mi", "mn", "mo", "mtext") for prefix in ("", "{*}")]
_TOO_DEEP = 150
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_LANGUAGE = re.compile(r"(?:lang(?:uage)?|highlight|brush)[-:]\s*([\w+#-]+)")


def read_html(file: RawFile) -> Extracted:
    """The page in the encoding that it declares; its title, and the metadata of its head."""
    decoded = decode_page(file.data, assumed=file.encoding)
    extracted = read_page(decoded.text, file)
    return Extracted(extracted.text, extracted.blocks, extracted.title, (*extracted.metadata, *decoded.metadata))


def decode_page(data: bytes, *, assumed: str | None = None) -> Decoded:
    """The text of a page, in the encoding that its head declares if that is valid."""
    declared = _CHARSET.search(data[:4096])
    return decode(data, declared=declared[1].decode("latin-1") if declared else None, assumed=assumed)


def read_page(text: str, file: RawFile) -> Extracted:
    """A page that was decoded already."""
    root = parse_page(text)
    if root is None:
        return Extracted("")
    title = " ".join(all_text(next(root.iter("title"), root.makeelement("title"))).split())
    metadata = _metadata(root)
    whole = deepcopy(root)
    drop_navigation(root)
    assembly = Assembly()
    write_page(root, assembly, file)
    if not assembly.blocks:  # the page is only a menu
        write_page(whole, assembly, file)
    return Extracted(assembly.text, assembly.blocks, title, metadata)


def write_fragment(text: str, assembly: Assembly, file: RawFile, *, below: int = 0, page: int | None = None) -> None:
    """Append the blocks of an HTML fragment, such as a mail's body or a chapter of a book."""
    root = parse_page(text)
    if root is not None:
        write_page(root, assembly, file, below=below, page=page)


def parse_page(text: str) -> etree._Element | None:
    """The tree of any text, repaired as browsers do; None if it is empty."""
    # The text is decoded already, so a declared encoding no longer applies.
    text = _DECLARATION.sub("", text)
    parser = HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = document_fromstring(text.encode(), parser)
    except (etree.ParserError, AssertionError):
        root = None
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"is not readable HTML ({error.msg})") from error
    if any("depth" in entry.message for entry in parser.error_log):
        raise Unreadable("is nested too deeply to be read")  # otherwise the rest would be missing
    return root


def write_page(
    root: etree._Element, assembly: Assembly, file: RawFile, *, below: int = 0, page: int | None = None
) -> None:
    """Append the content below `root`; its headings get `below` more levels."""
    writer = _Writer(Flow(assembly, below=below, page=page), file)
    writer.walk(root, 0)
    writer.flow.end()


def _metadata(root: etree._Element) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for node in root.iter("meta"):
        key = _METADATA.get((node.get("name") or node.get("property") or "").lower())
        if key and (value := " ".join((node.get("content") or "").split())):
            found.setdefault(key, value)
    if language := (root.get("lang") or "").strip():
        found["language"] = language
    return tuple(found.items())


class _Writer:
    """Walks over elements, and writes their content into a flow."""

    def __init__(self, flow: Flow, file: RawFile) -> None:
        self.flow = flow
        self._file = file

    def walk(self, node: etree._Element, depth: int) -> None:
        tag = node.tag if isinstance(node.tag, str) else ""
        tag = tag.rpartition("}")[2].lower()
        if not tag or tag in _DROPPED or _is_unseen(node):
            return
        if depth > _TOO_DEEP:
            self.flow.text(" ".join(map(str, node.itertext())))
            return
        if tag in _BLOCKS:
            self._file.check_time()
            self._block(tag, node, depth)
        else:
            self._inline(tag, node, depth)

    def _children(self, node: etree._Element, depth: int) -> None:
        self.flow.text(node.text or "")
        for child in node:
            self.walk(child, depth + 1)
            self.flow.text(child.tail or "")

    def _block(self, tag: str, node: etree._Element, depth: int) -> None:
        flow = self.flow
        flow.end_block()
        match tag:
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if not _holds_blocks(node):
                self._children(node, depth)
                flow.end_heading(int(tag[1]))
            case "ul" | "ol" | "menu" | "dir" | "dl":
                flow.open_list(ordered=tag == "ol", start=node.get("start"))
                self._children(node, depth)
                flow.close_list()
            case "li" | "dt" | "dd":
                flow.open_item(value=node.get("value"), continues=tag == "dd")
                self._children(node, depth)
                flow.end_block()
            case "pre":
                flow.code(_preformatted(node), _language(node))
            case "table":
                self._table(node, depth)
            case "figcaption" | "caption":
                self._children(node, depth)
                flow.end_block("caption")
            case _:
                self._children(node, depth)
                flow.end_block()

    def _table(self, node: etree._Element, depth: int) -> None:
        for caption in node.findall("caption"):
            self.walk(caption, depth + 1)
            node.remove(caption)
        rows = rows_of(node, self._words)
        if rows is not None:
            self.flow.table(rows)
        else:
            self._children(node, depth)
            self.flow.end_block()

    def _words(self, cell: etree._Element) -> str:
        inner = Flow(Assembly())
        writer = _Writer(inner, self._file)
        writer._children(cell, 100)
        inner.end()
        return " ".join(inner.assembly.text.split())

    def _inline(self, tag: str, node: etree._Element, depth: int) -> None:
        flow = self.flow
        match tag:
            case "br":
                flow.line_break()
            case "wbr":
                pass
            case "img":
                flow.image(node.get("alt") or "")
            case "code" | "kbd" | "samp" | "tt" if next(node.iter(*_BLOCKS, "br"), None) is None:
                flow.inline_code(all_text(node))
            case "a" if _is_permalink(node):
                pass
            case "sup":
                flow.superscript()
                self._children(node, depth)
            case "textarea" | "button" | "label":
                flow.text(" ")
                self._children(node, depth)
                flow.text(" ")
            case "svg":
                for child in node.iter("{*}text", "text"):
                    flow.text(f" {' '.join(map(str, child.itertext()))} ")
            case "math":
                flow.text(" ".join(map(str, node.itertext(*_MATH))))
            case _:
                self._children(node, depth)


def _is_unseen(node: etree._Element) -> bool:
    hidden = node.get("hidden")
    return (hidden is not None and hidden.lower() != "until-found") or bool(_UNSEEN.search(node.get("style") or ""))


def _holds_blocks(heading: etree._Element) -> bool:
    return next(heading.iterdescendants("table", "ul", "ol", "pre", "h1", "h2", "h3", "p"), None) is not None


def _is_permalink(node: etree._Element) -> bool:
    words = all_text(node).strip()
    return words in ("¶", "#", "§", "🔗") or (not words and "headerlink" in (node.get("class") or ""))


def _preformatted(node: etree._Element) -> str:
    parts: list[str] = []

    def collect(each: etree._Element) -> None:
        if each.tag == "br":
            parts.append("\n")
        if isinstance(each.tag, str) and each.tag not in _DROPPED:
            parts.append(each.text or "")
            for child in each:
                collect(child)
                parts.append(child.tail or "")
            if each.tag in ("div", "p", "li", "tr") and each is not node:
                parts.append("\n")

    collect(node)
    return "".join(parts)


def _language(node: etree._Element) -> str:
    candidates: Sequence[etree._Element] = [node, *node.iter("code")]
    ancestor = node.getparent()
    if ancestor is not None:
        candidates = [*candidates, ancestor]
    for each in candidates:
        if found := _LANGUAGE.search(each.get("class") or ""):
            return found[1].lower()
    return ""
