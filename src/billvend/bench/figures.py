"""A figure, its yardstick, and medians of several rounds."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

Measured = Mapping[str, float]
"""What one round measured, by name; what could not be measured is missing."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a figure means, and how good it is to be."""

    name: str
    title: str
    unit: str
    beside: str | None = None
    """The figure that it is divided by."""
    at_least: float | None = None
    """Of that figure; of itself, where it stands beside none."""
    at_most: float | None = None
    again: str | None = None
    """The figure whose measurements these are, told once more beside another yardstick."""


ALL: Final = (
    Wanted("T", "pgbench, TPC-B-like (T)", "/s"),
    Wanted("T_alone_ms", "the same with one client, a transaction", "ms"),
    Wanted("M", "pgbench, the smallest accept, 1,000 wallets (M)", "/s"),
    Wanted("H", "pgbench, the smallest accept, one wallet (H)", "/s"),
    Wanted("accepts", "accepts, 64 callers, 1,000 wallets", "/s", "T", at_least=1.5),
    Wanted("accepts_hot", "accepts, 64 callers, one wallet", "/s", "accepts", at_least=0.9),
    Wanted("accepts_hot_of_H", "the same, beside H", "/s", "H", at_least=3, again="accepts_hot"),
    Wanted("accepts_alone", "accepts, one caller", "/s", "T"),
    Wanted("bulk", "accepts in bulk", "/s", "T", at_least=3),
    Wanted("bulk_one_by_one", "the same, beside one caller", "/s", "accepts_alone", at_least=3, again="bulk"),
    Wanted("http", "POST /bills/pay, 64 clients, 1,000 wallets", "/s", "T", at_least=0.8),
    Wanted("http_p99_ms", "the slowest hundredth of them", "ms", at_most=80),
    Wanted("http_hot", "POST /bills/pay, 64 clients, one wallet", "/s", "http", at_least=0.85),
    Wanted("http_verified", "POST /bills/pay, 64 clients, meters verified (in the cache)", "/s", "T"),
    Wanted("http_alone_p50_ms", "POST /bills/pay, one client, the median", "ms", at_most=4),
    Wanted("http_memory_mib", "memory of a process that serves, after that", "MiB", at_most=150),
    Wanted("bare_http", "Flask that does nothing, 64 clients", "/s", "T"),
    Wanted("bare_http_p99_ms", "the slowest hundredth of them", "ms"),
    Wanted("bare_http_alone_p50_ms", "Flask that does nothing, one client, the median", "ms"),
    Wanted("settled", "settled end to end, provider at 0 ms", "/s", "T", at_least=0.2),
    Wanted("settled_50_ms", "settled end to end, provider at 50 ms", "/s", "settled", at_least=0.9),
    Wanted("accepts_full", "accepts, 64 callers, full tables", "/s", "accepts_empty", at_least=0.9),
    Wanted("accepts_empty", "accepts, 64 callers, empty tables, in turns with those", "/s"),
    Wanted("audit", "events audited", "/s", at_least=50_000),
    Wanted("help_seconds", "billvend --help", "s", at_most=0.3),
    Wanted("balance_seconds", "billvend balance, SQLite", "s", at_most=0.7),
    Wanted("packages_seconds", "importing the packages that it can't do without", "s"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """The median of what several rounds measured."""

    wanted: Wanted
    value: float
    ratio: float | None
    """To the figure that it stands beside: the median of each round's own."""

    @property
    def reached(self) -> bool | None:
        """Whether it is as good as it is to be; None where nothing is asked of it."""
        if self.wanted.beside is not None and self.ratio is None:
            return None
        measure = self.value if self.ratio is None else self.ratio
        if self.wanted.at_least is not None:
            return measure >= self.wanted.at_least
        return None if self.wanted.at_most is None else measure <= self.wanted.at_most


def medians(rounds: Sequence[Measured]) -> list[Figure]:
    """The figures that every round measured."""
    found = []
    for wanted in ALL:
        name, beside = wanted.again or wanted.name, wanted.beside or ""
        told = [each for each in rounds if name in each]
        ratios = [each[name] / each[beside] for each in told if each.get(beside)]
        if ratios or (told and wanted.again is None):
            value = statistics.median(each[name] for each in told)
            found.append(Figure(wanted, value, statistics.median(ratios) if ratios else None))
    return found


def document(figures: Sequence[Figure], database: str, rounds: int) -> dict[str, object]:
    """The figures, with the machine and the versions that they are of."""
    return {
        "machine": machine(),
        "database": database,
        "rounds": rounds,
        "figures": [
            {
                "name": figure.wanted.name,
                "title": figure.wanted.title,
                "value": round(figure.value, 3),
                "unit": figure.wanted.unit,
                "beside": figure.wanted.beside,
                "ratio": None if figure.ratio is None else round(figure.ratio, 3),
                "atLeast": figure.wanted.at_least,
                "atMost": figure.wanted.at_most,
                "reached": figure.reached,
            }
            for figure in figures
        ],
    }


def machine() -> dict[str, object]:
    """What the figures are of."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {
            name: _version(name) for name in ("billvend", "sqlalchemy", "psycopg", "flask", "granian")
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its sources
        return None
