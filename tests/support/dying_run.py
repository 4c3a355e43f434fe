"""A pipeline whose second step never ends the first time, so that its process can be killed."""

import time
from pathlib import Path

from deployments.catalog import load_catalog
from deployments.runs import Request, run_pipeline
from deployments.settings import load_settings
from flows.author import handler
from flows.loaders import load_pipeline_text

PIPELINE = """\
name: dying
parameters: {marker: {required: true}}
steps: [first_of_dying, hangs_in_dying]
"""


@handler(writes="first")
def first_of_dying() -> int:
    return 7


@handler(writes="second")
def hangs_in_dying(first: int, marker: str) -> int:
    path = Path(marker)
    if path.exists():  # the second time it does its work
        return first + 1
    path.touch()
    time.sleep(600)
    return 0


def main(engine: str, marker: str, tag: str) -> None:
    settings, loaded = load_settings(), load_pipeline_text(PIPELINE, file="dying")
    if engine == "inline":
        request = Request(loaded, {"marker": marker}, engine="inline")
        run_pipeline(request, settings=settings, catalog=load_catalog(settings))
        return
    from prefect import tags

    with tags(tag):
        run_pipeline(Request(loaded, {"marker": marker}), settings=settings, catalog=load_catalog(settings))
