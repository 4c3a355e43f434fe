"""MCP on standard input and output, for the program that started this process."""

import threading

from deployments.service.access import OWNER, Caller
from deployments.service.library import Library
from deployments.service.mcp_tools import make_mcp_server
from deployments.service.metrics import Metrics
from deployments.service.state import ServiceState
from deployments.service.tokens import TokenFile
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings


def serve_mcp(settings: Settings) -> None:
    """Answer until the input ends.

    Raises:
        InvalidSettings: BRAID_TOKEN is not a valid token.
        OrchestrationError: the package `mcp` is not installed.
    """
    caller = local_caller(settings)
    service = ServiceState(settings, Library(settings), TokenFile(settings.tokens_file), Metrics())
    server = make_mcp_server(service, lambda context: caller)
    # Load the model in the background, so that neither the handshake nor the first question waits for it.
    threading.Thread(target=service.library.warm.warm_up, daemon=True).start()
    try:
        server.run("stdio")
    finally:
        service.close()


def local_caller(settings: Settings) -> Caller:
    """The caller in this process: the owner of the token in BRAID_TOKEN, else the user of this machine.

    Raises:
        InvalidSettings: it is not a valid token.
    """
    if settings.token is None:
        return OWNER
    caller = TokenFile(settings.tokens_file).caller(settings.token.get_secret_value())
    if caller is None:
        raise InvalidSettings("BRAID_TOKEN is not a valid token; `braid tokens list` shows which are")
    return caller
