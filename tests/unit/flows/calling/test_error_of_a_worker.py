"""An error in a worker process reads as it would here; its traceback goes to the log."""

import json

import pytest

from flows.author import error_info, traceback_text
from flows.calling.processes import call_in_process


async def test_the_message_is_the_error_alone_and_the_log_has_the_traceback() -> None:
    with pytest.raises(json.JSONDecodeError) as raised:
        await call_in_process(json.loads, "{")
    assert error_info(raised.value).message == str(raised.value)
    assert "Traceback" not in error_info(raised.value).message
    assert "In the worker process:" in traceback_text(raised.value)
    assert "in raw_decode" in traceback_text(raised.value)
