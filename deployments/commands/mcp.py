"""`braid mcp`: search, answers and documents for a program with a language model, on standard input and output."""

from deployments.commands.common import reported
from deployments.settings import load_settings


@reported
def mcp_command() -> None:
    """Serve MCP on standard input and output, for programs that start their servers themselves.

    It sees all documents, as the user of this machine does. With a token in BRAID_TOKEN, it sees the documents of
    that token.
    A running `braid serve` offers the same at /mcp.

    Examples:

      braid mcp

      BRAID_TOKEN=braid_… braid mcp
    """
    from deployments.service import serve_mcp  # imports what a server needs

    serve_mcp(load_settings())
