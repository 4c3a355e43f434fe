"""Skills: Markdown files whose front matter declares a skill's inputs, products and action; found by name only."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flows.errors import DuplicateName, OrchestrationError, UnknownName
from handlers.data.rest import RestRequest

_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?$\n?(.*)\Z", re.DOTALL | re.MULTILINE)
_MOST_BYTES = 1_000_000


class BadSkill(OrchestrationError, ValueError):
    """A skill file that cannot be used; the message names the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Action(_Part):
    """The action of a skill: calling a registered function, a query, or a service."""

    type: Literal["python_function", "data_query", "http_call", "data_pipeline", "script"]
    function: str | None = None
    params: dict[str, Any] | None = None
    source: str | None = None
    query: str | dict[str, Any] | None = None
    credential_ref: str | None = None
    request: RestRequest | None = None
    timeout: float = Field(default=30.0, gt=0.0)
    retry: int = Field(default=0, ge=0, le=5)

    @model_validator(mode="after")
    def _complete(self) -> "Action":
        cures = {
            "data_pipeline": "write its steps as a pipeline, and run that by a step `{pipeline: NAME}`",
            "script": "pipelines and skills are data and hold no code; register a function with @transform",
        }
        if self.type in cures:
            raise ValueError(f"actions of type {self.type} are not run from skills: {cures[self.type]}")
        needs = {"python_function": ("function",), "data_query": ("source", "query"), "http_call": ("request",)}
        missing = [name for name in needs[self.type] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"an action of type {self.type} needs {missing[0]!r}")
        _check_url(self.request)
        return self


def _check_url(request: RestRequest | None) -> None:
    if request is not None and request.url is None:
        raise ValueError("a request needs 'url'")


class Skill(_Part):
    """One skill; its steps read `requires` and write `produces`."""

    name: str = Field(pattern=r"^[A-Za-z_][\w.\-]*$")
    description: str = ""
    requires: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    produces: tuple[str, ...] = ()
    optional_produces: tuple[str, ...] = ()
    executor: Literal["llm", "rest", "action"] = "llm"
    hitl_enabled: Literal[False] = Field(default=False, description="Skills cannot wait for people.")
    model: str | None = None
    prompt: str = ""
    system_prompt: str = ""
    output_model: str | None = None
    output_schema: dict[str, Any] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    action: Action | None = None
    rest: RestRequest | None = None
    file: str = ""

    @model_validator(mode="after")
    def _complete(self) -> "Skill":
        if self.executor == "action" and self.action is None:
            raise ValueError("executor 'action' needs the key 'action'")
        if self.executor == "rest" and self.rest is None:
            raise ValueError("executor 'rest' needs the key 'rest'")
        _check_url(self.rest)
        if self.executor == "llm" and not (self.prompt or self.system_prompt):
            raise ValueError("a skill for a language model needs a prompt: the text below the front matter")
        names = (*self.produces, *self.optional_produces)
        if not names:
            raise ValueError("`produces` names no field, so nothing could use the result")
        if len(set(names)) < len(names):
            raise ValueError("`produces` and `optional_produces` name a field twice")
        return self


SKILLS: dict[str, Skill] = {}


def skill_named(name: str) -> Skill:
    """The skill of that name (never a path). Raises: UnknownName: no file defines it."""
    if name not in SKILLS:
        raise UnknownName("skill", name, SKILLS)
    return SKILLS[name]


def load_skills(folders: Iterable[Path]) -> None:
    """Register the skills in folders: every `*.md` file with front matter, at any depth.

    Raises:
        BadSkill: a folder or file cannot be used.
        DuplicateName: two files define the same name.
    """
    for folder in folders:
        if not folder.is_dir():
            raise BadSkill(f"{folder}: there is no such folder; BRAID_SKILLS_DIRS names it")
        root = folder.resolve()
        for path in sorted(folder.rglob("*.md")):
            if not path.resolve().is_relative_to(root):
                raise BadSkill(f"{path}: leads out of {folder}; copy the file instead of linking it")
            if path.is_file() and path.read_bytes()[:3] == b"---":
                _register(read_skill(path))


def _register(skill: Skill) -> None:
    known = SKILLS.get(skill.name)
    if known is not None and known.file != skill.file:
        raise DuplicateName(f"two skills are named {skill.name!r}: {known.file} and {skill.file}; rename one")
    SKILLS[skill.name] = skill


def read_skill(path: Path) -> Skill:
    """The skill of a file.

    Raises:
        BadSkill: it is too large, has no front matter, or has keys that are missing, unknown or wrong.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise BadSkill(f"{path}: is larger than {_MOST_BYTES} bytes, too large for a skill")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadSkill(f"{path}: is not UTF-8: {error}") from error
    return parse_skill(text, str(path.resolve()))


def parse_skill(text: str, file: str) -> Skill:
    """The skill of a text; `file` names it in errors.

    Raises:
        BadSkill: as `read_skill`.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    parts = _FRONT.match(text)
    if parts is None:
        raise BadSkill(f"{file}: has no front matter; begin with '---', the keys, and '---' on a line of its own")
    try:
        keys = YAML(typ="safe", pure=True).load(parts[1])
    except YAMLError as error:
        raise BadSkill(f"{file}: the front matter is not YAML: {error}") from error
    if not isinstance(keys, Mapping):
        raise BadSkill(f"{file}: the front matter is not a mapping")
    fields: dict[str, Any] = {str(key): value for key, value in keys.items()}
    body = parts[2].strip()
    fields.setdefault("prompt", body)
    try:
        return Skill.model_validate({**fields, "file": file})
    except ValidationError as invalid:
        problems = [_problem(error, fields) for error in invalid.errors(include_url=False, include_input=False)]
        raise BadSkill("\n".join(f"{file}: {problem}" for problem in problems)) from None


def _problem(error: Any, fields: Mapping[str, Any]) -> str:
    from flows.errors import suggest

    where = ".".join(str(part) for part in error["loc"]) or "front matter"
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"no key named {where!r}{suggest(where, [name for name in Skill.model_fields if name != 'file'])}"
    if where == "hitl_enabled":
        return "hitl_enabled: skills cannot wait for people; pause the flow run in Prefect instead"
    return f"{where}: {str(error['msg']).removeprefix('Value error, ')}"


def check_skill(skill: Skill) -> None:
    """Refuse functions and output models that are not registered.

    Raises:
        FatalError: one is missing, or a query or request of the skill is refused.
    """
    from handlers.data.functions import bind_inputs, function_named
    from handlers.data.structured import answer_form

    answer_form(skill.output_model, skill.output_schema, skill.produces, skill.optional_produces)
    if skill.action is not None and skill.action.function is not None:
        function = function_named(skill.action.function)
        bind_inputs(skill.action.function, function, list(skill.requires), skill.action.params or {})
