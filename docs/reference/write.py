"""Writes the pages of reference tables from the code: `python -m docs.reference.write`.

A test compares the pages with what this module makes, so a page cannot name an option that does not exist.
"""

import asyncio
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import flows
from deployments.cli import app
from deployments.commands.common import MEANINGS
from deployments.runs import load_handlers
from deployments.service import OWNER, Library, TokenFile, problems
from deployments.service.app import make_app
from deployments.service.mcp_tools import make_mcp_server
from deployments.service.metrics import Metrics
from deployments.service.reference import reference
from deployments.service.state import ServiceState
from deployments.settings import PREFIX, Settings
from flows import errors
from flows.author import REGISTRY, HandlerSpec
from flows.model import limits, outputs, parameters, policies, steps

FOLDER = Path(__file__).parent
NOTE = "<!-- Made from the code by `python -m docs.reference.write`; edit the code, not this page. -->"


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of every page of reference tables, by file name."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "commands.md": commands,
        "settings.md": settings,
        "steps.md": step_keys,
        "handlers.md": handlers,
        "errors.md": error_codes,
        "rest.md": rest,
        "mcp.md": mcp_tools,
    }
    return {name: "\n".join([NOTE, "", *make()]).rstrip() + "\n" for name, make in made.items()}


def commands() -> Iterator[str]:
    """A section per command: usage, arguments and options."""
    yield from ("# Commands", "", "Every command has `--help`. `--json` prints one JSON document for programs.", "")
    every = list(_commands(typer.main.get_command(app)))
    yield from table(("command", "purpose"), [(_link(path), first_sentence(one.help or "")) for path, one in every])
    yield from ("", "The exit codes of every command are on the page of [errors](errors.md).")
    for path, one in every:
        arguments = [each.metavar or each.name.upper() for each in one.params if each.param_type_name == "argument"]
        yield from ("", f"## {path}", "", "```text", " ".join([path, *arguments, "[OPTIONS]"]), "```", "")
        yield from _help_text(one.help or "")
        rows = [
            _parameter_row(each) for each in one.params if each.name != "help" and not getattr(each, "hidden", False)
        ]
        yield from ("", *table(("argument or option", "default", "meaning"), rows))


def options_of_commands() -> dict[str, set[str]]:
    """The options of each command, as they are written on the command line; the keys are `documents list` and so on."""
    found = {
        path.removeprefix("braid "): {name for each in one.params for name in (*each.opts, *each.secondary_opts)}
        for path, one in _commands(typer.main.get_command(app))
    }
    return {path: options | {"-h", "--help"} for path, options in found.items()}


def _commands(group: Any, path: str = "braid") -> Iterator[tuple[str, Any]]:
    for name, one in sorted(group.commands.items()):
        if hasattr(one, "commands"):
            if one.invoke_without_command:
                yield f"{path} {name}", one
            yield from _commands(one, f"{path} {name}")
        elif not one.hidden:
            yield f"{path} {name}", one


def _link(path: str) -> str:
    return f"[`{path}`](#{path.replace(' ', '-')})"


def _help_text(text: str) -> Iterator[str]:
    """The help of a command: prose as it is, its examples as a block."""
    prose, _, examples = inspect.cleandoc(text).replace("\f", "\n").partition("\nExample")
    yield from prose.strip().splitlines()
    if examples:
        lines = [line.strip() for line in examples.splitlines()[1:] if line.strip()]
        yield from ("", "```sh", *lines, "```")


