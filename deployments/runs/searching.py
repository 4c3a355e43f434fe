"""Run search pipelines by direct calls, each planned once, and check their inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.catalog import Catalog
from deployments.runs.preparing import plan_request
from deployments.runs.request import Request
from deployments.runs.run import run_pipeline
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from flows.author import RunResult
from flows.model import InvalidParameters
from flows.planning import Plan
from flows.state import Services


@dataclass
class Searches:
    """The search pipelines of a catalog, run by direct calls; nothing is recorded. Safe to use from several threads."""

    settings: Settings
    catalog: Catalog
    _plans: dict[tuple[str, frozenset[str]], Plan] = field(default_factory=dict[tuple[str, frozenset[str]], Plan])
    """Plans by pipeline and names of the given fields, since a plan does not depend on the fields' values."""

    def run(
        self, pipeline: str, parameters: Mapping[str, Any], *, index: str, services: Services | None = None
    ) -> RunResult:
        """The result of one question; the first question with the same fields makes the plan for all.

        Raises:
            OrchestrationError: the run cannot start: its parameters, its pipeline, or its settings are wrong.
        """
        request = Request(self.catalog.find(pipeline), parameters, index=index, engine="inline", recorded=False)
        return run_pipeline(
            request, settings=self.settings, catalog=self.catalog, services=services, plan_of=self._plan_of
        )

    def _plan_of(self, request: Request, given: Mapping[str, Any]) -> Plan:
        kind = request.pipeline.name, frozenset(given)
        known = self._plans.get(kind)
        if known is None:
            known = plan_request(request, settings=self.settings, catalog=self.catalog, given=given)
            self._plans[kind] = known
        return known


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
