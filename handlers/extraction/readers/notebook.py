"""Jupyter notebooks: texts, code, and the output of the code."""

import json
import re
from typing import Any

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, RawFile, Unreadable
from handlers.extraction.readers.html import write_fragment
from handlers.extraction.readers.markdown import read_markdown

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def read_notebook(text: str) -> Extracted:
    """Cells in order, each output below the code that made it; pictures are left out.

    Raises:
        Unreadable: this is no notebook.
    """
    try:
        notebook = json.loads(text, parse_int=str, parse_float=str)
    except (json.JSONDecodeError, RecursionError) as error:
        raise Unreadable(f"is not a valid notebook: {error}") from error
    if not isinstance(notebook, dict):
        raise Unreadable("is not a notebook: it has no cells")
    cells = _list(notebook.get("cells")) or [
        cell for sheet in _list(notebook.get("worksheets")) for cell in _list(_mapping(sheet).get("cells"))
    ]
    metadata = _mapping(notebook.get("metadata"))
    language = str(
        _mapping(metadata.get("kernelspec")).get("language")
        or _mapping(metadata.get("language_info")).get("name")
        or ""
    )
    assembly = Assembly()
    for cell in map(_mapping, cells):
        source = _text(cell.get("source", cell.get("input")))
        match cell.get("cell_type"):
            case "code":
                assembly.code(source, language)
                for output in map(_mapping, _list(cell.get("outputs"))):
                    _write_output(output, assembly)
            case "markdown":
                found = read_markdown(source)
                assembly.append(found.text, found.blocks)
            case "heading":
                level = str(cell.get("level") or "1")
                assembly.heading(source, int(level) if level.isdigit() and len(level) < 3 else 1)
            case _:
                assembly.add("paragraph", source)
    return Extracted(assembly.text, assembly.blocks, _text(metadata.get("title")))


def _write_output(output: dict[str, Any], assembly: Assembly) -> None:
    data = _mapping(output.get("data")) or output
    if html := _text(data.get("text/html", data.get("html"))):
        write_fragment(html, assembly, RawFile(b""))
    elif text := _text(data.get("text/markdown")):
        assembly.add("paragraph", text)
    elif text := _text(data.get("text/plain", data.get("text"))):
        assembly.add("code", f"```\n{_ANSI.sub('', text).strip()}\n```")
    if output.get("output_type") in ("error", "pyerr"):
        trace = _text([f"{line}\n" for line in map(str, _list(output.get("traceback")))])
        assembly.code(_ANSI.sub("", trace or f"{output.get('ename')}: {output.get('evalue')}"))


def _text(value: Any) -> str:
    """Sources are a string or a list of lines."""
    if isinstance(value, list):
        return "".join(map(str, value))
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
