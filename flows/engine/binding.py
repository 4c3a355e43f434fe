"""Bind a handler's function to a context: its options and inputs come from the context, its result becomes a delta."""

import inspect
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, cast

from flows.author import EXPECTATIONS, FatalFailure, HandlerSpec, Success, TransientFailure, classified
from flows.calling import CallResult, Inputs, LeafCall
from flows.errors import FatalError, MissingRead, TransientError
from flows.model import SHARE_SET_ASIDE, Expectation, render, template_names
from flows.state import IMMUTABLE, Context, Owned, hand_out


def bind_options(leaf: LeafCall) -> dict[str, Any]:
    """The options of the step, with templates rendered and types checked.

    Raises:
        FatalError: they do not fit.
    """
    declared = leaf.node.options
    if any(template_names(value) for value in declared.values()):
        declared = hand_out(render(dict(declared), leaf.context.fork().present))
    try:
        model = leaf.node.spec.options.model_validate(dict(declared))
    except ValueError as error:
        raise FatalError(f"{leaf.id}: {error}") from error
    return {name: getattr(model, name) for name in type(model).model_fields}


def bind_view(leaf: LeafCall) -> Context:
    """The handler's own view of the branch's context; its writes to the view become its delta."""
    spec, node = leaf.node.spec, leaf.node
    if not spec.takes_context:
        return leaf.context.fork()
    return leaf.context.fork(
        reads=frozenset(node.reads.values()) if spec.reads is not None else None,
        writes=frozenset(node.writes.values()) if spec.writes is not None else None,
    )


@dataclass(frozen=True)
class BoundInputs(Inputs):
    """The inputs of one call, taken out of a context; they are copied where the handler runs."""

    values: tuple[Owned, ...] = ()
    view: Context | None = None
    """For a handler that takes the context itself: its view."""
    more: tuple[Any, ...] = ()
    """Further arguments, which need no copy because only this function holds them."""

    def for_handler(self) -> list[Any]:
        return [*((self.view,) if self.view is not None else (value.copy() for value in self.values)), *self.more]

    def for_sending(self) -> list[Any]:
        return [*((self.view,) if self.view is not None else (value.value for value in self.values)), *self.more]


def bind_inputs(leaf: LeafCall, view: Context) -> BoundInputs:
    """The positional arguments of the function: the view itself, or the fields that it reads.

    Raises:
        MissingRead: a field that it needs has not been written.
    """
    spec = leaf.node.spec
    if spec.takes_context:
        return BoundInputs(view=view)
    values: list[Owned] = []
    for read in spec.reads or ():
        name = leaf.node.reads[read.name]
        value = leaf.context.owned_field(name)
        if value is not None:
            values.append(value)
        elif read.required:
            known = ", ".join(sorted(map(str, leaf.context.fork().data))) or "none"
            raise MissingRead(
                f"{leaf.id} reads the field {name!r}, which no step has written; available fields: {known}"
            )
        else:
            values.append(Owned(inspect.signature(spec.function).parameters[read.name].default, IMMUTABLE))
    return BoundInputs(tuple(values))


def bind_result(leaf: LeafCall, view: Context, returned: Any) -> CallResult:
    """Turn the returned value into writes; changes that the function made to its inputs are not among them.

    Raises:
        TransientError, FatalError: it returned a failure, or a value that cannot be written.
    """
    spec = leaf.node.spec
    value = _returned_value(returned)
    try:
        return _result_with_delta(leaf, view, value)
    except (TransientError, FatalError):
        raise
    except Exception as error:  # a value that a context cannot hold, or a quality score that fails
        raise classified(spec, error) from error


def _returned_value(returned: Any) -> Any:
    match returned:
        case Success():
            return returned.value
        case TransientFailure():
            raise TransientError(returned.message, retry_after_s=returned.retry_after_s) from returned.exception
        case FatalFailure():
            raise FatalError(returned.message) from returned.exception
        case _:
            return returned


def _result_with_delta(leaf: LeafCall, view: Context, value: Any) -> CallResult:
    spec = leaf.node.spec
    outputs = _written_fields(spec, leaf.node.writes, value)
    if leaf.node.expect is not None:
        _require(leaf, leaf.node.expect, outputs)
    for name, output in outputs.items():
        view.data[name] = output
    delta = view.delta()
    quality = spec.quality(value) if spec.quality is not None else None
    for change in delta:
        # Return the owned copy instead of the original value, so that memory holds it once.
        whole = change.path[0] == "data" and len(change.path) == 2 and change.kind == "set"
        if whole and outputs.get(change.path[1]) is value:
            value = change.value
            break
    return CallResult(delta, value, quality)


def _require(leaf: LeafCall, expected: Expectation, outputs: Mapping[str, Any]) -> None:
    """Compare the outputs of a call with the step's expectation.

    Raises:
        FatalError: they differ, and the step is to fail then.
    """
    call = leaf.progress.call
    failed = len(call.failures)
    most = max((len(each) for each in outputs.values() if isinstance(each, Sized)), default=0)
    values = {**outputs, SHARE_SET_ASIDE: failed / max(1, failed + most)}
    complaints = [bounds.complaint(name, values.get(name)) for name, bounds in expected.fields.items()]
    if expected.check is not None:
        answer = EXPECTATIONS[expected.check](outputs)
        complaints.append(
            f"{expected.check} is not met" if answer is False else answer if isinstance(answer, str) else ""
        )
    reasons = "; ".join(filter(None, complaints))
    if reasons and expected.otherwise == "fail":
        raise FatalError(f"{leaf.id}: not as expected: {reasons}")
    if reasons:
        call.fail_item(leaf.id, f"not as expected: {reasons}")


def _written_fields(spec: HandlerSpec, writes: Mapping[str, str], value: Any) -> Mapping[str, Any]:
    """The values to be written, by field."""
    if spec.takes_context:
        # A handler that takes a Context may also return outputs besides its writes.
        pairs = cast("Mapping[str, Any]", value if isinstance(value, Mapping) else {})
        return {writes.get(name, name): output for name, output in pairs.items()}
    if not writes:
        return {}
    if len(writes) == 1:
        (target,) = writes.values()
        return {} if value is None and spec.optional_write else {target: value}
    if not isinstance(value, Mapping):
        raise FatalError(
            f"{spec.name} declares the writes {', '.join(writes)}, so it must return a mapping "
            f"with these keys, not {type(value).__name__}"
        )
    pairs = cast("Mapping[str, Any]", value)
    missing = [name for name in writes if name not in pairs]
    unknown = [str(name) for name in pairs if name not in writes]
    if missing or unknown:
        raise FatalError(
            f"{spec.name} declares the writes {', '.join(writes)}; its result lacks {', '.join(missing) or 'none'} "
            f"and has the undeclared {', '.join(unknown) or 'none'}"
        )
    return {writes[name]: pairs[name] for name in writes}
