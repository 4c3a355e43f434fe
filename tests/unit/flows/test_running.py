"""`flows.run` and `arun`: arguments, lookup of pipelines, recording, and ends of runs."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import (
    Call,
    Context,
    OrchestrationError,
    PipelineBuilder,
    Registry,
    Services,
    TransientError,
    arun,
    handler,
    load_pipeline,
    parallel,
    pipeline,
    plan,
    run,
)
from tests.support.scripts import in_a_new_process
from tests.support.words import OWN, WORDS, longest_word, word_counts

PARAMETERS = pipeline(
    "typed",
    parallel(word_counts, longest_word),
    parameters={"text": {"required": True}, "most": {"type": "integer", "default": 3}},
)


def test_parameters_are_read_as_the_declared_types_and_have_their_defaults() -> None:
    result = run(PARAMETERS, {"text": "a"}, most="7", registry=OWN)
    assert (result["most"], run(PARAMETERS, text="a", registry=OWN)["most"]) == (7, 3)


def test_a_parameter_that_is_called_like_a_keyword_goes_into_the_mapping() -> None:
    @handler(registry=(own := Registry()))
    def start(engine: str, store: int) -> str:
        return f"{engine} {store}"

    assert run(pipeline("cars", start), {"engine": "V8", "store": 3}, registry=own)["start"] == "V8 3"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda: run(PARAMETERS, registry=OWN), "typed needs the parameter 'text'"),
        (lambda: run(PARAMETERS, text="a", most="many", registry=OWN), "parameter 'most' must be a whole number"),
        (
            lambda: run(PARAMETERS, text="a", mots=3, registry=OWN),
            "typed has no parameter 'mots', and none of its steps reads such a field; did you mean 'most'?",
        ),
        (
            lambda: run(WORDS, text="a", txet="b", registry=OWN),
            "words has no parameter 'txet', and none of its steps reads such a field; did you mean 'text'?",
        ),
        (lambda: run(WORDS, {"text": "a"}, text="b", registry=OWN), "'text' is given twice, in the mapping and as a"),
        (
            lambda: run(WORDS, registry=OWN),
            "word_counts reads 'text', which no earlier step writes and no parameter gives",
        ),
        (lambda: run(WORDS, text="a", max_concurrency=0, registry=OWN), "max_concurrency must be 1 or more, not 0"),
        (lambda: run("hybrid_rga", text="a"), "no pipeline named 'hybrid_rga'; did you mean 'hybrid_rag'?"),
        (lambda: run("nowhere/words.yaml"), "nowhere/words.yaml: there is no such file"),
        (lambda: run(WORDS, text="a", registry=Registry()), "no handler named 'word_counts'"),
    ],
)
def test_what_cannot_run_is_refused_with_its_cure(start: Callable[[], Any], message: str) -> None:
    with pytest.raises(OrchestrationError) as refused:
        start()
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [(PipelineBuilder("p").add("a"), r"call its method build\(\)"), (3, "not 3"), (None, "not None")],
)
def test_what_is_no_pipeline_is_refused(given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        run(given)


def test_an_engine_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no engine is called 'ray'; known are: inline, prefect"):
        run(WORDS, text="a", registry=OWN, engine="ray")  # pyright: ignore[reportArgumentType]


def test_a_pipeline_that_reads_the_context_may_be_given_any_field() -> None:
    @handler(registry=(own := Registry()))
    def count_fields(context: Context) -> None:
        context.data["count"] = len(context.data)

    assert run(pipeline("counting", count_fields), a=1, b=2, registry=own)["count"] == 2


def test_a_pipeline_is_found_by_its_file_and_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("- parallel: [word_counts, longest_word]\n- pipeline: shouting\n")
    catalog = {"shouting": pipeline("shouting", word_counts), "words": WORDS}
    for found in (path, str(path), load_pipeline(path), "words"):
        result = run(found, text="a bb", registry=OWN, catalog=catalog)
        assert (result.pipeline, result.longest_word) == ("words", "bb")


def test_a_problem_of_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("name: words\nsteps:\n  - word_cuonts\n")
    with pytest.raises(OrchestrationError, match=r"words.yaml:3:5: no handler named 'word_cuonts'; did you mean"):
        run(path, text="a", registry=OWN)


async def test_the_ceiling_of_a_run_holds() -> None:
    now = most = 0

    @handler(registry=(own := Registry()), writes=())
    async def hold() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    wide = pipeline("wide", parallel(*[hold] * 6, max_concurrency="unlimited"))
    assert plan(wide, registry=own, max_concurrency=2).limit.origin == "max_concurrency of the run"
    await arun(wide, registry=own, max_concurrency=2)
    assert most == 2
    await arun(wide, registry=own)
    assert most == 6


def test_a_plan_shows_what_would_run_and_what_a_run_must_bring() -> None:
    made = plan(WORDS, registry=OWN)
    assert [leaf.id for leaf in made.leaves] == ["0.0.word_counts", "0.1.longest_word"]
    assert ["reads 'text'" in problem.message for problem in made.warnings] == [True, True]
    assert plan(WORDS, registry=OWN, given=["text"]).warnings == ()


# Services.


class Greeter:
    def __init__(self, greeting: str = "hello") -> None:
        self.greeting, self.closed = greeting, False

    def close(self) -> None:
        self.closed = True


@handler(registry=OWN)
def greet(name: str, *, call: Call) -> str:
    return f"{call.services['greeter'].greeting} {name}"


@handler(registry=OWN)
def greet_in_context(context: Context) -> None:
    context.data["greet"] = f"{context.services['greeter'].greeting} {context.data['name']}"


@pytest.mark.parametrize("step", [greet, greet_in_context])
def test_handlers_get_the_services_that_a_run_is_given(step: Any) -> None:
    greeter = Greeter("good morning")
    for services in (
        {"greeter": greeter},
        Services({"greeter": lambda: greeter}),
        Services(objects={"greeter": greeter}),
    ):
        assert (
            run(pipeline("greeting", step), name="Ada", services=services, registry=OWN)["greet"] == "good morning Ada"
        )
    assert not greeter.closed


def test_a_service_of_a_factory_is_made_once_and_stays_with_whoever_gave_it() -> None:
    made: list[Greeter] = []
    services = Services({"greeter": lambda: made.append(Greeter()) or made[-1]})
    for _ in range(2):
        run(pipeline("greeting", greet), name="Ada", services=services, registry=OWN)
    assert (len(made), made[0].closed) == (1, False)
    services.close()
    assert made[0].closed


def test_a_service_that_is_missing_is_named_with_its_cure() -> None:
    result = run(pipeline("greeting", greet), name="Ada", services={"greet": Greeter()}, registry=OWN)
    assert result.errors[0].error is not None
    assert "no service named 'greeter'; did you mean 'greet'?; give it to the run: run(…, services={'greeter': …})" in (
        result.errors[0].error.message
    )


# How a run ends.


def test_a_failed_run_is_a_result() -> None:
    @handler(registry=(own := Registry()))
    def fail(text: str, *, call: Call) -> str:
        raise TransientError("busy", retry_after_s=0)

    result = run(pipeline("failing", fail, retry={"max_attempts": 3}), text="a", registry=own)
    assert (result.status, result.outcomes[0].attempts, result.transient) == ("failed", 3, True)


async def test_a_run_that_is_cancelled_stops_and_goes_on_being_cancelled() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    @handler(registry=(own := Registry()))
    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    running = asyncio.ensure_future(arun(pipeline("hanging", hang), registry=own))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stopped.is_set()


def test_ctrl_c_stops_a_run_in_a_script_and_in_a_running_loop() -> None:
    code = """
