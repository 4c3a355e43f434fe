"""Turns whatever a handler raises into an ordinary exception, so that it fails only the handler's own call."""

from flows.errors import message_of


def as_exception(raised: BaseException) -> Exception:
    """The exception itself; for one that would end more than the call (SystemExit), an error that describes it."""
    if isinstance(raised, SystemExit):
        return RuntimeError(f"handler called sys.exit({raised.code!r})")
    if isinstance(raised, StopIteration):
        return RuntimeError(f"handler raised StopIteration({raised.value!r})")
    if isinstance(raised, Exception):
        return raised
    message = message_of(raised)
    name = type(raised).__name__
    return RuntimeError(f"handler raised {name}" + (f": {message}" if message != name else ""))
