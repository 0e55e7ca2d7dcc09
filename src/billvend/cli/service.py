"""Commands that run and check billvend: worker, serve, sweep, audit, health."""

import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from billvend.cli.context import billvend_context, settings_context
from billvend.cli.exits import Exit, Failure
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import BAD, DOUBT, GOOD, Line, Table, fail, print_blocks, print_result

commands = typer.Typer()


@commands.command(epilog=example("billvend worker --database-url postgresql://billvend@db/billvend"))
def worker(
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", hidden=True, help="Stop when stdin is closed.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Process payments until stopped.

    Runs QUEUE_CONCURRENCY threads, and sweeps every SWEEP_INTERVAL seconds for payments that the queue lost. Any number
    of workers may run. On SIGTERM or Ctrl-C it finishes the work in progress, and exits. With METRICS_PORT, it serves its
    metrics on that loopback port.
    """
    from billvend.adapters.metrics.metrics_server import serve_metrics
    from billvend.bootstrap import open_billvend
    from billvend.worker import run

    with (
        settings_context(database_url, as_service=True) as settings,
        open_billvend(settings) as bv,
        serve_metrics(bv.metrics, settings.metrics_port),
    ):
        run(
            bv,
            threads=settings.queue_concurrency,
            sweep_interval_seconds=settings.sweep_interval,
            parent=sys.stdin.buffer if exit_with_parent else None,
        )
    return Exit.DONE


@commands.command(epilog=example("billvend serve --port 8080"))
def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Overrides HOST.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", help="Overrides PORT. 0: any free port.", show_default=False),
    ] = None,
    with_worker: Annotated[
        bool | None,
        typer.Option(
            "--worker/--no-worker",
            help="Run a worker as well. Default: with SQLite yes, with PostgreSQL no.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            max=64,
            help="Server processes, with 32 threads each. Default: 2 with PostgreSQL, 1 with SQLite.",
            show_default=False,
        ),
    ] = None,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Serve the HTTP API, with Swagger UI at /api.

    Listens on HOST and PORT (127.0.0.1:3000). On SIGTERM or Ctrl-C it finishes the requests in progress, and
    exits.
    """
    from billvend.api.server import serve as serve_api

    overrides = {"host": host, "port": port}
    with settings_context(database_url, as_service=True, **overrides) as settings:
        serve_api(
            settings,
            database_url=database_url,
            with_worker=with_worker,
            processes=processes,
            announce=lambda text: print_blocks(Line(text, GOOD)),
        )
    return Exit.DONE


@commands.command(epilog=example("billvend sweep"))
def sweep(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Enqueue due payments that the queue lost.

    Workers do this by themselves, every SWEEP_INTERVAL seconds.
    """
    with billvend_context(database_url) as bv:
        result = bv.sweep()
    lines = [Line(f"{result.due} due, {result.enqueued} enqueued.")]
    if result.enqueued < result.due:
        lines.append(Line("The queue did not accept the others. The next sweep enqueues them.", DOUBT))
    print_result(as_json, {"due": result.due, "enqueued": result.enqueued}, *lines)
    return Exit.DONE


@commands.command(epilog=example("billvend audit"))
def audit(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Replay every event, and compare the result with the ledger.

    Exits 8 when it finds a difference.
    """
    from billvend.presentation import audit_json

    with billvend_context(database_url) as bv:
        report = bv.audit()
    totals = f"{report.events} events, {report.wallets} wallets, {report.payments} payments, {report.transfers} transfers"
    if report.ok:
        print_result(as_json, audit_json(report), Line(f"No differences: {totals}.", GOOD))
        return Exit.DONE
    total = len(report.differences) + report.unlisted_differences
    differences = [Line(difference) for difference in report.differences]
    more = [Line(f"... and {report.unlisted_differences} more")] if report.unlisted_differences else []
    head = Line(f"{total} differences in {totals}:", BAD)
    print_result(as_json, audit_json(report), head, *differences, *more)
    return Exit.DIFFERENCE


@commands.command(epilog=example("billvend health"))
def health(as_json: Json = False, database_url: DatabaseUrl = None) -> Exit:
    """Check the database, the queue, the providers and the backlog.

    Exits 9 when the database is down.
    """
    from billvend.presentation import health_json

    with billvend_context(database_url) as bv:
        report = bv.health()
    if report.status == "down":
        reason = str(report.checks["database"].details.get("error", "The database is down."))
        fail(as_json, Failure(Exit.UNAVAILABLE, "unavailable", reason))
        return Exit.UNAVAILABLE
    style = GOOD if report.status == "ok" else DOUBT
    rows = [
        (name, check.status, f"{check.latency_ms:g} ms", _format_details(check.details))
        for name, check in report.checks.items()
    ]
    print_result(
        as_json,
        health_json(report),
        Line(report.status, style),
        Table(("Component", "Status", "Latency", "Details"), rows),
    )
    return Exit.DONE


def _format_details(details: "Mapping[str, object]") -> str:
    return ", ".join(
        f"{name}: {_format_value(value)}" for name, value in details.items() if value not in (None, {}, [])
    )


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {entry}" for name, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
