"""Any error of a handler as an ordinary exception: it fails the handler's own call, and ends nothing else."""

from flows.errors import message_of


def as_exception(raised: BaseException) -> Exception:
    """The exception itself; if it is none, or cannot pass through a future, an error that describes it."""
    if isinstance(raised, SystemExit):
        return RuntimeError(f"handler called sys.exit({raised.code!r})")
    if isinstance(raised, StopIteration):
        return RuntimeError(f"handler raised StopIteration({raised.value!r})")
    if isinstance(raised, Exception):
        return raised
    message = message_of(raised)
    name = type(raised).__name__
    return RuntimeError(f"handler raised {name}" + (f": {message}" if message != name else ""))
