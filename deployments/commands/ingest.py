"""`braid ingest`: documents in, searchable index out."""

from typing import Annotated

import typer

from deployments.commands.common import BudgetOption, IndexOption, JsonOption, WorkersOption, reported
from deployments.commands.execution import EngineOption, execute


@reported
def ingest(
    source: Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="A folder, a file or an s3:// prefix.")],
    index: IndexOption = "default",
    pattern: Annotated[
        str | None, typer.Option(help="Which files, as a glob: '**/*.pdf' are all PDFs, in folders too.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Files to leave out besides hidden ones, as a glob; may be repeated.")
    ] = None,
    max_workers: WorkersOption = None,
    budget: BudgetOption = None,
    engine: EngineOption = "prefect",
    json_output: JsonOption = False,
) -> None:
    """Read documents, cut them into passages, embed and store them, so that `braid search` finds them.

    A document that cannot be read is set aside with its reason, and the others go on (exit code 3). Ingesting again
    replaces what was stored of the same documents.

    Examples:

      braid ingest manuals/ --index manuals

      braid ingest s3://bucket/contracts --index contracts --pattern '**/*.pdf' --max-workers 4

      BRAID_S3_ENDPOINT_URL=http://localhost:8333 braid ingest s3://bucket --index all
    """
    parameters: dict[str, object] = {"source": source}
    if pattern is not None:
        parameters["pattern"] = pattern
    execute("ingest", parameters, index=index, max_workers=max_workers, budget=budget, engine=engine,
            json_output=json_output, more_excluded=exclude or ())  # fmt: skip
