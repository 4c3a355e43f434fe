"""An endpoint that speaks OpenAI's `/chat/completions` and answers by a script, on this machine."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """Where it is, and every request body that it got."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.requests]


@contextmanager
def chat_server(answer: Callable[[str], Any]) -> Iterator[ChatServer]:
    """`answer` gets the last message; a text is what the model says, a number a status, a mapping the whole body."""
    found: ChatServer

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.requests.append({**body, "path": self.path, "authorization": self.headers["Authorization"]})
            said = answer(body["messages"][-1]["content"])
            if isinstance(said, str):
                usage = {"prompt_tokens": 100, "completion_tokens": 10}
                said = {"choices": [{"message": {"role": "assistant", "content": said}}], "usage": usage}
            self.send_response(said if isinstance(said, int) else 200)
            self.send_header("Retry-After", "3")
            self.end_headers()
            self.wfile.write(b"" if isinstance(said, int) else json.dumps(said).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    found = ChatServer(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
