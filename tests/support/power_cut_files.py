"""The process that replaces files while the power is cut: `python -m tests.support.power_cut_files FOLDER`.

It records in the file `claims` each change that was reported as done, with the content of the file at that time.
"""

import hashlib
import json
import sys
from pathlib import Path

from deployments.server.local import LocalServer
from deployments.service.tokens import TokenFile
from flows.run_store import SigningKey
from flows.storage import Storage

CLAIMS = "claims"
EDITIONS = 3


def main(root: Path) -> None:
    storage, tokens = Storage(), TokenFile(root / "tokens.json")
    (root / "up").mkdir()
    server = LocalServer(root / "up", port=9)

    def claim(path: Path) -> None:
        with (root / CLAIMS).open("a", encoding="utf-8") as file:
            file.write(json.dumps([str(path), hashlib.sha256(path.read_bytes()).hexdigest()]) + "\n")

    SigningKey.of_store(f"sqlite:///{root}/runs.db").sign(b"content", "place")
    claim(root / "run-store.key")
    for edition in range(EDITIONS):
        storage.write(f"file://{root}/kept/deep/original.txt", f"edition {edition} ".encode() * 1000)
        claim(root / "kept" / "deep" / "original.txt")
        storage.write(f"file://{root}/kept/{edition}.txt", f"edition {edition}".encode(), exclusive=True)
        claim(root / "kept" / f"{edition}.txt")
        tokens.add(f"reader {edition}", tags=None)
        claim(root / "tokens.json")
        server._write()  # pyright: ignore[reportPrivateUsage]
        claim(root / "up" / "up.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
