"""Braid's defaults for settings of Prefect; settings of the user take precedence."""

import os
from collections.abc import MutableMapping

DEFAULTS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # By default a task run costs the server 60 to 75 ms of CPU, with larger batches about 14 ms. Below 1 s an
    # interval is cut to 0 and the server spins.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
    # The terminal shows our progress instead; the server still gets every record.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
}


def set_prefect_defaults(environment: MutableMapping[str, str] | None = None) -> None:
    """Set the variables that are not set; call it before the first import of Prefect."""
    chosen = os.environ if environment is None else environment
    for name, value in DEFAULTS.items():
        chosen.setdefault(name, value)
