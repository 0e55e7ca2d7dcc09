"""`pay` while it waits for its payment: progress, Ctrl-C and database outages."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from billvend import Status, open_billvend
from billvend.adapters.clock import SystemClock
from billvend.cli.progress import defer_sigint, wait_with_progress
from billvend.config import settings_from_values
from tests.cli.console import LOST_ANSWER_METER, PATIENCE_SECONDS, SLOW_METER, Console, process
from tests.support.servers import PostgresServer

pytestmark = pytest.mark.long


@contextmanager
def following_pay(
    console: Console, meter: str, *arguments: str, **settings: str
) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `pay` and waits, from the moment when the payment is accepted."""
    bill = ("pay", "ada", "500", "--meter", meter, "--biller", "EKEDC")
    with process(console.folder, *bill, *arguments, **settings) as paying:
        wait_for_output(paying, "about to be sent")
        yield paying


@contextmanager
def pay_during_call(console: Console, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs `pay` and waits, from the moment when the call to the provider starts."""
    with following_pay(console, SLOW_METER, *arguments, LOG_LEVEL="debug", LOG_FORMAT="json") as paying:
        assert paying.stderr is not None
        while "Bill payment processing" not in paying.stderr.readline():
            assert paying.poll() is None
        yield paying


def wait_for_output(paying: "subprocess.Popen[str]", text: str) -> None:
    """Read the next line of stdout, which contains this text."""
    assert paying.stdout is not None
    assert text in paying.stdout.readline()


def test_ctrl_c_stops_waiting_and_payment_continues(funded: Console) -> None:
    with following_pay(funded, LOST_ANSWER_METER) as paying:
        wait_for_output(paying, "confirming")
        paying.send_signal(signal.SIGINT)
        rest, errors = paying.communicate(timeout=PATIENCE_SECONDS)
    assert (paying.returncode, errors) == (7, "")
    (line,) = rest.splitlines()
    assert line.startswith("The payment continues. Its money stays held. See: billvend show ")
    assert funded.json("show", line.rpartition(" ")[2])["status"] == "in_doubt"


def test_ctrl_c_lets_running_call_finish(funded: Console) -> None:
    with pay_during_call(funded) as paying:
        paying.send_signal(signal.SIGINT)
        out, _ = paying.communicate(timeout=PATIENCE_SECONDS)
    assert paying.returncode == 0
    (paid,) = funded.json("payments")["items"]
    assert paid["status"] == "completed"
    assert paid["transactionId"] in out


class InterruptingClock(SystemClock):
    """A clock that raises SIGINT so many times in every pause, as Ctrl-C does."""

    def __init__(self, times: int) -> None:
        self._times = times

    def sleep(self, seconds: float) -> None:
        for _ in range(self._times):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("times", "status"), [(1, Status.COMPLETED), (2, Status.PENDING)])
def test_second_ctrl_c_exits_immediately(funded: Console, times: int, status: Status) -> None:
    settings = settings_from_values(database_url="sqlite:///billvend.db")
    with open_billvend(settings, clock=InterruptingClock(times)) as bv, defer_sigint() as interrupt:
        payment = bv.pay("ada", "500", meter=SLOW_METER, biller="EKEDC")
        payment = wait_with_progress(bv, payment, 60, interrupt, quiet=True)
    assert (interrupt.is_requested, payment.status) == (True, status)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_sigint_is_respected() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with defer_sigint() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.is_requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_database_outage_after_acceptance_says_payment_is_accepted(
    billvend: Console, own_postgres: PostgresServer
) -> None:
    database_option = billvend.funded_database(own_postgres)
    with following_pay(billvend, LOST_ANSWER_METER, *database_option) as paying:
        wait_for_output(paying, "confirming")
        own_postgres.kill()
        _, error = paying.communicate(timeout=PATIENCE_SECONDS)
    assert paying.returncode == 9
    assert "is accepted and its money is held" in error
    assert "Nothing was done" not in error
    assert error.count("\n") == 1
    own_postgres.start()
    (accepted,) = billvend.json("payments", *database_option)["items"]
    assert accepted["transactionId"] in error


def test_answer_is_recorded_after_database_outage(billvend: Console, own_postgres: PostgresServer) -> None:
    database_option = billvend.funded_database(own_postgres)
    with pay_during_call(billvend, *database_option) as paying:
        own_postgres.kill()
        own_postgres.start()
        out, _ = paying.communicate(timeout=PATIENCE_SECONDS)
    assert paying.returncode == 0
    assert "Token" in out
