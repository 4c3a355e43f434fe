"""`skill`: a language model, a registered function, a query or a service, declared in a skill file or in the step."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from flows.author import Call, ReadParameter, StepDeclaration, handler
from flows.errors import FatalError, MissingRead, TransientError
from flows.model import render, template_names
from flows.state import Context, fingerprint
from handlers.data.functions import call_named_function, named_inputs, output_names, pick_outputs
from handlers.data.query import QueryLimits, SourceQuery, declare_query, run_query
from handlers.data.references import resolve
from handlers.data.rest import RestRequest
from handlers.data.skills import Skill, check_skill, skill_named
from handlers.data.structured import AnswerForm, InvalidOutput, answer_form
from handlers.models import NOT_CONFIGURED, Chat, Completion
from handlers.options import Options, spread

ATTEMPTS = 3
"""How often a language model is asked by default, including answers of the wrong form."""


def declare_skill(options: Mapping[str, Any]) -> StepDeclaration:
    """The step reads the inputs and the required fields, and writes `output` or the products."""
    chosen = _chosen_skill(options)
    if chosen is None:
        return StepDeclaration()
    check_skill(chosen)
    inputs = named_inputs(options.get("inputs"))
    fields = {**inputs, **{name: name for name in (*chosen.requires, *chosen.optional) if name not in inputs}}
    required = {*inputs, *chosen.requires}
    reads = tuple(ReadParameter(field, name in required, Any) for name, field in fields.items())
    produces = (*chosen.produces, *chosen.optional_produces)
    output = options.get("output")
    if isinstance(output, (list, tuple)):
        missing = [name for name in cast("Sequence[Any]", output) if name not in produces]
        if missing:
            raise FatalError(f"skill {chosen.name!r} produces no {missing[0]!r}; it produces: {', '.join(produces)}")
    writes = output_names(output) or produces
    action = chosen.action
    version = fingerprint(chosen.model_dump(exclude={"file"}))[:16] if options.get("skill") is not None else ""
    if action is not None:
        effects: tuple[str, ...] = () if action.type != "http_call" else _effects(action.request)
        return StepDeclaration(reads, writes, effects, action.timeout, action.retry + 1, version)
    if chosen.rest is not None:
        return StepDeclaration(reads, writes, _effects(chosen.rest), version=version)
    return StepDeclaration(reads, writes, (), None, ATTEMPTS, version)


def _effects(request: RestRequest | None) -> tuple[str, ...]:
    return ("source.rest",) if request is not None and request.method == "POST" else ()


def _chosen_skill(options: Mapping[str, Any]) -> Skill | None:
    name = options.get("skill")
    if name is not None and options.get("prompt") is not None:
        raise FatalError("a step has either `skill`, the name of a skill, or a `prompt` of its own")
    if name is not None:
        return skill_named(str(name))
    if options.get("prompt") is None:
        return None
    output = output_names(options.get("output"))
    if not output:
        raise FatalError("a step with a `prompt` of its own needs `output`, the field that gets the answer")
    return Skill(
        name="prompt",
        prompt=str(options["prompt"]),
        system_prompt=str(options.get("system_prompt") or ""),
        produces=output,
        output_model=options.get("output_model"),
        output_schema=options.get("output_schema"),
    )


@dataclass(frozen=True)
class StepPrompt(Options):
    """The step's own prompt instead of a skill file."""

    prompt: Any = None
    system_prompt: str | None = None
    output_model: str | None = None
    output_schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class ModelOptions(Options):
    """The options for asking a language model; they override those of the skill."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    invalid_attempts: int = ATTEMPTS
    timeout_s: float = 120.0


@handler(declares=declare_skill)
@spread
def skill(
    context: Context,
    *,
    skill: str | None = None,
    inputs: list[str] | dict[str, str] | None = None,
    output: str | list[str] | None = None,
    own: StepPrompt,
    asking: ModelOptions,
    call: Call,
) -> dict[str, Any]:
    """The products of a skill: each as its own field, or all under `output`.

    `skill` names a skill file; `prompt` is the step's own prompt, in which `{{ field }}` is filled in. If an answer
    does not have the declared form, the model is asked again, `invalid_attempts` times in all.
    """
    chosen = _chosen_skill({"skill": skill, "output": output, **asdict(own)})
    if chosen is None:
        raise FatalError("a skill step needs `skill`, the name of a skill, or a `prompt` of its own")
    values = _input_values(context, chosen, inputs, call)
    if chosen.executor != "llm":
        return _under_names(_act(chosen, values, call, asking.timeout_s), chosen, output)
    form = answer_form(chosen.output_model, chosen.output_schema, chosen.produces, chosen.optional_produces)
    # The engine has already filled in a step's own prompt. Filling it in again would evaluate templates inside the
    # data.
    templates = chosen if skill is not None else None
    if "chat" not in call.services:
        raise FatalError(NOT_CONFIGURED)
    completion = cast("Chat", call.services["chat"]).complete(
        _messages(chosen, templates, values),
        model=asking.model or chosen.model,
        schema=form.schema if form is not None else None,
        max_tokens=asking.max_tokens or chosen.max_tokens,
        temperature=asking.temperature if asking.temperature is not None else chosen.temperature,
        timeout_s=asking.timeout_s,
    )
    call.report_cost(completion.model, input_tokens=completion.input_tokens, output_tokens=completion.output_tokens)
    try:
        answer = _read_answer(completion, form)
    except InvalidOutput as error:
        text = f"skill {chosen.name!r}, attempt {call.attempt} of {asking.invalid_attempts}: {error}"
        if call.attempt >= asking.invalid_attempts:
            raise FatalError(text) from None
        raise TransientError(text) from None
    return _under_names(answer, chosen, output, form)


def _input_values(context: Context, skill: Skill, inputs: Any, call: Call) -> dict[str, Any]:
    names = named_inputs(inputs)
    fields = {**names, **{name: name for name in (*skill.requires, *skill.optional) if name not in names}}
    missing = [
        field
        for name, field in fields.items()
        if field not in context.data and (name in names or name not in skill.optional)
    ]
    if missing:
        raise MissingRead(f"skill {skill.name!r} reads the field {missing[0]!r}, which no step has written")
    return {name: resolve(context.data[field], call) for name, field in fields.items() if field in context.data}


def _messages(skill: Skill, templates: Skill | None, values: Mapping[str, Any]) -> list[dict[str, str]]:
    shown = {name: _json_ready(value) for name, value in values.items()}
    system = str(_as_text(render(skill.system_prompt, shown) if templates else skill.system_prompt))
    user = _as_text(render(skill.prompt, shown) if templates else skill.prompt)
    mentioned = template_names([skill.prompt, skill.system_prompt]) if templates else frozenset[str]()
    for name, value in shown.items():
        if name not in mentioned:
            user += f"\n\n{name}:\n{_as_text(value)}"
    messages = [{"role": "system", "content": system}] if system else []
    return [*messages, {"role": "user", "content": user.strip()}]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_json_ready(value), ensure_ascii=False)


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(item) for item in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return value.isoformat() if isinstance(value, (dt.date, dt.time)) else str(value)


def _read_answer(completion: Completion, form: AnswerForm | None) -> Any:
    if not completion.complete:
        raise FatalError(f"the answer was cut off after {completion.output_tokens} tokens; raise max_tokens")
    if form is not None:
        return form.read(completion.text)
    if not completion.text.strip():
        raise InvalidOutput("the answer is empty")
    return completion.text


def _act(skill: Skill, values: Mapping[str, Any], call: Call, timeout_s: float) -> Any:
    action = skill.action
    if action is not None and action.type == "python_function":
        return call_named_function(str(action.function), values, list(values), action.params or {})
    if action is not None and action.type == "data_query":
        asked = SourceQuery(action.source or "", action.query, action.credential_ref)
        request = RestRequest()
    else:
        found = skill.rest or (action.request if action is not None else None)
        assert found is not None, "a skill without a request"
        asked, request = SourceQuery("rest"), found
    declare_query({**vars(asked), **vars(request), "output": "result"})
    limits = QueryLimits(timeout_s=action.timeout if action is not None else timeout_s)
    return run_query(values, asked, request, limits, call)


def _under_names(answer: Any, skill: Skill, output: Any, form: AnswerForm | None = None) -> dict[str, Any]:
    """An answer under the names that the step or the skill declares."""
    produces = skill.produces
    whole = len(produces) == 1 and not skill.optional_produces
    if whole and isinstance(answer, Mapping) and (form is None or form.properties) and set(answer) == set(produces):
        answer = answer[produces[0]]
    if isinstance(output, str):
        return {output: answer}
    if isinstance(output, (list, tuple)):
        return pick_outputs(
            answer if not whole else {produces[0]: answer}, cast("list[str]", output), step=f"skill {skill.name!r}"
        )
    if whole:
        return {produces[0]: answer}
    found = pick_outputs(answer, list(produces), step=f"skill {skill.name!r}")
    given = cast("Mapping[str, Any]", answer if isinstance(answer, Mapping) else {})
    return {**found, **{name: given[name] for name in skill.optional_produces if name in given}}
