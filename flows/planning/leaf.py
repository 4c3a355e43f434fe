"""A handler step in a plan: its reads, writes, resources and options, checked against the handler's declaration."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from pydantic import ValidationError

from flows.author import EXPECTATIONS, HandlerSpec, StepDeclaration
from flows.errors import OrchestrationError, UnknownName, suggest
from flows.model import SHARE_SET_ASIDE, Expectation, Handler, Retry, check_expression, template_names
from flows.planning.draft import PlanDraft
from flows.planning.plan import Access, Leaf

PROVIDER_OPTIONS = "provider_options"
"""The option that receives unknown options, in handlers that pass them on."""


def plan_leaf(draft: PlanDraft, step: Handler, spec: HandlerSpec, path: str) -> Leaf:
    """The node of a step that calls `spec`; problems with the step are noted in `planning`."""
    step = step.model_copy(update={"options": draft.resolved(step.options, path, "options")})
    draft.specs[spec.name] = spec
    declared = _step_declaration(draft, step, spec, path)
    if declared is not None:
        version = f"{spec.version}+{declared.version}" if declared.version else spec.version
        spec = replace(spec, reads=declared.reads, writes=declared.writes, effects=declared.effects, version=version)
    names = [read.name for read in spec.reads or ()]
    for parameter in step.reads:
        if spec.reads is not None and parameter not in names:
            draft.problem(
                path,
                "unknown-read",
                f"{spec.name} does not read {parameter!r}{suggest(parameter, names)}",
                "reads",
                parameter,
            )
    for write in step.writes:
        if spec.writes is not None and write not in spec.writes:
            draft.problem(
                path,
                "unknown-write",
                f"{spec.name} does not write {write!r}{suggest(write, spec.writes)}",
                "writes",
                write,
            )
    step = _passing_on(draft, step, spec, path)
    _check_options(draft, step, spec, path)
    uses = tuple(dict.fromkeys((*spec.uses, *step.uses)))
    draft.used.update(uses)
    for resource in uses:
        known = sorted({*draft.pipeline.resources, *draft.overrides.resources})
        if resource not in known:
            by = "" if resource in step.uses else f" (every {spec.name} uses it)"
            draft.problem(
                path,
                "unknown-resource",
                f"no resource named {resource!r}{by}{suggest(resource, known)}; define "
                f"it here, `resources: {{{resource}: {{concurrency: 2}}}}`, or for all runs in BRAID_RESOURCES",
                "uses",
            )
    reads = {name: step.reads.get(name, name) for name in names}
    writes = {name: step.writes.get(name, name) for name in spec.writes or ()}
    access = Access(
        reads=frozenset(reads.values()) | template_names(step.options),
        writes=frozenset(writes.values()),
        effects=frozenset(spec.effects or ()),
        known=spec.reads is not None and spec.writes is not None,
        effects_known=spec.effects is not None,
    )
    common, retry = draft.common(step, path, spec.name, access), step.retry or draft.pipeline.retry
    draft.scope.steps[step.handler] = draft.scope.steps[step.id or common["id"]] = (writes, access)
    if declared is not None:
        common["timeout_s"] = step.timeout_s or declared.timeout_s
        if retry is None and declared.max_attempts is not None:
            retry = Retry(max_attempts=declared.max_attempts)
    return Leaf(
        **common,
        spec=spec,
        options=dict(step.options),
        reads=reads,
        writes=writes,
        retry=retry or Retry(),
        uses=uses,
        expected_tokens=step.expected_tokens,
        expect=_checked_expectation(draft, step, spec, writes, path),
    )


def _checked_expectation(
    draft: PlanDraft, step: Handler, spec: HandlerSpec, writes: Mapping[str, str], path: str
) -> Expectation | None:
    """The expectation of the step; a name in it that the step does not write is noted as a problem."""
    if step.expect is None:
        return None
    known = [*writes.values(), SHARE_SET_ASIDE]
    for name in step.expect.fields:
        if spec.writes is not None and name not in known:
            message = (
                f"{spec.name} does not write {name!r}{suggest(name, known)}; `expect` checks the "
                "fields that the step writes"
            )
            draft.problem(path, "unknown-write", message, "expect", name)
    if step.expect.check is not None and step.expect.check not in EXPECTATIONS:
        message = (
            f"no expectation is registered as {step.expect.check!r}{suggest(step.expect.check, list(EXPECTATIONS))}"
        )
        draft.problem(path, "unknown-expectation", message, "expect", "check")
    return step.expect


def _step_declaration(draft: PlanDraft, step: Handler, spec: HandlerSpec, path: str) -> StepDeclaration | None:
    """The declaration that a handler's `declares` makes from the step's options; None if it has none or refuses the
    options.
    """
    if spec.declares is None:
        return None
    try:
        return spec.declares(step.options)
    except UnknownName as error:
        draft.problem(path, f"unknown-{error.kind.replace(' ', '-')}", str(error))
    except OrchestrationError as error:
        draft.problem(path, "bad-option", f"{spec.name}: {error}")
    return None


def _passing_on(draft: PlanDraft, step: Handler, spec: HandlerSpec, path: str) -> Handler:
    """The step, with its unknown options moved to those that the handler passes on to its provider."""
    known = [name for name in spec.options.model_fields if name != PROVIDER_OPTIONS]
    if PROVIDER_OPTIONS not in spec.options.model_fields:
        return step
    own = step.options.get(PROVIDER_OPTIONS)
    unknown = {
        name: value
        for name, value in step.options.items()
        if name not in spec.options.model_fields and not get_close_matches(name, known, n=1, cutoff=0.8)
    }
    if not unknown or not isinstance(own, (Mapping, type(None))):
        return step
    message = f"passed on to the provider as they are: {', '.join(unknown)}; {spec.name} does not know them"
    draft.problem(path, "provider-option", message, "options", next(iter(unknown)), level="warning")
    kept = {name: value for name, value in step.options.items() if name not in unknown}
    return step.model_copy(update={"options": {**kept, PROVIDER_OPTIONS: {**(own or {}), **unknown}}})


def _check_options(draft: PlanDraft, step: Handler, spec: HandlerSpec, path: str) -> None:
    templated = {name for name, value in step.options.items() if template_names(value) or "{{" in str(value)}
    templated |= {name for name in step.options if (path, name) in draft.refused}
    try:
        spec.options.model_validate(dict(step.options))
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            name = str(error["loc"][0]) if error["loc"] else ""
            if name in templated:
                continue
            known = list(spec.options.model_fields)
            if error["type"] == "extra_forbidden":
                draft.problem(
                    path, "unknown-option", f"{spec.name} has no option {name!r}{suggest(name, known)}", "options", name
                )
            elif error["type"] == "missing":
                draft.problem(path, "missing-option", f"{spec.name} needs the option {name!r}", "options")
            else:
                where = ".".join(str(part) for part in error["loc"])
                draft.problem(
                    path,
                    "bad-option",
                    f"option {where!r} of {spec.name}: {error['msg']}",
                    "options",
                    *map(str, error["loc"]),
                )
    for name, value in step.options.items():
        if isinstance(value, str) and "{{" in value:
            syntax_error = check_expression(value)
            if syntax_error:
                draft.problem(path, "bad-expression", syntax_error, "options", name)
