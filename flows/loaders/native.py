"""A file becomes a pipeline, or everything that is wrong with it, each problem at its line and column.

Other dialects are turned into Braid's own YAML here, value by value, and then read as such.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from flows.errors import InvalidPipeline, Problem
from flows.loaders.complaints import complaints
from flows.loaders.dialects import recognise
from flows.loaders.foreign import Notes
from flows.loaders.places import SourceMap, lookup, steps_in
from flows.loaders.positions import Node, Position, YamlDocument, read_yaml
from flows.model import Pipeline

MOST_BYTES = 5_000_000
_MOST_REPAIRS = 100


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline, the name of the file it comes from, and where its steps stand there."""

    pipeline: Pipeline
    positions: SourceMap
    source: str
    dialect: str = "native"
    """The dialect that the file is written in: native, hpd, chain, data or stages."""
    warnings: tuple[Problem, ...] = ()

    def place(self, path: str, *keys: str) -> Position:
        """Line and column of the step at a dotted position such as `"1.2"`, or of a key in it; `""` is the pipeline."""
        return self.positions.place(path, *keys)


def load_pipeline(path: str | Path) -> LoadedPipeline:
    """The pipeline in a YAML file; a file that is only a list of steps is a pipeline named after the file.

    Raises:
        InvalidPipeline: everything that is wrong with the file, in the order of its lines.
    """
    path, source = Path(path), str(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidPipeline([Problem(source, 0, 0, "too-large", f"the file is larger than {MOST_BYTES} bytes")])
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(source, 0, 0, "encoding", f"the file is not UTF-8 (byte {error.start}); save it as UTF-8")
        raise InvalidPipeline([problem]) from error
    except OSError as error:
        raise InvalidPipeline([_unreadable(path, error)]) from error
    return load_pipeline_text(text, source=source)


def load_pipeline_text(text: str, *, source: str = "<text>", name: str | None = None) -> LoadedPipeline:
    """The pipeline in a YAML text; `name` is for a plain list, without it the stem of `source` is.

    Raises:
        InvalidPipeline: everything that is wrong with the text, in the order of its lines.
    """
    document = read_yaml(text, source=source)
    dialect = recognise(document.root) if document.root is not None else None
    notes = Notes(source)
    if dialect is not None and document.root is not None:
        root = dialect.translate(document.root, notes, name or name_from(source))
    else:
        root = _as_pipeline(document, source, name)
    pipeline, problems = check_pipeline(root, source=source)
    warnings = tuple(problem for problem in notes.problems if problem.level == "warning")
    foreign = {problem for problem in notes.problems if problem.level == "error"}
    problems = sorted({*document.problems, *foreign, *problems}, key=_in_order)
    called = dialect.name if dialect is not None else "native"
    if pipeline is None or problems:
        draft = pipeline or _without_what_is_wrong(root)
        read = draft and LoadedPipeline(draft, SourceMap(root), source, called, warnings)
        raise InvalidPipeline(problems, draft=read)
    return LoadedPipeline(pipeline, SourceMap(root), source, called, warnings)


def check_pipeline(root: Node, *, source: str) -> tuple[Pipeline | None, list[Problem]]:
    """The pipeline that a document describes, and all that is wrong with it; None if it cannot be one.

    A misspelt key is reported, then read as what was meant: the key it should have been is then not called missing, and
    mistakes below it are found. `root` is changed by that.
    """
    pipeline: Pipeline | None = None
    problems: set[Problem] = set()
    last: ValidationError | None = None
    for _ in range(_MOST_REPAIRS):
        found = []
        try:
            pipeline = Pipeline.model_validate(root.data())
        except ValidationError as invalid:
            last = invalid
            found = complaints(invalid, root, source=source)
        repairs = [complaint for complaint in found if complaint.repair is not None]
        for complaint in repairs:
            problems.add(complaint.problem)
            if complaint.repair is not None:
                complaint.repair()
        if not repairs:
            problems |= {complaint.problem for complaint in found}
            break
    problems |= _structural(root, source)
    if pipeline is None and not problems and last is not None:
        message = "; ".join(f"{error['loc']}: {error['msg']}" for error in last.errors(include_url=False))
        problems.add(Problem(source, *root.place, "invalid", message))
    return pipeline, sorted(problems, key=_in_order)


def _without_what_is_wrong(root: Node) -> Pipeline | None:
    """The pipeline that is left when keys with wrong values are taken out; None where that is not enough.

    No step is taken out, so that the others keep their numbers.
    """
    data = root.data()
    for _ in range(_MOST_REPAIRS):
        try:
            return Pipeline.model_validate(data)
        except ValidationError as invalid:
            taken = [_taken_out(data, error["loc"]) for error in invalid.errors(include_url=False)]
            if not any(taken):
                return None
    return None


def _taken_out(data: Any, location: Sequence[int | str]) -> bool:
    """Take the key that an error is about out of nested data; False if it is not about a key that can be missing."""
    found = _key_at(data, location)
    if found is None or found[1] in ("name", "steps", "handler", "branches", "parallel", "over", "for_each"):
        return False
    del found[0][found[1]]
    return True


def _key_at(data: Any, location: Sequence[int | str]) -> tuple[dict[Any, Any], Any] | None:
    """The mapping and the key that a location of pydantic's leads to; locations also name kinds, which are no keys."""
    if not location:
        return None
    part, rest = location[0], location[1:]
    if isinstance(data, list) and isinstance(part, int) and part < len(cast("list[Any]", data)):
        return _key_at(data[part], rest)
    if isinstance(data, dict) and part in data:
        pairs = cast("dict[Any, Any]", data)
        inside = _key_at(pairs[part], rest)
        if inside is not None or not isinstance(pairs[part], (dict, list)) or not rest:
            return inside or (pairs, part)
    return _key_at(data, rest)


def _structural(root: Node, source: str) -> set[Problem]:
    """Ids that are used twice, and groups without branches."""
    problems: set[Problem] = set()
    taken: dict[str, str] = {}
    for step in steps_in(root):
        declared = lookup(step.node, ("id",))
        step_id = declared[0].scalar if declared is not None else None
        if declared is not None and isinstance(step_id, str):
            if step_id in taken:
                message = f"the id {step_id!r} is taken by {taken[step_id]}; ids are unique"
                problems.add(Problem(source, *declared[1], "duplicate-id", message))
            line, column = declared[1]
            taken.setdefault(step_id, f"the step on line {line}" if column else f"step {step.path}")
        if step.kind == "parallel":
            branches = lookup(step.node, ("branches", "parallel"))
            if branches is None or (branches[0].entries is None and not branches[0].items and not branches[0].scalar):
                named = lookup(step.node, ("id", "name"))
                called = named[0].scalar if named is not None else step.path
                place = branches[1] if branches is not None else step.node.place
                problems.add(Problem(source, *place, "empty-group", f"Parallel group {called} has no steps"))
    return problems


def _as_pipeline(document: YamlDocument, source: str, name: str | None) -> Node:
    root = document.root
    if root is None or (root.entries is None and root.items is None and root.scalar is None):
        message = "the file is empty; a pipeline has a name and steps"
        raise InvalidPipeline([*document.problems, Problem(source, 1, 1, "empty", message)])
    if root.items is not None:
        named = Node(root.line, root.column, scalar=name or name_from(source))
        return Node(root.line, root.column, entries={"name": named, "steps": root})
    if root.entries is None:
        message = "a pipeline is a mapping with a name and steps, or a list of steps"
        raise InvalidPipeline([*document.problems, Problem(source, root.line, root.column, "bad-value", message)])
    return root


def name_from(source: str) -> str:
    """The name of a pipeline that is only a list: the stem of its file, made a valid name."""
    stem = re.sub(r"[^A-Za-z0-9_.\-]", "_", Path(source).stem).strip("_") or "pipeline"
    return stem if stem[0].isalpha() else f"_{stem}"


def _unreadable(path: Path, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        close = get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean {str(path.parent / close[0])!r}?" if close else ""
        return Problem(str(path), 0, 0, "unreadable", f"there is no such file{hint}")
    return Problem(str(path), 0, 0, "unreadable", f"the file cannot be read: {error.strerror or error}")


def _in_order(problem: Problem) -> tuple[Any, ...]:
    return (problem.line, problem.column, problem.code, problem.message)
