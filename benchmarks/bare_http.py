"""HTTP without billvend: a Flask app that only parses the same requests and answers them.

It runs behind Granian with as many processes and threads as `billvend serve`.
"""

import socket
import statistics
import subprocess
import sys
from contextlib import suppress
from typing import Final

from flask import Flask, request

from benchmarks import http_load
from benchmarks.results import Samples
from benchmarks.rounds import WALLETS
from billvend.api.listening_port import find_free_port
from billvend.api.server import PROCESSES, THREADS
from tests.support.waiting import eventually

HOST: Final = "127.0.0.1"

app = Flask(__name__)


@app.post("/bills/pay")
def pay() -> tuple[dict[str, object], int]:
    """Answer that the payment is accepted, and do nothing."""
    bill = request.get_json()
    return {
        "success": True,
        "data": {"userId": bill["userId"], "amount": bill["amount"], "status": "pending"},
    }, 202


def measure(seconds: float) -> Samples:
    """Requests a second and p99 in ms with many clients, and the median in ms with one client."""
    port = find_free_port(HOST, 0)
    options = {"--interface": "wsgi", "--host": HOST, "--port": port, "--log-level": "error"}
    options |= {"--workers": PROCESSES, "--blocking-threads": THREADS}
    command = [sys.executable, "-m", "granian", "--no-ws", "benchmarks.bare_http:app"]
    command += [str(part) for option in options.items() for part in option]
    users = [f"user-{number}" for number in range(WALLETS)]
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: _listens(port))
            http_load.run_load(port, users, http_load.CLIENTS, http_load.WARMUP_SECONDS, "warm")
            times, took = http_load.run_load(port, users, http_load.CLIENTS, seconds, "many")
            alone, _ = http_load.run_load(port, users, 1, seconds, "one")
        finally:
            process.terminate()
    return {
        "bare_http": len(times) / took,
        "bare_http_p99_ms": statistics.quantiles(times, n=100)[98] * 1000,
        "bare_http_alone_p50_ms": statistics.median(alone) * 1000,
    }


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False