def _parameter_row(each: Any) -> tuple[str, str, str]:
    if each.param_type_name == "argument":
        name = f"`{each.metavar or each.name.upper()}`"
    else:
        annotation = each.type_descriptor.annotation
        choices = "\\|".join(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ""
        value = "" if each.is_flag else f" {each.metavar or choices or _type(annotation).upper()}"
        names = [*each.opts, *each.secondary_opts]
        name = ", ".join(f"`{one}{value if one == names[0] else ''}`" for one in names)
    missing = each.default in (None, False, (), []) or callable(each.default)
    default = "required" if each.required else "" if missing else f"`{_plain(each.default)}`"
    return name, default, each.help or ""


def settings() -> Iterator[str]:
    """A table of the environment variables."""
    yield from (
        "# Settings",
        "",
        "Environment variables; without any, Braid keeps everything in the folder `.braid`.",
        "",
    )
    rows = []
    for name, setting in Settings.model_fields.items():
        alias = setting.validation_alias
        variables = (
            [str(each) for each in alias.choices] if isinstance(alias, AliasChoices) else [f"{PREFIX}{name.upper()}"]
        )
        rows.append(
            (
                ", ".join(f"`{each}`" for each in variables),
                _type(setting.annotation),
                _default(setting),
                re.sub(r"\bdocs/([a-z-]+)\.md", r"[\1](../\1.md)", setting.description or ""),
            )
        )
    yield from table(("variable", "type", "default", "meaning"), rows)


def step_keys() -> Iterator[str]:
    """A table per kind of step, policy and declaration."""
    yield from ("# Keys of a pipeline", "", "[The step model](../steps.md) explains them with examples.")
    sections: dict[str, Sequence[type[BaseModel]]] = {
        "The pipeline": [steps.Pipeline, parameters.Parameter, outputs.Output],
        "Steps": [
            steps.StepFields,
            steps.Handler,
            steps.Parallel,
            steps.ForEach,
            steps.MergeResults,
            steps.Switch,
            steps.Case,
            steps.SubPipeline,
            steps.Sequential,
        ],
        "Policies": [policies.Policy, policies.Retry, policies.Tolerance, policies.Merge, policies.Split],
        "Limits": [limits.Resource, limits.Breaker, limits.RetryBudget],
    }
    for title, models in sections.items():
        yield from ("", f"## {title}")
        for model in models:
            is_step = issubclass(model, steps.StepFields) and model is not steps.StepFields
            common = {"type", *steps.StepFields.model_fields} if is_step else ()
            yield from ("", f"### {_words(model.__name__)}", "", inspect.cleandoc(model.__doc__ or ""), "")
            rows = [
                (_keys(name, each), _type(each.annotation), _default(each), each.description or "")
                for name, each in model.model_fields.items()
                if name not in common
            ]
            yield from table(("key", "type", "default", "meaning"), rows)


def handlers() -> Iterator[str]:
    """The handlers that come with Braid, by package."""
    load_handlers(Settings())
    yield from (
        "# Handlers",
        "",
        "`braid handlers` lists them with those of your own; `braid handlers NAME` shows one.",
        "",
    )
    yield "A `?` marks a field or parameter that may be missing."
    shipped = [spec for spec in REGISTRY.handlers.values() if spec.function.__module__.startswith("handlers.")]
    for kind in sorted({_room(spec) for spec in shipped}):
        yield from ("", f"## {kind.capitalize()}")
        for spec in sorted((each for each in shipped if _room(each) == kind), key=lambda each: each.name):
            yield from ("", f"### {spec.name}", "", *_handler(spec))


def _room(spec: HandlerSpec) -> str:
    return spec.function.__module__.split(".")[1]


def _handler(spec: HandlerSpec) -> Iterator[str]:
    yield spec.summary
    reads = (
        "the context"
        if spec.reads is None
        else ", ".join(f"`{read.name}{'' if read.required else '?'}`" for read in spec.reads) or "nothing"
    )
    writes = ", ".join(f"`{each}`" for each in spec.writes or ()) or "nothing declared"
    yield from ("", f"Reads {reads}; writes {writes}.")
    rows = [
        (f"`{name}`", _type(each.annotation), "required" if each.is_required() else _default(each))
        for name, each in spec.options.model_fields.items()
    ]
    if rows:
        yield from ("", *table(("option", "type", "default"), rows))


def error_codes() -> Iterator[str]:
    """Exit codes, exceptions and problem details."""
    yield from ("# Errors", "", "## Exit codes", "")
    yield from table(("code", "meaning"), [(str(code), meaning) for code, meaning in MEANINGS.items()])
    yield from ("", "## Exceptions", "", "All are in `flows.errors`; those in bold are exported by `flows`.", "")
    found = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, Exception)]
    rows = [
        (
            f"**`{each.__name__}`**" if each.__name__ in flows.__all__ else f"`{each.__name__}`",
            f"`{each.__bases__[0].__name__}`",
            first_sentence(inspect.getdoc(each) or ""),
        )
        for each in found
        if each.__module__ == errors.__name__
    ]
    yield from table(("exception", "is a", "meaning"), rows)
    yield from ("", "## Problem details of `braid serve`", "")
    yield "An error is a JSON document as RFC 9457 defines it: type `urn:braid:problem:KIND`, and a field `cure`."
    yield ""
    known = {(status, kind): cure for _, status, kind, cure in problems.KINDS}
    yield from table(("status", "kind", "cure"), [(str(s), f"`{kind}`", cure) for (s, kind), cure in known.items()])


