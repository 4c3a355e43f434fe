"""Connect to the Prefect server: the one in Prefect's settings, else the one that `braid up` runs."""

import os

from deployments.environment import set_prefect_defaults
from deployments.server.local import SIGNS_OF_LIFE, running_url
from deployments.settings import Settings
from flows.errors import OrchestrationError


def connect(settings: Settings) -> str:
    """Make Prefect's clients in this process talk to the server; returns the URL of its API.

    Raises:
        OrchestrationError: no server is set and none of ours runs, or it does not answer.
    """
    set_prefect_defaults()
    local = running_url(settings.home / "server")
    if local is not None and os.environ.get("PREFECT_API_URL", "") in ("", local):
        os.environ.update({"PREFECT_API_URL": local, **{n: os.environ.get(n, v) for n, v in SIGNS_OF_LIFE.items()}})
    import httpx
    from prefect.settings import PREFECT_API_URL  # a profile may set it

    url = PREFECT_API_URL.value()
    if not url:
        raise OrchestrationError(
            "no Prefect server is known: start one with `braid up`, or set PREFECT_API_URL, for example to "
            "http://127.0.0.1:4200/api"
        )
    try:
        httpx.get(f"{url}/health", timeout=10).raise_for_status()
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (401, 403):  # the client reports that our key is wrong
            raise OrchestrationError(f"the Prefect server {url} answers {error.response.status_code}") from error
    except httpx.HTTPError as error:
        raise OrchestrationError(
            f"the Prefect server {url} does not answer ({error}); start it, or correct PREFECT_API_URL"
        ) from error
    return str(url)
