"""`billvend serve` as a process: it answers, finishes requests on shutdown, and leaves nothing behind."""

import contextlib
import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from billvend import Billvend, open_billvend
from billvend.api.listening_port import find_free_port, reserve_port
from billvend.bootstrap import upgrade_schema
from billvend.cli import main
from billvend.config import Settings
from billvend.domain.api_keys import Scope
from billvend.domain.errors import ConfigurationError
from tests.api.client import BILL
from tests.api.server import ServerProcess, child_pids, run_forwarder, run_server
from tests.support import servers
from tests.support.waiting import TIMEOUT_SECONDS, eventually

pytestmark = pytest.mark.long


def _has_new_retry(log: Path, before: int) -> bool:
    return log.read_text().count("cannot start yet") > before


def _accepts_funding(server: ServerProcess) -> bool:
    with contextlib.suppress(OSError):  # until the server listens
        return server.request("POST", "/wallet/fund", {"userId": "ada", "amount": 5})[0] == 201
    return False


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def worker_pids(server: ServerProcess) -> set[int]:
    lines = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in server.process_tree() if _is_alive(pid)
    }
    return {pid for pid, line in lines.items() if b"\0worker\0" in line}


def _metrics_folders(server: ServerProcess) -> set[Path]:
    """The folder of the shared metrics, from the environments of the server's processes."""
    name = b"PROMETHEUS_MULTIPROC_DIR="
    lines = [
        line
        for pid in server.process_tree() - {server.process.pid}
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    ]
    return {Path(os.fsdecode(line.removeprefix(name))) for line in lines if line.startswith(name)}


@pytest.fixture
def bv(tmp_path: Path) -> Iterator[Billvend]:
    with open_billvend(Settings(database_url=f"sqlite:///{tmp_path / 'shop.db'}")) as bv:
        bv.fund("ada", "100000")
        yield bv


def test_server_completes_payment_and_stops_on_signal(tmp_path: Path, bv: Billvend) -> None:
    with run_server(tmp_path) as server:
        assert "No API keys yet" in server.lines[0]
        assert "with test money" in server.lines[0]
        status, accepted = server.request("POST", "/bills/pay", BILL)
        assert status == 202
        path = f"/transactions/{accepted['data']['transactionId']}"
        eventually(lambda: server.request("GET", path)[1]["data"]["status"] == "completed")
        started = server.process_tree()
        assert len(started) >= 3
        assert server.stop() == 0
        eventually(lambda: not any(_is_alive(pid) for pid in started))
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert "Fatal" not in (tmp_path / "log").read_text()
    assert bv.audit().ok


def test_response_headers_are_unique(tmp_path: Path, bv: Billvend) -> None:
    """On the wire: the application, Swagger UI and the server may each add headers."""
    with run_server(tmp_path, "--no-worker") as server:
        for method, path, status in (
            ("POST", "/bills/pay", 202), ("GET", "/billers", 200), ("GET", "/nothing", 404), ("GET", "/api", 200),
            ("GET", "/health/live", 200),
        ):  # fmt: skip
            body = BILL if method == "POST" else None
            answer = httpx.request(method, f"{server.url}{path}", json=body, trust_env=False)
            assert answer.status_code == status
            names = [name.lower() for name, _ in answer.headers.multi_items()]
            assert sorted(names) == sorted(set(names)), path
            assert "content-security-policy" in names


def test_server_process_freezes_gc_after_start(tmp_path: Path) -> None:
    program = (
        "import gc; from billvend.api import server; before = gc.get_threshold(); front = server.application();"
        "print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0] > 10 * before[0])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=TIMEOUT_SECONDS,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}"}, check=True,
    )  # fmt: skip
    assert result.stdout == "True True\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_accepted_request_is_lost_on_shutdown(
    tmp_path: Path, bv: Billvend, number: signal.Signals
) -> None:
    """The server stops while many clients send requests. Every answered payment is stored, and every stored payment
    was answered."""
    answered: list[str] = []
    broken = 0
    started = threading.Semaphore(0)

    def ask(server: ServerProcess, n: int) -> None:
        nonlocal broken
        for m in range(40):
            started.release()
            try:
                status, answer = server.request("POST", "/bills/pay", BILL, Idempotency_Key=f"order-{n}-{m}")
            except (OSError, http.client.HTTPException):
                broken += 1  # the server accepts no new connections
                return
            assert status == 202
            answered.append(answer["data"]["transactionId"])

    with run_server(tmp_path, "--no-worker") as server, ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(ask, server, n) for n in range(8)]
        for _ in range(60):
            started.acquire(timeout=TIMEOUT_SECONDS)
        assert server.stop(number) == 0
        for future in futures:
            future.result(TIMEOUT_SECONDS)
    held = [payment.transaction_id for payment in bv.payments(limit=1_000)]
    assert broken
    assert sorted(held) == sorted(answered)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_progress_are_answered_on_shutdown(
    tmp_path: Path, bv: Billvend, number: signal.Signals
) -> None:
    """All requests wait for the database when the server gets the signal. They continue only after it."""
    with run_server(tmp_path, "--no-worker") as server, ThreadPoolExecutor(20) as threads:
        lock = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        futures = [
            threads.submit(server.request, "POST", "/bills/pay", BILL, Idempotency_Key=f"order-{n}")
            for n in range(20)
        ]
        eventually(lambda: _open_connections(server.port) == 20)
        assert server.request("GET", "/health/live")[0] == 200  # sent after them, so the server has read them
        server.process.send_signal(number)
        eventually(lambda: not _is_listening(server.port))
        assert server.process.poll() is None
        lock.execute("COMMIT")
        lock.close()
        answers = [future.result(TIMEOUT_SECONDS) for future in futures]
        assert server.process.wait(2 * TIMEOUT_SECONDS) == 0
    assert [status for status, _ in answers] == [202] * 20
    held = {payment.transaction_id for payment in bv.payments(limit=1_000)}
    assert held == {answer["data"]["transactionId"] for _, answer in answers}


