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

    from billvend.bench.figures import Figure

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
    from billvend.bench.figures import document, medians
    from billvend.bench.places import database_version
    from billvend.bench.round import measured, parts
    from billvend.bench.yardsticks import pgbench_path

    with configured(database_url) as settings:
        near, pgbench = settings.database_url.get_secret_value(), pgbench_path()
        folder = _folder(near)
        found = []
        for number in range(rounds):
            measures = parts(near, folder, seconds=seconds, pgbench=pgbench)
            found.append(measured(measures, partial(_tell, number + 1)))
    figures = medians(found)
    result = document(figures, database_version(near), rounds)
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n")
    show(
        as_json,
        result,
        table(figures),
        Line(machine_line(result), QUIET),
        *_notes(settings.database_kind, pgbench),
    )
    return Exit.DONE


def _folder(near: str) -> Path:
    """Where files go: beside the database, if that is a file, for it is that disk that counts."""
    import sqlalchemy as sa

    file = sa.make_url(near).database if near.startswith("sqlite") else None
    return Path(file).resolve().parent if file else Path.cwd()


def _tell(number: int, name: str, took: float) -> None:
    say(Line(f"Round {number}: {name}, {took:.0f} s", QUIET), to=sys.stderr)


def table(figures: "list[Figure]") -> Table:
    """The figures for people: what is to be reached, and whether it is."""
    from billvend.bench.figures import ALL

    titles = {wanted.name: wanted.title for wanted in ALL}
    rows = []
    for figure in figures:
        wanted = figure.wanted
        beside = ""
        if figure.ratio is not None and wanted.beside is not None:
            # T, M and H are yardsticks, known by that letter.
            name = wanted.beside if len(wanted.beside) == 1 else f"'{titles[wanted.beside]}'"
            beside = f"{figure.ratio:.2f} of {name}"
        bound = wanted.at_least if wanted.at_least is not None else wanted.at_most
        sign = "at least" if wanted.at_least is not None else "at most"
        aim = "" if bound is None else f"{sign} {bound:,g}"
        verdict = {True: "yes", False: "no", None: ""}[figure.reached]
        rows.append((wanted.title, f"{_number(figure.value)} {wanted.unit}", beside, aim, verdict))
    return Table(("Figure", "Median", "Beside", "To reach", "Reached"), rows)


def machine_line(result: "Mapping[str, Any]") -> str:
    """The machine and the versions that a document's figures are of."""
    machine = result["machine"]
    versions = {"Python": machine["python"], **machine["packages"]}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    return f"{machine['system']}, {machine['cores']} cores; {result['database']}; {told}."


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _notes(kind: str, pgbench: str | None) -> list[Line]:
    if kind == "sqlite":
        return [Line("PostgreSQL's figures: billvend bench --database-url postgresql://...", QUIET)]
    if pgbench is None:
        return [Line("pgbench is not on PATH: there is no yardstick. It comes with PostgreSQL.", BAD)]
    return [Line("T, M and H were measured on the same server, in the same rounds.", GOOD)]
