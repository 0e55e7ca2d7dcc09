"""`billvend serve`, as a process of its own, and a forwarder in front of it."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import TIMEOUT_SECONDS


@dataclass
class ServerProcess:
    """A `billvend serve`."""

    process: "subprocess.Popen[str]"
    port: int
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **headers: str
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        with contextlib.closing(connection):
            sent = {"Content-Type": "application/json"} if body is not None else {}
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, None if body is None else json.dumps(body), {**sent, **named})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def metrics(self) -> str:
        return (
            httpx.get(f"{self.url}/metrics", timeout=TIMEOUT_SECONDS, trust_env=False).raise_for_status().text
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(2 * TIMEOUT_SECONDS)  # a drain has its own bound

    def process_tree(self) -> set[int]:
        """It and all that it started."""
        found = {self.process.pid}
        while more := {child for parent in found for child in child_pids(parent)} - found:
            found |= more
        return found


def child_pids(parent: int) -> list[int]:
    """The processes that a process started."""
    listed: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            listed += [int(child) for child in task.read_text().split()]
    return listed


@contextlib.contextmanager
def run_forwarder(server: ServerProcess) -> Iterator[ServerProcess]:
    """The same server as the outside sees it, behind a forwarder on this machine that passes on the bytes and adds nothing."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS) as upstream:
                back = threading.Thread(target=_copy_bytes, args=(upstream, self.request))
                back.start()
                _copy_bytes(self.request, upstream)
                back.join(TIMEOUT_SECONDS)

    class Forwarder(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Forwarder(("127.0.0.1", 0), Handler) as forwarder:
        threading.Thread(target=forwarder.serve_forever, args=(0.01,)).start()
        try:
            yield replace(server, port=forwarder.server_address[1])
        finally:
            forwarder.shutdown()


def _copy_bytes(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sent := source.recv(65_536):
            target.sendall(sent)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def run_server(folder: Path, *options: str, **settings: str) -> Iterator[ServerProcess]:
    url = f"sqlite:///{folder / 'shop.db'}"
    # Who looks again and again is not to be turned away, however slow the machine is.
    defaults = {"DATABASE_URL": url, "PORT": "0", "RATE_LIMIT": "0", "TMPDIR": str(folder)}
    environment = {**os.environ, **defaults, **settings}
    command = [sys.executable, "-m", "billvend", "serve", *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=log
        )
    started: set[int] = set()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://[^:]+:(\d+)", line)
        assert found, line + (folder / "log").read_text()
        server = ServerProcess(process, int(found[1]), [line])
        assert server.request("GET", "/health/live")[0] == 200  # it listens when it says so
        started = server.process_tree()
        yield server
    finally:
        process.kill()
        process.wait(TIMEOUT_SECONDS)
        for pid in started - {process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert process.stdout is not None
        process.stdout.close()
