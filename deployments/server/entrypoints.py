"""The flows that deployments name: `deployments/server/entrypoints.py:NAME` is the flow of the pipeline NAME.

Prefect loads this file by its path and reads the attribute NAME, so a new pipeline needs no Python code.
"""

import os
from typing import Any

from prefect import Flow

from deployments.catalog import load_catalog
from deployments.server.child_processes import FLOW_RUN
from deployments.server.deployed import make_flow
from deployments.server.desired import attribute_of
from deployments.server.outliving import outlive_reader
from deployments.settings import load_settings
from flows.errors import UnknownName


def __getattr__(name: str) -> "Flow[..., Any]":
    """The flow of the pipeline `name`, made when Prefect asks for it."""
    if name.startswith("__"):
        raise AttributeError(name)
    if FLOW_RUN in os.environ:
        outlive_reader()
    catalog = load_catalog(load_settings())
    for pipeline, loaded in catalog.loaded.items():
        if name in (pipeline, attribute_of(pipeline)):
            return make_flow(loaded, catalog)
    try:
        return make_flow(catalog.find(name), catalog)  # raises the problems of a file that cannot be read
    except UnknownName as error:
        raise AttributeError(str(error)) from error
