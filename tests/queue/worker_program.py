"""A worker reduced to its queue, for test_graceful_stop.py. It prints what it does, and its handler waits for a signal
from the test.

worker_program.py KIND PLACE [--plain]: KIND is `sqlite` or `redis`; `--plain` leaves Ctrl-C to Python.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from billvend.adapters.queue.huey_queue import HueyQueue
from billvend.ports.queue import Hint, QueueName

stop = threading.Event()
stop_requested = False


def write_line(line: str) -> None:
    # Not print: a signal may arrive while a line is being written, and stdout does not allow reentrant writes.
    os.write(1, f"{line}\n".encode())


def stop_gracefully(number: int, _frame: object) -> None:
    global stop_requested
    # A second signal may interrupt this handler inside stop.set(), which is not reentrant.
    if not stop_requested:
        stop_requested = True
        stop.set()
    write_line(f"stopping on {signal.Signals(number).name}")


def handle(hint: Hint) -> None:
    write_line(f"handling {hint.transaction_id}")
    sys.stdin.readline()
    write_line(f"handled {hint.transaction_id}")


def main(kind: str, place: str, *options: str) -> None:
    if "--plain" not in options:
        signal.signal(signal.SIGTERM, stop_gracefully)
        signal.signal(signal.SIGINT, stop_gracefully)
    queue = HueyQueue(Path(place) if kind == "sqlite" else place)
    write_line("ready")
    try:
        queue.consume(dict.fromkeys(QueueName, handle), threads=2, stop=stop)
    except KeyboardInterrupt:
        write_line("interrupted")
        sys.exit(130)
    queue.close()


main(*sys.argv[1:])
