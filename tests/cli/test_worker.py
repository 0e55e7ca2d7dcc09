"""The worker as a process: signals, database outages and lost hints."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.console import METER, PATIENCE_SECONDS, SLOW_METER, Console, process
from tests.support.servers import PostgresServer

pytestmark = pytest.mark.long

GRACEFUL = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


class WorkerProcess:
    """A worker process and its log lines."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log_lines: list[dict[str, Any]] = []

    def wait_for_log(self, message: str) -> dict[str, Any]:
        """Read the log up to a line with this message. Returns the line."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line: dict[str, Any] = json.loads(text)
            self.log_lines.append(line)
            if line["message"].startswith(message):
                return line
        raise AssertionError(f"the worker never logged {message!r}, but {self.log_lines}")

    def stop(self, *signals: signal.Signals) -> int:
        """Send signals, by default SIGTERM, and read the rest of the log. Returns the exit status."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.log_lines += [json.loads(text) for text in self.process.stderr]
        assert self.process.stdout.read() == ""
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def worker_process(folder: Path, *arguments: str, **settings: str) -> Iterator[WorkerProcess]:
    logs = {"LOG_LEVEL": "debug", "LOG_FORMAT": "json", "SWEEP_INTERVAL": "0.2"}
    with process(folder, "worker", *arguments, **logs, **settings) as running:
        yield WorkerProcess(running)


@GRACEFUL
def test_worker_finishes_running_call_on_signal(funded: Console, number: signal.Signals) -> None:
    slow = funded.pay_json(SLOW_METER, "--no-wait")["transactionId"]
    with worker_process(funded.folder, QUEUE_CONCURRENCY="1") as worker:
        assert worker.wait_for_log("Worker started")["context"] == {"threads": 1}
        processing = worker.wait_for_log("Bill payment processing")
        assert processing["context"]["transactionId"] == slow
        later = funded.pay_json(METER, "--no-wait")["transactionId"]
        assert worker.stop(number, number) == 0
    assert [line["message"] for line in worker.log_lines[-2:]] == [
        "Bill payment completed",
        "Worker stopped",
    ]
    assert worker.log_lines[-1]["context"] == {"on": number.name}
    assert funded.json("show", slow)["status"] == "completed"
    assert funded.json("show", later)["status"] == "pending"


def test_worker_log_shows_outcomes_without_tokens(funded: Console) -> None:
    meters = [METER, "600000000001", "600000000003"]
    ids = {meter: funded.pay_json(meter, "--no-wait")["transactionId"] for meter in meters}
    with worker_process(funded.folder, REQUERY_SCHEDULE="0.2") as worker:
        ends = [
            worker.wait_for_log("Bill payment completed"),
            worker.wait_for_log("Bill payment completed"),
        ]
        if not any(line["message"] == "Bill payment reversed" for line in worker.log_lines):
            worker.wait_for_log("Bill payment reversed")
        assert worker.stop() == 0
    assert {line["context"]["transactionId"] for line in ends} == {ids[METER], ids["600000000003"]}
    (end,) = (line for line in ends if line["context"]["transactionId"] == ids[METER])
    assert end["level"] == "info"
    assert end["context"] == {
        "userId": "ada",
        "transactionId": ids[METER],
        "amount": "500.00",
        "provider": "EKEDC",
    }
    (reversed_,) = (line for line in worker.log_lines if line["message"] == "Bill payment reversed")
    assert (reversed_["context"]["transactionId"], reversed_["context"]["proof"]) == (
        ids["600000000001"],
        "declined",
    )
    (doubted,) = (line for line in worker.log_lines if line["message"] == "Bill payment in doubt")
    assert doubted["context"]["transactionId"] == ids["600000000003"]
    tokens = [funded.json("show", ids[meter])["token"] for meter in (METER, "600000000003")]
    assert all(tokens)
    assert not any(token in str(worker.log_lines) for token in tokens)


def test_worker_sweeps_lost_hints_on_start(funded: Console) -> None:
    accepted = funded.pay_json(METER, "--no-wait")["transactionId"]
    for queue in funded.folder.glob("billvend.queue.db*"):
        queue.unlink()
    with worker_process(funded.folder) as worker:
        assert worker.wait_for_log("Swept")["context"] == {"due": 1, "enqueued": 1}
        assert worker.wait_for_log("Bill payment completed")["context"]["transactionId"] == accepted
        assert worker.stop() == 0


def test_worker_on_postgresql_without_redis_finds_work_by_sweep(billvend: Console, postgres_url: str) -> None:
    database_option = billvend.funded_database(postgres_url)
    first = billvend.pay_json(METER, "--no-wait", *database_option)["transactionId"]
    with worker_process(billvend.folder, *database_option) as worker:
        assert worker.wait_for_log("Bill payment completed")["context"]["transactionId"] == first
        second = billvend.pay_json("600000000001", "--no-wait", *database_option)["transactionId"]
        assert worker.wait_for_log("Bill payment reversed")["context"]["transactionId"] == second
        assert worker.stop() == 0


def test_worker_survives_database_outage(billvend: Console, own_postgres: PostgresServer) -> None:
    database_option = billvend.funded_database(own_postgres)
    with worker_process(billvend.folder, *database_option) as worker:
        worker.wait_for_log("Worker started")
        own_postgres.stop()
        assert worker.wait_for_log("Sweeping fails")["level"] == "warning"
        own_postgres.start()
        worker.wait_for_log("Sweeping works again")
        accepted = billvend.pay_json(METER, "--no-wait", *database_option)["transactionId"]
        assert worker.wait_for_log("Bill payment completed")["context"]["transactionId"] == accepted
        assert worker.stop() == 0
    assert sum(line["message"].startswith("Sweeping fails") for line in worker.log_lines) == 1


def test_worker_start_failure_is_explained(billvend: Console) -> None:
    refused = billvend("worker", "--database-url", "postgresql://127.0.0.1:1/x")
    assert (refused.status, refused.out, refused.err.count("\n")) == (9, "", 1)


def test_worker_without_queue_server_settles_by_sweep(funded: Console) -> None:
    """A queue server that stays down stops no payment."""
    with socket.socket() as refusing_socket:
        refusing_socket.bind(("127.0.0.1", 0))  # never listens: every connection is refused
        url = f"redis://127.0.0.1:{refusing_socket.getsockname()[1]}"
        sold = funded.pay_json(METER, "--no-wait")["transactionId"]
        declined = funded.pay_json("600000000001", "--no-wait")["transactionId"]
        with worker_process(funded.folder, REDIS_URL=url) as worker:
            ends: dict[str, str] = {}
            while len(ends) < 2:
                line = worker.wait_for_log("Bill payment")
                if line["message"] in ("Bill payment completed", "Bill payment reversed"):
                    ends[line["context"]["transactionId"]] = line["message"]
            assert ends == {sold: "Bill payment completed", declined: "Bill payment reversed"}
            assert worker.stop() == 0
