"""The state that all requests to one process of the service share."""

import os
from dataclasses import dataclass, field

from starlette.requests import Request

from deployments.server.local import running_url
from deployments.service.access import Caller
from deployments.service.calls import CallPool
from deployments.service.guards import RateLimit
from deployments.service.library import Library, View
from deployments.service.metrics import Metrics
from deployments.service.tokens import TokenFile
from deployments.settings import Settings

ASK_TIMEOUT_S = 300.0
"""A longer time limit, since language models are slow but stream their answers."""
_ASKING = 16
_WRONG_TOKENS = 20
"""As many may be sent per minute from one address."""


@dataclass
class ServiceState:
    """The library, the pools that its calls run in, and whether it is ready."""

    settings: Settings
    library: Library
    tokens: TokenFile
    metrics: Metrics
    ready: bool = False
    searching: CallPool = field(init=False)
    asking: CallPool = field(init=False)
    wrong_tokens: RateLimit = field(init=False)
    """The limit for each address. Valid tokens are still accepted, because all callers may share a proxy's address."""

    def __post_init__(self) -> None:
        # More threads than cores would slow all of them down, since a search is bound by computation.
        cores = os.cpu_count() or 1
        self.searching = CallPool(
            "search", max(2, cores), timeout_s=self.settings.serve_timeout_s, metrics=self.metrics
        )
        self.wrong_tokens = RateLimit(min(_WRONG_TOKENS, self.settings.serve_rate), of="wrong tokens")
        self.asking = CallPool("ask", _ASKING, timeout_s=ASK_TIMEOUT_S, metrics=self.metrics)

    @property
    def prefect_ui(self) -> str | None:
        """The address of Prefect's UI, if it is known without a request."""
        local = running_url(self.settings.home / "server")
        url = os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL") or local
        return url.removesuffix("/").removesuffix("/api") if url else None

    def close(self) -> None:
        self.searching.close()
        self.asking.close()
        self.library.close()


def service_of(request: Request) -> ServiceState:
    return request.app.state.service


def caller_of(request: Request) -> Caller:
    """The caller, as identified by the gate."""
    return request.scope["state"]["caller"]


def view_of(request: Request) -> View:
    """The caller's view of the library."""
    return service_of(request).library.seen_by(caller_of(request))
