"""Retry-After headers: a number of seconds or a date, and nothing else."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from flows.author import parse_retry_after


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (" 1.5 ", 1.5), ("-3", 0.0), ("", None), ("soon", None)])
def test_seconds_are_read(header: str, seconds: float | None) -> None:
    assert parse_retry_after(header) == seconds


def test_a_date_is_read_as_the_time_until_then() -> None:
    then = datetime.now(UTC) + timedelta(seconds=60)
    assert parse_retry_after(format_datetime(then, usegmt=True)) == pytest.approx(60, abs=5)
    assert parse_retry_after("Thu, 01 Jan 1970 00:00:00 -0000") == 0.0
