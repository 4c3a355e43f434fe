"""`braid serve`: answers over HTTP, MCP and on a page, until Ctrl-C."""

from typing import Annotated

import typer

from deployments.commands.common import reported, stdout
from deployments.settings import SERVE_PORT, load_settings


@reported
def serve_command(
    host: Annotated[str, typer.Option(help="The address to listen on; any but loopback needs tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 chooses a free one.")] = SERVE_PORT,
    workers: Annotated[int, typer.Option("--workers", min=1, metavar="N", help="The number of server processes.")] = 1,
) -> None:
    """Serve search, answers and documents over HTTP, MCP and as a page; models and indexes stay loaded.

    On 127.0.0.1, no tokens are needed until one is made. The tags of a token decide which documents it sees:
    see `braid tokens`.

    Examples:

      braid serve

      braid serve --port 8080 --workers 4

      braid tokens add colleagues --tag team=support && braid serve --host 0.0.0.0
    """
    from deployments.service import serve  # imports what a server needs

    def announce(url: str) -> None:
        stdout().print(
            f"Braid is at [bold]{url}[/bold]\n"
            f"  REST    {url}/docs\n"
            f"  MCP     {url}/mcp\n"
            f"  health  {url}/ready, {url}/metrics\n"
            "Ctrl-C stops it."
        )

    serve(load_settings(), host=host, port=port, workers=workers, on_ready=announce)
