"""The sandbox in process: the provider adapter for the simulator. It also simulates the network between them."""

import sqlite3
from base64 import b32encode
from collections.abc import Callable
from datetime import date, timedelta
from functools import cached_property
from hashlib import sha256
from os import PathLike

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.sandbox.faults import DeliveryFault
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import SimulatedReply, Simulator
from billvend.domain.enums import VendType
from billvend.domain.errors import Unavailable
from billvend.domain.meter_lookup import MeterLookupFailed, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Misconfigured, NotSent, Pending, Unknown
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order, Provider

CONNECTION_CLOSED_REASON = "the connection was closed before an answer"


class SandboxProvider(Provider):
    """A provider that sells nothing real. Its account is its sales store: another file is another account.

    It sends no webhooks in process.
    """

    def __init__(self, store_path: str | PathLike[str], setup: ProviderSetup) -> None:
        self.store = SalesStore(store_path, busy_seconds=setup.timeout_seconds)
        """What it really sold. Only tests and the sandbox itself may read it. billvend must not know the truth."""
        self._setup = setup

    @cached_property
    def account(self) -> ProviderAccount:
        """What the account declares about itself. Raises `Unavailable` if the sales store cannot be opened."""
        return ProviderAccount(
            provider="sandbox",
            account_id=self.store.account,
            mode=Mode.TEST,
            billers=BILLERS,
            currency=self._setup.currency,
            make_reference=make_reference,
            utc_offset=timedelta(hours=1),  # Africa/Lagos, which has no summer time
            max_processing_seconds=self._setup.max_processing_seconds,
        )

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """Have the simulator sell, once, and return what arrives of its answer."""
        if not may_send():
            return NotSent("too late to send")
        try:
            return self._receive(self._simulator.send(order))
        except Unavailable as error:
            return NotSent(error.message)
        except sqlite3.Error as error:
            return Unknown(_store_failed(error))

    def requery(self, order: Order) -> Answer:
        """Ask the simulator what became of our reference."""
        try:
            reply = self._simulator.requery(order.reference)
        except (Unavailable, sqlite3.Error) as error:
            return Unknown(_store_failed(error))
        is_whole = reply.delivery_fault is DeliveryFault.NONE
        return reply.answer if is_whole else Unknown(CONNECTION_CLOSED_REASON)

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Ask the simulator who owns a meter."""
        try:
            return self._simulator.verify(meter, biller, vend_type)
        except (Unavailable, sqlite3.Error) as error:
            return MeterLookupFailed(_store_failed(error))

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """The rest of our float."""
        try:
            return self._simulator.fetch_float()
        except (Unavailable, sqlite3.Error) as error:
            return Unknown(_store_failed(error))

    def close(self) -> None:
        """Close the file of the sales store."""
        self.store.close()

    @cached_property
    def _simulator(self) -> Simulator:
        return Simulator(self.store, currency=self._setup.currency, now=self._setup.now)

    def _receive(self, reply: SimulatedReply) -> Answer:
        timeout_seconds = self._setup.timeout_seconds
        if reply.delay_seconds:
            self._setup.sleep(min(reply.delay_seconds, timeout_seconds))
        if reply.delay_seconds >= timeout_seconds:
            return Unknown(f"no answer within {timeout_seconds:g} s")
        match reply.delivery_fault, reply.answer:
            case DeliveryFault.CONNECTION_CLOSED, _:
                return Unknown(CONNECTION_CLOSED_REASON)
            case DeliveryFault.HTML_ERROR, _:
                return Unknown("HTTP 500 with HTML")
            case DeliveryFault.NONE, Pending(reason=why):
                return Unknown(why, known_to_provider=True)
            case DeliveryFault.NONE, answer:
                return answer


def _store_failed(error: Exception) -> str:
    return f"the sandbox's sales store failed: {error}"


def make_reference(seed: str, attempt: int, day: date) -> str:
    """The reference of an attempt: "SB" and 150 bits of a hash. It has 32 characters.

    It does not depend on the day, so that a ledger that is restored from a backup derives it again on any later day.
    """
    digest = sha256(f"{seed}|{attempt}".encode()).digest()
    return "SB" + b32encode(digest).decode()[:30]
