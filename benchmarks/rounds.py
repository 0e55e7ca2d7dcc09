"""One round: the baselines and all loads, one after the other."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from benchmarks import baselines, http_load, library_load
from benchmarks.databases import empty_database
from benchmarks.results import Samples

WALLETS: Final = 1_000
"""As in a busy shop. The other loads have one wallet, which all callers use at once."""
MANY_WALLETS, ONE_WALLET = WALLETS, 1

Measurement = Callable[[], Samples]
T = TypeVar("T")


def measurements(
    server_url: str, folder: Path, *, seconds: float, pgbench: str | None
) -> Iterator[tuple[str, Measurement]]:
    """The measurements of a round, each with a name to print. Each creates its own database on the server of that URL."""

    def in_empty_database(measure: Callable[[str], T]) -> T:
        with empty_database(server_url, folder) as url:
            return measure(url)

    def accepts(name: str, wallets: int, callers: int) -> Samples:
        return {
            name: in_empty_database(
                lambda url: library_load.measure_accepts(
                    url, folder, wallet_count=wallets, callers=callers, seconds=seconds
                )
            )
        }

    def bulk() -> Samples:
        rate, audited = in_empty_database(lambda url: library_load.measure_bulk(url, folder, seconds=seconds))
        return {"bulk": rate, "audit": audited}

    def http_samples(wallets: int, clients: int, *, verify_meters: bool = False) -> http_load.HttpSamples:
        return in_empty_database(
            lambda url: http_load.measure_http(
                url,
                folder,
                wallet_count=wallets,
                clients=clients,
                seconds=seconds,
                verify_meters=verify_meters,
            )
        )

    def http() -> Samples:
        samples = http_samples(MANY_WALLETS, http_load.CLIENTS)
        memory = {} if samples.memory_mib is None else {"http_memory_mib": samples.memory_mib}
        return {"http": samples.requests_per_second, "http_p99_ms": samples.p99_ms, **memory}

    if pgbench is not None and not server_url.startswith("sqlite"):
        yield "pgbench", lambda: baselines.measure_baselines(server_url, folder, pgbench)
    yield "accepts", lambda: accepts("accepts", MANY_WALLETS, library_load.CALLERS)
    yield "accepts, one wallet", lambda: accepts("accepts_hot", ONE_WALLET, library_load.CALLERS)
    yield "accepts, one caller", lambda: accepts("accepts_alone", MANY_WALLETS, 1)
    yield "bulk and audit", bulk
    yield "HTTP", http
    yield (
        "HTTP, one wallet",
        lambda: {"http_hot": http_samples(ONE_WALLET, http_load.CLIENTS).requests_per_second},
    )
    yield (
        "HTTP, meters verified",
        lambda: {
            "http_verified": http_samples(
                MANY_WALLETS, http_load.CLIENTS, verify_meters=True
            ).requests_per_second
        },
    )
    yield "HTTP, one client", lambda: {"http_alone_p50_ms": http_samples(MANY_WALLETS, 1).p50_ms}


def run_round(
    measurements: Iterable[tuple[str, Measurement]], report: Callable[[str, float], None]
) -> Samples:
    """Run all measurements once. `report` is called after each, with its name and the seconds that it took."""
    samples: dict[str, float] = {}
    for name, measure in measurements:
        began = time.perf_counter()
        samples |= measure()
        report(name, time.perf_counter() - began)
    return samples
