"""Commands that run and check billvend: worker, serve, sweep, audit, health."""

import sys
from collections.abc import Mapping

import typer

from billvend.cli.blocks import Line, Table, bad, doubt, good
from billvend.cli.context import Session, command, settings_context
from billvend.cli.exits import Exit
from billvend.cli.options import DATABASE_URL, example, option
from billvend.cli.output import Output, print_blocks, result

commands = typer.Typer()


@commands.command(epilog=example("billvend worker --database-url postgresql://billvend@db/billvend"))
def worker(
    exit_with_parent: bool = option("--exit-with-parent: Stop when stdin is closed.", False, hidden=True),
    database_url: str | None = DATABASE_URL,
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
    host: str | None = option("--host ADDRESS: Overrides HOST.", None),
    port: int | None = option("--port N: Overrides PORT. 0: any free port.", None),
    with_worker: bool | None = option(
        "--worker/--no-worker: Run a worker as well. Default: with SQLite yes, with PostgreSQL no.", None
    ),
    processes: int | None = option(
        "--processes N: Server processes, with 32 threads each. Default: 2 with PostgreSQL, 1 with SQLite.",
        None,
        min=1,
        max=64,
    ),
    database_url: str | None = DATABASE_URL,
) -> Exit:
    """Serve the HTTP API, with Swagger UI at /api.

    Listens on HOST and PORT (127.0.0.1:3000). On SIGTERM or Ctrl-C it finishes the requests in progress, and
    exits.
    """
    from billvend.api.server import serve as serve_api

    with settings_context(database_url, as_service=True, host=host, port=port) as settings:
        serve_api(
            settings,
            database_url=database_url,
            with_worker=with_worker,
            processes=processes,
            announce=lambda text: print_blocks(good(text)),
        )
    return Exit.DONE


@command(commands, "billvend sweep")
def sweep(session: Session) -> Output:
    """Enqueue due payments that the queue lost.

    Workers do this by themselves, every SWEEP_INTERVAL seconds.
    """
    swept = session.bv.sweep()
    lines = [Line(f"{swept.due} due, {swept.enqueued} enqueued.")]
    if swept.enqueued < swept.due:
        lines.append(doubt("The queue did not accept the others. The next sweep enqueues them."))
    return result({"due": swept.due, "enqueued": swept.enqueued}, *lines)


@command(commands, "billvend audit")
def audit(session: Session) -> Output:
    """Replay every event, and compare the result with the ledger.

    Exits 8 when it finds a difference.
    """
    from billvend.presentation.operator_models import AuditResponse

    report = session.bv.audit()
    counts = ("events", "wallets", "payments", "transfers")
    totals = ", ".join(f"{getattr(report, name)} {name}" for name in counts)
    document = AuditResponse.model_validate(report)
    if report.ok:
        return result(document, good(f"No differences: {totals}."))
    lines = [Line(difference) for difference in report.differences]
    if more := report.unlisted_differences:
        lines.append(Line(f"... and {more} more"))
    title = bad(f"{len(report.differences) + more} differences in {totals}:")
    return result(document, title, *lines, status=Exit.DIFFERENCE)


@command(commands, "billvend health")
def health(session: Session) -> Output:
    """Check the database, the queue, the providers and the backlog.

    Exits 9 when the database is down.
    """
    from billvend.domain.errors import Unavailable
    from billvend.presentation.operator_models import HealthResponse

    report = session.bv.health()
    if report.status == "down":
        raise Unavailable(str(report.checks["database"].details.get("error", "The database is down.")))
    rows = [
        (name, check.status, f"{check.latency_ms:g} ms", _format_details(check.details))
        for name, check in report.checks.items()
    ]
    return result(
        HealthResponse.of(report),
        good("ok") if report.status == "ok" else doubt(report.status),
        Table(("Component", "Status", "Latency", "Details"), rows),
    )


def _format_details(details: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name}: {_format_value(value)}" for name, value in details.items() if value not in (None, {}, [])
    )


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {entry}" for name, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
