"""An SFTP server with one user, as a process of its own: `python -m tests.support.sftp_server PORT FOLDER`."""

import asyncio
import sys
from typing import Any

import asyncssh


class OneUser(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("ann", "word")


async def serve(port: int, folder: str) -> None:
    def files(channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=folder.encode())

    key = asyncssh.generate_private_key("ssh-ed25519")
    await asyncssh.create_server(OneUser, "127.0.0.1", port, server_host_keys=[key], sftp_factory=files)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
