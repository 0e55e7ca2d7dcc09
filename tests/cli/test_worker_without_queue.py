"""A queue server that stays down stops no payment: the worker finds the work by sweeps."""

import socket

import pytest

from tests.cli.console import Console
from tests.cli.test_worker import worker_process

pytestmark = pytest.mark.long


def test_worker_without_queue_server_settles_by_sweep(funded: Console) -> None:
    with socket.socket() as refusing_socket:
        refusing_socket.bind(("127.0.0.1", 0))  # never listens: every connection is refused
        url = f"redis://127.0.0.1:{refusing_socket.getsockname()[1]}"
        sold = funded.pay_json("12345678901", "--no-wait")["transactionId"]
        declined = funded.pay_json("600000000001", "--no-wait")["transactionId"]
        with worker_process(funded.folder, REDIS_URL=url) as worker:
            ends: dict[str, str] = {}
            while len(ends) < 2:
                line = worker.wait_for_log("Bill payment")
                if line["message"] in ("Bill payment completed", "Bill payment reversed"):
                    ends[line["context"]["transactionId"]] = line["message"]
            assert ends == {sold: "Bill payment completed", declined: "Bill payment reversed"}
            worker.process.terminate()
            assert worker.wait_for_exit() == 0