import asyncio, os, signal
from flows import handler, pipeline, run

@handler
async def hang() -> None:
    try:
        asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        print("stopped")

async def cell():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as a notebook's kernel has it
    run(pipeline("hanging", hang))

for start in (lambda: run(pipeline("hanging", hang)), lambda: asyncio.run(cell())):
    try:
        start()
    except KeyboardInterrupt:
        print("interrupted")
"""
    assert in_a_new_process(code).split() == ["stopped", "interrupted"] * 2


@pytest.mark.parametrize("opened", [False, True])
def test_a_run_is_recorded_where_it_is_asked_for(tmp_path: Path, opened: bool) -> None:
    from flows.run_store import RunStore

    url = f"sqlite:///{tmp_path / 'runs.db'}"
    secret = pipeline("secret", word_counts, parameters={"text": {"required": True}, "api_key": {}})
    result = run(secret, text="a", api_key="s3cret", registry=OWN, store=RunStore(url) if opened else url)
    store = RunStore(url)
    try:
        record = store.get(result.run_id)
        assert record is not None
        assert (record.pipeline, record.status, record.flow_run_id) == ("secret", "succeeded", None)
        assert record.parameters == {"text": "a", "api_key": "***"}
        assert [outcome["step_id"] for outcome in store.outcomes(result.run_id)] == ["0.word_counts"]
        assert record.yaml is not None
    finally:
        store.close()


def test_a_run_logs_what_it_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(WORDS, text="a", registry=OWN)
    assert "Parallel step completed successfully: 2 handlers executed" in caplog.messages
