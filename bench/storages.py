"""Ingests from a real server of each scheme of storage, with the checks that every kind of source must pass.

`python -m bench.storages [SCHEME …] [--check NAME]`. Servers run on this machine; one that is not installed is reported
as missing: Samba is a Debian package, Azurite an npm package (TEST_AZURITE names its program), the others come from
`pip install asyncssh paramiko wsgidav webdav4 smbprotocol gcsfs gcp-storage-emulator adlfs aiohttp requests`.
"""

import argparse
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

from deployments.testkit import CHECKS, SourceKit
from tests.support.storage_servers import FAULTS, STORAGES


def tried(scheme: str, check: str) -> str:
    """How one check ended: `passed`, `cannot` where the place has no such fault, or the error."""
    with TemporaryDirectory(prefix="braid-storages-") as folder, STORAGES[scheme](Path(folder, "docs")) as place:
        if check in FAULTS and FAULTS[check] not in place.faults:
            return "cannot"
        try:
            CHECKS[check](SourceKit("files", place, Path(folder)))
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"[:300]
    return "passed"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("schemes", nargs="*", default=[])
    parser.add_argument("--check", action="append", default=[])
    given = parser.parse_args()
    for scheme in given.schemes or STORAGES:
        for check in given.check or CHECKS:
            began = time.monotonic()
            print(f"{scheme:12} {check:45} {tried(scheme, check)} ({time.monotonic() - began:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
