"""A figure, its yardstick, and medians of several rounds."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

Samples = Mapping[str, float]
"""What one round measured, by name; what could not be measured is missing."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure means, and how good it is to be."""

    name: str
    title: str
    unit: str
    relative_to: str | None = None
    """The figure that it is divided by."""
    minimum: float | None = None
    """Of that figure; of itself, where it stands beside none."""
    maximum: float | None = None
    same_as: str | None = None
    """The figure whose measurements these are, told once more beside another yardstick."""


TARGETS: Final = (
    Target("T", "pgbench, TPC-B-like (T)", "/s"),
    Target("T_alone_ms", "the same with one client, a transaction", "ms"),
    Target("M", "pgbench, the smallest accept, 1,000 wallets (M)", "/s"),
    Target("H", "pgbench, the smallest accept, one wallet (H)", "/s"),
    Target("accepts", "accepts, 64 callers, 1,000 wallets", "/s", "T", minimum=1.5),
    Target("accepts_hot", "accepts, 64 callers, one wallet", "/s", "accepts", minimum=0.9),
    Target("accepts_hot_of_H", "the same, beside H", "/s", "H", minimum=3, same_as="accepts_hot"),
    Target("accepts_alone", "accepts, one caller", "/s", "T"),
    Target("bulk", "accepts in bulk", "/s", "T", minimum=3),
    Target(
        "bulk_one_by_one", "the same, beside one caller", "/s", "accepts_alone", minimum=3, same_as="bulk"
    ),
    Target("http", "POST /bills/pay, 64 clients, 1,000 wallets", "/s", "T", minimum=0.8),
    Target("http_p99_ms", "the slowest hundredth of them", "ms", maximum=80),
    Target("http_hot", "POST /bills/pay, 64 clients, one wallet", "/s", "http", minimum=0.85),
    Target("http_verified", "POST /bills/pay, 64 clients, meters verified (in the cache)", "/s", "T"),
    Target("http_alone_p50_ms", "POST /bills/pay, one client, the median", "ms", maximum=4),
    Target("http_memory_mib", "memory of a process that serves, after that", "MiB", maximum=150),
    Target("bare_http", "Flask that does nothing, 64 clients", "/s", "T"),
    Target("bare_http_p99_ms", "the slowest hundredth of them", "ms"),
    Target("bare_http_alone_p50_ms", "Flask that does nothing, one client, the median", "ms"),
    Target("settled", "settled end to end, provider at 0 ms", "/s", "T", minimum=0.2),
    Target("settled_50_ms", "settled end to end, provider at 50 ms", "/s", "settled", minimum=0.9),
    Target("accepts_full", "accepts, 64 callers, full tables", "/s", "accepts_empty", minimum=0.9),
    Target("accepts_empty", "accepts, 64 callers, empty tables, in turns with those", "/s"),
    Target("audit", "events audited", "/s", minimum=50_000),
    Target("help_seconds", "billvend --help", "s", maximum=0.3),
    Target("balance_seconds", "billvend balance, SQLite", "s", maximum=0.7),
    Target("packages_seconds", "importing the packages that it can't do without", "s"),
)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The median of what several rounds measured."""

    target: Target
    value: float
    ratio: float | None
    """To the figure that it stands beside: the median of each round's own."""

    @property
    def is_met(self) -> bool | None:
        """Whether it is as good as it is to be; None where nothing is asked of it."""
        if self.target.relative_to is not None and self.ratio is None:
            return None
        measure = self.value if self.ratio is None else self.ratio
        if self.target.minimum is not None:
            return measure >= self.target.minimum
        return None if self.target.maximum is None else measure <= self.target.maximum


def median_results(rounds: Sequence[Samples]) -> list[BenchmarkResult]:
    """The figures that every round measured."""
    results = []
    for target in TARGETS:
        name, relative_to = target.same_as or target.name, target.relative_to or ""
        rounds_with_it = [each for each in rounds if name in each]
        ratios = [each[name] / each[relative_to] for each in rounds_with_it if each.get(relative_to)]
        if ratios or (rounds_with_it and target.same_as is None):
            value = statistics.median(each[name] for each in rounds_with_it)
            results.append(BenchmarkResult(target, value, statistics.median(ratios) if ratios else None))
    return results


def to_document(results: Sequence[BenchmarkResult], database: str, rounds: int) -> dict[str, object]:
    """The figures, with the machine and the versions that they are of."""
    return {
        "machine": describe_machine(),
        "database": database,
        "rounds": rounds,
        "results": [
            {
                "name": figure.target.name,
                "title": figure.target.title,
                "value": round(figure.value, 3),
                "unit": figure.target.unit,
                "relativeTo": figure.target.relative_to,
                "ratio": None if figure.ratio is None else round(figure.ratio, 3),
                "atLeast": figure.target.minimum,
                "atMost": figure.target.maximum,
                "isMet": figure.is_met,
            }
            for figure in results
        ],
    }


def describe_machine() -> dict[str, object]:
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
