"""The environment of a cell: billvend with its books in a file, a clock that is set by hand, and the sandbox over HTTP."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

from billvend import Billvend, Payment, Status, open_billvend
from billvend.adapters.providers.sandbox.faults import FaultPlan, PlanScope, SandboxFault
from billvend.adapters.providers.sandbox.over_http.server import RunningSandbox, serve_sandbox
from billvend.adapters.providers.sandbox.sale_record import SaleRecord, SaleStatus
from billvend.config import Settings
from billvend.ports.queue import Hint
from tests.faults.fault_proxy import WEBHOOKS_PATH, FaultProxy

NOON = datetime(2026, 11, 22, 11, tzinfo=UTC)
"""In Lagos."""
METER = "12345678901"
FUNDED, AMOUNT = 5000, 500
TIMEOUT_SECONDS = 20.0
"""Of real time, how long a provider is listened to: for good, on any machine."""
SHORT_TIMEOUT_SECONDS = 0.4
"""The same, where it is to run out: the only real time that is spent."""
MAX_STEPS = 80


@dataclass
class Clock:
    """Moves when somebody pauses, or when the test says so. The sandbox has the same one."""

    at: datetime = NOON
    serial: Iterator[int] = field(default_factory=lambda: count(1))

    def now(self) -> datetime:
        return self.at

    def elapsed_seconds(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def new_id(self) -> str:
        return f"id-{next(self.serial):06}"


@dataclass(frozen=True)
class ProviderEnv:
    """A sandbox, the proxy to it, and the clock on the wall."""

    proxy: FaultProxy
    sandbox: RunningSandbox
    clock: Clock
    empty_ledger: Path
    """Books with tables and nothing in them, which take longer to make than to copy."""

    def settings(self, folder: Path, dialect: str, **changed: object) -> Settings:
        path = {"vtpass": "/vtpass/api", "buypower": "/buypower/v2"}[dialect]
        keys = {"bill_provider_api_key": "key-of-the-shop"}
        if dialect == "vtpass":
            keys |= {"bill_provider_public_key": "PK_shop", "bill_provider_secret_key": "SK_shop"}
        given: dict[str, object] = {
            "database_url": f"sqlite:///{folder}/shop.db",
            "bill_provider": dialect,
            "bill_provider_api_url": self.proxy.url + path,
            "bill_provider_phone": "08012345678",
            "bill_provider_timeout": TIMEOUT_SECONDS,
            "verify_meter": False,
        }
        return Settings(**(given | keys | changed))

    def plan(self, fault: str, **parameters: int) -> None:
        """Let a fault strike the next send."""
        self.sandbox.store.add_plan(
            FaultPlan(SandboxFault(fault, **parameters), PlanScope.NEXT, times_left=1)
        )

    def reset(self, at: datetime = NOON) -> None:
        """Plan nothing more, here or there, and set the clock."""
        self.proxy.clear()
        self.sandbox.store.clear_plans()
        self.clock.at = at


@contextmanager
def run_provider_env(folder: Path) -> Iterator[ProviderEnv]:
    """A provider environment that runs until the block ends."""
    clock = Clock()
    with (
        FaultProxy() as proxy,
        serve_sandbox(
            folder / "sandbox.db", now=clock.now, duplicate_window_seconds=0, max_delay_seconds=0.01,
            webhook_url=proxy.url + WEBHOOKS_PATH, webhook_delay_seconds=0.01,
        ) as sandbox,
    ):  # fmt: skip
        host, _, port = sandbox.url.removeprefix("http://").partition(":")
        proxy.target = (host, int(port))
        empty_ledger = folder / "new.db"
        open_billvend(Settings(database_url=f"sqlite:///{empty_ledger}")).close()
        yield ProviderEnv(proxy, sandbox, clock, empty_ledger)


class Env:
    """One billvend in a provider environment."""

    def __init__(
        self, provider_env: ProviderEnv, folder: Path, dialect: str = "vtpass", **changed: object
    ) -> None:
        self.provider_env, self.clock, self.proxy = provider_env, provider_env.clock, provider_env.proxy
        self.dialect = dialect
        self.settings = provider_env.settings(folder, dialect, **changed)
        self.ledger_path = folder / "shop.db"
        shutil.copy(provider_env.empty_ledger, self.ledger_path)
        self.bv = self.open()
        self.proxy.on_webhook = lambda body: self.bv.handle_provider_webhook(dialect, body)

    def open(self) -> Billvend:
        """Another billvend over the same books, as another worker has it."""
        return open_billvend(self.settings, clock=self.clock)

    def accept(self, user: str = "ada") -> Hint:
        """Accept a payment of somebody who has money."""
        self.bv.fund(user, FUNDED, key=user)
        payment = self.bv.pay(user, AMOUNT, meter=METER, biller="EKEDC", allow_duplicate=True)
        return Hint(user, payment.transaction_id)

    def payment(self, hint: Hint) -> Payment:
        found = self.bv.transaction(hint.transaction_id)
        assert isinstance(found, Payment)
        return found

    def settle(self, hint: Hint) -> Payment:
        """Do what is due now."""
        self.bv.settle(hint)
        return self.payment(hint)

    def step(self, hint: Hint, payment: Payment | None = None) -> Payment:
        """Wait until something is due, and do it."""
        at = self.bv.next_check_at(payment or self.payment(hint))
        assert at is not None
        self.clock.at = max(self.clock.at, at)
        return self.settle(hint)

    def run_until(self, hint: Hint, *until: Status) -> Payment:
        """Go on until the payment is in one of these statuses; without any, until nobody will look at it again, or it
        waits for a person, and did so for three days."""
        payment = self.payment(hint)
        for _ in range(MAX_STEPS):
            if payment.status in until or (payment.has_ended and self.bv.next_check_at(payment) is None):
                return payment
            if not until and payment.status is Status.IN_REVIEW:
                for _ in range(3):
                    payment = self.step(hint, payment)
                return payment
            payment = self.step(hint, payment)
        raise AssertionError(f"no end of it: {payment.status} after {MAX_STEPS} steps")

    def sandbox_entry(self, hint: Hint) -> SaleRecord | None:
        """What stands in the sandbox's book for a payment: at most one reference of it was ever sold."""
        book = self.provider_env.sandbox.store
        known = [e for a in self.payment(hint).attempts if (e := book.find(a.reference)) is not None]
        assert sum(entry.vends for entry in known) <= 1, "it was sold twice"
        sold = [entry for entry in known if entry.vends]
        return sold[0] if sold else known[-1] if known else None

    def assert_consistent(self, hint: Hint) -> None:
        """What must hold of every payment at any time, on both sides."""
        payment, entry = self.payment(hint), self.sandbox_entry(hint)
        vends = entry.vends if entry else 0
        audit = self.bv.audit()
        assert audit.ok, audit.differences
        if payment.status is Status.COMPLETED:
            assert vends == 1, "completed, and nothing was sold"
        if payment.status is Status.REVERSED and entry is not None and entry.status is SaleStatus.VENDED:
            assert payment.incidents, "electricity was given away, and nobody knows"
        held = 0 if payment.has_ended else AMOUNT
        left = FUNDED if payment.status is Status.REVERSED else FUNDED - AMOUNT
        balance = self.bv.balance(hint.user_id)
        assert (balance.available.major, balance.held.major) == (Decimal(left), Decimal(held))
