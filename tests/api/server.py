"""`billvend serve` as a separate process, and a TCP forwarder in front of it."""

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
    """A running `billvend serve`."""

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
            content_type = {"Content-Type": "application/json"} if body is not None else {}
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(
                method, path, None if body is None else json.dumps(body), {**content_type, **named}
            )
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def metrics(self) -> str:
        return (
            httpx.get(f"{self.url}/metrics", timeout=TIMEOUT_SECONDS, trust_env=False).raise_for_status().text
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(2 * TIMEOUT_SECONDS)  # the shutdown limits its own time

    def process_tree(self) -> set[int]:
        """The pids of the server and of all its descendants."""
        pids = {self.process.pid}
        while children := {child for parent in pids for child in child_pids(parent)} - pids:
            pids |= children
        return pids


def child_pids(parent: int) -> list[int]:
    """The pids of the children of a process."""
    listed: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            listed += [int(child) for child in task.read_text().split()]
    return listed


@contextlib.contextmanager
def run_forwarder(server: ServerProcess) -> Iterator[ServerProcess]:
    """The server behind a TCP forwarder on this machine. The forwarder copies the bytes and adds nothing."""

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
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def run_server(folder: Path, *options: str, **settings: str) -> Iterator[ServerProcess]:
    url = f"sqlite:///{folder / 'shop.db'}"
    # No rate limit: tests poll, and a slow machine needs many polls.
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
        address = re.search(r"http://[^:]+:(\d+)", line)
        assert address, line + (folder / "log").read_text()
        server = ServerProcess(process, int(address[1]), [line])
        assert server.request("GET", "/health/live")[0] == 200  # it listens once it prints its address
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
