"""The progress of a run: by usual times, by documents, and by the calls' own reports."""

import base64
import re

from flows.author import ErrorInfo, Outcome, Registry, handler
from flows.engine import LoopStarted, RunStarted, StepFinished, StepProgressed, StepStarted
from flows.model import Pipeline, StepPath
from flows.planning import make_plan
from flows.reports import LiveProgress, StepNames


class Watched:
    """Progress of a pipeline, at moments that the test chooses."""

    def __init__(self, steps: list[object], usual_s: dict[str, float] | None = None) -> None:
        made = Registry()

        @handler(registry=made, writes=None)
        def work() -> None: ...

        @handler(registry=made, writes=None, effects="index.documents")
        def publish() -> None: ...

        self.at = 0.0
        plan = make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=made, given=["xs"])
        names = StepNames(plan)
        self.live = LiveProgress(names, usual_s or {}, clock=lambda: self.at)
        self.see = lambda event: (names(event), self.live(event))
        self.see(RunStarted(plan, "r"))

    def end(self, path: str, status: str = "succeeded", **more: object) -> None:
        self.see(StepFinished(Outcome(StepPath(path), path, "step", status, 1.0, 1.0, **more)))  # type: ignore[arg-type]

    def end_item(self, path: str, size: int) -> None:
        self.see(StepFinished(Outcome(StepPath(path), "loop", "item", "succeeded", size=size)))

    @property
    def text(self) -> str:
        page = self.live.markdown()
        pictures = re.findall(r"base64,([^)]*)\)", page)
        return page + "".join(base64.b64decode(each).decode() for each in pictures)


def test_steps_count_by_what_they_usually_take() -> None:
    seen = Watched(["work", "work", "work"], {"0": 1.0, "1": 8.0, "2": 1.0})
    seen.end("0")
    assert seen.live.share == 0.1
    seen.see(StepStarted(StepPath("1"), "1.work"))
    seen.at = 4.0
    assert seen.live.share == 0.5
    seen.at = 100.0  # longer than usual, and still not done
    assert 0.8 < seen.live.share < 0.9


def test_the_time_left_is_shown_once_it_can_be_estimated() -> None:
    seen = Watched(["work", "work"])
    assert seen.live.left_s is None
    seen.end("0")
    seen.at = 30.0
    assert seen.live.left_s == 30.0
    assert "50% done · about 30 s left" in seen.text
    seen.end("1")
    assert seen.live.left_s is None


def test_documents_are_counted_and_a_loop_over_nothing_has_no_part() -> None:
    loop = {"for_each": "xs", "id": "loop", "steps": ["work", "publish"]}
    seen = Watched([loop, {**loop, "id": "empty"}])
    seen.see(LoopStarted(StepPath("0"), "loop", 2, elements=100))
    seen.see(LoopStarted(StepPath("1"), "empty", 0, elements=0))
    seen.end("0[0].0")
    seen.end("0[0].1")
    seen.end_item("0[0]", 64)
    assert seen.live.share == 0.5
    assert "50% done · 64 of 100 documents" in seen.text
    assert "empty" not in seen.text


def test_what_calls_say_of_themselves_counts_and_is_shown() -> None:
    seen = Watched(["work"])
    seen.see(StepStarted(StepPath("0"), "0.work"))
    seen.see(StepProgressed(StepPath("0"), "0.work", 30, 40))
    assert seen.live.share == 0.75
    assert "30 of 40" in seen.text


def test_what_waits_does_not_run() -> None:
    seen = Watched([{"parallel": ["work", "work", "work"]}])
    seen.see(StepStarted(StepPath("0.0"), "0.0.work"))
    seen.see(StepStarted(StepPath("0.1"), "0.1.work", lambda: "resource api"))
    seen.see(StepStarted(StepPath("0.2"), "0.2.work", lambda: "resource api"))
    assert "### Running now (1)" in seen.text
    assert "2 calls wait for resource api" in seen.text


def test_failures_are_named_while_the_run_goes_on() -> None:
    seen = Watched(["work", "work"])
    seen.end("0", "failed", error=ErrorInfo("FatalError", "the disk is full"))
    assert "### ✗ Failed so far (1)" in seen.text
    assert "**work \\#1**: the disk is full" in seen.text
