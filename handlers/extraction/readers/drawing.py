"""Texts in DrawingML, which DOCX, PPTX and XLSX share: paragraphs of shapes, charts, diagrams."""

import re
from itertools import zip_longest

from lxml import etree

from handlers.extraction.package import local_name

_MAX_POINTS = 500


def paragraph_text(paragraph: etree._Element) -> str:
    """The runs of a paragraph, joined without separators, since words continue from one run to the next."""
    parts: list[str] = []
    for node in paragraph.iter():
        match local_name(node):
            case "t":
                parts.append(node.text or "")
            case "br":
                parts.append("\n")
            case "tab":
                parts.append("\t")
            case _:
                pass
    return "".join(parts)


def chart_title(chart: etree._Element) -> str:
    """The titles of a chart and its axes."""
    titles = [" ".join(map(paragraph_text, title.iter("{*}p"))) for title in chart.iter("{*}title")]
    return " · ".join(" ".join(title.split()) for title in titles if title.strip())


def chart_rows(chart: etree._Element) -> list[list[str]]:
    """The data of a chart as a table: a row per category, a column per series."""
    names: list[str] = []
    categories: list[str] = []
    values: list[list[str]] = []
    for series in chart.iter("{*}ser"):
        names.append(" ".join(_points(series.find("{*}tx"))))
        own = _points(series.find("{*}cat")) or _points(series.find("{*}xVal"))
        categories = max(categories, own, key=len)
        values.append(_points(series.find("{*}val")) or _points(series.find("{*}yVal")))
    columns = [categories, *values]
    if not any(map(len, columns)):
        return [names] if any(names) else []
    return [["", *names], *(list(row) for row in zip_longest(*columns, fillvalue=""))]


def diagram_lines(data: etree._Element) -> list[str]:
    """The texts of a diagram (SmartArt), one for each of its shapes."""
    points = (" ".join(map(paragraph_text, point.iter("{*}p"))) for point in data.iter("{*}pt"))
    return [line for point in points if (line := " ".join(point.split()))]


def _points(source: etree._Element | None) -> list[str]:
    if source is None:
        return []
    found: dict[int, str] = {}
    # Categories of several levels repeat each point; the first level is the finest.
    cache = next(source.iter("{*}lvl", "{*}strCache", "{*}numCache", "{*}strLit", "{*}numLit"), None)
    multiple = next(source.iter("{*}multiLvlStrCache"), None)
    if multiple is not None:
        cache = next(multiple.iter("{*}lvl"), multiple)
    if cache is None:
        return [node.text for node in source.iter("{*}v") if node.text]
    for point in cache.iter("{*}pt"):
        at = point.get("idx") or "0"
        if at.isdigit() and int(at) < _MAX_POINTS:
            found[int(at)] = _rounded("".join(node.text or "" for node in point.iter("{*}v")))
    return [found.get(at, "") for at in range(max(found) + 1)] if found else []


def _rounded(value: str) -> str:
    """A number without the noise of its binary form: 4.3 is stored as 4.2999999999999998."""
    if len(value) < 15 or not re.fullmatch(r"-?\d+\.\d+(?:E[-+]?\d+)?", value):
        return value
    return f"{float(value):.12g}"
