"""Wrong names in conditions and templates are all reported when the pipeline is planned."""

import pytest

from flows.author import Registry, handler
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.planning import make_plan
from flows.state import Context


@pytest.fixture
def registry() -> Registry:
    made = Registry()

    @handler(registry=made, writes="number")
    def count(text: str, *, most: int = 3) -> int:
        return most

    @handler(registry=made)
    def anything(context: Context) -> None: ...

    return made


def problems(steps: str, registry: Registry) -> list[str]:
    text = f"name: p\nparameters: {{text: {{default: x}}, verbose: {{type: boolean, default: false}}}}\nsteps:\n{steps}"
    loaded = load_pipeline_text(text, file="p.yaml")
    try:
        make_plan(
            loaded,
            registry=registry,
            given=[],
            strict=True,
        )
    except InvalidPipeline as invalid:
        return [f"{each.line}: {each.message.split(';')[0]}" for each in invalid.problems]
    return []


def test_every_misspelt_name_is_found_at_once(registry: Registry) -> None:
    found = problems(
        """  - {handler: count, when: verbos}
  - {switch: [{when: "numbr == 1", steps: [count]}]}
  - {handler: count, options: {most: "{{ nothing }}"}}
  - {parallel: [count], when: "verbose and other > 1"}
""",
        registry,
    )
    assert found == [
        "4: when: no field named 'verbos'",
        "5: when: no field named 'numbr'",
        "6: options.most: no field named 'nothing'",
        "7: when: no field named 'other'",
    ]


def test_names_that_a_condition_asks_for_may_be_missing(registry: Registry) -> None:
    assert not problems("  - {handler: count, when: 'other is defined and other'}\n", registry)
    assert not problems("  - {handler: count, when: 'other | default(false)'}\n", registry)
    assert not problems("  - count\n  - {handler: count, when: number > 1}\n", registry)
    assert not problems("  - {for_each: text, as: one, steps: [{handler: count, when: 'one == 1'}]}\n", registry)


@pytest.mark.parametrize("name", ["verbos", "txet"])
def test_a_misspelt_handler_hides_no_misspelt_condition(name: str, registry: Registry) -> None:
    found = problems(f"  - cuont\n  - {{handler: count, when: {name}}}\n", registry)
    assert found == ["4: no handler named 'cuont'", f"5: when: no field named '{name}'"]


def test_a_handler_with_the_whole_context_may_write_any_field(registry: Registry) -> None:
    assert not problems("  - anything\n  - {handler: count, when: verbos}\n", registry)
