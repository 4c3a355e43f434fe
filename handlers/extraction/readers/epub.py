"""EPUB: the chapters of a book in the order of its spine."""

import posixpath
from urllib.parse import unquote

from lxml import etree

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.package import Package, all_text, local_name
from handlers.extraction.readers.html import decode_page, write_fragment

_META = {"title": "title", "creator": "authors", "subject": "subject", "description": "description"} | {
    "language": "language",
    "date": "created_at",
}
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read_epub(file: RawFile) -> Extracted:
    """All chapters except the table of contents, which only repeats the chapters' headings."""
    package = Package(file.data, "EPUB")
    if "META-INF/encryption.xml" in package and "META-INF/rights.xml" in package:
        raise Unreadable("is protected against copying (DRM)")
    opened = package.xml("META-INF/container.xml")
    name = next((node.get("full-path") or "" for node in opened.iter("{*}rootfile")), "")
    book = package.xml(name)
    items = {node.get("id") or "": node for node in book.iter("{*}item")}
    assembly = Assembly()
    read = set[str]()  # a chapter that the spine lists several times is read once
    for reference in book.iter("{*}itemref"):
        item = items.get(reference.get("idref") or "")
        if item is None or item.get("media-type") not in _PAGES or "nav" in (item.get("properties") or "").split():
            continue
        file.check_time()
        chapter = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(item.get("href") or "")))
        if chapter in read:
            continue
        read.add(chapter)
        write_fragment(decode_page(package.read(chapter)).text, assembly, file)
    metadata = _metadata(book)
    title = metadata.pop("title", "")
    return Extracted(assembly.text, assembly.blocks, title, tuple(metadata.items()))


def _metadata(book: etree._Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in book.iter("{*}metadata"):
        for node in parent.iter():
            key = _META.get(local_name(node))
            if key and (value := " ".join(all_text(node).split())):
                found[key] = f"{found[key]}, {value}" if key in ("authors", "subject") and key in found else value
    return found
