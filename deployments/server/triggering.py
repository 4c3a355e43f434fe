"""Start a run of a deployment on the Prefect server."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from ruamel.yaml import YAML, YAMLError

from deployments.runs import Request
from deployments.server.connecting import server_trouble
from deployments.server.form import controls_of, form_values
from flows.errors import OrchestrationError, UnknownName, suggest
from flows.model import InvalidParameters, convert

_MISFITS = (400, 409, 422)
"""The answers of a server to parameters that do not fit."""


class NotDeployed(OrchestrationError, LookupError):
    """The pipeline has no deployment on this server."""


class ServerTrouble(OrchestrationError):
    """The server cannot start the run now."""


def read_flow_run(flow_run_id: str) -> FlowRun:
    """The current state of a run on the server.

    Raises:
        UnknownName: the server has no such run.
    """
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(flow_run_id))
    except (ObjectNotFound, ValueError) as error:
        raise UnknownName("flow run", flow_run_id, ()) from error


def trigger(request: Request, *, wait: bool = False) -> FlowRun:
    """Start a run of the pipeline's deployment and return it; with `wait`, after it has ended.

    Parameters may also be fields of the form, such as `dry_run`; texts are read as the types that are declared.

    Raises:
        InvalidParameters: the form has no such fields, or the server refuses their values.
        NotDeployed: the pipeline is not deployed there.
        ServerTrouble: the server cannot start it now.
    """
    values = form_values(_with_types(request))
    name = request.pipeline.name
    full_name = f"{name}/{name}"
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(full_name)
        except ObjectNotFound as error:
            raise NotDeployed(f"{name} is not deployed on this server; run `braid deploy {name}`") from error
    started: Any
    try:
        started = run_deployment(full_name, parameters=values, timeout=None if wait else 0, as_subflow=False)
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in _MISFITS:
            raise ServerTrouble(server_trouble(error) or str(error)) from error  # 503, for example: it stays busy
        raise InvalidParameters(f"the server refuses these parameters: {error.response.text}") from error
    return started


def _with_types(request: Request) -> Request:
    pipeline = request.pipeline
    controls = {control.name for control in controls_of(pipeline)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in request.parameters.items():
        declared = pipeline.parameters.get(name)
        if declared is None and name not in controls:
            known = [*pipeline.parameters, *controls]
            problems.append(f"{pipeline.name} has no parameter {name!r}{suggest(name, known)}")
            continue
        try:
            values[name] = convert(value, declared) if declared is not None else _scalar(value)
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}, not {value!r}")
    if problems:
        raise InvalidParameters("\n".join(problems))
    return replace(request, parameters=values)


def _scalar(value: Any) -> Any:
    """The text as a number, true, false or null, if it is one."""
    if not isinstance(value, str):
        return value
    try:
        read = YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        return value
    return read if isinstance(read, (bool, int, float)) or read is None else value
