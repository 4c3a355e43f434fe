"""Dependencies of steps: the algorithm by latest writers agrees with a comparison of all pairs."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.author import Registry, handler
from flows.errors import InvalidPipeline
from flows.model import Pipeline
from flows.planning import all_before, make_plan
from flows.planning.access import check_access
from flows.planning.dependencies import bits, derive_group, waits_of_all
from flows.planning.draft import MOST_NESTED, MOST_PROBLEMS, MOST_STEPS
from flows.planning.plan import Access, Chain, Group, Node
from tests.support.profiles import scaled

NAMES = st.frozensets(st.sampled_from("abcd"), max_size=2)
ACCESSES = st.builds(
    Access,
    reads=NAMES,
    writes=NAMES,
    effects=st.frozensets(st.sampled_from("xy"), max_size=1),
    known=st.sampled_from([True, True, True, False]),
    effects_known=st.sampled_from([True, True, True, False]),
)


def node(index: int, access: Access) -> Node:
    return Chain(path=str(index), id=f"s{index}", label=f"s{index}", access=access)


def conflict(first: Access, second: Access) -> bool:
    unknown = not (first.known and first.effects_known and second.known and second.effects_known)
    shared = first.writes & (second.reads | second.writes) or first.reads & second.writes
    return unknown or bool(shared) or bool(first.effects & second.effects)


def by_all_pairs(accesses: Sequence[Access], declared: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    after: list[frozenset[int]] = []
    for later, access in enumerate(accesses):
        direct = {one for one in range(later) if one in declared[later] or conflict(accesses[one], access)}
        after.append(frozenset(direct.difference(*(all_before(after, one) for one in direct))))
    return after


@settings(max_examples=scaled(300))
@given(st.lists(ACCESSES, min_size=2, max_size=9), st.data())
def test_waits_are_those_of_all_pairs(accesses: list[Access], data: st.DataObject) -> None:
    declared = [
        data.draw(st.frozensets(st.integers(0, index - 1), max_size=2)) if index else frozenset[int]()
        for index in range(len(accesses))
    ]
    expected = by_all_pairs(accesses, declared)
    derived = derive_group([node(index, access) for index, access in enumerate(accesses)], declared)
    if all(direct == ({index - 1} if index else frozenset()) for index, direct in enumerate(expected)):
        assert derived is None
    else:
        assert derived is not None
        assert list(derived[0]) == expected
    numbers = waits_of_all(expected, len(expected))
    assert [frozenset(bits(one)) for one in numbers] == [all_before(expected, index) for index in range(len(expected))]


@settings(max_examples=scaled(200))
@given(st.lists(ACCESSES, min_size=2, max_size=6), NAMES, st.data())
def test_conflicts_of_branches_are_those_of_all_pairs(
    accesses: list[Access], there: frozenset[str], data: st.DataObject
) -> None:
    after = tuple(
        data.draw(st.frozensets(st.integers(0, index - 1), max_size=2)) if index else frozenset[int]()
        for index in range(len(accesses))
    )
    group = Group(
        path="0",
        id="g",
        label="g",
        after=after,
        children=tuple(node(index, access) for index, access in enumerate(accesses)),
    )
    expected: set[tuple[str, str]] = set()
    for later, second in enumerate(accesses):
        for earlier, first in enumerate(accesses):
            beside = (
                earlier != later and earlier not in all_before(after, later) and later not in all_before(after, earlier)
            )
            if beside and second.reads & first.writes - there:
                expected.add((str(later), "reads-sibling"))
            if beside and earlier < later and second.writes & first.writes:
                expected.add((str(later), "parallel-write"))
    assert {(found.path, found.code) for found in check_access(group, there, {})} == expected


def registry() -> Registry:
    made = Registry()

    @handler(registry=made)
    def idle() -> None: ...

    return made


def refused(steps: list[object], **catalog: Pipeline) -> InvalidPipeline:
    with pytest.raises(InvalidPipeline) as caught:
        make_plan(Pipeline.model_validate({"name": "p", "steps": steps}), registry=registry(), catalog=catalog)
    return caught.value


def test_the_first_problems_are_reported_and_the_number_is_said() -> None:
    problems = refused([f"unknown_{number}" for number in range(1000)]).problems
    assert len(problems) == MOST_PROBLEMS + 1
    assert f"these are the first {MOST_PROBLEMS} problems" in str(problems[-1])


def test_a_plan_has_a_largest_size_and_depth() -> None:
    wide = Pipeline.model_validate({"name": "wide", "steps": ["idle"] * 1000})
    assert f"the plan has more than {MOST_STEPS} steps, those of pipelines in it included" in str(
        refused([{"pipeline": "wide"}] * 20, wide=wide)
    )
    deep: object = "idle"
    for _ in range(MOST_NESTED + 1):
        deep = {"parallel": [deep]}
    assert f"steps are nested more than {MOST_NESTED} deep here" in str(refused([deep]))


def test_ids_inside_pipelines_inside_pipelines_grow_evenly() -> None:
    inner = Pipeline.model_validate({"name": "inner", "steps": ["idle"]})
    middle = Pipeline.model_validate({"name": "middle", "steps": [{"pipeline": "inner", "id": "run_inner"}]})
    outer = Pipeline.model_validate({"name": "outer", "steps": [{"pipeline": "middle", "id": "run_middle"}]})
    plan = make_plan(outer, registry=registry(), catalog={"inner": inner, "middle": middle})
    assert [leaf.id for leaf in plan.leaves] == ["run_middle.run_inner.0.idle"]
