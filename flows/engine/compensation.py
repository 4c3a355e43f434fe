"""Undo the outside effects of a failed all-or-nothing group: call each `undo`, in reverse order.

A call is marked in the journal before its undo and dropped from it afterwards. If the process ends in between, a
resumed run finishes the undo before it repeats the step. So an `undo` may be called twice for one call.
"""

import logging
from dataclasses import replace

from flows.engine.run_state import RunState, Scope, UndoableCall
from flows.planning import Group

logger = logging.getLogger(__name__)


async def compensate(state: RunState, group: Group, scope: Scope) -> None:
    """Undo every call in a failed group that succeeded and can be undone, the latest first."""
    here = scope.path(group)
    inside = [one for one in state.undoable if one.call.path.inside(here)]
    state.undoable = [one for one in state.undoable if one not in inside]
    for one in reversed(inside):
        await _undo_call(state, one, group.label)


async def _undo_call(state: RunState, one: UndoableCall, group: str) -> None:
    key, path = one.call.key, one.call.path
    kept = await state.journal.find(key.name) if key is not None else None
    if key is not None and kept is not None:
        await state.journal.keep(key.name, replace(kept, undoing=True))
    call = one.call.undoing(one.result)
    ending = (await state.run_leaf(call)).ending
    if ending.succeeded:
        if key is not None:
            await state.journal.drop(key.name)
        state.amend(path, f"undone, because {group} failed", call.progress.costs)
        logger.info("%s: undone, because %s failed", one.call.id, group)
    else:
        why = ending.error or ending.status
        state.amend(path, f"{group} failed, and undoing this step failed too: {why}", call.progress.costs)
        logger.error("%s: could not be undone after %s failed: %s", one.call.id, group, why)
