"""Pipelines made to take all time and memory, each by name; as a program: load and plan one, and print how that ended.

Every text is short, or grows linearly with a number; its expansion grows much faster.
"""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.author import Registry, handler
from flows.errors import OrchestrationError
from flows.loaders import load_pipeline_text, loaded_from
from flows.model import Pipeline, check_parameters
from flows.planning import make_plan, step_fingerprints

CPU_SECONDS, MEGABYTES = 5, 500
DEEP = 5000


def _lines(head: str, line: Callable[[int], str], count: int) -> str:
    return f"name: bomb\n{head}\n" + "".join(f"{line(number)}\n" for number in range(count))


def _nested(opening: str, count: int, *, step: str = "  ") -> str:
    text = "".join(f"{step * level}{opening}\n".replace("\\n", f"\n{step * level}") for level in range(count))
    return f"name: bomb\nsteps:\n{text}{step * count}- idle\n"


TEXTS: dict[str, Callable[[], str]] = {
    "2,000 branches": lambda: _lines("steps:\n- parallel:", lambda _: "  - idle", 2000),
    "2,000 branches that write": lambda: _lines(
        "steps:\n- parallel:", lambda n: f"  - {{handler: write, writes: {{x: x{n}}}}}", 2000
    ),
    "2,000 branches that write one field": lambda: _lines("steps:\n- parallel:", lambda _: "  - write", 2000),
    "2,000 branches that read what each writes": lambda: _lines(
        "steps:\n- parallel:",
        lambda n: f"  - {{handler: both, reads: {{x: x{n}}}, writes: {{both: x{(n + 1) % 2000}}}}}",
        2000,
    ),
    "2,000 steps as fast as they can": lambda: _lines(
        "mode: dag\nsteps:", lambda n: f"- {{handler: write, id: s{n}, writes: {{x: x{n % 7}}}}}", 2000
    ),
    "2,000 steps that wait for each other": lambda: _lines(
        "mode: dag\nsteps:", lambda n: f"- {{handler: idle, id: s{n}, depends_on: [{f's{n - 1}' if n else ''}]}}", 2000
    ),
    "300 steps that wait for all before": lambda: _lines(
        "mode: dag\nsteps:",
        lambda n: f"- {{handler: idle, id: s{n}, depends_on: [{', '.join(f's{i}' for i in range(n))}]}}",
        300,
    ),
    "2,000 branches that wait for each other": lambda: _lines(
        "steps:\n- parallel:",
        lambda n: f"  - {{handler: write, id: s{n}, depends_on: [{f's{n - 1}' if n else ''}]}}",
        2000,
    ),
    "2,000 unknown handlers": lambda: _lines("steps:", lambda n: f"- handler_{n}", 2000),
    "2,000 unknown keys": lambda: _lines("steps:", lambda n: f"- {{handler: idle, key_{n}: 1}}", 2000),
    "2,000 unknown references": lambda: _lines(
        "steps:", lambda n: f"- {{handler: write, options: {{n: '@run.step_{n}.x'}}}}", 2000
    ),
    "2,000 cases": lambda: _lines("steps:\n- switch:", lambda n: f"  - {{when: 'x == {n}', steps: [idle]}}", 2000),
    "20,000 steps": lambda: _lines("steps:", lambda _: "- idle", 20_000),
    "20,000 parameters": lambda: _lines("steps: [idle]\nparameters:", lambda n: f"  p{n}: {{}}", 20_000),
    "nested groups": lambda: _nested("- parallel:", DEEP, step=" "),
    "nested loops": lambda: _nested("- for_each: items\\n  steps:", DEEP // 10),
    "nested lists": lambda: f"name: bomb\nsteps: {'[' * DEEP}idle{']' * DEEP}\n",
    "nested mappings": lambda: f"name: bomb\nsteps: [{{handler: write, options: {'{a: ' * DEEP}1{'}' * DEEP}}}]\n",
    "nested JSON": lambda: '{"name": "bomb", "steps": ' + '[{"parallel": ' * DEEP + '["idle"]' + "}]" * DEEP + "}",
    "a long number": lambda: f"name: bomb\nsteps: [{{handler: idle, timeout_s: {'9' * 10_000}}}]\n",
    "a long number among the options": lambda: (
        f"name: bomb\nsteps: [{{handler: write, options: {{n: {'9' * 10_000}}}}}]\n"
    ),
    "a large power": lambda: "name: bomb\nsteps: [{handler: idle, timeout_s: 1e999999999}]\n",
    "a long number in a condition": lambda: f"name: bomb\nsteps: [{{handler: idle, when: 'x == {'9' * 9000}'}}]\n",
    "a deep condition": lambda: f"name: bomb\nsteps: [{{handler: idle, when: '{'(' * 4900}x{')' * 4900}'}}]\n",
    "a long condition": lambda: f"name: bomb\nsteps: [{{handler: idle, when: '{'x and ' * 100_000}x'}}]\n",
    "a deep template": lambda: (
        f"name: bomb\nsteps: [{{handler: write, options: {{n: '{{{{ {'-' * 50_000}x }}}}'}}}}]\n"
    ),
    "laughing lists": lambda: (
        "name: bomb\na0: &a0 [idle, idle]\n"
        + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
        + "steps: *a59\n"
    ),
    "laughing merge keys": lambda: (
        "name: bomb\na0: &a0 {handler: idle}\n"
        + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60))
        + "steps: [*a59]\n"
    ),
    "a list in itself": lambda: "name: bomb\nsteps: &s [idle, *s]\n",
    "a long name": lambda: f"name: bomb\nsteps: [{'x' * 1_000_000}]\n",
    "stages of stages": lambda: (
        "name: bomb\nstages:\n"
        + "".join(f"  - {{name: s{n}, jobs: [{', '.join(['idle'] * 100)}]}}\n" for n in range(200))
    ),
}


