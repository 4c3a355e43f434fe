"""Connect to the Prefect server: the one in Prefect's settings, else the one that `braid up` runs."""

import os
import time
from typing import TYPE_CHECKING

from deployments.environment import set_prefect_defaults
from deployments.server.local import SIGNS_OF_LIFE, running_url
from deployments.settings import Settings
from flows.errors import OrchestrationError

if TYPE_CHECKING:
    import httpx

_BUSY = (429, 502, 503, 504)
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to reach a busy server; Prefect's own client also tries five times afterwards."""
_REFUSED = (401, 403)


def connect(settings: Settings) -> str:
    """Make Prefect's clients in this process use the server; return the URL of its API.

    Raises:
        OrchestrationError: no server is set and none of ours runs, it does not answer, or it refuses the login.
    """
    set_prefect_defaults()
    local = running_url(settings.home / "server")
    if local is not None and os.environ.get("PREFECT_API_URL", "") in ("", local):
        os.environ.update({"PREFECT_API_URL": local, **{n: os.environ.get(n, v) for n, v in SIGNS_OF_LIFE.items()}})
    from prefect.settings import PREFECT_API_URL  # a Prefect profile may set it

    url = PREFECT_API_URL.value()
    if not url:
        raise OrchestrationError(
            "no Prefect server is known: start one with `braid up`, or set PREFECT_API_URL, for example to "
            "http://127.0.0.1:4200/api"
        )
    import httpx

    try:
        health = _ask(f"{url}/health", {})
        # The health check needs no login, but this request does.
        login = health if health.status_code in _REFUSED else _ask(f"{url}/admin/version", _login())
    except httpx.HTTPError as error:
        raise OrchestrationError(
            f"the Prefect server {url} does not answer ({error}); start it, or correct PREFECT_API_URL"
        ) from error
    if login.status_code in _REFUSED:
        raise OrchestrationError(_refusal(url, login.status_code))
    if health.is_error:
        raise OrchestrationError(f"the Prefect server {url} answers {health.status_code}; see its log, and try again")
    return str(url)


def server_trouble(error: Exception) -> str | None:
    """A server's answer, or the fact that it did not answer, in one line; None for an error of another kind."""
    if not any(each.__module__.partition(".")[0] == "httpx" for each in type(error).__mro__):
        return None
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        code, url = error.response.status_code, error.request.url
        if code in _REFUSED:
            return _refusal(f"{url.scheme}://{url.netloc.decode()}", code)
        detail = " ".join(error.response.text.split())[:300]
        return f"{url} answers {code}: {detail}" + ("; it is busy, try again" if code in _BUSY else "")
    request = getattr(error, "_request", None)
    where = f"{request.url} does not answer" if request is not None else "a server does not answer"
    return f"{where} ({error or type(error).__name__}); is it running? `braid doctor` checks it"


def _ask(url: str, headers: dict[str, str]) -> "httpx.Response":
    """The answer of a server, with retries while it is busy."""
    import httpx

    for pause_s in _PAUSES_S:
        answer = httpx.get(url, headers=headers, timeout=10)
        if answer.status_code not in _BUSY:
            return answer
        time.sleep(pause_s)
    return httpx.get(url, headers=headers, timeout=10)


def _login() -> dict[str, str]:
    """The header with which Prefect's clients log in, from its settings."""
    import base64

    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY

    login, key = PREFECT_API_AUTH_STRING.value(), PREFECT_API_KEY.value()
    if login:
        return {"Authorization": f"Basic {base64.b64encode(str(login).encode()).decode()}"}
    return {"Authorization": f"Bearer {key}"} if key else {}


def _refusal(url: str, code: int) -> str:
    given = [name for name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY") if os.environ.get(name)]
    if given:
        return f"the Prefect server {url} rejects {given[0]} ({code}): correct it, here and for its workers"
    return (
        f"the Prefect server {url} asks for a login ({code}): set PREFECT_API_AUTH_STRING to USER:PASSWORD, or "
        "PREFECT_API_KEY if it is Prefect Cloud, here and for its workers"
    )
