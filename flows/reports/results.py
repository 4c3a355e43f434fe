"""The result of a run as Markdown: passages, answers, tables, texts and files, each in a form that people can read."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from flows.author import OutputField, OutputRecord
from flows.reports.result_shapes import (
    file_facts,
    has_own_form,
    location_text,
    shape_of,
    short_text,
    shown_passage,
    table_of,
)
from flows.reports.tables import cell, escaped, markdown_table

ReadFile: TypeAlias = Callable[[str, int], bytes]
"""Reads the file of a URI; None if it is longer than the given number of bytes."""
MAX_ROWS, MAX_COLUMNS, MAX_TEXT = 100, 12, 20_000
MAX_PICTURE, MAX_PICTURES = 150_000, 600_000
"""The most bytes of one embedded picture, and of all together."""
_BEGIN, _END = "\x02", "\x03"
"""Around a highlight while the passage is made readable."""
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")


def result_markdown(
    records: Iterable[OutputRecord], declared: Sequence[OutputField] = (), *, read: ReadFile | None = None
) -> str:
    """The outputs of a run, each below its name; `declared` outputs without a value are listed at the end.

    `read` reads the files of small pictures, which become part of the page.
    """
    page = _Page(read)
    lines: list[str] = []
    listed = list(records)
    empty = [record.name for record in listed if shape_of(record.value) == "nothing"]
    for record in listed:
        if record.name in empty and len(listed) > 1:
            continue
        lines += [f"### {escaped(record.name)}", ""]
        lines += [escaped(record.description), ""] if record.description else []
        lines += [*page.lines_of(record.value), ""]
        if record.shortened:
            whole = f" The whole value: `{record.uri}`" if record.uri else ""
            lines += [f"*This is only the beginning.*{whole}", ""]
    missing = [each.name for each in declared if each.name not in {record.name for record in listed}]
    if empty and len(listed) > 1:
        lines += [f"Without a value: {', '.join(map(escaped, empty))}.", ""]
    if missing:
        lines += [f"Not written: {', '.join(map(escaped, missing))}.", ""]
    return "\n".join(lines).strip() or "This pipeline has no outputs."


class _Page:
    """A page while it is being written, with the bytes of its pictures so far."""

    def __init__(self, read: ReadFile | None) -> None:
        self._read, self._picture_bytes = read, 0

    def lines_of(self, value: Any) -> Iterator[str]:
        match shape_of(value):
            case "nothing":
                yield "nothing"
            case "text":
                yield text_markdown(value)
            case "scalar":
                yield f"**{short_text(value)}**"
            case "passages":
                for rank, passage in enumerate(value, start=1):
                    yield from _passage_lines(rank, passage)
            case "answer":
                yield from _answer_lines(value)
            case "file":
                yield from self._file_lines(value)
            case "files":
                for file in value[:MAX_ROWS]:
                    yield from self._file_lines(file)
                yield from _more(len(value), "files")
            case "table":
                heads, rows = table_of(value[:MAX_ROWS], columns=MAX_COLUMNS)
                yield from markdown_table(
                    [cell(head) for head in heads], [[cell(text) for text in row] for row in rows]
                )
                yield from _more(len(value), "rows")
            case "list":
                yield from (f"- {escaped(short_text(item))[:1000]}" for item in value[:MAX_ROWS])
                yield from _more(len(value), "items") if value else ["an empty list"]
            case "mapping":
                yield from self._mapping_lines(cast("Mapping[str, Any]", value))

    def _mapping_lines(self, value: Mapping[str, Any]) -> Iterator[str]:
        """A table of the entries; values with a special display follow below it."""
        own = [name for name, item in value.items() if has_own_form(item)]
        rows = [(cell(name), cell(short_text(item))) for name, item in value.items() if name not in own]
        if rows or not own:
            yield from markdown_table(("name", "value"), rows[:MAX_ROWS])
            yield from _more(len(rows), "entries")
        for name in own:
            yield from ("", f"**{escaped(name)}**", "")
            yield from self.lines_of(value[name])

    def _file_lines(self, file: Mapping[str, Any]) -> Iterator[str]:
        uri = str(file["uri"])
        name = uri.rstrip("/").rpartition("/")[2]
        link = f"[{escaped(name)}](<{uri.replace('>', '%3E').replace('<', '%3C')}>)"
        yield f"- {link} ({escaped(file_facts(file))}): `{uri.replace('`', '%60')}`"
        picture = self._picture(file)
        if picture:
            yield from ("", picture, "")

    def _picture(self, file: Mapping[str, Any]) -> str:
        """A small picture as a part of the page; empty for anything else."""
        most = min(MAX_PICTURE, MAX_PICTURES - self._picture_bytes)
        if self._read is None or file["media_type"] not in _PICTURES or not 0 < (file.get("size") or 0) <= most:
            return ""
        try:
            content = self._read(str(file["uri"]), most)
        except Exception:  # an error of the storage; the page still has the link
            return ""
        self._picture_bytes += len(content)
        return f"![](data:{file['media_type']};base64,{base64.b64encode(content).decode()})"


def text_markdown(text: str) -> str:
    """A Markdown text without HTML, and without pictures, which a browser would load from any server."""
    safe = text.replace("<", "&lt;").replace("![", "!\\[")
    return safe if len(safe) <= MAX_TEXT else f"{safe[:MAX_TEXT]}…"


def _passage_lines(rank: int, passage: Mapping[str, Any]) -> Iterator[str]:
    shown = shown_passage(passage)
    place = f", {escaped(shown.place)}" if shown.place else ""
    scores = " · ".join(f"{escaped(name)} {score:.3f}" for name, score in shown.scores.items())
    similar = f" · {shown.duplicates} near duplicate(s)" if shown.duplicates else ""
    yield f"**{rank}. {escaped(shown.document)}**{place}"
    yield ""
    yield f"> {_excerpt_line(shown.parts)}"
    yield ""
    yield f"score **{shown.score:.4f}**{f' ({scores})' if scores else ''}{similar}"
    yield ""


def _answer_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield text_markdown(answer["text"])
    yield ""
    for each in answer["citations"]:
        if isinstance(each, Mapping):
            cited = cast("Mapping[str, Any]", each)
            document = escaped(str(cited.get("document") or cited.get("document_id") or ""))
            place = location_text(cited)
            yield f"- \\[{cited.get('number', '')}\\] **{document}**{f', {escaped(place)}' if place else ''}"
        else:
            yield f"- {escaped(short_text(each))}"
    if not answer["citations"]:
        yield "*The answer cites no passage.*"


def _excerpt_line(parts: Iterable[tuple[str, bool]]) -> str:
    """A stretch of a passage on one line: highlights bold, without the marks of headings and tables."""
    whole = "".join(f"{_BEGIN}{text}{_END}" if found else text for text, found in parts)
    flowing = re.sub(r"\s+", " ", " ".join(filter(None, map(_without_marks, whole.splitlines()))))
    bold = re.sub(rf"{_BEGIN}( ?)([^{_END}]*[^{_END} ])( ?){_END}", r"\1**\2**\3", escaped(flowing))
    plain = bold.replace(_BEGIN, "").replace(_END, "")
    return re.sub(r"^(\d*)([-+.)]) ", r"\1\\\2 ", plain)  # else it begins a list


def _without_marks(line: str) -> str:
    if re.fullmatch(r"[\s|:-]*-{3}[\s|:-]*", line):
        return ""
    if line.lstrip(f"{_BEGIN} ").startswith("|"):
        return " · ".join(found for each in line.split("|") if (found := each.strip()).strip(_BEGIN + _END))
    return re.sub(rf"^(\s*{_BEGIN}?)\s*#{{1,6}}\s+", r"\1", line)


def _more(count: int, things: str) -> list[str]:
    return ["", f"*and {count - MAX_ROWS:,} more {things}*"] if count > MAX_ROWS else []
