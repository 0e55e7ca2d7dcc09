"""The worker as a process: signals, database outages and lost hints."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.console import PATIENCE_SECONDS, PROGRAM, Console, environment
from tests.support.servers import PostgresServer, new_database

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

    def wait_for_exit(self) -> int:
        """Read the rest of the log. Returns the exit status."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.log_lines += [json.loads(text) for text in self.process.stderr]
        assert self.process.stdout.read() == ""
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def worker_process(folder: Path, *arguments: str, **settings: str) -> Iterator[WorkerProcess]:
    variables = environment(LOG_LEVEL="debug", LOG_FORMAT="json", SWEEP_INTERVAL="0.2", **settings)
    with subprocess.Popen(
        [*PROGRAM, "worker", *arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield WorkerProcess(process)
        finally:
            process.kill()


@GRACEFUL
def test_worker_finishes_running_call_on_signal(funded: Console, number: signal.Signals) -> None:
    slow = funded.pay_json("600000000005", "--no-wait")["transactionId"]  # the sandbox answers after 3 s
    with worker_process(funded.folder, QUEUE_CONCURRENCY="1") as worker:
        assert worker.wait_for_log("Worker started")["context"] == {"threads": 1}
        processing = worker.wait_for_log("Bill payment processing")
        assert processing["context"]["transactionId"] == slow
        later = funded.pay_json("12345678901", "--no-wait")["transactionId"]
        worker.process.send_signal(number)
        worker.process.send_signal(number)
        assert worker.wait_for_exit() == 0
    assert [line["message"] for line in worker.log_lines[-2:]] == [
        "Bill payment completed",
        "Worker stopped",
    ]
    assert worker.log_lines[-1]["context"] == {"on": number.name}
    assert funded.json("show", slow)["status"] == "completed"
    assert funded.json("show", later)["status"] == "pending"


def test_worker_log_shows_outcomes_without_tokens(funded: Console) -> None:
    meters = ["12345678901", "600000000001", "600000000003"]
    ids = {meter: funded.pay_json(meter, "--no-wait")["transactionId"] for meter in meters}
    with worker_process(funded.folder, REQUERY_SCHEDULE="0.2") as worker:
        ends = [
            worker.wait_for_log("Bill payment completed"),
            worker.wait_for_log("Bill payment completed"),
        ]
        if not any(line["message"] == "Bill payment reversed" for line in worker.log_lines):
            worker.wait_for_log("Bill payment reversed")
        worker.process.terminate()
        assert worker.wait_for_exit() == 0
    assert {line["context"]["transactionId"] for line in ends} == {ids["12345678901"], ids["600000000003"]}
    (end,) = (line for line in ends if line["context"]["transactionId"] == ids["12345678901"])
    assert end["level"] == "info"
    assert end["context"] == {
        "userId": "ada",
        "transactionId": ids["12345678901"],
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
    tokens = [funded.json("show", ids[meter])["token"] for meter in ("12345678901", "600000000003")]
    assert all(tokens)
    assert not any(token in str(worker.log_lines) for token in tokens)


def test_worker_sweeps_lost_hints_on_start(funded: Console) -> None:
    accepted = funded.pay_json("12345678901", "--no-wait")["transactionId"]
    for queue in funded.folder.glob("billvend.queue.db*"):
        queue.unlink()
    with worker_process(funded.folder) as worker:
        assert worker.wait_for_log("Swept")["context"] == {"due": 1, "enqueued": 1}
        assert worker.wait_for_log("Bill payment completed")["context"]["transactionId"] == accepted
        worker.process.terminate()
        assert worker.wait_for_exit() == 0


def test_worker_on_postgresql_without_redis_finds_work_by_sweep(billvend: Console, postgres_url: str) -> None:
    database_option = ("--database-url", postgres_url)
    assert billvend("db", "upgrade", *database_option).status == 0
    assert billvend("fund", "ada", "5000", *database_option).status == 0
    first = billvend.pay_json("12345678901", "--no-wait", *database_option)["transactionId"]
    with worker_process(billvend.folder, *database_option) as worker:
        assert worker.wait_for_log("Bill payment completed")["context"]["transactionId"] == first
        second = billvend.pay_json("600000000001", "--no-wait", *database_option)["transactionId"]
        assert worker.wait_for_log("Bill payment reversed")["context"]["transactionId"] == second
        worker.process.terminate()
        assert worker.wait_for_exit() == 0


def test_worker_survives_database_outage(billvend: Console, own_postgres: PostgresServer) -> None:
    database_option = ("--database-url", new_database(own_postgres))
    assert billvend("db", "upgrade", *database_option).status == 0
    assert billvend("fund", "ada", "5000", *database_option).status == 0
    with worker_process(billvend.folder, *database_option) as worker:
        worker.wait_for_log("Worker started")
        own_postgres.stop()
        assert worker.wait_for_log("Sweeping fails")["level"] == "warning"
        own_postgres.start()
        worker.wait_for_log("Sweeping works again")
        accepted = billvend.pay_json("12345678901", "--no-wait", *database_option)["transactionId"]
        assert worker.wait_for_log("Bill payment completed")["context"]["transactionId"] == accepted
        worker.process.terminate()
        assert worker.wait_for_exit() == 0
    assert sum(line["message"].startswith("Sweeping fails") for line in worker.log_lines) == 1


def test_worker_start_failure_is_explained(billvend: Console) -> None:
    refused = billvend("worker", "--database-url", "postgresql://127.0.0.1:1/x")
    assert (refused.status, refused.out, refused.err.count("\n")) == (9, "", 1)
