"""The shapes of outputs with a special display, recognised in plain data by their keys."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

Shape: TypeAlias = Literal[
    "nothing", "text", "scalar", "passages", "answer", "file", "files", "table", "list", "mapping"
]
_EXCERPT, _BEFORE = 600, 120
"""The most characters of a passage that are shown, and how many of them precede the first highlight."""


def shape_of(value: Any) -> Shape:
    """How a value is shown."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        if _is_file(entries):
            return "file"
        is_answer = isinstance(entries.get("text"), str) and isinstance(entries.get("citations"), list)
        return "answer" if is_answer else "mapping"
    if not isinstance(value, list):
        return "scalar"
    items = cast("list[Any]", value)
    if not items or not all(isinstance(item, Mapping) for item in items):
        return "list"
    if all(_is_passage(item) for item in items):
        return "passages"
    return "files" if all(_is_file(item) for item in items) else "table"


def has_own_form(value: Any) -> bool:
    """Whether a value of a mapping is shown below its table: passages, answers and files at any depth need more than a
    line.
    """
    shape = shape_of(value)
    if shape == "mapping":
        return any(map(has_own_form, cast("Mapping[str, Any]", value).values()))
    return shape in ("passages", "answer", "file", "files")


def _is_file(entries: Mapping[str, Any]) -> bool:
    return isinstance(entries.get("uri"), str) and isinstance(entries.get("media_type"), str)


def _is_passage(entries: Mapping[str, Any]) -> bool:
    return isinstance(entries.get("content"), str) and "score" in entries and "document_id" in entries


@dataclass(frozen=True)
class ShownPassage:
    """A passage that a search found, for a reader."""

    document: str
    place: str
    """Page, heading and characters of the document's text."""
    score: float
    scores: Mapping[str, float]
    """Scores by retriever."""
    parts: Sequence[tuple[str, bool]]
    """The consecutive parts of an excerpt, and whether each is highlighted."""
    duplicates: int


def shown_passage(passage: Mapping[str, Any]) -> ShownPassage:
    """A passage of an output for a reader; the excerpt begins shortly before its first highlight."""
    scores: Mapping[str, Any] = passage.get("scores") or {}
    return ShownPassage(
        str(passage.get("name") or passage.get("document") or passage["document_id"]),
        location_text(passage),
        float(passage["score"]) if isinstance(passage["score"], (int, float)) else 0.0,
        {name: score for name, score in scores.items() if isinstance(score, (int, float))},
        list(_excerpt(passage["content"], passage.get("highlights") or ())),
        len(passage.get("duplicates") or ()),
    )


def location_text(found: Mapping[str, Any]) -> str:
    """The position of a passage or citation in its document, as text."""
    parts = [f"page {found['page']}"] if found.get("page") else []
    parts += [str(found["heading"])] if found.get("heading") else []
    parts += [f"characters {found['start']}–{found['end']}"] if found.get("end") else []
    return ", ".join(parts)


def _excerpt(content: str, highlights: Sequence[Any]) -> Iterator[tuple[str, bool]]:
    marks = [(int(mark[0]), int(mark[1])) for mark in highlights if isinstance(mark, (list, tuple)) and len(mark) == 2]  # pyright: ignore[reportUnknownArgumentType]
    first = marks[0][0] if marks else 0
    begin = max(0, first - _BEFORE) if first > _EXCERPT - _BEFORE else 0
    end = min(len(content), begin + _EXCERPT)
    if begin:
        yield "…", False
    position = begin
    for start, stop in marks:
        start, stop = max(start, position), min(stop, end)
        if start >= stop:
            continue
        yield content[position:start], False
        yield content[start:stop], True
        position = stop
    yield content[position:end], False
    if end < len(content):
        yield "…", False


def table_of(rows: Sequence[Mapping[str, Any]], *, columns: int) -> tuple[list[str], list[list[str]]]:
    """The headings and rows of a table of mappings: at most `columns` columns, in the order of first occurrence."""
    heads = list(dict.fromkeys(key for row in rows for key in row))[:columns]
    return heads, [[short_text(row.get(head)) for head in heads] for row in rows]


def short_text(value: Any) -> str:
    """A value on one line, for a table or list."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return ", ".join(f"{key}: {short_text(item)}" for key, item in entries.items())
    return ", ".join(map(short_text, cast("list[Any]", value))) if isinstance(value, list) else str(value)


def file_facts(file: Mapping[str, Any]) -> str:
    """The kind, length and size of a file in a few words."""
    parts = [str(file["media_type"])]
    if file.get("width") and file.get("height"):
        parts.append(f"{file['width']} × {file['height']}")
    if isinstance(file.get("seconds"), (int, float)):
        parts.append(f"{file['seconds']:.1f} s")
    if isinstance(file.get("size"), int):
        parts.append(f"{file['size']:,} bytes")
    if file.get("placeholder"):
        parts.append("a placeholder: no model is configured")
    return ", ".join(parts)
