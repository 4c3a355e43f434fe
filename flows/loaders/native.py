"""Load a file as a pipeline, or report everything that is wrong with it, each problem at its line and column.

A file in another dialect is translated into Braid's own YAML first, value by value, and then read as such.
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
from flows.loaders.foreign import Translation
from flows.loaders.other_files import refuse_other_files, refuse_skill
from flows.loaders.yaml_nodes import Position, YamlDocument, YamlNode, read_yaml
from flows.loaders.yaml_steps import StepPositions, lookup, steps_in
from flows.model import Pipeline

MAX_BYTES = 5_000_000
_MAX_REPAIRS = 100


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline, the file that it was read from, and the positions of its steps there."""

    pipeline: Pipeline
    positions: StepPositions
    file: str
    dialect: str = "native"
    """The dialect that the file is written in: native, hpd, chain, data or stages."""
    warnings: tuple[Problem, ...] = ()
    open_inputs: bool = False
    """Whether the dialect cannot declare parameters, so that the fields that its steps need are the inputs."""

    def position_of(self, path: str, *keys: str) -> Position:
        """Line and column of the step at a path such as `"1.2"`, or of a key in it; `""` is the pipeline."""
        return self.positions.position_of(path, *keys)


def loaded_from(pipeline: Pipeline) -> LoadedPipeline:
    """A pipeline that comes from no file: its steps have no positions."""
    return LoadedPipeline(pipeline, StepPositions(YamlNode(0, 0)), "")


def load_pipeline(path: str | Path) -> LoadedPipeline:
    """The pipeline in a YAML file; a list of steps without a name becomes a pipeline named after the file.

    Raises:
        InvalidPipeline: everything that is wrong with the file, in the order of its lines.
    """
    path, file = Path(path), str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidPipeline([Problem(file, 0, 0, "too-large", f"the file is larger than {MAX_BYTES} bytes")])
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(file, 0, 0, "encoding", f"the file is not UTF-8 (byte {error.start}); save it as UTF-8")
        raise InvalidPipeline([problem]) from error
    except OSError as error:
        raise InvalidPipeline([_unreadable_file(path, error)]) from error
    return load_pipeline_text(text, file=file)


def load_pipeline_text(text: str, *, file: str = "<text>", name: str | None = None) -> LoadedPipeline:
    """The pipeline in a YAML text; a list of steps without a name is named `name`, or after `file`.

    Raises:
        InvalidPipeline: everything that is wrong with the text, in the order of its lines.
    """
    refuse_skill(text, file)
    document = read_yaml(text, file=file)
    refuse_other_files(document.root, file)
    dialect = recognise(document.root) if document.root is not None else None
    translation = Translation(file)
    if dialect is not None and document.root is not None:
        root = dialect.translate(document.root, translation, name or _name_from(file))
    else:
        root = _pipeline_node(document, file, name)
    pipeline, problems = check_pipeline(root, file=file)
    warnings = tuple(problem for problem in translation.problems if problem.level == "warning")
    foreign = {problem for problem in translation.problems if problem.level == "error"}
    problems = sorted({*document.problems, *foreign, *problems}, key=_sort_key)
    dialect_name = dialect.name if dialect is not None else "native"
    if pipeline is None or problems:
        readable = pipeline or _readable_part(root)
        draft = readable and LoadedPipeline(readable, StepPositions(root), file, dialect_name, warnings)
        raise InvalidPipeline(problems, draft=draft)
    is_list = document.root is not None and document.root.items is not None
    open_inputs = dialect_name == "hpd" or (dialect_name == "native" and is_list)
    return LoadedPipeline(pipeline, StepPositions(root), file, dialect_name, warnings, open_inputs)


def check_pipeline(root: YamlNode, *, file: str) -> tuple[Pipeline | None, list[Problem]]:
    """The pipeline that a document describes, None if it describes none; and everything that is wrong with it.

    A misspelt key is reported and then read as the intended key. So the intended key is not reported as missing, and
    mistakes below it are found. This changes `root`.
    """
    pipeline: Pipeline | None = None
    problems: set[Problem] = set()
    last: ValidationError | None = None
    for _ in range(_MAX_REPAIRS):
        found = []
        try:
            pipeline = Pipeline.model_validate(root.data())
        except ValidationError as invalid:
            last = invalid
            found = complaints(invalid, root)
        repairs = [complaint for complaint in found if complaint.repair is not None]
        for complaint in repairs:
            problems.add(complaint.problem(file))
            if complaint.repair is not None:
                complaint.repair()
        if not repairs:
            problems |= {complaint.problem(file) for complaint in found}
            break
    problems |= _structural_problems(root, file)
    if pipeline is None and not problems and last is not None:
        message = "; ".join(f"{error['loc']}: {error['msg']}" for error in last.errors(include_url=False))
        problems.add(Problem(file, *root.position, "invalid", message))
    return pipeline, sorted(problems, key=_sort_key)


