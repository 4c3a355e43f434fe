"""`braid handlers`: the handlers that steps can name."""

import inspect
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from deployments.commands.common import JsonOption, emit, reported, stdout
from deployments.runs import load_handlers
from deployments.screen import plain_table
from deployments.settings import load_settings
from flows.author import REGISTRY, HandlerSpec


@reported
def handlers(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show one handler in full.")] = None,
    json_output: JsonOption = False,
) -> None:
    """List the handlers that steps can name, or show one: its reads, writes, effects and options.

    Examples:

      braid handlers

      braid handlers partition_text
    """
    load_handlers(load_settings())
    if name is None:
        found = [REGISTRY.handlers[key] for key in sorted(REGISTRY.handlers)]
        if json_output:
            emit({"handlers": [_spec_json(spec) for spec in found]})
        else:
            _show_all(found)
        return
    spec = REGISTRY.get(name)
    if json_output:
        emit(_spec_json(spec))
    else:
        _show_one(spec)


def _show_all(found: list[HandlerSpec]) -> None:
    table = plain_table("handler", "reads", "writes", "what it does", overflow="fold")
    table.columns[0].no_wrap = True
    for spec in found:
        table.add_row(Text(spec.name, "cyan"), _reads(spec), ", ".join(spec.writes or ()), escape(spec.summary))
    stdout().print(table)


def _show_one(spec: HandlerSpec) -> None:
    console = stdout()
    console.print(Text(spec.name, "bold cyan"))
    console.print(inspect.getdoc(spec.function) or "", markup=False)
    console.print()
    console.print(f"reads    {_reads(spec) or 'nothing'}", markup=False)
    console.print(f"writes   {', '.join(spec.writes or ()) or 'nothing declared'}", markup=False)
    console.print(f"changes  {', '.join(spec.effects or ()) or 'nothing outside the context'}", markup=False)
    console.print(
        f"defined  {spec.function.__module__}, version {spec.version}, runs in a {spec.isolation}", markup=False
    )
    table = plain_table("option", "type", "default", overflow="fold")
    for option in _options_json(spec):
        table.add_row(
            option["name"],
            escape(option["type"]),
            "required" if option["required"] else escape(repr(option["default"])),
        )
    if table.row_count:
        console.print()
        console.print(table)


def _reads(spec: HandlerSpec) -> str:
    if spec.reads is None:
        return "the context"
    return ", ".join(read.name if read.required else f"{read.name}?" for read in spec.reads)


def _options_json(spec: HandlerSpec) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": inspect.formatannotation(field.annotation).replace("typing.", ""),
            "required": field.is_required(),
            "default": None if field.is_required() else field.default,
        }
        for name, field in spec.options.model_fields.items()
    ]


def _spec_json(spec: HandlerSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "reads": None if spec.reads is None else [{"name": r.name, "required": r.required} for r in spec.reads],
        "writes": None if spec.writes is None else list(spec.writes),
        "effects": None if spec.effects is None else list(spec.effects),
        "options": _options_json(spec),
        "version": spec.version,
        "isolation": spec.isolation,
        "module": spec.function.__module__,
    }
