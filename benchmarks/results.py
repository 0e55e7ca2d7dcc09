"""Metrics with their targets, and medians of several rounds."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

Samples = Mapping[str, float]
"""What one round measured, by the name of the metric. Metrics that could not be measured are missing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A metric: what it means, and the value that it should have."""

    name: str
    title: str
    unit: str
    relative_to: str | None = None
    """The metric that it is divided by."""
    minimum: float | None = None
    """Of the ratio to `relative_to`. Of the value itself if there is none."""
    maximum: float | None = None
    same_as: str | None = None
    """The metric whose measurements are used here, with another `relative_to`."""


TARGETS: Final = (
    Target("T", "pgbench, TPC-B-like (T)", "/s"),
    Target("T_alone_ms", "the same with one client, a transaction", "ms"),
    Target("M", "pgbench, the smallest accept, 1,000 wallets (M)", "/s"),
    Target("H", "pgbench, the smallest accept, one wallet (H)", "/s"),
    Target("accepts", "accepts, 64 callers, 1,000 wallets", "/s", "T", minimum=1.5),
    Target("accepts_hot", "accepts, 64 callers, one wallet", "/s", "accepts", minimum=0.9),
    Target("accepts_hot_of_H", "the same, relative to H", "/s", "H", minimum=3, same_as="accepts_hot"),
    Target("accepts_alone", "accepts, one caller", "/s", "T"),
    Target("bulk", "accepts in bulk", "/s", "T", minimum=3),
    Target(
        "bulk_one_by_one",
        "the same, relative to one caller",
        "/s",
        "accepts_alone",
        minimum=3,
        same_as="bulk",
    ),
    Target("http", "POST /bills/pay, 64 clients, 1,000 wallets", "/s", "T", minimum=0.8),
    Target("http_p99_ms", "the same, p99", "ms", maximum=80),
    Target("http_hot", "POST /bills/pay, 64 clients, one wallet", "/s", "http", minimum=0.85),
    Target("http_verified", "POST /bills/pay, 64 clients, meters verified (in the cache)", "/s", "T"),
    Target("http_alone_p50_ms", "POST /bills/pay, one client, median", "ms", maximum=4),
    Target("http_memory_mib", "memory of a server process, after 64 clients", "MiB", maximum=150),
    Target("bare_http", "Flask that does nothing, 64 clients", "/s", "T"),
    Target("bare_http_p99_ms", "the same, p99", "ms"),
    Target("bare_http_alone_p50_ms", "Flask that does nothing, one client, median", "ms"),
    Target("settled", "settled end to end, provider at 0 ms", "/s", "T", minimum=0.2),
    Target("settled_50_ms", "settled end to end, provider at 50 ms", "/s", "settled", minimum=0.9),
    Target("accepts_full", "accepts, 64 callers, full tables", "/s", "accepts_empty", minimum=0.9),
    Target("accepts_empty", "accepts, 64 callers, empty tables", "/s"),
    Target("audit", "events audited", "/s", minimum=50_000),
    Target("help_seconds", "billvend --help", "s", maximum=0.3),
    Target("balance_seconds", "billvend balance, SQLite", "s", maximum=0.7),
    Target("packages_seconds", "importing the packages that it needs", "s"),
)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The median of a metric over several rounds."""

    target: Target
    value: float
    ratio: float | None
    """The ratio to `Target.relative_to`: the median of the ratios of each round."""

    @property
    def is_met(self) -> bool | None:
        """Whether it meets its target. None without a target."""
        if self.target.relative_to is not None and self.ratio is None:
            return None
        measure = self.value if self.ratio is None else self.ratio
        if self.target.minimum is not None:
            return measure >= self.target.minimum
        return None if self.target.maximum is None else measure <= self.target.maximum


def median_results(rounds: Sequence[Samples]) -> list[BenchmarkResult]:
    """The medians of all metrics that were measured."""
    results = []
    for target in TARGETS:
        name, relative_to = target.same_as or target.name, target.relative_to or ""
        measured = [samples for samples in rounds if name in samples]
        ratios = [samples[name] / samples[relative_to] for samples in measured if samples.get(relative_to)]
        if ratios or (measured and target.same_as is None):
            value = statistics.median(samples[name] for samples in measured)
            results.append(BenchmarkResult(target, value, statistics.median(ratios) if ratios else None))
    return results


def to_document(results: Sequence[BenchmarkResult], database: str, rounds: int) -> dict[str, object]:
    """The results, with the machine, the database and the versions that they were measured with."""
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
    """The machine and the versions of the main packages."""
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
    except PackageNotFoundError:  # billvend runs from its sources
        return None