def _open_connections(port: int) -> int:
    """The number of established connections to the port, from the kernel."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "01")


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS).close()
    except OSError:
        return False
    return True


def test_killed_server_leaves_no_process(tmp_path: Path, bv: Billvend) -> None:
    with run_server(tmp_path) as server:
        started = server.process_tree()
        assert len(started) >= 3
        server.stop(signal.SIGKILL)
        eventually(lambda: not any(_is_alive(pid) for pid in started))
        assert find_free_port("127.0.0.1", server.port) == server.port


def test_dead_worker_is_restarted(tmp_path: Path, bv: Billvend) -> None:
    with run_server(tmp_path) as server:
        eventually(lambda: worker_pids(server))
        (first,) = worker_pids(server)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: worker_pids(server) and first not in worker_pids(server))
        accepted = server.request("POST", "/bills/pay", BILL)[1]
        path = f"/transactions/{accepted['data']['transactionId']}"
        eventually(lambda: server.request("GET", path)[1]["data"]["status"] == "completed")
        assert server.stop() == 0


def test_server_metrics_include_worker(tmp_path: Path, bv: Billvend) -> None:
    """One process counts acceptances, another completions. Each reports both, and the counts of dead processes."""

    def nonzero_samples(server: ServerProcess) -> dict[str, float]:
        samples = [
            sample for family in text_string_to_metric_families(server.metrics()) for sample in family.samples
        ]
        return {sample.name: sample.value for sample in samples if sample.value}

    with run_server(tmp_path) as server:
        assert server.request("POST", "/bills/pay", BILL)[0] == 202
        eventually(lambda: "billvend_payments_completed_total" in nonzero_samples(server))
        (first,) = worker_pids(server)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: worker_pids(server) and first not in worker_pids(server))
        samples = nonzero_samples(server)
        assert samples["billvend_payments_accepted_total"] == 1
        assert samples["billvend_payments_completed_total"] == 1
        assert samples["billvend_sweeps_total"] >= 1
        folders = _metrics_folders(server)
        assert len(folders) == 1
        (folder,) = folders
        assert folder.stat().st_mode & 0o077 == 0
        assert server.stop() == 0
    assert not folder.exists()


def test_metrics_are_summed_over_server_processes(tmp_path: Path, postgres_url: str) -> None:
    """Several processes answer on PostgreSQL. Each reports the sums of all, and the current state of the database."""
    upgrade_schema(Settings(database_url=postgres_url))
    with open_billvend(Settings(database_url=postgres_url)) as bv:
        bv.fund("ada", "100000")
    with run_server(tmp_path, "--worker", DATABASE_URL=postgres_url) as server:
        for n in range(12):
            assert server.request("POST", "/bills/pay", BILL, Idempotency_Key=f"order-{n}")[0] == 202
        completed = 'billvend_payments_completed_total{provider="sandbox"} 12.0'
        eventually(lambda: completed in server.metrics())
        reports = [server.metrics() for _ in range(8)]
    for text in reports:
        assert 'billvend_payments_accepted_total{biller="EKEDC",vend_type="prepaid"} 12.0' in text
        assert completed in text
        assert 'billvend_payments{status="pending"} 0.0' in text


def test_server_survives_process_death_during_database_outage(
    tmp_path: Path, own_postgres: servers.PostgresServer
) -> None:
    upgrade_schema(Settings(database_url=own_postgres.url))
    with run_server(tmp_path, "--no-worker", "--processes", "2", DATABASE_URL=own_postgres.url) as server:
        log = tmp_path / "log"
        own_postgres.kill()
        for _ in range(3):  # repeatedly: Granian gives up when a process keeps dying
            waited = log.read_text().count("cannot start yet")
            server_pids = [
                pid for pid in child_pids(server.process.pid) if b"spawn_main" in _command_line(pid)
            ]
            os.kill(server_pids[0], signal.SIGKILL)
            eventually(partial(_has_new_retry, log, waited))
        own_postgres.start()
        eventually(lambda: _accepts_funding(server))
        assert server.process.poll() is None


def test_public_host_without_api_keys_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bv: Billvend
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2  # noqa: S104  it is rejected
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert "billvend api-keys create" in output


FUNDING = {"userId": "ada", "amount": 1_000_000}
LIVE = {
    "BILL_PROVIDER": "vtpass",
    "BILL_PROVIDER_API_URL": "https://vtpass.invalid/api",
    "BILL_PROVIDER_API_KEY": "key",
    "BILL_PROVIDER_PUBLIC_KEY": "PK_public",
    "BILL_PROVIDER_SECRET_KEY": "SK_secret",
}
"""A provider of real money, judging by its address."""


def _mark_as_live(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as database, database:
        database.execute("INSERT OR REPLACE INTO environment (id, mode) VALUES (1, 'live')")


@pytest.mark.parametrize("live", ["provider", "ledger"])
def test_live_money_without_api_keys_is_rejected(tmp_path: Path, bv: Billvend, live: str) -> None:
    if live == "ledger":
        _mark_as_live(tmp_path)
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}", "PORT": "0"}
    result = subprocess.run(
        [sys.executable, "-m", "billvend", "serve"], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, **settings, **(LIVE if live == "provider" else {})}, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "live money" in result.stderr
    assert "billvend api-keys create" in result.stderr


def test_forwarder_on_loopback_requires_key_for_live_money(tmp_path: Path, bv: Billvend) -> None:
    _mark_as_live(tmp_path)
    secret = bv.create_api_key("shop", [Scope.FUND]).secret
    known = {"Authorization": f"Bearer {secret}"}
    with run_server(tmp_path, "--no-worker", **LIVE) as server, run_forwarder(server) as outside:
        assert outside.request("POST", "/wallet/fund", {"userId": "ada", "amount": 5}, **known)[0] == 201
        bv.revoke_api_key("shop")
        for target in (outside, server):
            for headers in ({}, known, {"Host": "localhost"}):
                status, answer = target.request("POST", "/wallet/fund", FUNDING, **headers)
                assert (status, answer["error"]["code"]) == (401, "unauthenticated")
    assert str(bv.balance("ada").available) == "100005.00"


def test_ledger_marked_live_requires_keys_immediately(tmp_path: Path) -> None:
    """Another process, with another provider, marks the new ledger while this one serves without keys."""
    open_billvend(Settings(database_url=f"sqlite:///{tmp_path / 'shop.db'}")).close()
    with run_server(tmp_path, "--no-worker") as server, run_forwarder(server) as outside:
        assert outside.request("GET", "/billers")[0] == 200
        _mark_as_live(tmp_path)
        for target in (outside, server):
            status, answer = target.request("POST", "/wallet/fund", FUNDING)
            assert (status, answer["error"]["code"]) == (401, "unauthenticated")


def test_public_host_with_api_key_requires_it(tmp_path: Path, bv: Billvend) -> None:
    secret = bv.create_api_key("till-7", [Scope.READ]).secret
    with run_server(tmp_path, "--host", "0.0.0.0", "--no-worker") as server:  # noqa: S104  for the duration of the test
        assert "No API keys" not in server.lines[0]
        assert server.request("GET", "/billers")[0] == 401
        assert server.request("GET", "/billers", Authorization=f"Bearer {secret}")[0] == 200


def test_database_url_option_overrides_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_HOST=db.example\nDATABASE_NAME=billvend\n")
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with run_server(tmp_path, "--database-url", url, DATABASE_URL="") as server:
        assert server.request("POST", "/wallet/fund", {"userId": "ada", "amount": 5})[0] == 201
    with open_billvend(Settings(database_url=url)) as bv:
        assert str(bv.balance("ada").available) == "5.00"


def test_port_in_use_is_rejected() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"PORT={port} is in use"):
            find_free_port("127.0.0.1", port)
    assert find_free_port("127.0.0.1", port) == port


def test_reserved_port_cannot_be_reserved_twice() -> None:
    """Granian may bind it again and again. A second server may not."""
    with reserve_port("127.0.0.1", 0) as port:
        with (
            pytest.raises(ConfigurationError, match=f"PORT={port} is in use"),
            reserve_port("127.0.0.1", port),
        ):
            pass
        with socket.socket() as one, socket.socket() as other:
            for granian in (one, other):  # Granian sets this too
                granian.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                granian.bind(("127.0.0.1", port))
                granian.listen()
    assert find_free_port("127.0.0.1", port) == port


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.9"])
def test_host_not_on_this_machine_is_rejected(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"HOST={host}"):
        find_free_port(host, 0)
