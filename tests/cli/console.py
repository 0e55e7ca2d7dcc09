"""Run billvend's commands: in this process where that is enough, else in a process of their own."""

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
"""The sandbox sells to this meter, but its answer is lost."""
PROGRAM = (sys.executable, "-m", "billvend")


@dataclass(frozen=True)
class CliResult:
    """The exit status of a command, and its output."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Console:
    """A command line in its own folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> CliResult:
        """Run a command in this process."""
        self._capsys.readouterr()
        status = main(arguments)
        return CliResult(status, *self._capsys.readouterr())

    def json(self, *arguments: str, status: int = 0) -> Any:
        """Run a command with --json, check its exit status, and return its document."""
        result = self(*arguments, "--json")
        assert result.status == status, result
        return result.document

    def pay(self, meter: str, *arguments: str, user: str = "ada", amount: str = "500") -> CliResult:
        """Run `pay` with these arguments."""
        return self("pay", user, amount, "--meter", meter, "--biller", "EKEDC", *arguments)

    def pay_json(self, meter: str, *arguments: str, status: int = 0) -> Any:
        """Run `pay --json`, check its exit status, and return its document."""
        return self.json(
            "pay", "ada", "500", "--meter", meter, "--biller", "EKEDC", *arguments, status=status
        )

    def in_doubt(self, key: str = "doubtful") -> str:
        """Make a payment of ada that stays in doubt for the next 20 s. Returns its id."""
        transaction_id: str = self.pay_json(LOST_ANSWER_METER, "--key", key, "--no-wait")["transactionId"]

        def watch(payment: Payment) -> None:
            if payment.status is Status.IN_DOUBT:
                raise _InDoubt

        with open_billvend("sqlite:///billvend.db") as bv, suppress(_InDoubt):
            bv.wait(transaction_id, timeout=PATIENCE_SECONDS, on_poll=watch)
        return transaction_id


class _InDoubt(Exception):
    """The payment is in doubt: stop waiting."""


def environment(**settings: str) -> dict[str, str]:
    """Environment variables for a process that imports the billvend under test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **settings}


def run(folder: Path, *arguments: str, **settings: str) -> CliResult:
    """Run a command in a process of its own."""
    process = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return CliResult(process.returncode, process.stdout, process.stderr)
