"""The loads: lists of commands through the journal, as workers and doors give them."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypeVar

from uuid_utils.compat import uuid7

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.journal import SqlJournal
from billvend.adapters.storage.migrate import upgrade
from billvend.domain.abilities import Abilities, Biller, Mode
from billvend.domain.commands import Claim, Command, Done, Fund, Pay, Report
from billvend.domain.money import Money
from billvend.domain.outcome import Delivered
from billvend.domain.policy import Policy
from billvend.domain.words import VendType

POLICY = Policy(
    routes=(
        Abilities(
            "bench",
            "bench",
            Mode.TEST,
            (Biller("EKEDC", "Eko"),),
            "NGN",
            lambda payment, n, day: f"{payment}-{n}",
        ),
    )
)
T = TypeVar("T")
AMOUNT = Money(50_000, "NGN")


@dataclass(frozen=True, slots=True)
class Rates:
    """Payments a second."""

    accepts: float
    settles: float


class Load:
    """One database with funded wallets."""

    def __init__(self, url: str, *, wallets: int) -> None:
        self.database = Database(url)
        upgrade(self.database)
        self.journal = SqlJournal(self.database)
        self._users = [f"user-{number:05}" for number in range(wallets)]
        self._serial = count()
        funds: list[Command] = [
            Fund(user, f"fund-{user}", str(uuid7()), _now(), Money(10**11, "NGN"), "manual", f"fund-{user}")
            for user in self._users
        ]
        for chunk in _chunks(funds, 500):
            _all_done(self.journal.execute(chunk))

    def close(self) -> None:
        """Give back the connections."""
        self.database.close()

    def run(self, *, list_length: int, callers: int, seconds: float) -> Rates:
        """Accept for a while, then settle what was accepted."""
        accepted: list[Pay] = []
        lock = threading.Lock()

        def accept() -> int:
            pays = [self._pay() for _ in range(list_length)]
            _all_done(self.journal.execute(pays))
            with lock:
                accepted.extend(pays)
            return list_length

        accepts = _rate(accept, callers=callers, seconds=seconds)
        chunks = iter(_chunks(accepted, list_length))

        def settle() -> int:
            with lock:
                pays = next(chunks, None)
            if pays is None:
                return 0
            claims: list[Command] = [
                Claim(pay.user_id, str(uuid7()), pay.transaction_id, _now(), POLICY) for pay in pays
            ]
            _all_done(self.journal.execute(claims))
            at = _now() + timedelta(milliseconds=1)
            delivered = Delivered("12345678901234567890", "2.2", 49_250, {"receiptNumber": "R1"})
            reports: list[Command] = [
                Report(pay.user_id, str(uuid7()), pay.transaction_id, at, POLICY, 1, 1, False, delivered)
                for pay in pays
            ]
            _all_done(self.journal.execute(reports))
            return len(pays)

        return Rates(accepts, _rate(settle, callers=callers, seconds=seconds))

    def _pay(self) -> Pay:
        serial = next(self._serial)
        return Pay(
            self._users[serial % len(self._users)], f"key-{serial}", True, str(uuid7()), _now(), AMOUNT,
            "12345678901", "EKEDC", VendType.PREPAID,
        )  # fmt: skip


def _rate(work: Callable[[], int], *, callers: int, seconds: float) -> float:
    """Units of work a second, by so many callers at once, until time is up or nothing is left."""
    began = time.perf_counter()

    def loop() -> int:
        done = 0
        while time.perf_counter() - began < seconds:
            step = work()
            if not step:
                break
            done += step
        return done

    with ThreadPoolExecutor(callers) as pool:
        total = sum(pool.map(lambda _: loop(), range(callers)))
    return total / (time.perf_counter() - began)


def _chunks(items: Sequence[T], length: int) -> Iterator[list[T]]:
    for start in range(0, len(items), length):
        yield list(items[start : start + length])


def _all_done(results: Sequence[object]) -> None:
    for result in results:
        if not isinstance(result, Done):
            raise SystemExit(f"the benchmark's own command was refused: {result}")


def _now() -> datetime:
    return datetime.now(UTC)
