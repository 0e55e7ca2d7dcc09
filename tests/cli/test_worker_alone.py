"""A queue server that never comes back stops no payment: the worker does what its sweeps find."""

import socket

from tests.cli.console import Console
from tests.cli.test_worker import worker


def test_with_its_queue_server_gone_for_good_the_worker_does_what_it_finds(funded: Console) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and never listening: every connection is refused
        gone = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        sold = funded.paid("12345678901", "--no-wait")["transactionId"]
        declined = funded.paid("600000000001", "--no-wait")["transactionId"]
        with worker(funded.folder, REDIS_URL=gone) as working:
            ends: dict[str, str] = {}
            while len(ends) < 2:
                line = working.says("Bill payment")
                if line["message"] in ("Bill payment completed", "Bill payment reversed"):
                    ends[line["context"]["transactionId"]] = line["message"]
            assert ends == {sold: "Bill payment completed", declined: "Bill payment reversed"}
            working.process.terminate()
            assert working.ends() == 0