def _catalog(depth: int, each: int) -> dict[str, Pipeline]:
    """Pipelines that run the next one `each` times."""
    made = {
        f"p{level}": Pipeline.model_validate({"name": f"p{level}", "steps": [{"pipeline": f"p{level + 1}"}] * each})
        for level in range(depth)
    }
    return {**made, f"p{depth}": Pipeline.model_validate({"name": f"p{depth}", "steps": ["idle"]})}


def _deep_model(depth: int) -> Pipeline:
    inner: Any = "idle"
    for _ in range(depth):
        inner = {"parallel": [inner]}
    return Pipeline.model_validate({"name": "bomb", "steps": [inner]})


MODELS: dict[str, Callable[[], tuple[Pipeline, dict[str, Pipeline]]]] = {
    "two pipelines in each of forty": lambda: (_catalog(40, 2)["p0"], _catalog(40, 2)),
    "a thousand pipelines in each of four": lambda: (_catalog(4, 1000)["p0"], _catalog(4, 1000)),
    "400 pipelines inside each other": lambda: (_catalog(400, 1)["p0"], _catalog(400, 1)),
    "groups nested in Python": lambda: (_deep_model(150), {}),
}
NAMES = [*TEXTS, *MODELS]


def main(name: str) -> None:
    registry = Registry()

    @handler(registry=registry)
    def idle() -> None: ...

    @handler(registry=registry, writes="x")
    def write(*, n: int = 0) -> int:
        return n

    @handler(registry=registry)
    def both(x: int) -> int:
        return x

    for number in range(150):  # as many as there are, among which a misspelt one is looked for
        handler(_named(f"some_handler_{number}"), registry=registry)
    try:
        if name in TEXTS:
            loaded, catalog = load_pipeline_text(TEXTS[name](), file="bomb.yaml"), {}
        else:
            pipeline, catalog = MODELS[name]()
            loaded = loaded_from(pipeline)
        pipeline = loaded.pipeline
        plan = make_plan(loaded, registry=registry, catalog=catalog)
        step_fingerprints(plan, "")
        check_parameters(pipeline, {})
        ended = f"planned {len(plan.nodes)} nodes"
    except OrchestrationError as error:
        ended = f"refused: {error}"
    sys.stdout.write(f"{_peak_mb()}\n{ended}\n")


def _peak_mb() -> int:
    """The most memory that this process had; `ru_maxrss` would be that of the process that started it, if it is more."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024


def _named(name: str) -> Callable[[], None]:
    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    return function


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    main(sys.argv[1])
