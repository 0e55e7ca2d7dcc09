"""What all commands have in common: help, examples, options and fast start."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from billvend.cli import app
from tests.cli.console import Console, run, run_python

WITHOUT_JSON = {"worker", "serve", "sandbox"}


def commands(command: Any = None, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command without subcommands, with the words that call it."""
    command = command or get_command(app)
    for name, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from commands(below, *path, name)
        else:
            yield (*path, name), below


COMMANDS = dict(commands())
EACH_COMMAND = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_command_list_is_complete() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "fund", "pay", "pay-many", "cancel", "balance", "history", "show", "find", "payments",
        "meter", "billers", "review", "resolve", "worker", "serve", "sandbox", "sweep", "audit", "health", "config",
        "deposits create", "deposits check", "deposits list", "api-keys create", "api-keys list", "api-keys revoke",
        "wallet email", "webhooks list", "webhooks replay", "webhooks enable",
        "db upgrade", "db current", "db seed", "demo",
    }  # fmt: skip


@EACH_COMMAND
def test_help_example_parses(billvend: Console, path: tuple[str, ...]) -> None:
    shown = billvend(*path, "--help")
    assert (shown.status, shown.err) == (0, "")
    assert billvend(*path, "-h").out == shown.out
    _, _, examples = shown.out.partition("Example:\n")
    assert examples.strip()
    for line in examples.strip().splitlines():
        words = shlex.split(line)
        assert words[: 1 + len(path)] == ["billvend", *path]
        COMMANDS[path].make_context("example", words[1 + len(path) :])


@EACH_COMMAND
def test_every_command_has_common_options(path: tuple[str, ...]) -> None:
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert "--database-url" in options
    assert ("--json" in options) == (path[0] not in WITHOUT_JSON)


def test_no_command_shows_help(billvend: Console) -> None:
    shown = billvend()
    assert (shown.status, shown.err) == (0, "")
    assert "Commands:" in shown.out
    assert "billvend demo" in shown.out
    assert billvend("--help").out == billvend("-h").out == shown.out
    assert shown.out.isascii()


def test_version_option_prints_version(billvend: Console) -> None:
    shown = billvend("--version")
    assert shown.status == 0
    assert shown.out.startswith("billvend ")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], "sqlalchemy pydantic rich structlog huey billvend.config billvend.app"),
        (["fund", "ada", "500"], "prometheus_client flask granian httpx"),
    ],
)
def test_command_imports_no_unneeded_library(tmp_path: Path, arguments: list[str], heavy: str) -> None:
    program = (
        f"import sys, billvend.cli; status = billvend.cli.main({arguments})\n"
        f"sys.exit(' '.join(sorted(set({heavy.split()}) & set(sys.modules))) or status)"
    )
    result = run_python(program, folder=tmp_path)
    assert (result.status, result.err) == (0, "")


def test_shell_completion_suggests_commands(tmp_path: Path) -> None:
    words = {"COMP_WORDS": "billvend ba", "COMP_CWORD": "1"}
    result = run(tmp_path, _BILLVEND_COMPLETE="complete_bash", **words)
    assert (result.out.split(), result.err) == (["balance"], "")


@pytest.mark.parametrize(("arguments", "is_own_process"), [("", True), ("['--version']", False)])
def test_gc_is_tuned_only_in_own_process(arguments: str, is_own_process: bool) -> None:
    """A program that calls a command as a function keeps its own settings of the garbage collector."""
    program = (
        "import gc, sys, billvend.cli; sys.argv = ['billvend', '--version']; before = gc.get_threshold()\n"
        f"billvend.cli.main({arguments}); sys.exit(gc.get_threshold() != before)"
    )
    result = run_python(program)
    assert (result.status, result.err) == (int(is_own_process), "")
