"""Run the service on an address, in one process or in several."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from typing import Any

from deployments.nearby import announced, own_credential
from deployments.service.guards import is_loopback
from deployments.service.metrics import MULTIPROCESS
from deployments.service.tokens import TokenFile
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings, load_settings
from flows.errors import OrchestrationError

_KEEP_ALIVE_S, _STOP_S = 20, 10
_MOST_CONNECTIONS = 1000
_HOST = "_BRAID_SERVED_HOST"
"""The environment variable that passes the address to several worker processes; not a setting."""


def serve(
    settings: Settings, *, host: str, port: int, workers: int, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serve until a signal arrives; `on_ready` is called with the address as soon as it is known to be free.

    Raises:
        InvalidSettings: the address is not a loopback address, and there are no tokens.
        OrchestrationError: the port is taken.
    """
    if not is_loopback(host) and not TokenFile(settings.tokens_file).in_use():
        raise InvalidSettings(
            f"on {host} others can reach this server, and there are no tokens: make one with `braid tokens add NAME`, "
            "or serve on 127.0.0.1"
        )
    import uvicorn

    port = _free_port(host, port)
    folder = tempfile.mkdtemp(prefix="braid-metrics-") if workers > 1 else None
    os.environ |= {_HOST: host} | ({MULTIPROCESS: folder} if folder is not None else {})
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    on_ready(url)
    try:
        with announced(settings, url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")):
            uvicorn.run(
                "deployments.service.serving:make_served_app",
                factory=True,
                host=host,
                port=port,
                workers=workers,
                access_log=False,
                log_config=None,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_STOP_S,
                limit_concurrency=_MOST_CONNECTIONS,
                server_header=False,
            )
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def make_served_app() -> Any:
    """The application, made in each process that serves it, from the settings in the environment."""
    from deployments.service.app import make_app

    _log_to_stderr()
    settings = load_settings()
    return make_app(settings, bind=os.environ[_HOST], credential=own_credential(settings))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in {"deployments": logging.INFO, "uvicorn": logging.WARNING, "mcp": logging.WARNING}.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _free_port(host: str, port: int) -> int:
    """The port, or for 0 a free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OrchestrationError(
                f"port {port} of {host} cannot be used: {error.strerror or error}; choose one with --port"
            ) from error
        return int(probe.getsockname()[1])
