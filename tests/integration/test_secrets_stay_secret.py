"""A whole run with a secret: its value is in no error, log, record or output, whatever the handlers do with it."""

import base64
import json
import logging
import time
from pathlib import Path
from typing import Literal
from urllib.parse import quote
from uuid import UUID

import pytest

import flows
from flows.author import Registry, handler
from flows.author.call import Call
from flows.model import Pipeline

SECRET = "Zq7/vorpal+blade&snicker"
FORMS = [
    SECRET,
    "vorpal+b",
    quote(SECRET, safe=""),
    base64.b64encode(f"me:{SECRET}".encode()).decode(),
    SECRET.encode().hex(),
    "hush-a-bye",
]


def states_in_prefect(flow_run_id: str) -> str:
    """The states of a flow run and of its task runs, with their messages and data, as Prefect's server has them."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
        until = time.monotonic() + 60
        while True:  # the server records task runs a little later
            tasks = client.read_task_runs(flow_run_filter=chosen)
            if len(tasks) == 2 and all(each.state is not None and each.state.is_final() for each in tasks):
                break
            assert time.monotonic() < until
            time.sleep(0.2)
        found = [client.read_flow_run(UUID(flow_run_id)), *tasks]
    return "\n".join(each.model_dump_json(exclude={"parameters"}) for each in found)


# Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("engine", ["inline", "prefect"])
def test_a_secret_parameter_is_nowhere(
    engine: Literal["inline", "prefect"],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    if engine == "prefect":
        request.getfixturevalue("prefect_server")
    caplog.set_level(logging.INFO)
    registry = Registry()

    @handler(registry=registry)
    def careless(passphrase: str, *, call: Call) -> None:
        call.logger.info("signing in with %s", passphrase)
        call.fail_item("a.txt", f"refused {quote(passphrase, safe='')}")
        try:
            raise OSError(
                f"Basic {base64.b64encode(f'me:{passphrase}'.encode()).decode()} at https://me:hush-a-bye@host"
            )
        except OSError as error:
            raise ValueError(json.dumps({"login": passphrase, "start": passphrase[4:14]})) from error

    @handler(registry=registry)
    def reader(address: str) -> None:
        raise ValueError(f"cannot read {address}")

    pipeline = Pipeline.model_validate(
        {
            "name": "careless",
            "parameters": {"passphrase": {"required": True}, "address": {"default": f"https://host/?token={SECRET}"}},
            "steps": [{"parallel": [{"handler": "careless", "retry": {"max_attempts": 2}}, "reader"]}],
        }
    )
    path = tmp_path / "runs.db"
    result = flows.run(pipeline, passphrase=SECRET, engine=engine, registry=registry, store=f"sqlite:///{path}")
    assert result.status == "failed"
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.name.startswith("runs.db"))
    assert b"careless" in stored
    shown = "\n".join([caplog.text, str(result), repr(result.outcomes), stored.decode("latin-1")]).lower()
    if result.flow_run_id is not None:
        shown += states_in_prefect(result.flow_run_id).lower()
    for form in FORMS:
        for start in range(0, len(form) - 7, 4):
            assert form[start : start + 8].lower() not in shown, form
