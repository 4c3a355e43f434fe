import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline, load_pipeline_text
from flows.model import ForEach, Handler, MergeResults, Parallel, Pipeline, Sequential, SubPipeline
from flows.model.steps import child_steps
from tests.support.profiles import scaled

A, B, C = Handler(handler="a"), Handler(handler="b"), Handler(handler="c")

SEVEN_MISTAKES = """\
name: voices
steps:
  - extract_text
  - handler: embed
    optoins: {size: 3}
  - parallel:
      id: voice_generation
      branches: []
  - paralel: [a, b]
  - for_each:
      over: docs
      steps:
        - handler: store
          timeout_s: soon
  - id: twin
    handler: a
  - id: twin
    handler: b
    retry: {max_attempts: 0}
  - parallel: [a]
    policy: brave
"""


def problems(text: str, source: str = "f.yaml") -> list[str]:
    with pytest.raises(InvalidPipeline) as caught:
        load_pipeline_text(text, file=source)
    return [str(problem) for problem in caught.value.problems]


def test_seven_mistakes_are_seven_problems_at_their_lines_after_one_reading():
    assert problems(SEVEN_MISTAKES) == [
        "f.yaml:5:5: 'optoins' is not a key of a handler step; did you mean 'options'? [unknown-key]",
        "f.yaml:8:17: Parallel group voice_generation has no steps [empty-group]",
        "f.yaml:9:5: 'paralel' is not a key of a step; did you mean 'parallel'? [unknown-key]",
        "f.yaml:14:22: 'timeout_s' must be a number, not 'soon' [bad-value]",
        "f.yaml:17:9: the id 'twin' is taken by the step on line 15; ids are unique [duplicate-id]",
        "f.yaml:19:27: 'max_attempts' must be at least 1, not 0 [bad-value]",
        "f.yaml:21:13: 'policy': unknown policy 'brave'; known are: all_or_nothing, fail_fast, best_effort, keep_going, "
        "minimum_threshold: n [bad-value]",
    ]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("7", "1:10: a step must be the name of a handler, a list of steps, or a mapping, not 7 [bad-value]"),
        (
            "{id: x}",
            "1:10: the kind of this step is unknown; it needs one of handler, parallel, branches, for_each, "
            "merge_results, switch, cases, pipeline, steps [bad-step]",
        ),
        (
            "{type: paralell, branches: [a]}",
            "1:17: no step has the type 'paralell'; did you mean 'parallel'? [unknown-type]",
        ),
        (
            "{handler: a, max_workers: 2}",
            "1:23: 'max_workers' is not a key of a handler step; it belongs to a parallel "
            "step or a for_each step [unknown-key]",
        ),
        (
            "{parallel: [a], branches: [b]}",
            "1:11: 'branches' means the same as 'parallel' here; keep one of them [twice]",
        ),
        (
            "{parallel: [a], max_workers: many}",
            "1:39: 'max_workers' must be a whole number or 'unlimited', not 'many' [bad-value]",
        ),
        (
            "{parallel: [a], max_workers: 0}",
            "1:39: 'max_workers': must be 1 or more; write `unlimited` for no limit [bad-value]",
        ),
        (
            "{parallel: [a], policy: {success_when: {mim: 2}}}",
            "1:50: 'mim' is not a key of success_when; did you mean 'min'? [unknown-key]",
        ),
        (
            "{parallel: [a], policy: {success_when: some}}",
            "1:49: 'success_when' must be 'all', 'any' or 'always', a mapping with min or a mapping with ratio, "
            "not 'some' [bad-value]",
        ),
        (
            "{parallel: [a], policy: {minimum_threshold: two}}",
            "1:54: 'minimum_threshold' must be a whole number, not 'two' [bad-value]",
        ),
        (
            "{parallel: [a], policy: {minimum_treshold: 2}}",
            "1:35: 'minimum_treshold' is not a key of a policy; did you mean 'minimum_threshold'? [unknown-key]",
        ),
        (
            "{parallel: [a], policy: {minimum_threshold: 2, on_branch_failure: cancel}}",
            "1:35: 'minimum_threshold' cannot be combined with other keys; write `success_when: {min: n}` instead [unknown-key]",
        ),
        (
            "{for_each: d, steps: [a], collect: [{a: b}]}",
            "1:45: 'collect' must be a mapping, a text, or a list of texts only [bad-value]",
        ),
        ("{parallel: }", "1:20: Parallel group 0 has no steps [empty-group]"),
        ("{for_each: d, steps: []}", "1:31: a for_each step has no steps; list them under 'steps' [no-steps]"),
        ("{for_each: d, steps: [[]]}", "1:32: this list has no steps [no-steps]"),
        (
            "{for_each: {ovr: d, steps: [a]}}",
            "1:22: 'ovr' is not a key of a for_each step; did you mean 'over'? [unknown-key]",
        ),
        (
            "{for_each: d, steps: [a], collect: [1]}",
            "1:46: item 1 of 'collect' must be a text, not 1; put it into quotes [bad-value]",
        ),
        (
            "{for_each: d, steps: [a], tolerated_failure: 'x%'}",
            "1:55: 'tolerated_failure' must be a number of items or a share such as '5%', not 'x%' [bad-value]",
        ),
        ("{switch: []}", "1:19: a switch needs cases: a list of mappings with 'when' and 'steps' [no-cases]"),
        ("{switch: [{steps: [a]}]}", "1:20: a case needs 'when': a condition over the context [missing-key]"),
        ("{handler: a, when: true}", "1:29: 'when' must be a text, not true; put it into quotes [bad-value]"),
        ("{handler: a, depends_on: b}", "1:35: 'depends_on' must be a list of texts, not 'b'; write [b] [bad-value]"),
        (
            "{handler: a, depends_on: [b, 3]}",
            "1:39: item 2 of 'depends_on' must be a text, not 3; put it into quotes [bad-value]",
        ),
        (
            "{handler: a, id: 'a b'}",
            "1:27: 'id' cannot be 'a b': use letters, digits, '_', '-' and '.', beginning with "
            "a letter or '_' [bad-name]",
        ),
        ("{handler: a, options: {1: x}}", "1:33: the key 1 must be a text; put it into quotes [bad-key]"),
    ],
)
def test_one_mistake_is_one_problem_in_plain_words(step, expected):
    assert problems(f"steps: [ {step} ]\nname: p") == [f"f.yaml:{expected}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1:1: the file is empty; a pipeline has a name and steps [empty]"]),
        ("# only a comment\n", ["1:1: the file is empty; a pipeline has a name and steps [empty]"]),
        ("extract", ["1:1: a pipeline is a mapping with a name and steps, or a list of steps [bad-value]"]),
        ("name: p", ["1:1: a pipeline has no steps; list them under 'steps' [no-steps]"]),
        ("name: p\nsteps: []", ["2:8: a pipeline has no steps; list them under 'steps' [no-steps]"]),
        ("[]", ["1:1: a pipeline has no steps; list them under 'steps' [no-steps]"]),
        ("name: p\nsteps: a", ["2:8: 'steps' must be a list of steps, not 'a'; write [a] [bad-value]"]),
        ("steps: [a]", ["1:1: a pipeline needs 'name': unique in the catalog [missing-key]"]),
        (
            "name: p\nstpes:\n  - {handler: a, idd: x}",
            [
                "2:1: 'stpes' is not a key of a pipeline; did you mean 'steps'? [unknown-key]",
                "3:18: 'idd' is not a key of a handler step; did you mean 'id'? [unknown-key]",
            ],
        ),
        (
            "name: p\nsteps: [a]\nname: q\nversion: 2",
            [
                "3:1: the key 'name' is repeated here; it is first on line 1 [duplicate-key]",
                "4:10: 'version' must be a text, not 2; put it into quotes [bad-value]",
            ],
        ),
        (
            "name: p\nsteps: [!!python/name:os.system a]",
            [
                "2:9: the tag tag:yaml.org,2002:python/name:os.system is not allowed here: pipelines are plain data [tag]"
            ],
        ),
        (
            "name: p\nsteps: [a",
            [
                "2:10: this is not YAML: expected ',' or ']', but got '<stream end>' (while parsing a "
                "flow sequence, which began on line 2) [syntax]"
            ],
        ),
        ("name: p\nsteps:\n\t- a", ["3:1: indent with spaces: YAML allows no tabs here [syntax]"]),
        ("name: p\n---\nname: q", ["2:1: a second document begins here; a file holds one pipeline [syntax]"]),
        ("name: p\nsteps: [\x00]", ["2:9: this is not YAML: the character '\\x00' is not allowed [syntax]"]),
        ("name: p\nsteps: &s [*s]", ["2:8: this value contains itself through an alias [endless-alias]"]),
        (
            "name: p\nsteps: [{? [a] : b}]",
            [
                "2:12: a key must be a text, not a list or a mapping [bad-key]",
                "2:9: the kind of this step is unknown; it needs one of handler, parallel, "
                "branches, for_each, merge_results, switch, cases, pipeline, steps "
                "[bad-step]",
            ],
        ),
        (
            "name: p\nsteps: [a]\nparameters: {q: {typ: txt}}",
            [
                "3:18: 'typ' is not a key of a parameter; did you mean 'type'? [unknown-key]",
                "3:23: 'type' must be 'text', 'integer', 'number', 'boolean', 'list' or 'mapping', not 'txt' [bad-value]",
            ],
        ),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(text, expected):
    assert sorted(problems(text)) == sorted(f"f.yaml:{line}" for line in expected)


