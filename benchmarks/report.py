"""bench: this machine's figures, beside the limits of its database."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from billvend.cli.exits import Exit
from billvend.cli.opening import configured
from billvend.cli.options import DatabaseUrl, Json, example
from billvend.cli.output import BAD, GOOD, QUIET, Line, Table, say, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.results import BenchmarkResult

commands = typer.Typer()


@commands.command(
    epilog=example(
        "billvend bench", "billvend bench --database-url postgresql://billvend@db/billvend --rounds 5"
    )
)
def bench(
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="How long each load lasts.", min=0.1, max=600)
    ] = 3.0,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", help="The medians of so many are shown.", min=1, max=99)
    ] = 3,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Write the JSON document there, too.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
) -> Exit:
    """Measure how fast billvend is here, beside what its database can do.

    Measures in databases of its own, which it makes on the same server (or beside the SQLite file) and drops: the books are
    not touched. On PostgreSQL each figure stands beside pgbench's in the same round, where pgbench is installed. Loads the
    machine for some minutes: not for one that is selling.
    """
    from benchmarks.baselines import find_pgbench
    from benchmarks.databases import database_version
    from benchmarks.results import median_results, to_document
    from benchmarks.rounds import measurements, run_round

    with configured(database_url) as settings:
        server_url, pgbench = settings.database_url.get_secret_value(), find_pgbench()
        folder = _folder(server_url)
        rounds_measured = []
        for number in range(rounds):
            measures = measurements(server_url, folder, seconds=seconds, pgbench=pgbench)
            rounds_measured.append(run_round(measures, partial(_print_progress, number + 1)))
    figures = median_results(rounds_measured)
    result = to_document(figures, database_version(server_url), rounds)
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n")
    show(
        as_json,
        result,
        results_table(figures),
        Line(machine_line(result), QUIET),
        *_footnotes(settings.database_kind, pgbench),
    )
    return Exit.DONE


def _folder(server_url: str) -> Path:
    """Where files go: beside the database, if that is a file, for it is that disk that counts."""
    import sqlalchemy as sa

    file = sa.make_url(server_url).database if server_url.startswith("sqlite") else None
    return Path(file).resolve().parent if file else Path.cwd()


def _print_progress(number: int, name: str, took: float) -> None:
    say(Line(f"Round {number}: {name}, {took:.0f} s", QUIET), to=sys.stderr)


def results_table(results: "list[BenchmarkResult]") -> Table:
    """The figures for people: what is to be reached, and whether it is."""
    from benchmarks.results import TARGETS

    titles = {target.name: target.title for target in TARGETS}
    rows = []
    for result in results:
        target = result.target
        relative_to = ""
        if result.ratio is not None and target.relative_to is not None:
            # T, M and H are yardsticks, known by that letter.
            name = target.relative_to if len(target.relative_to) == 1 else f"'{titles[target.relative_to]}'"
            relative_to = f"{result.ratio:.2f} of {name}"
        limit = target.minimum if target.minimum is not None else target.maximum
        sign = "at least" if target.minimum is not None else "at most"
        target_text = "" if limit is None else f"{sign} {limit:,g}"
        met = {True: "yes", False: "no", None: ""}[result.is_met]
        rows.append((target.title, f"{_number(result.value)} {target.unit}", relative_to, target_text, met))
    return Table(("Figure", "Median", "Beside", "To reach", "Reached"), rows)


def machine_line(result: "Mapping[str, Any]") -> str:
    """The machine and the versions that a document's figures are of."""
    machine = result["machine"]
    versions = {"Python": machine["python"], **machine["packages"]}
    versions_text = ", ".join(
        f"{name} {version}" for name, version in versions.items() if version is not None
    )
    return f"{machine['system']}, {machine['cores']} cores; {result['database']}; {versions_text}."


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _footnotes(kind: str, pgbench: str | None) -> list[Line]:
    if kind == "sqlite":
        return [Line("PostgreSQL's figures: billvend bench --database-url postgresql://...", QUIET)]
    if pgbench is None:
        return [Line("pgbench is not on PATH: there is no yardstick. It comes with PostgreSQL.", BAD)]
    return [Line("T, M and H were measured on the same server, in the same rounds.", GOOD)]
