"""The gate: identifies the caller of every request or answers with a problem; it never logs contents of requests."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response

from deployments.service.access import OWNER, Caller, Unknown
from deployments.service.guards import HostCheck, RateLimit, address_in, limited_body
from deployments.service.metrics import Metrics
from deployments.service.problems import MEDIA_TYPE, UploadsOff, problem_of
from deployments.service.tokens import TokenFile
from flows.errors import OrchestrationError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COOKIE = "braid_token"
SIGN_IN = "/sign-in"
logger = logging.getLogger(__name__)
_OPEN = ("/health", "/ready", "/static/", SIGN_IN)
"""Addresses without authentication; they contain no data of documents."""
_PROBES = ("/health", "/ready")
"""Addresses that orchestrators and load balancers call by the IP address of the machine, whatever its name."""
_MOST_BODY = 1_000_000
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Gate:
    """ASGI middleware around the whole service."""

    def __init__(
        self,
        app: Any,
        *,
        tokens: TokenFile,
        needs_token: bool,
        credential: str | None,
        hosts: HostCheck,
        rate: RateLimit,
        metrics: Metrics,
        most_upload: int,
    ) -> None:
        self.service = app.state.service
        self.app, self._tokens, self._needs_token, self._credential = app, tokens, needs_token, credential
        self._hosts, self._rate, self._metrics, self._most_upload = hosts, rate, metrics, most_upload

    def running(self) -> AbstractAsyncContextManager[Any]:
        """Runs the start and the end of the service around a block, for use without a server."""
        return self.app.router.lifespan_context(self.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # WebSocket is not supported
            await send({"type": "websocket.close", "code": 1008})
            return
        began, status, started = time.perf_counter(), 500, False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                kept = scope["path"].startswith("/static/") and status == 200
                headers.setdefault("Cache-Control", "max-age=31536000, immutable" if kept else "private, no-store")
            await send(message)

        try:
            response = await self._admitted(scope, receive, sending)
            if response is not None:
                await response(scope, receive, sending)
        except OrchestrationError as error:  # an error while the body was read
            if started:
                raise
            await problem_response(error, scope["path"])(scope, receive, sending)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Pass the request on, or return the answer that refuses it."""
        headers, path = Headers(scope=scope), scope["path"]
        try:
            if path not in _PROBES:
                self._hosts.check(scope["method"], headers)
            secret = _secret(headers)
            caller, address = self._caller(secret), address_in(scope)
            self._rate.check(caller.name if caller is not None and self._needs_tokens() else address)
            if caller is None and not path.startswith(_OPEN):
                if secret:
                    self.service.wrong_tokens.check(address)
                raise Unknown("this server requires a valid token")
            is_upload = scope["method"] == "PUT"
            if is_upload and not self._most_upload:
                raise UploadsOff("uploads are off on this server")
            limited = limited_body(receive, headers, self._most_upload if is_upload else _MOST_BODY)
        except OrchestrationError as error:
            if isinstance(error, Unknown) and "text/html" in headers.get("accept", ""):
                return RedirectResponse(f"{SIGN_IN}?next={quote(_with_query(scope))}", status_code=303)
            return problem_response(error, path)
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, limited, send)
        return None

    def _caller(self, secret: str) -> Caller | None:
        if not self._needs_tokens():
            return OWNER
        if self._credential is not None and compare_digest(secret.encode(), self._credential.encode()):
            return OWNER
        return self._tokens.caller(secret) if secret else None

    def _needs_tokens(self) -> bool:
        return self._needs_token or self._tokens.in_use()

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        caller = scope.get("state", {}).get("caller")
        self._metrics.request(scope["method"], route, status, seconds)
        # Only the pattern of the route, so that names of documents and questions stay out of logs.
        logger.info(
            "%s %s %d in %.0f ms for %s", scope["method"], route, status, seconds * 1000, caller.name if caller else "-"
        )


def problem_response(error: Exception, path: str, *, status: int | None = None) -> Response:
    """The response with the problem details of an error; `status` overrides the default status of the error."""
    problem = problem_of(error)
    problem = problem if status is None else replace(problem, status=status)
    return JSONResponse(
        problem.document(path), status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def _secret(headers: Headers) -> str:
    """The token or credential of a request; empty if it has none."""
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    return (sent if scheme.lower() == "bearer" else _cookie(headers)).strip()


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _with_query(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else scope["path"]
