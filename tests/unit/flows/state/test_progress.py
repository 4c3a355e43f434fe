"""The progress of a run as its handlers see it, and the log that they write."""

from typing import Any

from flows.author import Registry, handler
from flows.engine import Prepared, run_plan
from flows.model import Handler, Parallel, Pipeline
from flows.planning import make_plan
from flows.state import Context, Progress

FIRST, GROUP = Handler(handler="first"), Parallel(branches=(Handler(handler="left"), Handler(handler="right")))


def test_steps_move_from_remaining_to_completed() -> None:
    progress = Progress((FIRST, GROUP))
    assert (progress.current_step, progress.current_step_index, progress.total_steps) == (FIRST, 0, 2)
    assert (progress.current_handler_names, progress.is_current_step_parallel) == (("first",), False)
    before = progress.last_updated_at
    progress.move_to_next_step()
    assert progress.last_updated_at >= before
    assert (progress.completed_steps, progress.remaining_steps) == ((FIRST,), (GROUP,))
    assert (progress.current_handler_names, progress.is_current_step_parallel) == (("left", "right"), True)
    progress.move_to_next_step()
    assert (progress.current_step, progress.progress, progress.is_complete) == (None, 1.0, True)
    assert progress.current_handler_names == ()
    progress.move_to_next_step()  # no step is left, so nothing changes
    assert progress.current_step_index == 2


def test_handlers_of_a_parallel_step_count_in_part() -> None:
    progress = Progress((FIRST, GROUP))
    progress.move_to_next_step()
    assert progress.progress == 0.5
    progress.mark_handler_complete("right")
    assert (progress.progress, progress.is_handler_complete("right"), progress.is_handler_complete("left")) == (
        0.75,
        True,
        False,
    )
    assert progress.completed_handlers_in_current_step == ("right",)
    progress.move_to_next_step()
    assert progress.completed_handlers_in_current_step == ()


def test_a_pipeline_without_steps_is_complete() -> None:
    assert (Progress().progress, Progress().is_complete) == (1.0, True)


async def test_handlers_see_the_progress_of_their_run_and_their_log_is_kept_in_declared_order() -> None:
    registry, seen = Registry(), dict[str, Any]()

    def declare(name: str) -> None:
        @handler(name=name, registry=registry, reads=(), writes=(), effects=())
        def work(context: Context) -> None:
            seen[name] = (context.progress_view.current_step_index, context.progress_view.current_handler_names)
            context.log(name, "was here")

    for name in ("first", "left", "right"):
        declare(name)
    plan = make_plan(Pipeline(name="p", steps=(FIRST, GROUP)), registry=registry)
    context = Context()
    await run_plan(Prepared(plan, context))
    assert seen == {"first": (0, ("first",)), "left": (1, ("left", "right")), "right": (1, ("left", "right"))}
    assert context.progress_view.is_complete
    assert [(entry.writer, entry.message, entry.level) for entry in context.log_entries] == [
        (name, "was here", "info") for name in ("first", "left", "right")
    ]
