"""`braid validate` reports all problems at once, of keys as well as handlers."""

from pathlib import Path

from typer.testing import CliRunner

from deployments.catalog import load_catalog
from deployments.cli import app
from deployments.commands.validate import check
from deployments.runs import load_handlers
from deployments.settings import Settings

SEVEN = """\
name: bad
parameters:
  source: {required: tru}
steps:
  - extract_txt
  - handler: partition_text
    optoins: {max_tokens: 100}
  - parallel: []
    id: voice_generation
  - {handler: partition_text, options: {max_token: 5}}
  - parallel: [generate_summary, generate_summary]
    max_workers: 0
"""


def test_seven_mistakes_of_every_kind_are_seven_problems_at_their_lines(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    load_handlers(settings)
    (tmp_path / "bad.yaml").write_text(SEVEN)
    problems = check(str(tmp_path / "bad.yaml"), load_catalog(settings))
    assert [(problem.line, problem.column, problem.code) for problem in problems] == [
        (3, 22, "bad-value"),
        (5, 5, "unknown-handler"),
        (7, 5, "unknown-key"),
        (8, 15, "empty-group"),
        (10, 52, "unknown-option"),
        (11, 34, "parallel-write"),
        (12, 18, "bad-value"),
    ]
    assert "Parallel group voice_generation has no steps" in problems[3].message
    assert "did you mean 'extract_text'" in problems[1].message


def test_defaults_that_do_not_fit_are_refused_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "defaults.yaml").write_text(
        """\
name: defaults
parameters:
  verbose: {type: boolean, default: no}
  n: {type: integer, default: abc, minimum: 1}
  mode: {type: text, choices: [a, b], default: c}
  code: {type: text, default: 007}
steps:
  - {handler: query_rewrite, reads: {query: code}, when: verbose}
"""
    )
    settings = Settings(home=tmp_path)
    load_handlers(settings)
    problems = check(str(tmp_path / "defaults.yaml"), load_catalog(settings))
    assert [(problem.line, problem.column, problem.code) for problem in problems] == [
        (4, 31, "bad-value"),
        (5, 48, "bad-value"),
        (6, 31, "bad-value"),
    ]


def test_a_name_that_two_pipelines_have_hides_no_problem_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "ingest.yaml").write_text("name: ingest\nsteps: [query_rewrite]\n")
    (tmp_path / "nightly.yaml").write_text("name: nightly\nsteps: [{pipeline: ingest}]\n")
    (tmp_path / "other.yaml").write_text("name: other\nsteps: [no_such_handler]\n")
    ended = CliRunner().invoke(app, ["validate", str(tmp_path)], prog_name="braid", env={"COLUMNS": "250"})
    assert ended.exit_code == 2
    assert "two pipelines are named 'ingest'" in ended.stdout
    assert "no handler named 'no_such_handler'" in ended.stdout


def test_a_file_of_schedules_is_checked_as_such(tmp_path: Path) -> None:
    file = tmp_path / "schedules.yaml"
    file.write_text('ingset: {}\ningest: {schedules: {night: {cron: "0 2 * *"}}}\n')
    ended = CliRunner().invoke(app, ["validate", str(file)], prog_name="braid")
    assert ended.exit_code == 2
    assert "did you mean 'ingest'?" in ended.stdout
    assert "cron" in ended.stdout