def test_aliases_of_aliases_do_not_fill_the_memory():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert problems("\n".join(lines)) == ["f.yaml:1:1: this holds more than 200000 values [too-large]"]


@pytest.mark.parametrize("depth", [100, 20_000])
def test_endless_nesting_is_a_problem_like_any_other(depth):
    (problem,) = problems("[" * depth + "]" * depth)
    assert problem.endswith("[too-deep]")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("- a\n- b", (A, B)),
        ("- a\n- [b, c]", (A, Sequential(steps=(B, C)))),
        ("- [a]", (A,)),
        ("- parallel: [a, [b, c]]", (Parallel(branches=(A, Sequential(steps=(B, C)))),)),
        ("- parallel: {branches: [a, b], MaxConcurrency: 2}", (Parallel(branches=(A, B), max_concurrency=2),)),
        ("- for_each: docs\n  steps: [a]", (ForEach(over="docs", steps=(A,)),)),
        ("- for_each: {over: docs, as: d}\n  steps: [a]", (ForEach(over="docs", as_="d", steps=(A,)),)),
        ("- merge_results: {from: g}", (MergeResults(group="g"),)),
        ("- pipeline: other", (SubPipeline(pipeline="other"),)),
        (
            "- &x {handler: a, timeout_s: 3}\n- {<<: *x, handler: b}",
            (Handler(handler="a", timeout_s=3), Handler(handler="b", timeout_s=3)),
        ),
        (
            "- {handler: a, options: {since: 2024-01-01, sure: yes}}",
            (Handler(handler="a", options={"since": "2024-01-01", "sure": "yes"}),),
        ),
    ],
)
def test_short_forms(text, steps):
    assert load_pipeline_text(text, name="p").pipeline == Pipeline(name="p", steps=steps)


