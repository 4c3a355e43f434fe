"""`braid new`: a pipeline or a handler to begin with, which passes all checks unchanged."""

import keyword
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.common import reported, stdout
from flows.errors import OrchestrationError

app = typer.Typer(no_args_is_help=True, help="Write a pipeline or a handler to begin with.")

_PIPELINE = """\
# yaml-language-server: $schema=pipeline.schema.json
# Check it: braid validate {path}    See it: braid plan {path}
# Run it:   braid run {path} -p text="A lighthouse at dawn"
name: {name}
description: One sentence about the result.
parameters:
  text: {{required: true, description: The text to begin with.}}
steps:
  - text_generation
  - parallel:
      id: drafts
      max_concurrency: 2
      branches:
        - {{handler: text_to_image, options: {{size: 512x512}}}}
        - text_to_speech
"""
_HANDLER = '''\
"""{words}: one sentence about the result of this step."""

from flows import Call, handler


@handler
def {name}(text: str, *, lowercase: bool = True, call: Call) -> dict[str, int]:
    """How often each word of the text occurs; positional parameters are fields, keyword-only ones options."""
    counts: dict[str, int] = {{}}
    for word in (text.lower() if lowercase else text).split():
        call.check_cancelled()
        counts[word] = counts.get(word, 0) + 1
    return counts
'''
_TEST = '''\
"""{words}: by itself, and as a step."""

from {module} import {name}
from flows import Call, pipeline, run


def test_{name}_counts_words() -> None:
    assert {name}("To be or not to be", call=Call()) == {{"to": 2, "be": 2, "or": 1, "not": 1}}


def test_{name}_is_a_step() -> None:
    result = run(pipeline("p", {name}), text="a b a")
    assert result.status == "succeeded", result.errors
    assert result["{name}"] == {{"a": 2, "b": 1}}
'''
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="In lower case, with underscores.")]


@app.command("pipeline")
@reported
def new_pipeline(
    name: NameArgument,
    folder: Annotated[Path, typer.Option(help="The folder for the file; BRAID_PIPELINES_DIRS must list it.")] = Path(
        "pipelines"
    ),
) -> None:
    """Write a pipeline to begin with: FOLDER/NAME.yaml."""
    path = folder / f"{_checked(name)}.yaml"
    _write({path: _PIPELINE.format(name=name, path=path)})


@app.command("handler")
@reported
def new_handler(
    name: NameArgument,
    folder: Annotated[
        Path, typer.Option(help="The package for the handler; BRAID_HANDLER_MODULES must list it.")
    ] = Path("handlers"),
    tests: Annotated[Path, typer.Option(help="The folder for its test.")] = Path("tests/unit/handlers"),
) -> None:
    """Write a handler to begin with, and its test: FOLDER/NAME.py and TESTS/test_NAME.py."""
    module = ".".join([*(part for part in folder.parts if part not in (".", "/")), _checked(name)])
    words = name.replace("_", " ").capitalize()
    if folder.is_absolute():
        raise OrchestrationError(f"{folder} is not a package below this folder; give a relative path, such as handlers")
    _write(
        {
            folder / f"{name}.py": _HANDLER.format(name=name, words=words),
            tests / f"test_{name}.py": _sorted_imports(_TEST.format(name=name, words=words, module=module), module),
        }
    )


def _sorted_imports(text: str, module: str) -> str:
    """The text with the import of the handler's module sorted in among the others."""
    lines = text.splitlines(keepends=True)
    mine = next(line for line in lines if line.startswith(f"from {module} "))
    others = [line for line in lines if line.startswith("from ") and line != mine]
    start = lines.index(next(line for line in lines if line.startswith("from ")))
    imports = sorted([mine, *others], key=lambda line: line.split()[1])
    return "".join([*lines[:start], *imports, *lines[start + len(imports) :]])


def _checked(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or name.startswith("_"):
        raise OrchestrationError(
            f"{name!r} cannot be the name; use lower case letters, digits and underscores, for example count_words"
        )
    return name


def _write(files: dict[Path, str]) -> None:
    """Write new files, all or none.

    Raises:
        OrchestrationError: one of them is there already; nothing is ever overwritten.
    """
    for path in files:
        if path.exists():
            raise OrchestrationError(f"{path} exists already; choose another name, or remove it")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        stdout().print(f"wrote {path}", markup=False)
