"""Shows why a task run waits: its state is Waiting while its handler does not run yet, and Running afterwards.

The state goes to the server as an event, as all states of task runs do, so it costs no request; and only a wait of a
second or more is shown.
"""

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any, cast

from prefect import State
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext
from prefect.states import Pending, Running
from prefect.utilities.engine import emit_task_run_state_change_event

from flows.calling import CallTimes

PATIENCE_S, EVERY_S = 1.0, 0.5
"""The seconds that a wait must last to be shown, and between two checks of a shown wait."""


@contextlib.contextmanager
def shown_waiting(context: TaskRunContext | None, times: CallTimes) -> Generator[None]:
    """Inside the block, show the reason for which a call waits."""
    if context is None:
        yield
        return
    watch = _Watch(context.task_run, times)
    watch.look_later(PATIENCE_S)
    try:
        yield
    finally:
        watch.stop()


class _Watch:
    def __init__(self, task_run: TaskRun, times: CallTimes) -> None:
        self._task_run, self._times = task_run, times
        self._shown = ""
        self._next: asyncio.TimerHandle | None = None

    def look_later(self, seconds: float) -> None:
        self._next = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        waits_for = self._times.waits_for
        if waits_for and waits_for != self._shown:
            self._enter(Pending(name="Waiting", message=f"Waits for {waits_for}"))
        elif self._shown and not waits_for:
            self._go_on()
        self._shown = waits_for
        self.look_later(EVERY_S if waits_for else PATIENCE_S)

    def _go_on(self) -> None:
        running: State[Any] = Running()
        if self._task_run.run_count <= 1:
            self._task_run.start_time = cast("Any", running.timestamp)  # the UI draws it from then on
        self._enter(running)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
        if self._shown and not self._times.waits_for:
            self._go_on()

    def _enter(self, state: State[Any]) -> None:
        task_run, before = self._task_run, self._task_run.state
        if before is not None and before.is_running():
            task_run.total_run_time += state.timestamp - before.timestamp
        state.state_details.task_run_id, state.state_details.flow_run_id = task_run.id, task_run.flow_run_id
        task_run.state, task_run.state_id = state, state.id
        task_run.state_type, task_run.state_name = state.type, state.name
        emit_task_run_state_change_event(task_run=task_run, initial_state=before, validated_state=state)
