"""The progress of a run, for handlers and people: steps done, steps to do, and the handlers of the current step."""

from collections.abc import Sequence
from datetime import UTC, datetime

from flows.model import Parallel, Step, handler_names


class Progress:
    """A queue of steps; a parallel step counts as one step, within which its handlers are counted."""

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        self.steps: tuple[Step, ...] = tuple(steps)
        self.completed_steps: tuple[Step, ...] = ()
        self.last_updated_at = datetime.now(UTC)
        self._completed_handlers: list[str] = []

    @property
    def remaining_steps(self) -> tuple[Step, ...]:
        return self.steps[len(self.completed_steps) :]

    @property
    def current_step(self) -> Step | None:
        return self.remaining_steps[0] if self.remaining_steps else None

    @property
    def is_current_step_parallel(self) -> bool:
        return isinstance(self.current_step, Parallel)

    @property
    def current_handler_names(self) -> tuple[str, ...]:
        return handler_names((self.current_step,)) if self.current_step else ()

    @property
    def current_step_index(self) -> int:
        return len(self.steps) - len(self.remaining_steps)

    @property
    def total_steps(self) -> int:
        return len(self.steps)

    @property
    def progress(self) -> float:
        """The share of completed steps, 0.0 to 1.0; completed handlers count as parts of their step.

        Without any steps it is 1.0.
        """
        if not self.steps:
            return 1.0
        names = self.current_handler_names
        within = min(len(self._completed_handlers), len(names)) / len(names) if names else 0.0
        return (self.current_step_index + within) / len(self.steps)

    @property
    def is_complete(self) -> bool:
        return not self.remaining_steps

    def move_to_next_step(self) -> None:
        """Count the current step, parallel or not, as completed; does nothing if there is no current step."""
        if self.remaining_steps:
            self.completed_steps = self.steps[: len(self.completed_steps) + 1]
            self._completed_handlers = []
            self.last_updated_at = datetime.now(UTC)

    def mark_handler_complete(self, name: str) -> None:
        self._completed_handlers.append(name)
        self.last_updated_at = datetime.now(UTC)

    def is_handler_complete(self, name: str) -> bool:
        return name in self._completed_handlers

    @property
    def completed_handlers_in_current_step(self) -> tuple[str, ...]:
        return tuple(self._completed_handlers)
