"""Metrics: the counters of this process, and the current state as gauges.

The gauges are read from the database each time. They are the same in every process, so they must not be added up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.payment.state import TERMINAL_STATUSES
from billvend.domain.policy.accounts import ProviderAccount
from billvend.ports.clock import Clock
from billvend.ports.queries import Queries
from billvend.ports.queue import Queue
from billvend.ports.repositories import AccountStatus, AccountStatuses, Outbox
from billvend.ports.telemetry import Gauge, Metrics


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Collects the metrics."""

    metrics: Metrics
    queries: Queries
    statuses: AccountStatuses
    outbox: Outbox
    queue: Queue
    clock: Clock
    accounts: Mapping[tuple[str, str], ProviderAccount]
    """The configured provider accounts, by (provider, account)."""
    default_currency: str

    def exposition(self) -> str:
        """The text. An unavailable dependency raises nothing: it is one of the metrics."""
        gauges: list[Gauge] = []
        is_database_up = is_queue_up = False
        try:
            gauges = [*self._ledger_gauges(), *self._account_gauges()]
            is_database_up = True
        except BillvendError:
            pass
        try:
            depth = [((queue.value,), hints) for queue, hints in self.queue.depth().items()]
            gauges.append(Gauge("queue_depth", "Hints that wait for a worker.", ("queue",), depth))
            is_queue_up = True
        except BillvendError:
            pass
        is_up = [(("database",), is_database_up), (("queue",), is_queue_up)]
        up = Gauge("up", "1 if the dependency answers, 0 if it is down.", ("part",), is_up)
        return self.metrics.exposition([up, *gauges])

    def _ledger_gauges(self) -> Iterator[Gauge]:
        now = self.clock.now()
        backlog, disabled = self.queries.backlog(now), self.outbox.disabled()
        open_statuses = [status for status in Status if status not in TERMINAL_STATUSES]
        currencies = sorted({self.default_currency, *(currency for _, currency in backlog.amounts)})
        counts = [((status.value,), backlog.payments.get(status, 0)) for status in open_statuses]
        amounts = [
            ((status.value, currency), _major(backlog.amounts.get((status, currency))))
            for status in open_statuses
            for currency in currencies
        ]
        oldest_due_at = backlog.oldest_due_at
        oldest_due_seconds = (now - oldest_due_at).total_seconds() if oldest_due_at else 0.0
        yield Gauge("payments", "Payments that have not ended.", ("status",), counts)
        yield Gauge(
            "payments_amount", "Money held for them, in major units.", ("status", "currency"), amounts
        )
        yield _figure("payments_due", "Payments that wait for a worker now.", backlog.due)
        yield _figure("oldest_due_seconds", "How long the oldest of them has waited.", oldest_due_seconds)
        yield _figure("incidents_open", "Payments with open incidents.", backlog.open_incidents)
        yield _figure("webhook_endpoints_disabled", "Disabled webhook endpoints.", len(disabled))

    def _account_gauges(self) -> Iterator[Gauge]:
        exposures = {
            (exposure.provider, exposure.account_id): exposure
            for exposure in self.queries.exposures(self.clock.now())
        }
        states = self.statuses.all()
        unconfigured = [
            key for key, found in exposures.items() if found.in_doubt_minor and key not in self.accounts
        ]
        selling, in_doubt, floats = [], [], []
        for key, account in self.accounts.items():
            state, exposure = states.get(key) or AccountStatus(*key), exposures.get(key)
            labels, currency = (account.provider, account.currency), account.currency
            selling.append(((account.provider,), state.suspended_reason is None))
            in_doubt_money = Money(exposure.in_doubt_minor, currency) if exposure else None
            in_doubt.append((labels, _major(in_doubt_money)))
            if state.float_minor is not None:
                floats.append((labels, _major(Money(state.float_minor, currency))))
        text = "Unconfigured accounts with payments in doubt."
        yield _figure("providers_unconfigured", text, len(unconfigured))
        text = "1 if the provider sells, 0 if it does not."
        yield Gauge("provider_selling", text, ("provider",), selling)
        text = "Money in doubt or in review there, in major units."
        yield Gauge("provider_in_doubt_amount", text, ("provider", "currency"), in_doubt)
        text = "Our float there at the last check, in major units."
        yield Gauge("provider_float_amount", text, ("provider", "currency"), floats)


def _figure(name: str, text: str, value: float) -> Gauge:
    return Gauge(name, text, (), [((), value)])


def _major(amount: Money | None) -> float:
    """An amount in major units; 0 for None."""
    return 0.0 if amount is None else float(amount.major)
