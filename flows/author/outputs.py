"""The outputs of a run: the fields that are its result, and the part of each that is shown and stored."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from flows.author.plain_values import plain_value
from flows.errors import OrchestrationError
from flows.model import LEFT_OUT, is_secret_name, keep_parameters_secret
from flows.state import Context, follow_path

logger = logging.getLogger(__name__)

LARGEST = 256_000
"""The most characters of JSON that are shown and stored per output."""
LARGEST_TOGETHER = 1_000_000
"""The most characters of JSON that are shown and stored for all outputs of a run together."""
LARGEST_FILE = 16_000_000
"""The most characters of JSON in the file of an output that is too large to be stored whole."""


@dataclass(frozen=True)
class OutputField:
    """One output of a plan: its name, and the field (or a dotted path) that holds it."""

    name: str
    field: str
    description: str = ""
    type: str = ""
    """The type that the writing handler declares, for example `list[Hit]`; empty if it is unknown."""


@dataclass(frozen=True)
class OutputRecord:
    """The part of one output that is shown and stored: plain data without secrets."""

    name: str
    value: Any
    description: str = ""
    type: str = ""
    shortened: bool = False
    """Whether `value` is only the beginning of the output."""
    uri: str | None = None
    """The file with the whole value as JSON, if it is too large to be kept whole."""


KeepWhole: TypeAlias = Callable[[str, bytes], str]
"""Writes the JSON of a large output of this name, and returns the URI of the file."""


def output_values(context: Context, fields: Iterable[OutputField]) -> dict[str, Any]:
    """The outputs that have a value, by name; an output is missing if its step failed or was skipped."""
    return {each.name: follow_path(context.data, each.field) for each in fields if _is_there(context, each.field)}


def record_outputs(
    context: Context, fields: Iterable[OutputField], *, keep_whole: KeepWhole | None = None
) -> tuple[OutputRecord, ...]:
    """The shown and stored part of each output, in the order of `fields`.

    An output that is too large is shortened; `keep_whole` then receives the whole JSON, unless it is too large for a
    file. An error with one output is logged, and the others are recorded.
    """
    secrets = [name for name in context.data if is_secret_name(str(name))]
    keep_parameters_secret({name: context.field_value("data", name) for name in secrets})
    room = LARGEST_TOGETHER
    records: list[OutputRecord] = []
    for each in fields:
        try:
            value = _value_at(context, each.field)
            if any(map(is_secret_name, (each.name, *each.field.split(".")))):
                value = LEFT_OUT
            plain = plain_value(value, most=min(LARGEST, room))
        except OrchestrationError:  # it is not there
            continue
        except Exception:  # converting a handler's value may raise any error
            logger.exception("the output %s could not be recorded", each.name)
            continue
        room = max(0, room - plain.length)
        uri = _keep(each.name, value, keep_whole) if plain.shortened and keep_whole is not None else None
        records.append(OutputRecord(each.name, plain.value, each.description, each.type, plain.shortened, uri))
    return tuple(records)


def outputs_json(records: Iterable[OutputRecord]) -> dict[str, Any]:
    """Outputs by name, and the URI (or null) of the whole value for each one that is shortened."""
    listed = tuple(records)
    shortened = {each.name: each.uri for each in listed if each.shortened}
    return {
        "outputs": {each.name: each.value for each in listed},
        **({"shortened_outputs": shortened} if shortened else {}),
    }


def _keep(name: str, value: Any, keep_whole: KeepWhole) -> str | None:
    try:
        whole = plain_value(value, most=LARGEST_FILE)
        return None if whole.shortened else keep_whole(name, json.dumps(whole.value, ensure_ascii=False).encode())
    except Exception as error:  # an error of the storage must not change how the run ended
        logger.warning("the output %s could not be written to a file: %s", name, error)
        return None


def _is_there(context: Context, dotted: str) -> bool:
    try:
        _value_at(context, dotted)
    except OrchestrationError:
        return False
    return True


def _value_at(context: Context, dotted: str) -> Any:
    """The value at a dotted path; not a copy, so do not change it."""
    head = dotted.split(".")[0]
    there: Mapping[str, Any] = {head: context.field_value("data", head)} if head in context.data else {}
    return follow_path(there, dotted)
