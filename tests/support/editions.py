"""Ingests edition after edition of a folder, and kills the run at another write each time: `python -m tests.support.editions URL HOME`.

Every passage names its edition, so that a reader can detect a mixture. A line goes to stdout when an edition is complete.
"""

import sys
from pathlib import Path

from deployments.runs import load_handlers
from deployments.settings import Settings
from tests.support.ingesting import LONG_AGO, write
from tests.support.simulating import in_process, run

DOCUMENTS, PASSAGES, EDITIONS = 10, 4, 6


def text(edition: int, document: int) -> str:
    return "\n\n".join(
        f"# Part {part} of {document}\n\n" + f"This is edition number{edition} of the handbook. " * 12
        for part in range(PASSAGES)
    )


def main(url: str, home: Path) -> None:
    settings = Settings(home=home / "home").model_copy(update={"index_url": url, "embedding_model": "hashing"})
    load_handlers(settings)
    for edition in range(EDITIONS):
        files = {f"{document}.md": text(edition, document) for document in range(DOCUMENTS)}
        write(home / "in", files, modified=LONG_AGO + edition)
        killed = edition and in_process(run(settings, home / "in", 2 * edition + 1))[1]
        answer, _ = in_process(run(settings, home / "in", None))
        sys.stdout.write(f"{edition} {'killed' if killed else 'whole'} {answer[0][0] if answer else 'broken'}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
