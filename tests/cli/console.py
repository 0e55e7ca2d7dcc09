"""Running billvend as its users do: in this process, where that says as much, and else as a process of its own."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from billvend import Payment, Status, open_billvend
from billvend.cli import main

PATIENCE_SECONDS = 60
LOST_ANSWER_METER = "600000000003"
"""The meter for which the answer is lost."""
PROGRAM = (sys.executable, "-m", "billvend")


@dataclass(frozen=True)
class CliResult:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Console:
    """A command line in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> CliResult:
        """Run a command in this process."""
        self._capsys.readouterr()
        status = main(arguments)
        return CliResult(status, *self._capsys.readouterr())

    def json(self, *arguments: str, status: int = 0) -> Any:
        """The document of a command that ends with this status."""
        ended = self(*arguments, "--json")
        assert ended.status == status, ended
        return ended.document

    def pay(self, meter: str, *arguments: str, user: str = "ada", amount: str = "500") -> CliResult:
        """A payment's command line."""
        return self("pay", user, amount, "--meter", meter, "--biller", "EKEDC", *arguments)

    def pay_json(self, meter: str, *arguments: str, status: int = 0) -> Any:
        """A payment's document."""
        return self.json(
            "pay", "ada", "500", "--meter", meter, "--biller", "EKEDC", *arguments, status=status
        )

    def in_doubt(self, key: str = "doubtful") -> str:
        """A payment of ada's that is in doubt, and will be for the next 20 s; returns its id."""
        transaction_id: str = self.pay_json(LOST_ANSWER_METER, "--key", key, "--no-wait")["transactionId"]

        def watch(payment: Payment) -> None:
            if payment.status is Status.IN_DOUBT:
                raise _InDoubt

        with open_billvend("sqlite:///billvend.db") as bv, suppress(_InDoubt):
            bv.wait(transaction_id, timeout=PATIENCE_SECONDS, on_poll=watch)
        return transaction_id


class _InDoubt(Exception):
    """It is."""


def environment(**settings: str) -> dict[str, str]:
    """Of a process that finds the billvend that is tested here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **settings}


def run(folder: Path, *arguments: str, **settings: str) -> CliResult:
    """Run a command as a process."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return CliResult(done.returncode, done.stdout, done.stderr)
