"""One round: the yardsticks and all loads, one after the other."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from billvend.bench import loads, over_http, yardsticks
from billvend.bench.figures import Measured
from billvend.bench.places import empty_database

WALLETS: Final = 1_000
"""Like a busy shop's; the others have one, which everybody wants at once."""
MANY, HOT = WALLETS, 1

Measure = Callable[[], Measured]
T = TypeVar("T")


def parts(near: str, folder: Path, *, seconds: float, pgbench: str | None) -> Iterator[tuple[str, Measure]]:
    """What is measured in a round, with a name for people to follow it by. Each makes its own database near that URL."""

    def in_an_empty(measure: Callable[[str], T]) -> T:
        with empty_database(near, folder) as url:
            return measure(url)

    def accepts(name: str, wallets: int, callers: int) -> Measured:
        return {
            name: in_an_empty(
                lambda url: loads.accepts(url, folder, wallets_=wallets, callers=callers, seconds=seconds)
            )
        }

    def bulk() -> Measured:
        rate, audited = in_an_empty(lambda url: loads.bulk(url, folder, seconds=seconds))
        return {"bulk": rate, "audit": audited}

    def served(wallets: int, clients: int, *, verifies: bool = False) -> over_http.Served:
        return in_an_empty(
            lambda url: over_http.measure(
                url, folder, wallets_=wallets, clients=clients, seconds=seconds, verifies=verifies
            )
        )

    def http() -> Measured:
        found = served(MANY, over_http.CLIENTS)
        memory = {} if found.memory_mib is None else {"http_memory_mib": found.memory_mib}
        return {"http": found.requests_per_second, "http_p99_ms": found.p99_ms, **memory}

    if pgbench is not None and not near.startswith("sqlite"):
        yield "pgbench", lambda: yardsticks.measure(near, folder, pgbench)
    yield "accepts", lambda: accepts("accepts", MANY, loads.CALLERS)
    yield "accepts, one wallet", lambda: accepts("accepts_hot", HOT, loads.CALLERS)
    yield "accepts, one caller", lambda: accepts("accepts_alone", MANY, 1)
    yield "bulk and audit", bulk
    yield "HTTP", http
    yield "HTTP, one wallet", lambda: {"http_hot": served(HOT, over_http.CLIENTS).requests_per_second}
    yield (
        "HTTP, meters verified",
        lambda: {"http_verified": served(MANY, over_http.CLIENTS, verifies=True).requests_per_second},
    )
    yield "HTTP, one client", lambda: {"http_alone_p50_ms": served(MANY, 1).p50_ms}


def measured(measures: Iterable[tuple[str, Measure]], tell: Callable[[str, float], None]) -> Measured:
    """One round of them, each told when it is done, with the seconds that it took."""
    found: dict[str, float] = {}
    for name, measure in measures:
        began = time.perf_counter()
        found |= measure()
        tell(name, time.perf_counter() - began)
    return found
