"""Skill files: read strictly, found by name, kept within their folder."""

from collections.abc import Iterator
from operator import ne
from pathlib import Path

import pytest

import handlers.data.skill  # noqa: F401  (registers the handler)
from flows.author import REGISTRY, Registry, handler
from flows.errors import DuplicateName, UnknownName
from flows.model import Pipeline
from flows.planning import make_plan, step_fingerprints
from handlers.data import load_skills
from handlers.data.skills import SKILLS, BadSkill, parse_skill, skill_named

GOOD = "---\nname: Analyst\nrequires: [sales]\nproduces: [report]\n---\nLook at {{ sales }}.\n"


@pytest.fixture(autouse=True)
def skills() -> Iterator[None]:
    before = dict(SKILLS)
    yield
    SKILLS.clear()
    SKILLS.update(before)


def test_the_text_below_the_front_matter_is_the_prompt() -> None:
    skill = parse_skill(GOOD, "a.md")
    assert (skill.name, skill.requires, skill.produces) == ("Analyst", ("sales",), ("report",))
    assert skill.prompt == "Look at {{ sales }}."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no front matter", "a.md: has no front matter"),
        ("---\nname: [\n---\nx", "a.md: the front matter is not YAML"),
        ("---\n- a\n---\nx", "a.md: the front matter is not a mapping"),
        ("---\nname: A\nproduces: [x]\nrequire: [y]\n---\nx", "a.md: no key named 'require'; did you mean 'requires'?"),
        ("---\nproduces: [x]\n---\nx", "a.md: name: Field required"),
        ("---\nname: ../A\nproduces: [x]\n---\nx", "a.md: name: String should match pattern"),
        ("---\nname: A\nproduces: [x]\n---\n", "needs a prompt: the text below the front matter"),
        ("---\nname: A\n---\nx", "`produces` names no field"),
        ("---\nname: A\nproduces: [x]\nhitl_enabled: true\n---\nx", "pause the flow run in Prefect instead"),
        ("---\nname: A\nproduces: [x]\nexecutor: action\n---\nx", "executor 'action' needs the key 'action'"),
        (
            "---\nname: A\nproduces: [x]\nexecutor: action\naction: {type: script}\n---\n",
            "skills are data and hold no code",
        ),
        (
            "---\nname: A\nproduces: [x]\nexecutor: action\naction: {type: data_pipeline}\n---\n",
            "write its steps as a pipeline",
        ),
        (
            "---\nname: A\nproduces: [x]\nexecutor: action\naction: {type: data_query}\n---\n",
            "of type data_query needs 'source'",
        ),
        (
            "---\nname: A\nproduces: [x]\nexecutor: action\naction: {type: python_function, function: f, retry: 9}\n---\n",
            "less than or equal to 5",
        ),
        (
            "---\nname: !!python/object/apply:os.system [id]\nproduces: [x]\n---\nx",
            "a.md: the front matter is not YAML",
        ),
    ],
)
def test_a_bad_file_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(BadSkill) as caught:
        parse_skill(text, "a.md")
    assert message in str(caught.value)


def test_folders_give_skills_by_name_and_names_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "Analyst").mkdir()
    (tmp_path / "Analyst" / "skill.md").write_text(GOOD)
    (tmp_path / "README.md").write_text("# Not a skill")
    load_skills([tmp_path])
    load_skills([tmp_path])
    assert skill_named("Analyst").produces == ("report",)
    for name in ("Analist", str(tmp_path / "Analyst" / "skill.md"), "../Analyst"):
        with pytest.raises(UnknownName, match="no skill named"):
            skill_named(name)


def test_two_files_cannot_give_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(GOOD)
    (tmp_path / "b.md").write_text(GOOD)
    with pytest.raises(DuplicateName, match=r"two skills are named 'Analyst': .*a\.md and .*b\.md"):
        load_skills([tmp_path])


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.md").write_text(GOOD)
    (tmp_path / "skills").mkdir()
    (tmp_path / "skills" / "a.md").symlink_to(tmp_path / "outside.md")
    with pytest.raises(BadSkill, match="leads out of"):
        load_skills([tmp_path / "skills"])
    with pytest.raises(BadSkill, match="there is no such folder"):
        load_skills([tmp_path / "nowhere"])


def test_a_changed_skill_changes_the_fingerprints_of_its_steps_and_of_later_ones() -> None:
    def lineages(text: str) -> tuple[str, str]:
        SKILLS["Analyst"] = parse_skill(text, "a.md")
        steps = [{"id": "ask", "handler": "skill", "options": {"skill": "Analyst"}}, {"id": "after", "handler": "tidy"}]
        declared = Pipeline.model_validate({"name": "p", "steps": steps})
        found = step_fingerprints(make_plan(declared, registry=registry, given=["sales"]))
        return found["ask"].chained, found["after"].chained

    registry = Registry()
    registry.add(REGISTRY.get("skill"))

    @handler(writes="tidied", registry=registry)
    def tidy(report: str) -> str:
        return report

    assert lineages(GOOD) == lineages(GOOD.replace("\n---\n", "\n---\n\n"))
    assert all(map(ne, lineages(GOOD), lineages(GOOD.replace("Look at", "Read"))))
