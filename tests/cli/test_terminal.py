"""Screens on a terminal, through a pseudo-terminal."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.console import LOST_ANSWER_METER, PROGRAM, Console, environment

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here"),
]


def run_on_terminal(folder: Path, *arguments: str, columns: int = 100, **settings: str) -> tuple[int, str]:
    """Run a command on a terminal. Returns its exit status, and all that it wrote to the screen."""
    controller, terminal = os.openpty()
    variables = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40", **settings}
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(**variables),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        screen = b""
        while chunk := _read(controller):
            screen += chunk
    os.close(controller)
    return process.returncode, screen.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux reports the closed end of a pseudo-terminal so
        return b""


def test_pay_shows_live_progress(funded: Console) -> None:
    funded.in_doubt("order-1")
    bill = ("pay", "ada", "500", "--meter", LOST_ANSWER_METER, "--biller", "EKEDC", "--key", "order-1")
    status, screen = run_on_terminal(funded.folder, *bill, "--wait", "1")
    assert status == 7
    assert "\x1b[?25l" in screen  # the cursor is hidden while the progress line changes,
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")  # and shown afterwards
    assert "We are confirming with your electricity company." in screen
    assert "Next check at" in screen
    assert "\x1b[1;33m" in screen  # in doubt is yellow


@pytest.mark.parametrize("columns", [100, 60])
def test_table_shows_full_values_at_any_width(funded: Console, columns: int) -> None:
    (funding,) = funded.json("history", "ada")["items"]
    status, screen = run_on_terminal(funded.folder, "balance", "ada", columns=columns)
    assert status == 0
    last_words = [line.split()[-1] for line in screen.splitlines() if line.split()]
    ids = "".join(word for word in last_words if re.fullmatch("[0-9a-f-]+", word))
    assert funding["transactionId"] in (screen if columns == 100 else ids)


def test_no_color_setting_disables_colours(funded: Console) -> None:
    _, coloured = run_on_terminal(funded.folder, "audit")
    _, plain = run_on_terminal(funded.folder, "audit", NO_COLOR="1")
    assert "\x1b[1;32m" in coloured
    assert "\x1b[1;32m" not in plain


def test_error_on_terminal_is_one_line(funded: Console) -> None:
    status, screen = run_on_terminal(funded.folder, "balance", "unknown")
    assert (status, screen) == (3, "Error: There is no NGN wallet of this user: fund it first.\r\n")


def test_json_on_terminal_has_no_escape_codes(funded: Console) -> None:
    status, screen = run_on_terminal(funded.folder, "balance", "ada", "--json")
    assert status == 0
    assert screen.startswith('{\r\n  "userId": "ada"')
    assert "\x1b" not in screen
