"""Random pipelines for property tests."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from flows.model import (
    Case,
    ForEach,
    Handler,
    Merge,
    MergeResults,
    MinRatio,
    MinSuccess,
    Output,
    Parallel,
    Parameter,
    Pipeline,
    Policy,
    Retry,
    Sequential,
    Split,
    Step,
    SubPipeline,
    Switch,
    Tolerance,
)
from flows.model.steps import Resource

names = st.from_regex(r"[a-z_][a-z0-9_.\-]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
plain_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
options = st.dictionaries(names, plain_values, max_size=2)
renames = st.dictionaries(names, names, max_size=2)
limits = st.none() | st.integers(1, 8) | st.just("unlimited")
shares = st.floats(0, 1)

policies = st.sampled_from(["all_or_nothing", "fail_fast", "best_effort", "keep_going"]).map(
    Policy.model_validate
) | st.builds(
    Policy,
    on_branch_failure=st.sampled_from(["cancel", "drain", "continue"]),
    success_when=st.sampled_from(["all", "any", "always"])
    | st.builds(MinSuccess, min=st.integers(0, 5))
    | st.builds(MinRatio, ratio=shares),
    merge_when_failed=st.sampled_from(["nothing", "successful"]),
)
retries = st.builds(
    Retry,
    max_attempts=st.integers(1, 5),
    delay_s=st.floats(0, 10),
    backoff=st.sampled_from(["constant", "linear", "exponential"]),
    jitter=shares,
)
merges = st.builds(Merge, strategy=names, output=st.none() | names, options=options)
splits = st.builds(Split, strategy=names, over=names, options=options)
tolerances = st.builds(Tolerance, count=st.integers(0, 9)) | st.builds(Tolerance, ratio=shares)


def _parameters(type: str, defaults: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        Parameter,
        type=st.just(type),
        description=texts,
        default=st.none() | defaults,
        required=st.booleans(),
        **more,
    )


_least = st.none() | st.floats(-5, 5)
parameters = st.one_of(
    _parameters("text", texts),
    _parameters("text", st.just("a"), choices=st.lists(texts, max_size=2).map(lambda some: ("a", *some))),
    _parameters("integer", st.integers(5), minimum=_least),
    _parameters("number", st.floats(5, allow_nan=False), minimum=_least),
    _parameters("boolean", st.booleans()),
    _parameters("list", st.lists(plain_values, max_size=3)),
    _parameters("mapping", st.dictionaries(texts, plain_values, max_size=3)),
)


def _common() -> dict[str, Any]:
    return {
        "name": st.none() | texts,
        "enabled": st.booleans(),
        "when": st.none() | texts,
        "depends_on": st.lists(names, max_size=2).map(tuple),
        "timeout_s": st.none() | st.floats(0.1, 100),
        "retry": st.none() | retries,
    }


def steps(handlers: Sequence[str], *, max_leaves: int = 8) -> st.SearchStrategy[Step]:
    """Random steps of all kinds, nested; every handler step names one of `handlers`. Ids are left to the default."""
    handler = st.sampled_from(handlers)
    calls = st.builds(Handler, handler=handler) | st.builds(
        Handler,
        handler=handler,
        options=options,
        reads=renames,
        writes=renames,
        uses=st.lists(names, max_size=2).map(tuple),
        **_common(),
    )
    leaves = (
        calls
        | st.builds(SubPipeline, pipeline=names, parameters=options, **_common())
        | st.builds(
            MergeResults,
            group=st.none() | names,
            inputs=st.lists(names, max_size=2).map(tuple),
            strategy=names,
            output=st.none() | names,
            options=options,
            **_common(),
        )
    )
    return st.recursive(leaves, _containers, max_leaves=max_leaves)


def _containers(inner: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    some = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return (
        st.builds(
            Parallel,
            branches=some,
            max_concurrency=limits,
            policy=policies,
            merge=st.none() | merges,
            split=st.none() | splits,
            reducers=renames,
            **_common(),
        )
        | st.builds(
            ForEach,
            over=names,
            as_=names,
            steps=some,
            batch_size=st.none() | st.integers(1, 9),
            max_concurrency=limits,
            max_items=st.integers(1, 20_000),
            tolerated_failure=st.none() | tolerances,
            collect=renames | names.map(lambda name: {name: name}),
            **_common(),
        )
        | st.builds(
            Switch,
            cases=st.lists(st.builds(Case, when=texts, steps=some), min_size=1, max_size=2).map(tuple),
            default=st.just(()) | some,
            **_common(),
        )
        | st.builds(Sequential, steps=some)
        | st.builds(Sequential, steps=some, **_common())
    )


def pipelines(handlers: Sequence[str], *, max_leaves: int = 8) -> st.SearchStrategy[Pipeline]:
    """Random pipelines over the given handler names."""
    return st.builds(
        Pipeline,
        name=names,
        version=texts,
        description=texts,
        mode=st.sampled_from(["ordered", "dag"]),
        parameters=st.dictionaries(names, parameters, max_size=2),
        outputs=st.none()
        | st.dictionaries(names, st.builds(Output, field=names, description=texts, at_end=st.booleans()), max_size=2),
        max_concurrency=limits,
        timeout_s=st.none() | st.floats(0.1, 100),
        retry=st.none() | retries,
        reducers=renames,
        resources=st.dictionaries(names, st.builds(Resource, concurrency=st.none() | st.integers(1, 9)), max_size=2),
        steps=st.lists(steps(handlers, max_leaves=max_leaves), min_size=1, max_size=3).map(tuple),
    )
