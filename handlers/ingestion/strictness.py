"""`refuse_left_out`: with `strict`, objects that may have been left out by mistake are errors."""

from collections.abc import Mapping

from flows.author import Call, handler
from handlers.sources import STRICT
from handlers.stores import IndexSources

_NAMED = 1000
"""The most objects per rule that are reported one by one."""


@handler(writes="refused", effects=())
def refuse_left_out(source_uri: str, left_out: Mapping[str, int], *, pattern: str = "**/*", call: Call) -> int:
    """Set aside, like unreadable documents, the objects that were left out by format, size, permission or name.

    The other documents stay ingested, and the run ends as `partial`. Returns the number of these objects.
    """
    store: IndexSources = call.services["index_store"]
    for rule in STRICT:
        named = store.left_out(source_uri, pattern, rule=rule, limit=_NAMED)
        for each in named:
            call.fail_item(each.name, f"left out by the rule {rule}: {each.reason}")
        if left_out.get(rule, 0) > len(named):
            call.fail_item(f"{left_out[rule] - len(named)} more", f"left out by the rule {rule}")
    return sum(left_out.get(rule, 0) for rule in STRICT)
