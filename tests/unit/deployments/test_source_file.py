"""`sources.yaml`: all problems of the file at once, each at its line; and the parameters of named sources."""

from pathlib import Path

import pytest

from deployments.freshness import freshness_of
from deployments.source_file import find_source, read_sources
from flows.errors import InvalidPipeline, UnknownName
from tests.support.ingesting import settings_in


def test_every_problem_is_reported_with_its_line() -> None:
    text = """
handbook:
  place: git+https://example.com/handbook.git
  options: {tokn: env:TOKEN}
  fresh_within: often
  ocr: maybe
tickets:
  place: rest+https://example.com/api
  index: "../x"
  pattern: "["
  colour: red
same:
  place: git+https://example.com/handbook.git/
  options: {token: secret-itself}
odd name:
  place: gopher://example.com
"""
    with pytest.raises(InvalidPipeline) as raised:
        read_sources(text, file="sources.yaml")
    found = [(problem.line, problem.message) for problem in raised.value.problems]
    expected = [
        (4, "no option 'tokn'; did you mean 'token'?"),
        (5, "fresh_within: write a number of seconds"),
        (6, "ocr: 'maybe' is not one of auto, always, never"),
        (8, "needs the option 'key'"),
        (9, "cannot be the name of an index"),
        (11, "unknown key 'colour'"),
        (12, "has the place of 'handbook' with other options"),
        (14, "a secret is given by reference"),
        (15, "cannot name a source"),
        (16, "no storage for 'gopher'"),
    ]
    for line, part in expected:
        assert any(at == line and part in message for at, message in found), (line, part, found)


def test_a_named_source_becomes_parameters() -> None:
    text = """
handbook:
  place: /srv/handbook
  tags: {team: [legal]}
  exclude: ["drafts/**"]
  prune: true
  fresh_within: 90m
"""
    source = find_source(read_sources(text, file="sources.yaml"), "handbook")
    assert (source.index, source.kind, source.root) == ("handbook", "files", "file:///srv/handbook")
    assert source.entry.fresh_within == 5400
    assert source.parameters["source"] == "/srv/handbook"
    assert source.parameters["tags"] == {"team": ["legal"]}
    assert source.parameters["prune"] is True
    assert source.parameters["exclude"][-1] == "drafts/**"


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'handbook'"):
        find_source(read_sources("handbook: {place: /srv}", file="sources.yaml"), "handbok")


def test_a_source_that_was_never_ingested_is_stale_if_it_has_a_promise(tmp_path: Path) -> None:
    sources = read_sources("a: {place: /srv/a, fresh_within: 1h}\nb: {place: /srv/b}", file="sources.yaml")
    states = freshness_of(settings_in(tmp_path), sources.values())
    assert [(each.name, each.is_stale, each.good_at) for each in states] == [("a", True, None), ("b", False, None)]
