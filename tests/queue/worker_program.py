"""A worker reduced to its queue, for test_stopping.py: it says what it does, and its handler waits to be told.

worker_program.py KIND PLACE [--plain]: KIND is `sqlite` or `redis`; `--plain` leaves Ctrl-C to Python.
"""

import os
import signal
import sys
import threading

from billvend.adapters.queue.redis_queue import redis_queue
from billvend.adapters.queue.sqlite_queue import sqlite_queue
from billvend.ports.queue import Hint, QueueName

stop = threading.Event()
asked_to_stop = False


def say(line: str) -> None:
    # Not print: a signal may come while a line is being written, and stdout refuses to be used within itself.
    os.write(1, f"{line}\n".encode())


def stop_gracefully(number: int, _frame: object) -> None:
    global asked_to_stop
    # A second signal may interrupt this handler inside of stop.set(), which can't bear to be called within itself.
    if not asked_to_stop:
        asked_to_stop = True
        stop.set()
    say(f"stopping on {signal.Signals(number).name}")


def handle(hint: Hint) -> None:
    say(f"handling {hint.transaction_id}")
    sys.stdin.readline()
    say(f"handled {hint.transaction_id}")


def main(kind: str, place: str, *options: str) -> None:
    if "--plain" not in options:
        signal.signal(signal.SIGTERM, stop_gracefully)
        signal.signal(signal.SIGINT, stop_gracefully)
    queue = sqlite_queue(place) if kind == "sqlite" else redis_queue(place)
    say("ready")
    try:
        queue.consume(dict.fromkeys(QueueName, handle), threads=2, stop=stop)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    queue.close()


main(*sys.argv[1:])
