"""The environment of a cell: billvend on SQLite, a clock that the test moves, and the sandbox over HTTP."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from billvend import Billvend, Payment, Status, open_billvend
from billvend.adapters.providers.sandbox.faults import FaultPlan, PlanScope, SandboxFault
from billvend.adapters.providers.sandbox.over_http.server import RunningSandbox, serve_sandbox
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus
from billvend.config import Settings
from billvend.ports.queue import Hint
from tests.faults.fault_proxy import WEBHOOKS_PATH, FaultProxy
from tests.harness import FakeClock

NOON = datetime(2026, 11, 22, 11, tzinfo=UTC)
"""12:00 in Lagos."""
METER = "12345678901"
FUNDED, AMOUNT = 5000, 500
TIMEOUT_SECONDS = 20.0
"""Timeout of provider calls in real time. Long enough never to expire on a slow machine."""
SHORT_TIMEOUT_SECONDS = 0.4
"""Timeout of provider calls where it must expire. Only these cells wait in real time."""
MAX_STEPS = 80


@dataclass(frozen=True)
class ProviderEnv:
    """A sandbox, the fault proxy in front of it, and their clock."""

    proxy: FaultProxy
    sandbox: RunningSandbox
    clock: FakeClock
    empty_ledger: Path
    """A database with empty tables. Copying it is faster than creating one."""

    def settings(self, folder: Path, dialect: str, **changed: object) -> Settings:
        path = {"vtpass": "/vtpass/api", "buypower": "/buypower/v2"}[dialect]
        keys = {"bill_provider_api_key": "key-of-the-shop"}
        if dialect == "vtpass":
            keys |= {"bill_provider_public_key": "PK_shop", "bill_provider_secret_key": "SK_shop"}
        values: dict[str, object] = {
            "database_url": f"sqlite:///{folder}/shop.db",
            "bill_provider": dialect,
            "bill_provider_api_url": self.proxy.url + path,
            "bill_provider_phone": "08012345678",
            "bill_provider_timeout": TIMEOUT_SECONDS,
            "verify_meter": False,
        }
        return Settings(**(values | keys | changed))

    def plan(self, fault: str, **parameters: int) -> None:
        """Inject a fault of the sandbox into the next send."""
        self.sandbox.store.add_plan(
            FaultPlan(SandboxFault(fault, **parameters), PlanScope.NEXT, times_left=1)
        )

    def reset(self, at: datetime = NOON) -> None:
        """Clear the planned faults of the proxy and the sandbox, and set the clock."""
        self.proxy.clear()
        self.sandbox.store.clear_plans()
        self.clock.at = at


@contextmanager
def run_provider_env(folder: Path) -> Iterator[ProviderEnv]:
    """A provider environment that runs until the block ends."""
    clock = FakeClock(NOON)
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
    """A billvend in a provider environment."""

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
        """Another billvend on the same database, like that of another worker."""
        return open_billvend(self.settings, clock=self.clock)

    def accept(self, user: str = "ada") -> Hint:
        """Fund a wallet and accept a payment from it."""
        self.bv.fund(user, FUNDED, key=user)
        payment = self.bv.pay(user, AMOUNT, meter=METER, biller="EKEDC", allow_duplicate=True)
        return Hint(user, payment.transaction_id)

    def payment(self, hint: Hint) -> Payment:
        payment = self.bv.transaction(hint.transaction_id)
        assert isinstance(payment, Payment)
        return payment

    def settle(self, hint: Hint) -> Payment:
        """Settle once, now. Returns the payment."""
        self.bv.settle(hint)
        return self.payment(hint)

    def step(self, hint: Hint, payment: Payment | None = None) -> Payment:
        """Move the clock to the next check of the payment, and settle."""
        at = self.bv.next_check_at(payment or self.payment(hint))
        assert at is not None
        self.clock.at = max(self.clock.at, at)
        return self.settle(hint)

    def run_until(self, hint: Hint, *until: Status) -> Payment:
        """Settle until the payment has one of these statuses. Without any: until no check is left, or until three checks
        after it went to review."""
        payment = self.payment(hint)
        for _ in range(MAX_STEPS):
            if payment.status in until or (payment.has_ended and self.bv.next_check_at(payment) is None):
                return payment
            if not until and payment.status is Status.IN_REVIEW:
                for _ in range(3):
                    payment = self.step(hint, payment)
                return payment
            payment = self.step(hint, payment)
        raise AssertionError(f"the payment does not end: {payment.status} after {MAX_STEPS} steps")

    def sandbox_entry(self, hint: Hint) -> SaleRecord | None:
        """The record of a payment in the sandbox. Checks that at most one of its references was sold."""
        store = self.provider_env.sandbox.store
        found = [store.find(attempt.reference) for attempt in self.payment(hint).attempts]
        records = [record for record in found if record and record.status is not SaleStatus.REFUSED]
        assert sum(entry.vends for entry in records) <= 1, "it was sold twice"
        vended = [entry for entry in records if entry.vends]
        return vended[0] if vended else records[-1] if records else None

    def assert_consistent(self, hint: Hint) -> None:
        """Check what must be true of every payment at any time, here and at the sandbox."""
        payment, entry = self.payment(hint), self.sandbox_entry(hint)
        vends = entry.vends if entry else 0
        audit = self.bv.audit()
        assert audit.ok, audit.differences
        if payment.status is Status.COMPLETED:
            assert vends == 1, "completed, but nothing was sold"
        if payment.status is Status.REVERSED and entry is not None and entry.status is SaleStatus.VENDED:
            assert payment.incidents, (
                "the money went back, the electricity was sold, and no incident was raised"
            )
        held = 0 if payment.has_ended else AMOUNT
        left = FUNDED if payment.status is Status.REVERSED else FUNDED - AMOUNT
        balance = self.bv.balance(hint.user_id)
        assert (balance.available.major, balance.held.major) == (Decimal(left), Decimal(held))
