"""Structured output: the form of a model's answer, as a registered pydantic model or a JSON Schema."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flows.errors import DuplicateName, FatalError, OrchestrationError, UnknownName

Model = TypeVar("Model", bound=type[BaseModel])
OUTPUT_MODELS: dict[str, type[BaseModel]] = {}
_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n\s*```\s*\Z", re.DOTALL)
_MOST_PROBLEMS = 5


class InvalidOutput(OrchestrationError, ValueError):
    """A model's answer that does not have the requested form; the message has the differences."""


def output_model(model: Model) -> Model:
    """Register a pydantic model by its name, for `output_model` of skills.

    Raises:
        DuplicateName: another model has the name.
    """
    known = OUTPUT_MODELS.get(model.__name__)
    if known is not None and (known.__module__, known.__qualname__) != (model.__module__, model.__qualname__):
        raise DuplicateName(
            f"two output models are named {model.__name__!r}: in {known.__module__} and {model.__module__}; rename one"
        )
    OUTPUT_MODELS[model.__name__] = model
    return model


class AnswerForm:
    """The required form of an answer."""

    def __init__(self, schema: Mapping[str, Any], model: type[BaseModel] | None = None) -> None:
        self.schema, self._model = schema, model

    @property
    def properties(self) -> frozenset[str]:
        return frozenset(self.schema.get("properties", {}))

    def read(self, text: str) -> Any:
        """The answer as data.

        Raises:
            InvalidOutput: it is not JSON, or not of the form.
        """
        fenced = _FENCE.match(text)
        try:
            value = json.loads(fenced[1] if fenced else text)
        except ValueError as error:
            raise InvalidOutput(f"the answer is not JSON ({error}); it begins {text[:60]!r}") from error
        return self._validated(value)

    def _validated(self, value: Any) -> Any:
        if self._model is not None:
            try:
                return self._model.model_validate(value).model_dump(mode="python")
            except ValidationError as invalid:
                problems = [
                    f"{'.'.join(map(str, error['loc'])) or 'the answer'}: {error['msg']}"
                    for error in invalid.errors(include_url=False, include_input=False)
                ]
                raise InvalidOutput(_listed(problems)) from None
        import jsonschema

        found = sorted(
            jsonschema.Draft202012Validator(dict(self.schema)).iter_errors(value), key=lambda one: one.json_path
        )
        if found:
            raise InvalidOutput(_listed([f"{one.json_path}: {one.message[:200]}" for one in found]))
        return value


def _listed(problems: Sequence[str]) -> str:
    more = f" and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
    return "the answer does not fit: " + "; ".join(problems[:_MOST_PROBLEMS]) + more


def answer_form(
    model: str | None, schema: Mapping[str, Any] | None, produces: Sequence[str] = (), optional: Sequence[str] = ()
) -> AnswerForm | None:
    """The form given by the name of a model, by a schema, or by the fields that a skill produces; None for any text.

    Raises:
        UnknownName: no such model is registered.
        FatalError: the schema is not valid, or the package that checks it is missing.
    """
    if model is not None and schema is not None:
        raise FatalError("declare either output_model or output_schema")
    if model is not None:
        if model not in OUTPUT_MODELS:
            raise UnknownName("output model", model, OUTPUT_MODELS)
        return AnswerForm(OUTPUT_MODELS[model].model_json_schema(), OUTPUT_MODELS[model])
    if schema is None and len(produces) + len(optional) > 1:
        schema = {
            "type": "object",
            "properties": {name: {} for name in (*produces, *optional)},
            "required": list(produces),
            "additionalProperties": False,
        }
    if schema is None:
        return None
    try:
        import jsonschema
    except ImportError as error:
        raise FatalError("output_schema needs the package jsonschema: pip install 'braid-pipelines[llm]'") from error
    try:
        jsonschema.Draft202012Validator.check_schema(dict(schema))
    except jsonschema.SchemaError as error:
        raise FatalError(f"output_schema is not a JSON Schema: {error.message}") from error
    if _refers_outside(schema):
        raise FatalError("output_schema refers to another document; write the parts it needs under $defs")
    return AnswerForm(schema)


def _refers_outside(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        reference = schema.get("$ref", schema.get("$dynamicRef", "#"))
        return not str(reference).startswith("#") or any(_refers_outside(item) for item in schema.values())
    return isinstance(schema, (list, tuple)) and any(_refers_outside(item) for item in schema)
