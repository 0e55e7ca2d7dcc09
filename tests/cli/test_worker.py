"""The worker, as a process that is signalled, starved of its database, and started beside others."""

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

GRACEFUL = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


class Worker:
    """A worker process, and the lines that it logs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []

    def says(self, message: str) -> dict[str, Any]:
        """Read on until it logs this; returns the line."""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line: dict[str, Any] = json.loads(text)
            self.said.append(line)
            if line["message"].startswith(message):
                return line
        raise AssertionError(f"it never said {message!r}, but {self.said}")

    def ends(self) -> int:
        """Read on to its end; returns its exit status."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.said += [json.loads(text) for text in self.process.stderr]
        assert self.process.stdout.read() == ""
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def worker(folder: Path, *arguments: str, **settings: str) -> Iterator[Worker]:
    look = environment(LOG_LEVEL="debug", LOG_FORMAT="json", SWEEP_INTERVAL="0.2", **settings)
    with subprocess.Popen(
        [*PROGRAM, "worker", *arguments],
        cwd=folder,
        env=look,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@GRACEFUL
def test_what_is_in_hand_is_finished(funded: Console, number: signal.Signals) -> None:
    slow = funded.paid("600000000005", "--no-wait")["transactionId"]  # takes 3 s
    with worker(funded.folder, QUEUE_CONCURRENCY="1") as working:
        assert working.says("Worker started")["context"] == {"threads": 1}
        sent = working.says("Bill payment processing")
        assert sent["context"]["transactionId"] == slow
        later = funded.paid("12345678901", "--no-wait")["transactionId"]
        working.process.send_signal(number)
        working.process.send_signal(number)
        assert working.ends() == 0
    assert [line["message"] for line in working.said[-2:]] == ["Bill payment completed", "Worker stopped"]
    assert working.said[-1]["context"] == {"on": number.name}
    assert funded.json("show", slow)["status"] == "completed"
    assert funded.json("show", later)["status"] == "pending"


def test_the_log_tells_what_became_of_money_and_no_token(funded: Console) -> None:
    meters = ["12345678901", "600000000001", "600000000003"]
    ids = {meter: funded.paid(meter, "--no-wait")["transactionId"] for meter in meters}
    with worker(funded.folder, REQUERY_SCHEDULE="0.2") as working:
        ends = [working.says("Bill payment completed"), working.says("Bill payment completed")]
        if not any(line["message"] == "Bill payment reversed" for line in working.said):
            working.says("Bill payment reversed")
        working.process.terminate()
        assert working.ends() == 0
    assert {line["context"]["transactionId"] for line in ends} == {ids["12345678901"], ids["600000000003"]}
    (end,) = (line for line in ends if line["context"]["transactionId"] == ids["12345678901"])
    assert end["level"] == "info"
    assert end["context"] == {
        "userId": "ada",
        "transactionId": ids["12345678901"],
        "amount": "500.00",
        "provider": "EKEDC",
    }
    (reversed_,) = (line for line in working.said if line["message"] == "Bill payment reversed")
    assert (reversed_["context"]["transactionId"], reversed_["context"]["proof"]) == (
        ids["600000000001"],
        "declined",
    )
    (doubted,) = (line for line in working.said if line["message"] == "Bill payment in doubt")
    assert doubted["context"]["transactionId"] == ids["600000000003"]
    tokens = [funded.json("show", ids[meter])["token"] for meter in ("12345678901", "600000000003")]
    assert all(tokens)
    assert not any(token in str(working.said) for token in tokens)


def test_lost_work_is_found_at_once(funded: Console) -> None:
    accepted = funded.paid("12345678901", "--no-wait")["transactionId"]
    for queue in funded.folder.glob("billvend.queue.db*"):
        queue.unlink()
    with worker(funded.folder) as working:
        assert working.says("Swept")["context"] == {"due": 1, "enqueued": 1}
        assert working.says("Bill payment completed")["context"]["transactionId"] == accepted
        working.process.terminate()
        assert working.ends() == 0


def test_on_postgresql_without_redis_its_own_sweeper_feeds_it(billvend: Console, postgres_url: str) -> None:
    there = ("--database-url", postgres_url)
    assert billvend("db", "upgrade", *there).status == 0
    assert billvend("fund", "ada", "5000", *there).status == 0
    first = billvend.paid("12345678901", "--no-wait", *there)["transactionId"]
    with worker(billvend.folder, *there) as working:
        assert working.says("Bill payment completed")["context"]["transactionId"] == first
        second = billvend.paid("600000000001", "--no-wait", *there)["transactionId"]
        assert working.says("Bill payment reversed")["context"]["transactionId"] == second
        working.process.terminate()
        assert working.ends() == 0


def test_it_outlives_its_database(billvend: Console, own_postgres: PostgresServer) -> None:
    there = ("--database-url", new_database(own_postgres))
    assert billvend("db", "upgrade", *there).status == 0
    assert billvend("fund", "ada", "5000", *there).status == 0
    with worker(billvend.folder, *there) as working:
        working.says("Worker started")
        own_postgres.stop()
        assert working.says("Sweeping fails")["level"] == "warning"
        own_postgres.start()
        working.says("Sweeping works again")
        accepted = billvend.paid("12345678901", "--no-wait", *there)["transactionId"]
        assert working.says("Bill payment completed")["context"]["transactionId"] == accepted
        working.process.terminate()
        assert working.ends() == 0
    assert sum(line["message"].startswith("Sweeping fails") for line in working.said) == 1


def test_a_worker_that_cannot_start_says_why(billvend: Console) -> None:
    refused = billvend("worker", "--database-url", "postgresql://127.0.0.1:1/x")
    assert (refused.status, refused.out, refused.err.count("\n")) == (9, "", 1)
