"""Run a search pipeline by direct calls, and check what it is given."""

from collections.abc import Mapping
from typing import Any

from deployments.catalog import Catalog
from deployments.runs.request import Request
from deployments.runs.run import run_pipeline
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from flows.author import RunResult
from flows.loaders import LoadedPipeline
from flows.model import InvalidParameters
from flows.state import Services


def run_search(
    loaded: LoadedPipeline,
    parameters: Mapping[str, Any],
    *,
    settings: Settings,
    catalog: Catalog,
    index: str,
    services: Services | None = None,
) -> RunResult:
    """The result of a search pipeline that is run by direct calls; nothing is recorded."""
    request = Request(loaded, parameters, index=index, engine="inline", recorded=False)
    return run_pipeline(request, settings=settings, catalog=catalog, services=services)


def checked_question(question: str) -> str:
    """The question, unless it is empty.

    Raises:
        InvalidParameters: it is empty.
    """
    if not question.strip():
        raise InvalidParameters("the question is empty")
    return question


def require_chat(settings: Settings) -> None:
    """Refuse to go on without a language model; the message names the settings.

    Raises:
        InvalidSettings: none is configured.
    """
    if not (settings.chat_model and settings.openai_base_url):
        from handlers.models import NOT_CONFIGURED

        raise InvalidSettings(NOT_CONFIGURED)
