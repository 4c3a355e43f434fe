"""The answer of a server to the start of a run: parameters that do not fit, or a server that is busy."""

from typing import Any

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from deployments.catalog import load_catalog
from deployments.runs import Request
from deployments.server import triggering
from deployments.settings import Settings
from flows.model import InvalidParameters


class Client:
    """A client of a server that has every deployment."""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_deployment_by_name(self, name: str) -> None: ...


def start(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Start a run on a server that gives this answer."""
    request = httpx.Request("POST", "http://host/api/deployments/1/create_flow_run")
    response = httpx.Response(code, text="no", request=request)

    def answer(*_: Any, **__: Any) -> None:
        raise PrefectHTTPStatusError("no", request=request, response=response)

    monkeypatch.setattr(triggering, "get_client", lambda **_: Client())
    monkeypatch.setattr(triggering, "run_deployment", answer)
    triggering.trigger(Request(load_catalog(Settings()).find("search"), {"query": "tides"}))


@pytest.mark.parametrize("code", [400, 409, 422])
def test_parameters_that_do_not_fit_are_said_to_be_refused(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with pytest.raises(InvalidParameters, match="the server refuses these parameters: no"):
        start(monkeypatch, code)


def test_a_server_that_stays_busy_is_not_said_to_refuse_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(triggering.ServerTrouble, match="create_flow_run answers 503: no; it is busy, try again"):
        start(monkeypatch, 503)
