"""The content of schedules.yaml; every problem is reported at its line and column."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from deployments.catalog import Catalog
from deployments.server.schedule_file import ScheduleEntry, load_schedules, read_schedules
from deployments.setting_values import InvalidSettings, duration_text
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text

PIPELINE = """
name: nightly
parameters:
  source: {type: text, required: true}
  limit: {type: integer, minimum: 1, default: 5}
steps: [extract_text]
"""
CATALOG = Catalog({"nightly": load_pipeline_text(PIPELINE, file="nightly.yaml")})


def test_every_kind_of_rule_is_read() -> None:
    read = read_schedules(
        """
nightly:
  overlap: CANCEL_NEW
  max_runs: 2
  schedules:
    a: {cron: "0 2 * * *", timezone: Europe/Berlin, parameters: {source: x, index: other, dry_run: true}}
    b: {interval: 15m, active: false, parameters: {source: x}}
    c: {rrule: "FREQ=DAILY;BYHOUR=3", parameters: {source: x}}
    d: {interval: 90, anchor: 2026-01-01T00:00:00+01:00, parameters: {source: x}}
""",
        CATALOG,
        file="s.yaml",
    )["nightly"]
    assert (read.overlap, read.max_runs) == ("cancel_new", 2)
    rules = read.schedules
    assert rules["a"].prefect().timezone == "Europe/Berlin"
    assert rules["b"].prefect().interval.total_seconds() == 900
    assert (rules["b"].active, rules["a"].active) == (False, None)
    assert rules["d"].prefect().anchor_date.isoformat() == "2026-01-01T00:00:00+01:00"


def test_an_anchor_without_an_offset_is_in_the_time_zone() -> None:
    rule = ScheduleEntry.model_validate(
        {"interval": "1d", "anchor": "2026-01-01T05:00:00", "timezone": "Europe/Berlin"}
    )
    due = rule.next_start()
    assert due is not None
    assert due.astimezone(ZoneInfo("Europe/Berlin")).hour == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nigthly: {}", "s.yaml:1:1: there is no pipeline named 'nigthly'; did you mean 'nightly'?"),
        ("[nightly]", "s.yaml:1:1: schedules are a mapping"),
        ("nightly:\n  overlapp: enqueue", "s.yaml:2:3: unknown key 'overlapp'; did you mean 'overlap'?"),
        ("nightly:\n  overlap: wait", "s.yaml:2:3: overlap: Input should be 'allow', 'enqueue' or 'cancel_new'"),
        ("nightly:\n  schedules:\n    a: {cron: 0 2 * * *, interval: 5}", "s.yaml:3:5: schedules.a: give one of cron"),
        ("nightly:\n  schedules:\n    a: {parameters: {source: x}}", "s.yaml:3:5: schedules.a: give one of cron"),
        (
            "nightly:\n  schedules:\n    a: {parameters: {source: x}, cron: 0 25 * * *}",
            "s.yaml:3:34: cron: Invalid cron string",
        ),
        (
            "nightly:\n  schedules:\n    a: {parameters: {source: x}, interval: 5 fortnights}",
            "s.yaml:3:34: schedules.a.interval: write a number of seconds",
        ),
        (
            "nightly:\n  schedules:\n    a: {parameters: {source: x}, cron: 0 2 * * *, timezone: Mars/Base}",
            "s.yaml:3:51: ",
        ),
        (
            "nightly:\n  schedules:\n    a: {parameters: {source: x}, cron: 0 0 2 * * *}",
            "s.yaml:3:34: schedules.a.cron: '0 0 2 * * *' has 6 fields; cron has five: minute, hour, day, month, weekday",
        ),
        (
            "nightly:\n  schedules:\n    a: {parameters: {source: x}, cron: 0 0 31 2 *}",
            "s.yaml:3:34: cron: '0 0 31 2 *' matches no date",
        ),
        (
            "nightly:\n  schedules:\n    a: {parameters: {source: x}, rrule: "
            '"DTSTART:20200101T000000\\nRRULE:FREQ=DAILY;COUNT=2"}',
            "s.yaml:3:34: rrule: 'DTSTART:20200101T000000\\nRRULE:FREQ=DAILY;COUNT=2' has no date in the future",
        ),
        (
            "nightly:\n  schedules:\n    a:\n      cron: 0 2 * * *\n      parameters: {source: x, limit: 0}",
            "s.yaml:5:31: parameter 'limit' must be at least 1",
        ),
        (
            "nightly:\n  schedules:\n    a:\n      cron: 0 2 * * *\n      parameters: {limit: 1}",
            "s.yaml:5:7: nightly needs the parameter 'source'",
        ),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(text: str, message: str) -> None:
    with pytest.raises(InvalidPipeline) as raised:
        read_schedules(text, CATALOG, file="s.yaml")
    assert str(raised.value).startswith(message)


def test_the_shipped_schedules_are_right_and_off() -> None:
    from deployments.catalog import load_catalog
    from deployments.settings import Settings

    shipped = load_schedules(None, load_catalog(Settings()))
    rules = [rule for scheduled in shipped.values() for rule in scheduled.schedules.values()]
    assert rules
    assert all(rule.active is False for rule in rules)
    assert any(str(rule.parameters["source"]).startswith("s3://") for rule in rules)


def test_a_file_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="BRAID_SCHEDULES names .*nightly.yml, which is not a file; nothing was"):
        load_schedules(tmp_path / "nightly.yml", CATALOG)


@pytest.mark.parametrize(
    ("seconds", "text"), [(21600, "6h"), (90, "90s"), (60, "1m"), (86400 * 7, "1w"), (1.5, "1.5s")]
)
def test_durations_are_written_as_they_are_read(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert ScheduleEntry.model_validate({"interval": text}).interval == seconds


def test_no_problem_hides_another() -> None:
    with pytest.raises(InvalidPipeline) as refused:
        read_schedules(
            """
nigthly:
  overlapp: enqueue
  schedules:
    a: {cron: "0 2 * * * *", timezon: Europe/Berlin, parameters: {sorce: x}}
    b: {interval: often, active: maybe}
""",
            CATALOG,
            file="s.yaml",
        )
    found = "\n".join(map(str, refused.value.problems))
    for word in ("'nigthly'", "'overlapp'", "'timezon'", "'sorce'", "active", "cron", "interval"):
        assert word in found, found