def _readable_part(root: YamlNode) -> Pipeline | None:
    """The pipeline without the keys that have wrong values; None if it is invalid even then.

    No step is removed, so that all steps keep their paths.
    """
    data = root.data()
    for _ in range(_MAX_REPAIRS):
        try:
            return Pipeline.model_validate(data)
        except ValidationError as invalid:
            removed = [_remove_key(data, error["loc"]) for error in invalid.errors(include_url=False)]
            if not any(removed):
                return None
    return None


def _remove_key(data: Any, location: Sequence[int | str]) -> bool:
    """Remove the key that caused an error from nested data; return False if there is no such optional key."""
    found = _key_at(data, location)
    if found is None or found[1] in ("name", "steps", "handler", "branches", "parallel", "over", "for_each"):
        return False
    del found[0][found[1]]
    return True


def _key_at(data: Any, location: Sequence[int | str]) -> tuple[dict[Any, Any], Any] | None:
    """The mapping and the key at a pydantic location; parts of the location that name types are skipped."""
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


def _structural_problems(root: YamlNode, file: str) -> set[Problem]:
    """The problems that the models cannot detect: duplicate ids, and groups without branches."""
    problems: set[Problem] = set()
    taken: dict[str, str] = {}
    for step in steps_in(root):
        declared = lookup(step.node, ("id",))
        step_id = declared[0].scalar if declared is not None else None
        if declared is not None and isinstance(step_id, str):
            if step_id in taken:
                message = f"the id {step_id!r} is taken by {taken[step_id]}; ids are unique"
                problems.add(Problem(file, *declared[1], "duplicate-id", message))
            line, column = declared[1]
            taken.setdefault(step_id, f"the step on line {line}" if column else f"step {step.path}")
        if step.kind == "parallel":
            branches = lookup(step.node, ("branches", "parallel"))
            if branches is None or (branches[0].entries is None and not branches[0].items and not branches[0].scalar):
                declared = lookup(step.node, ("id", "name"))
                name = declared[0].scalar if declared is not None else step.path
                position = branches[1] if branches is not None else step.node.position
                problems.add(Problem(file, *position, "empty-group", f"Parallel group {name} has no steps"))
    return problems


def _pipeline_node(document: YamlDocument, file: str, name: str | None) -> YamlNode:
    """The mapping of a pipeline, made for a document that is only a list of steps."""
    root = document.root
    if root is None or root.is_null:
        message = "the file is empty; a pipeline has a name and steps"
        raise InvalidPipeline([*document.problems, Problem(file, 1, 1, "empty", message)])
    if root.items is not None:
        name_node = YamlNode(root.line, root.column, scalar=name or _name_from(file))
        return YamlNode(root.line, root.column, entries={"name": name_node, "steps": root})
    if root.entries is None:
        message = "a pipeline is a mapping with a name and steps, or a list of steps"
        raise InvalidPipeline([*document.problems, Problem(file, root.line, root.column, "bad-value", message)])
    return root


def _name_from(file: str) -> str:
    """The stem of a file, made a valid name."""
    stem = re.sub(r"[^A-Za-z0-9_.\-]", "_", Path(file).stem).strip("_") or "pipeline"
    return stem if stem[0].isalpha() else f"_{stem}"


def _unreadable_file(path: Path, error: OSError) -> Problem:
    if isinstance(error, FileNotFoundError):
        beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        close = get_close_matches(path.name, beside, n=1)
        hint = f"; did you mean {str(path.parent / close[0])!r}?" if close else ""
        return Problem(str(path), 0, 0, "unreadable", f"there is no such file{hint}")
    return Problem(str(path), 0, 0, "unreadable", f"the file cannot be read: {error.strerror or error}")


def _sort_key(problem: Problem) -> tuple[Any, ...]:
    return (problem.line, problem.column, problem.code, problem.message)
