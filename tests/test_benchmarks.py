"""The benchmarks: what their figures mean, and that they leave no database behind."""

import os
import platform
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks import baselines
from benchmarks.databases import empty_database
from benchmarks.report import machine_line, results_table
from benchmarks.results import TARGETS, BenchmarkResult, Target, median_results, to_document
from benchmarks.rounds import measurements, run_round
from billvend.domain.errors import ConfigurationError
from tests.support import servers

pytestmark = pytest.mark.long


def wanted(name: str) -> Target:
    return next(each for each in TARGETS if each.name == name)


def test_figure_is_median_and_ratio_is_taken_per_round() -> None:
    """A machine that is slow for one round is slow for the reference measurement, too."""
    rounds = [
        {"T": 1000.0, "accepts": 1600.0},
        {"T": 100.0, "accepts": 140.0},
        {"T": 500.0, "accepts": 900.0},
    ]
    (reference, accepts) = median_results(rounds)
    assert (reference.value, reference.ratio, reference.is_met) == (500, None, None)
    assert (accepts.value, accepts.ratio, accepts.is_met) == (900, 1.6, True)


@pytest.mark.parametrize(
    ("name", "value", "ratio", "reached"),
    [
        ("accepts", 900.0, 1.5, True),
        ("accepts", 900.0, 1.49, False),
        ("accepts", 900.0, None, None),  # without its reference it says nothing
        ("http_p99_ms", 80.0, None, True),
        ("http_p99_ms", 80.1, None, False),
        ("accepts_alone", 1.0, 1.0, None),  # it has no target
    ],
)
def test_figure_meets_its_target_or_not(
    name: str, value: float, ratio: float | None, reached: bool | None
) -> None:
    assert BenchmarkResult(wanted(name), value, ratio).is_met is reached


def test_every_baseline_is_measured() -> None:
    names = [each.name for each in TARGETS]
    assert len(names) == len(set(names))
    assert {each.relative_to for each in TARGETS} <= {None, *names}
    found = to_document(median_results([dict.fromkeys(names, 1.0)]), "PostgreSQL", 1)
    assert [each["name"] for each in found["results"]] == names  # type: ignore[attr-defined]  # a document is plain


def test_figure_with_second_baseline_is_measured_once() -> None:
    figures = {
        each.target.name: each
        for each in median_results([{"H": 100.0, "accepts": 500.0, "accepts_hot": 400.0}])
    }
    assert (figures["accepts_hot"].value, figures["accepts_hot"].ratio) == (400, 0.8)
    assert (figures["accepts_hot_of_H"].value, figures["accepts_hot_of_H"].ratio) == (400, 4)
    assert "accepts_hot_of_H" not in {each.target.name for each in median_results([{"accepts_hot": 400.0}])}


def test_table_shows_baselines_machine_and_versions() -> None:
    figures = median_results([{"T": 100.0, "accepts": 150.0, "accepts_hot": 120.0}])
    rows = {row[0]: row[1:] for row in results_table(figures).rows}
    assert rows["accepts, 64 callers, 1,000 wallets"] == ("150 /s", "1.50 of T", "at least 1.5", "yes")
    assert rows["accepts, 64 callers, one wallet"][1:] == (
        "0.80 of 'accepts, 64 callers, 1,000 wallets'", "at least 0.9", "no",
    )  # fmt: skip
    line = machine_line(to_document(figures, "PostgreSQL 18.1", 1))
    assert f"{os.cpu_count()} cores; PostgreSQL 18.1; Python {platform.python_version()}, " in line
    assert "sqlalchemy 2." in line


def test_benchmarks_leave_ledger_and_folder_unchanged(tmp_path: Path) -> None:
    found = run_round(measurements(f"sqlite:///{tmp_path}/x.db", tmp_path, seconds=0.2, pgbench=None), print)
    names = {"accepts", "accepts_hot", "accepts_alone", "bulk", "http", "http_alone_p50_ms", "audit"}
    assert names <= found.keys()
    assert all(value > 0 for value in found.values())
    assert "T" not in found  # pgbench measures PostgreSQL
    assert {path.name for path in tmp_path.iterdir()} <= {"sandbox.db"}


def test_pgbench_uses_temporary_database(own_postgres: servers.PostgresServer, tmp_path: Path) -> None:
    pgbench = str(own_postgres.binaries / "pgbench")
    before = databases(own_postgres.url)
    found = baselines.measure_baselines(own_postgres.url, tmp_path, pgbench, seconds=1)
    assert found.keys() == {"T", "T_alone_ms", "M", "H"}
    assert found["M"] > 0 < found["H"]
    assert 0 < found["T_alone_ms"] < 1000
    assert databases(own_postgres.url) == before


def test_benchmark_without_createdb_permission_is_rejected(
    own_postgres: servers.PostgresServer, tmp_path: Path
) -> None:
    with engine(own_postgres.url).begin() as connection:
        connection.exec_driver_sql("CREATE ROLE clerk LOGIN")
    with (
        pytest.raises(ConfigurationError, match="No ledger was touched"),
        empty_database(own_postgres.url.replace("billvend@", "clerk@"), tmp_path),
    ):
        raise AssertionError("it was made")


def test_failed_load_drops_temporary_database(own_postgres: servers.PostgresServer, tmp_path: Path) -> None:
    before = databases(own_postgres.url)

    def fails() -> None:
        with empty_database(own_postgres.url, tmp_path) as url:
            assert databases(own_postgres.url) == before | {url.rpartition("/")[2]}
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fails()
    assert databases(own_postgres.url) == before


def engine(url: str) -> sa.Engine:
    return sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)


def databases(url: str) -> set[str]:
    with engine(url).connect() as connection:
        return set(connection.exec_driver_sql("SELECT datname FROM pg_database").scalars())
