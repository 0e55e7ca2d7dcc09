"""A small server that records the webhooks it gets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any


@dataclass
class WebhookReceiver:
    """The recorded webhooks. The first `rejections` of them are rejected."""

    url: str
    rejections: int = 0
    received: "Queue[dict[str, Any]]" = field(default_factory=Queue)

    def wait_for(self, times: int = 1) -> list[dict[str, Any]]:
        """Wait for so many webhooks."""
        return [self.received.get(timeout=20) for _ in range(times)]


@contextmanager
def run_webhook_receiver() -> Iterator[WebhookReceiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = b"busy" if receiver.rejections > 0 else b'{"response": "success"}'
            receiver.rejections -= 1
            receiver.received.put(body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = WebhookReceiver(f"http://127.0.0.1:{server.server_port}/hooks/vtpass")
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
