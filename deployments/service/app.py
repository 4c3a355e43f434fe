"""The whole service as one ASGI application: REST, MCP, pages, and the gate in front of them."""

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from deployments.service import health, pages, rest, rest_runs
from deployments.service.gate import Gate, problem_response
from deployments.service.guards import HostCheck, RateLimit, is_loopback
from deployments.service.library import Library
from deployments.service.mcp_tools import MISSING, caller_of_request, make_mcp_server
from deployments.service.metrics import Metrics
from deployments.service.problems import NotHere, problem_of
from deployments.service.rendering import STATIC, render
from deployments.service.state import ServiceState
from deployments.service.tokens import TokenFile
from deployments.service.uploads import most_bytes
from deployments.settings import Settings
from flows.errors import OrchestrationError
from flows.model import InvalidParameters

logger = logging.getLogger(__name__)
_DESCRIPTION = "Search, ask and read the ingested documents; start ingestions and other pipelines, and follow them."


def make_app(
    settings: Settings, *, bind: str = "127.0.0.1", warm_up: bool = True, credential: str | None = None
) -> Gate:
    """The service for an address; when it stops, it closes everything that it opened.

    A caller with the `credential` is the user of this machine. If `bind` is not a loopback address, every caller needs
    a token, even before the first token exists.
    """
    tokens, metrics = TokenFile(settings.tokens_file), Metrics()
    service = ServiceState(settings, Library(settings), tokens, metrics)

    mcp = _mcp(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(service.close)
            if mcp is not None:
                await stack.enter_async_context(mcp.session_manager.run())
            warming = asyncio.create_task(_warm(service)) if warm_up else None
            yield
            if warming is not None:
                warming.cancel()

    app = FastAPI(
        title="Braid", description=_DESCRIPTION, version="1", docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.service = service
    for router in (health.router, rest.router, rest_runs.router, pages.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    if mcp is not None:
        app.router.routes.extend(_mcp_routes(mcp))
    _report_problems(app)
    return Gate(
        app,
        tokens=tokens,
        needs_token=not is_loopback(bind),
        credential=credential,
        hosts=HostCheck(bind, settings.serve_hosts),
        rate=RateLimit(settings.serve_rate),
        metrics=metrics,
        most_upload=most_bytes(settings),
    )


def _mcp(service: ServiceState) -> Any:
    if importlib.util.find_spec("mcp") is None:
        logger.warning("/mcp is not served: %s", MISSING)
        return None
    return make_mcp_server(service, caller_of_request)


def _mcp_routes(server: Any) -> Any:
    """The routes of MCP over HTTP. Calls are stateless, so that any of several processes can answer them."""
    from mcp.server.transport_security import TransportSecuritySettings

    ours = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # the gate has checked it already
    made = server.streamable_http_app(
        streamable_http_path="/mcp", stateless_http=True, json_response=True, transport_security=ours
    )
    return made.routes


async def _warm(service: ServiceState) -> None:
    try:
        await asyncio.to_thread(service.library.warm.warm_up)
    except OrchestrationError as error:
        logger.error("not ready: %s", error)
        return
    service.ready = True


def _report_problems(app: FastAPI) -> None:
    def ours(request: Request, error: Exception) -> Response:
        path = request.url.path
        if path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
            return problem_response(error, path)
        problem = problem_of(error)
        return render(request, "problem.html", status=problem.status, problem=problem)

    def invalid(request: Request, error: Any) -> Response:
        found = [f"{'.'.join(map(str, each['loc'][1:])) or each['loc'][0]}: {each['msg']}" for each in error.errors()]
        return problem_response(InvalidParameters("; ".join(found)), request.url.path)

    def http(request: Request, error: Any) -> Response:
        if error.status_code == 404:
            return ours(request, NotHere(f"nothing is at {request.url.path}"))
        if isinstance(error.__cause__, OrchestrationError):  # an error while the body was read
            return problem_response(error.__cause__, request.url.path)
        return problem_response(InvalidParameters(error.detail), request.url.path, status=error.status_code)

    app.add_exception_handler(OrchestrationError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, ours)
