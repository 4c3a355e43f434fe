"""The navigation of a page: menus, bread crumbs, links to the pages before and after."""

from itertools import islice

from lxml import etree

from handlers.extraction.labels import DIRECTIONS
from handlers.extraction.package import all_text

_ROLES = ("navigation", "menu", "menubar", "search", "toolbar", "tablist")
_AROUND = ("header", "footer", "aside")
_MOST_DIRECTIONS = 8
_LINKED = 0.75
"""A header, footer or sidebar is navigation if at least this share of its text is links."""


def drop_navigation(root: etree._Element) -> None:
    """Remove the navigation from the tree. Text outside links is kept everywhere, including headers and footers."""
    for node in list(root.iter(etree.Element)):
        if _is_navigation(node):
            _remove(node)
    body = next(root.iter("body"), None)
    if body is not None:
        _drop_leading_links(body)


def _is_navigation(node: etree._Element) -> bool:
    tag = node.tag
    if tag == "nav" or (node.get("role") or "").lower() in _ROLES:
        return True
    if tag in _AROUND and next(node.iter("h1", "h2", "p", "main", "article"), None) is None:
        return next(node.iter("a"), None) is not None and _linked_share(node) >= _LINKED
    return tag in ("p", "div", "table", "ul", "span") and _has_directions(node)


def _has_directions(node: etree._Element) -> bool:
    """Whether this contains only links to the previous and next page, or to the top."""
    links = list(islice(node.iter("a"), _MOST_DIRECTIONS + 1))
    if not links or len(links) > _MOST_DIRECTIONS:
        return False
    labels = {_label(link) for link in links} - {""}
    if not labels & DIRECTIONS:
        return False
    return (len(labels & DIRECTIONS) >= 2 and _linked_share(node) >= _LINKED) or (
        labels <= DIRECTIONS and _linked_share(node) > 0.95
    )


def _label(link: etree._Element) -> str:
    words = " ".join(all_text(link).split())
    images = " ".join(image.get("alt") or "" for image in link.iter("img"))
    return (words or images).strip(" «»<>←→↑").lower()


def _drop_leading_links(body: etree._Element) -> None:
    """Remove blocks that consist only of links and precede all other words of the page."""
    for node in list(body.iter("p", "ul", "ol", "h1", "h2", "h3", "h4", "table", "div")):
        words = _letters(all_text(node))
        if not words:
            continue
        if node.tag in ("p", "ul", "ol") and len(node.findall(".//a")) >= 2 and _linked_share(node) > 0.9:
            _remove(node)
        elif (node.tag != "div" and node.tag != "table") or _letters(node.text or ""):
            return


def _linked_share(node: etree._Element) -> float:
    linked = sum(_letters(all_text(link)) for link in node.iter("a"))
    return linked / max(1, _letters(all_text(node)))


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _remove(node: etree._Element) -> None:
    parent = node.getparent()
    if parent is None:
        return
    before = node.getprevious()
    if node.tail:
        if before is not None:
            before.tail = (before.tail or "") + node.tail
        else:
            parent.text = (parent.text or "") + node.tail
    parent.remove(node)