@pytest.mark.parametrize(
    ("file", "name"), [("nightly.yaml", "nightly"), ("my steps.yaml", "my_steps"), ("2024.yaml", "_2024")]
)
def test_a_list_is_a_pipeline_named_after_its_file(tmp_path: Path, file, name):
    (tmp_path / file).write_text("- a\n- b\n")
    assert load_pipeline(tmp_path / file).pipeline == Pipeline(name=name, steps=(A, B))


def test_a_missing_file_suggests_the_one_that_was_meant(tmp_path: Path):
    (tmp_path / "ingest.yaml").write_text("- a")
    with pytest.raises(InvalidPipeline, match=r"there is no such file; did you mean '.*ingest\.yaml'\?"):
        load_pipeline(tmp_path / "ingets.yaml")


def test_a_file_that_cannot_be_read_is_a_problem_like_any_other(tmp_path: Path):
    with pytest.raises(InvalidPipeline, match="the file cannot be read"):
        load_pipeline(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: café".encode("latin-1"))
    with pytest.raises(InvalidPipeline, match=r"latin\.yaml: the file is not UTF-8 \(byte 9\)"):
        load_pipeline(latin)


PLACED = """\
name: p
steps:
  - a
  - parallel:
      id: group
      branches:
        - [a, b]
        - handler: c
          options:
            limit: 3
  - for_each: docs
    steps:
      - b
  - switch:
      - when: x
        steps: [a]
      - when: y
        steps: [b, c]
    default:
      - handler: a
  - [a]
"""


@pytest.mark.parametrize(
    ("path", "keys", "place"),
    [
        ("0", (), (3, 5)),
        ("1", (), (4, 5)),
        ("group", (), (4, 5)),
        ("1.0", (), (7, 11)),
        ("1.0.1", (), (7, 15)),
        ("1.1", ("options", "limit"), (10, 20)),
        ("group", ("branches",), (7, 9)),
        ("2.0", (), (13, 9)),
        ("3.0", (), (16, 17)),
        ("3.2", (), (18, 20)),
        ("3.3", (), (20, 9)),
        ("4", (), (21, 6)),
        ("1.1", ("reads",), (8, 11)),
        ("1.1.7", (), (8, 11)),
        ("", (), (1, 1)),
        ("nobody", (), (0, 0)),
    ],
)
def test_every_step_and_key_has_its_place(path, keys, place):
    assert load_pipeline_text(PLACED).position_of(path, *keys) == place


def test_places_follow_the_order_of_child_steps():
    loaded = load_pipeline_text(PLACED)

    def paths(steps, prefix=""):
        for index, step in enumerate(steps):
            yield f"{prefix}{index}", step
            yield from paths(child_steps(step), f"{prefix}{index}.")

    found = list(paths(loaded.pipeline.steps))
    assert list(loaded.positions.steps) == [path for path, _ in found]
    lines = PLACED.splitlines()
    for path, step in found:
        line, column = loaded.position_of(path)
        if isinstance(step, Handler):
            assert step.handler in lines[line - 1][column - 1 :]


_words = st.sampled_from(
    "name steps handler parallel branches for_each over switch when default merge_results from pipeline type policy "
    "success_when min max_workers retry collect tolerated_failure merge split options parameters resources id "
    "depends_on stpes minimum_threshold sequential".split()
)
_anything = st.recursive(
    _words | st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.integers(0, 2), inner, max_size=4),
    max_leaves=25,
)


@given(_anything)
@example([{"parallel": [None]}])
@settings(max_examples=scaled(150))
def test_no_file_however_odd_ends_in_anything_but_a_pipeline_or_its_problems(value):
    text = json.dumps(value if isinstance(value, dict) else {"name": "p", "steps": value})
    try:
        load_pipeline_text(text)
        return
    except InvalidPipeline as invalid:
        found = invalid.problems
    assert found
    assert "invalid" not in {problem.code for problem in found}
    assert all(problem.line == 1 and problem.column >= 1 for problem in found)


def test_loading_does_not_import_prefect():
    check = "import flows.loaders, flows.loaders.builder, sys; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