def rest() -> Iterator[str]:
    """A section per call of the REST interface."""
    yield from (
        "# REST",
        "",
        "`braid serve` has this reference at `/docs`, and the OpenAPI document at `/openapi.json`.",
    )
    for group, calls in reference(make_app(Settings(), warm_up=False).app.openapi()):
        yield from ("", f"## {group.capitalize()}")
        for call in calls:
            yield from ("", f"### {call.verb} {call.path}", "", *(line for part in call.about for line in (part, "")))
            if call.fields:
                rows = [(f"`{each.name}`", each.place, each.type, each.about) for each in call.fields]
                yield from table(("name", "in", "type", "meaning"), rows)


def mcp_tools() -> Iterator[str]:
    """A section per tool of the MCP server."""
    settings = Settings()
    service = ServiceState(settings, Library(settings), TokenFile(settings.tokens_file), Metrics())
    server = make_mcp_server(service, lambda _: OWNER)
    yield from ("# MCP tools", "", "`braid serve` has them at `/mcp`, `braid mcp` on standard input and output.")
    for tool in asyncio.run(server.list_tools()):
        yield from ("", f"## {tool.name}", "", tool.description or "", "")
        schema = tool.input_schema
        if not schema.get("properties"):
            yield "It takes no arguments."
            continue
        rows = [
            (
                f"`{name}`",
                one.get("type", "any"),
                "required" if name in schema.get("required", ()) else f"`{one.get('default')}`",
                one.get("description", ""),
            )
            for name, one in schema.get("properties", {}).items()
        ]
        yield from table(("argument", "type", "default", "meaning"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(each) for each in row)} |"


def first_sentence(text: str) -> str:
    """The first sentence of a docstring or a help text."""
    return re.split(r"(?<=[.!?])\s|\n\n", " ".join(inspect.cleandoc(text).split("\n\n")[0].split()), maxsplit=1)[0]


def _cell(text: str) -> str:
    """Text as one cell; outside of code, what Markdown or HTML would take for its own is escaped."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    shown = "".join(
        each
        if each.startswith("`")
        else re.sub(r"([<>{}*])(?!\*)(?<!\*\*)", r"\\\1", each)
        if "**`" not in text
        else each
        for each in pieces
    )
    return shown.replace("|", "\\|")


def _keys(name: str, each: FieldInfo) -> str:
    alias = each.serialization_alias or name
    others = (
        [str(one) for one in each.validation_alias.choices if str(one) not in (alias, name)]
        if isinstance(each.validation_alias, AliasChoices)
        else []
    )
    return f"`{alias}`" + (f" (also {', '.join(f'`{one}`' for one in others)})" if others else "")


def _default(each: FieldInfo) -> str:
    if each.is_required():
        return "required"
    value = each.default
    if value in (None, PydanticUndefined, (), {}, ""):
        return ""
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(annotation: Any) -> str:
    """A type in words: `text`, `number or text`, `list of text`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    names = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any", Path: "path"}
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in inner)
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in inner if each is not type(None)))
    if origin in (list, tuple, set, frozenset, Sequence, Iterable):
        return f"list of {'steps' if inner[0] is steps.Step else _type(inner[0])}" if inner else "list"
    if origin is dict or (inspect.isclass(origin) and issubclass(origin, typing.Mapping)):  # pyright: ignore
        return "mapping"
    if annotation in names:
        return names[annotation]
    name = getattr(annotation, "__name__", str(annotation))
    return {"SecretStr": "secret text", "ForwardRef": "step"}.get(name, _words(name).lower())


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


if __name__ == "__main__":
    sys.exit(main())
