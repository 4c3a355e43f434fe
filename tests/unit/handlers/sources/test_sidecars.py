"""Tags beside documents: more specific values replace more general ones."""

import pytest

from handlers.sources.sidecars import Tagging, is_sidecar
from handlers.tags import InvalidTag

SIDECARS = {
    ".tags.yaml": b"team: all\nlevel: [1st, 2nd]\nrules:\n- {match: '**/*.pdf', tags: {kind: print}}\n",
    "a/.tags.yml": b"team: inner\n",
    "a/x.pdf.tags.yaml": b"level: own\n",
    "b/.tags.yaml": b"",
}


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("top.txt", {"team": "all", "level": ["1st", "2nd"], "given": "g"}),
        ("a/y.txt", {"team": "inner", "level": ["1st", "2nd"], "given": "g"}),
        ("a/x.pdf", {"team": "inner", "level": "own", "kind": "print", "given": "g"}),
        ("b/c/z.pdf", {"team": "all", "level": ["1st", "2nd"], "kind": "print", "given": "g"}),
    ],
)
def test_what_is_nearer_wins(name: str, tags: dict[str, str | list[str]]) -> None:
    wanted = sorted(
        (key, each) for key, value in tags.items() for each in ([value] if isinstance(value, str) else value)
    )
    assert list(Tagging({"given": "g", "team": "outermost"}, SIDECARS).of(name)) == wanted


def test_sidecars_are_told_by_their_names() -> None:
    assert [is_sidecar(name) for name in ("a.tags.yaml", "x/.tags.yml", "tags.yaml", "a.yaml")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"- a", "x.tags.yaml: must be a mapping"),
        (b"a: [", "x.tags.yaml: cannot be read as YAML"),
        (b"\xff", "x.tags.yaml: cannot be read as YAML"),
        (b"__part_n: x", "'__part_n' is reserved"),
        (b"a: 1", "x.tags.yaml: tag 'a': 1 is not a value"),
        (b"'a=b': c", "x.tags.yaml: tag 'a=b'"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_named(content: bytes, complaint: str) -> None:
    with pytest.raises(InvalidTag, match=complaint.replace("[", r"\[")):
        Tagging({}, {"x.tags.yaml": content})


def test_a_rule_must_be_whole() -> None:
    with pytest.raises(InvalidTag, match=r"\.tags\.yaml: rule 2 must have `match`"):
        Tagging({}, {".tags.yaml": b"rules: [{match: '*', tags: {a: b}}, {glob: '*'}]"})
