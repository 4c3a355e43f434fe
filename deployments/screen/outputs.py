"""The result of a run in a terminal: passages, answers, tables, texts and the places of files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from deployments.screen.balances import balance_table
from deployments.screen.tables import plain_table
from flows.author import OutputField, OutputRecord
from flows.reports import file_facts, has_own_form, location_text, shape_of, short_text, shown_passage, table_of

_ROWS, _COLUMNS, _TEXT = 20, 8, 4_000
"""The most rows and columns of a table, and the most letters of a text, in the terminal; `--json` has more."""


def output_parts(records: Iterable[OutputRecord], declared: Sequence[OutputField] = ()) -> list[RenderableType]:
    """The outputs of a run, each below its name; empty if the pipeline has none."""
    listed = list(records)
    parts: list[RenderableType] = []
    for record in listed:
        title = Text.assemble((record.name, "bold cyan"), (f"  {record.type}" if record.type else "", "dim"))
        parts += [Text(""), title, *(Padding(part, (0, 0, 0, 2), expand=False) for part in _shown(record.value))]
        if record.shortened:
            rest = f"the whole value: {record.uri}" if record.uri else "the whole value is not kept"
            parts.append(Text(f"  This is only the beginning; {rest}", "dim"))
    missing = [each.name for each in declared if each.name not in {record.name for record in listed}]
    return [*parts, Text(""), Text(f"Not written: {', '.join(missing)}", "yellow")] if missing else parts


def _shown(value: Any) -> Iterator[RenderableType]:
    match shape_of(value):
        case "nothing":
            yield Text("nothing", "dim")
        case "text":
            yield Text(value if len(value) <= _TEXT else f"{value[:_TEXT]}…")
        case "scalar":
            yield Text(short_text(value))
        case "passages":
            for rank, passage in enumerate(value[:_ROWS], start=1):
                yield _passage(rank, passage)
            yield from _more(len(value), "passages")
        case "answer":
            yield from _answer(value)
        case "file":
            yield _file(value)
        case "files":
            yield from (_file(file) for file in value[:_ROWS])
            yield from _more(len(value), "files")
        case "table":
            heads, rows = table_of(value[:_ROWS], columns=_COLUMNS)
            table = plain_table(*heads)
            for row in rows:
                table.add_row(*(Text(_cut(text, 60)) for text in row))
            yield table
            yield from _more(len(value), "rows")
        case "list":
            yield from (Text(f"- {_cut(short_text(item), 200)}") for item in value[:_ROWS])
            yield from _more(len(value), "items") if value else [Text("an empty list", "dim")]
        case "mapping" if value.keys() >= {"seen", "processed", "set_aside", "left_out", "details"}:
            yield balance_table([value])
        case "mapping":
            yield from _mapping(cast("Mapping[str, Any]", value))


def _passage(rank: int, passage: Mapping[str, Any]) -> RenderableType:
    shown = shown_passage(passage)
    head = Text.assemble((f"{rank}. ", "dim"), (shown.document, "bold"), (f"  {shown.score:.4f}", "dim"))
    excerpt = Text.assemble(
        *((" ".join(text.split("\n")), "bold yellow" if found else "") for text, found in shown.parts)
    )
    scores = " · ".join(f"{name} {score:.3f}" for name, score in shown.scores.items())
    place = " · ".join(part for part in (shown.place, scores) if part)
    return Text("\n").join([head, excerpt, Text(place, "dim")])


def _answer(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(answer["text"])
    for each in answer["citations"]:
        if isinstance(each, Mapping):
            cited = cast("Mapping[str, Any]", each)
            where = str(cited.get("document") or cited.get("document_id") or "")
            place = location_text(cited)
            number = (f"[{cited.get('number', '')}] ", "bold")
            yield Text.assemble(number, (f"{where}{f', {place}' if place else ''}", "cyan"))
        else:
            yield Text(f"- {short_text(each)}")


def _file(file: Mapping[str, Any]) -> RenderableType:
    return Text.assemble((str(file["uri"]), "cyan"), (f"  {file_facts(file)}", "dim"))


def _mapping(value: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A row per entry; values with a special display follow below."""
    own = [name for name, item in value.items() if has_own_form(item)]
    rows = [(name, short_text(item)) for name, item in value.items() if name not in own]
    if rows or not own:
        table = plain_table("name", "value", overflow="fold")
        for name, text in rows[:_ROWS]:
            table.add_row(Text(name), Text(_cut(text, 200)))
        yield table
        yield from _more(len(rows), "entries")
    for name in own:
        yield Text(name, "bold")
        yield from (Padding(part, (0, 0, 0, 2), expand=False) for part in _shown(value[name]))


def _more(count: int, things: str) -> list[Text]:
    return [Text(f"and {count - _ROWS:,} more {things}; `--json` has them", "dim")] if count > _ROWS else []


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
