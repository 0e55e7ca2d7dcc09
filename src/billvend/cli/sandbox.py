"""The command that runs a simulated provider: sandbox."""

import signal
import sys
from enum import StrEnum
from pathlib import Path

import typer

from billvend.cli.context import settings_context
from billvend.cli.exits import Exit
from billvend.cli.options import DATABASE_URL, example, option

commands = typer.Typer()


class Dialect(StrEnum):
    """The API that is served at the root as well."""

    VTPASS = "vtpass"
    BUYPOWER = "buypower"


@commands.command(
    epilog=example("billvend sandbox --port 4000 --hook-url http://127.0.0.1:3000/hooks/vtpass")
)
def sandbox(
    port: int = option("--port N: The port. 0: any free port.", 4000, min=0, max=65535),
    host: str = option("--host ADDRESS: Where to listen.", "127.0.0.1"),
    dialect: Dialect | None = option("--dialect: Serve this API at the root as well.", None),
    sales_path: Path | None = option("--book FILE: The file of sales. Default: SANDBOX_BOOK.", None),
    max_delay: float = option("--max-delay SECONDS: The longest delay of a response.", 120.0, min=0),
    webhook_url: str | None = option("--hook-url URL: Where it sends webhooks.", None),
    duplicate_window: int = option(
        "--duplicate-window SECONDS: VTpass rejects a second order for a meter within this time. 0: never.",
        30,
        min=0,
    ),
    min_requery_age: int = option(
        "--min-requery-age SECONDS: BuyPower answers 429 to a requery sooner than this after the send.",
        0,
        min=0,
    ),
    database_url: str | None = DATABASE_URL,
) -> Exit:
    """Run a simulated provider over HTTP.

    It speaks the APIs of VTpass and BuyPower, fails on purpose, and records what it really sold. It accepts any key but
    `bad`. Runs until SIGTERM or Ctrl-C. docs/sandbox.md says how to configure billvend for it.
    """
    from billvend.adapters.providers.sandbox.over_http.server import serve_sandbox

    with settings_context(database_url, as_service=True) as settings:
        stop_signals = {signal.SIGTERM, signal.SIGINT}
        # Blocked before any thread starts, so that no thread gets a signal and none is lost before sigwait.
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
        try:
            path = sales_path or settings.sandbox_book_path or Path("sandbox.db")
            with serve_sandbox(
                path,
                dialect=dialect,
                host=host,
                port=port,
                max_delay_seconds=max_delay,
                webhook_url=webhook_url,
                duplicate_window_seconds=duplicate_window,
                min_requery_age_seconds=min_requery_age,
            ) as server:
                sys.stdout.write(
                    f"Sandbox ready: VTpass at {server.vtpass_url}, BuyPower at {server.buypower_url}, "
                    f"sales in {path}, at {server.control_url}/book\n"
                )
                sys.stdout.flush()
                signal.sigwait(stop_signals)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
    return Exit.DONE
