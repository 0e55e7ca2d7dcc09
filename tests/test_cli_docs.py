"""docs/cli.md is what `billvend --help` says, command by command: rewrite it with

python -m tests.test_cli_docs
"""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from billvend.cli import main
from billvend.cli.exits import Exit

pytestmark = pytest.mark.long

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
COMMANDS = (
    ("fund",), ("pay",), ("pay-many",), ("cancel",), ("balance",), ("history",), ("show",),
    ("find",), ("payments",), ("meter",),
    ("billers",), ("review",), ("resolve",), ("serve",), ("worker",), ("sandbox",), ("sweep",), ("health",), ("audit",),
    ("deposits", "create"), ("deposits", "check"), ("deposits", "list"),
    ("api-keys", "create"), ("api-keys", "list"), ("api-keys", "revoke"), ("wallet", "email"),
    ("webhooks", "list"), ("webhooks", "replay"), ("webhooks", "enable"),
    ("config",), ("db", "upgrade"), ("db", "current"), ("db", "seed"), ("demo",),
)  # fmt: skip
EXITS = """
| exit status | means |
| --- | --- |
| 0 | done (with `--no-wait`: accepted) |
| 1 | internal error |
| 2 | usage, bad input or a bad setting: nothing was done; of `pay-many`: not every row was accepted |
| 3 | not found |
| 4 | insufficient funds |
| 5 | conflict: idempotency, likely duplicate, already sent |
| 6 | the payment ended reversed: the money is back |
| 7 | the wait ran out before the end: the money stays held, and the payment continues |
| 8 | an audit found a difference, or a payment differs from its deposit |
| 9 | a dependency is unavailable, or the outcome of the command is unknown: repeat it with its key |
| 130 | interrupted |
"""


def help_text(*arguments: str) -> str:
    """The output of the command for `--help`, at a fixed width."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setenv("COLUMNS", "100")
        assert main([*arguments, "--help"]) == Exit.DONE
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def render_page() -> Iterator[str]:
    yield "# The command line\n\nWhat `--help` says, command by command. "
    yield "Every command but `serve`, `worker` and `sandbox` takes `--json`.\n"
    yield EXITS
    for words in COMMANDS:
        yield f"\n## billvend {' '.join(words)}\n\n```\n{help_text(*words)}\n```\n"


def test_cli_docs_are_up_to_date() -> None:
    assert PAGE.read_text() == "".join(render_page())


def test_cli_docs_list_every_command() -> None:
    listed = {
        line.split()[0]
        for line in help_text().partition("Commands:")[2].splitlines()
        if line.startswith("  ") and line[2] != " "
    }
    listed -= {"Example:", "billvend"}
    assert listed == {words[0] for words in COMMANDS}


if __name__ == "__main__":
    PAGE.write_text("".join(render_page()))
