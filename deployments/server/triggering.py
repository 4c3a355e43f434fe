"""Start a run of a deployment on the Prefect server, with parameters as they are written on the command line."""

from collections.abc import Mapping
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from ruamel.yaml import YAML, YAMLError

from deployments.runs import InvalidParameters, convert
from deployments.server.deployed import controls_of
from flows.errors import OrchestrationError, suggest
from flows.model import Pipeline


def trigger(
    pipeline: Pipeline, given: Mapping[str, str], controls: Mapping[str, Any], *, wait: bool = False
) -> FlowRun:
    """A run of the pipeline's deployment; with `wait`, once it has ended.

    Raises:
        InvalidParameters: the pipeline has no such parameters, or the server refuses their values.
        OrchestrationError: the pipeline is not deployed there.
    """
    parameters = {name: value for name, value in controls.items() if value is not None}
    known = {control.name for control in controls_of(pipeline)}
    problems: list[str] = []
    for name, text in given.items():
        declared = pipeline.parameters.get(name)
        if declared is None and name not in known:
            problems.append(f"{pipeline.name} has no parameter {name!r}{suggest(name, [*pipeline.parameters, *known])}")
            continue
        try:
            parameters[name] = convert(text, declared) if declared is not None else _plain(text)
        except ValueError as error:
            problems.append(f"parameter {name!r} {error}, not {text!r}")
    if problems:
        raise InvalidParameters("\n".join(problems))
    full_name = f"{pipeline.name}/{pipeline.name}"
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(full_name)
        except ObjectNotFound as error:
            raise OrchestrationError(
                f"{pipeline.name} is not deployed on this server; do `braid deploy {pipeline.name}`"
            ) from error
    started: Any
    try:
        started = run_deployment(full_name, parameters=parameters, timeout=None if wait else 0, as_subflow=False)
    except PrefectHTTPStatusError as error:
        raise InvalidParameters(f"the server refuses these parameters: {error.response.text}") from error
    return started


def _plain(text: str) -> Any:
    """A number, true, false or null where the text is one."""
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text
    return value if isinstance(value, (bool, int, float)) or value is None else text
