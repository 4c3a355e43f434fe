"""Recognises files that are not pipelines, and reports their kind and where they belong."""

from collections.abc import Mapping

from flows.errors import InvalidPipeline, Problem
from flows.loaders.yaml_nodes import YamlNode

_STEPS = frozenset({"steps", "Steps", "stages", "jobs", "parallel", "parallel_steps"})


def refuse_skill(text: str, file: str) -> None:
    """Refuse a Markdown file with the front matter of a skill. Raises: InvalidPipeline: it is one; the message names
    the right place for it.
    """
    if text.lstrip().startswith("---") and _front_matter(text):
        raise _refusal(
            file,
            "this is a skill file, not a pipeline; put its folder into BRAID_SKILLS_DIRS, and name the skill in a "
            "step: {type: skill, skill: NAME}",
        )


def refuse_other_files(root: YamlNode | None, file: str) -> None:
    """Refuse a file of another kind, recognised by its keys.

    Raises:
        InvalidPipeline: it is one; the message names its kind and the right place for it.
    """
    entries = root.entries if root is not None else None
    if not entries or _STEPS & {str(key) for key in entries}:
        return
    if all(value.entries is not None for value in entries.values()) and any(
        "schedules" in (value.entries or {}) for value in entries.values()
    ):
        raise _refusal(file, _SCHEDULES)
    for signs, message in _KINDS.items():
        if _has(entries, signs):
            raise _refusal(file, message)


def _refusal(file: str, message: str) -> InvalidPipeline:
    return InvalidPipeline([Problem(file, 1, 1, "not-a-pipeline", message)])


def _has(entries: Mapping[object, YamlNode], signs: tuple[str, ...]) -> bool:
    return all(any(key in entries for key in sign.split("|")) for sign in signs)


def _front_matter(text: str) -> bool:
    """Whether a text begins with the front matter of a skill and goes on after it."""
    head, closing, _ = text.lstrip().removeprefix("---").partition("\n---")
    keys = {line.partition(":")[0].strip() for line in head.splitlines() if not line.startswith((" ", "-", "#"))}
    return bool(closing) and "name" in keys and bool(keys & {"requires", "produces", "executor", "description"})


_SCHEDULES = (
    "this is a file of schedules, not a pipeline; BRAID_SCHEDULES names it for `braid deploy`, and `braid validate` "
    "checks it under the name schedules.yaml"
)
_KINDS = {
    ("job_id|job_type",): (
        "this is a job definition, not a pipeline; register its function with @job(name=JOB_ID) in a module of "
        "BRAID_HANDLER_MODULES, and name it in a stage: {name: STAGE, jobs: [JOB_ID]}"
    ),
    ("executor", "requires|produces|action"): (
        "this is the definition of a skill, not a pipeline; put it as front matter between two lines `---` into a "
        "Markdown file of a folder in BRAID_SKILLS_DIRS"
    ),
    ("skills|tools", "system_prompt|instructions|model|role"): (
        "this is the definition of an agent, not a pipeline; only the pipelines of its skills run here: files with "
        "`steps`"
    ),
    ("deployments", "name|prefect-version|work_pools|definitions"): (
        "this is a file for `prefect deploy`, not a pipeline; give it to Prefect"
    ),
    ("schedules|overlap|max_runs",): _SCHEDULES,
    ("services", "version|volumes|networks|x-braid"): "this is a file for Docker Compose, not a pipeline",
    ("$schema|$defs|properties", "type|$id|title|properties"): "this is a JSON Schema, not a pipeline",
    ("default_models|models|voices|providers",): (
        "this is a table of models, not a pipeline; BRAID_CONTENT_MODELS maps the names of models to those of the "
        "endpoint"
    ),
    ("connections|credentials",): (
        "this is a table of connections, not a pipeline; give it as JSON in BRAID_CONNECTIONS"
    ),
}
"""The kinds of other files by their signs. A sign is a key, or one of several keys; a mapping of a kind has all its
signs.
"""
