"""`braid tokens`: who may ask `braid serve`, and which documents they see."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from deployments.commands.common import JsonOption, emit, reported, stderr, stdout
from deployments.screen import local_time, plain_table
from deployments.setting_values import InvalidSettings
from deployments.settings import load_settings
from handlers.tags import read_tags

if TYPE_CHECKING:
    from deployments.service import Token, TokenFile

app = typer.Typer(no_args_is_help=True)


@app.command()
@reported
def add(
    name: Annotated[str, typer.Argument(help="A name for the token, such as that of its user.")],
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", "-t", metavar="NAME=VALUE", help="The token sees documents with this tag; may be repeated."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="The token sees all documents, runs and metrics.")
    ] = False,
    ingest: Annotated[
        bool, typer.Option("--ingest", help="The token may start ingestions and other pipelines too.")
    ] = False,
    days: Annotated[
        float | None, typer.Option(min=0, metavar="N", help="The number of days for which it is valid.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Make a token and print it; only its hash is kept.

    With the same tag several times, any of the values is enough; with several tags, a document needs all of them. All
    other documents do not exist for this token. Once there is a token, every caller needs one.

    Examples:

      braid tokens add ann --tag team=legal --tag team=support

      braid tokens add nightly --everything --ingest --days 90
    """
    if bool(tag) == everything:
        raise InvalidSettings(
            "choose the documents that the token sees: --tag NAME=VALUE for some documents, or --everything"
        )
    file = _token_file()
    secret = file.add(name, tags=read_tags(tag) if tag else None, may_ingest=ingest, days=days)
    if json_output:
        made = next(each for each in file.listed() if each.name == name and each.revoked is None)
        emit({**_json(made), "token": secret})
        return
    stdout().print(secret, markup=False)
    stderr().print("It is shown only this once. Send it as `Authorization: Bearer …`, or sign in with it.", style="dim")


@app.command("list")
@reported
def list_tokens(json_output: JsonOption = False) -> None:
    """List the tokens: the documents that each sees, its rights, and whether it is still valid.

    Examples:

      braid tokens list --json
    """
    found = _token_file().listed()
    if json_output:
        emit({"tokens": [_json(each) for each in found]})
        return
    if not found:
        stdout().print("No tokens: `braid serve` answers everybody on this machine, and no other machine.")
        return
    table = plain_table("id", "name", "sees", "may ingest", "made", "expires", "state")
    for each in found:
        state = _state(each)
        table.add_row(
            each.id,
            Text(each.name),
            Text(_sees(each)),
            "yes" if each.may_ingest else "",
            local_time(each.created),
            local_time(each.expires) if each.expires else "",
            Text(state, "green" if state == "valid" else "red"),
        )
    stdout().print(table)


@app.command()
@reported
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID|NAME", help="The token: its id or its name.")],
    json_output: JsonOption = False,
) -> None:
    """Make a token invalid at once, also on servers that are running.

    Examples:

      braid tokens revoke ann
    """
    revoked = _token_file().revoke(token)
    if json_output:
        emit({"revoked": revoked.id, "name": revoked.name})
    else:
        stdout().print(f"Revoked {revoked.name} ({revoked.id}).", markup=False)


def _token_file() -> "TokenFile":
    from deployments.service import TokenFile  # imports what a server needs

    return TokenFile(load_settings().tokens_file)


def _state(token: "Token") -> str:
    if token.revoked is not None:
        return "revoked"
    return "valid" if token.is_valid(time.time()) else "expired"


def _sees(token: "Token") -> str:
    if token.tags is None:
        return "everything"
    return ", ".join(f"{name}={' or '.join(values)}" for name, values in token.tags.items())


def _json(token: "Token") -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "tags": token.tags,
        "everything": token.tags is None,
        "may_ingest": token.may_ingest,
        "created": token.created,
        "expires": token.expires,
        "state": _state(token),
    }
