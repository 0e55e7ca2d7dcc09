"""The wiring: what the use cases are made from, and what each of them is given."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from billvend.domain.notifications import Channel
from billvend.domain.policy.accounts import Mode
from billvend.domain.policy.policy import Policy
from billvend.ports.clock import Clock
from billvend.ports.gateway import Gateway
from billvend.ports.journal import Journal
from billvend.ports.notifier import Notifier
from billvend.ports.provider import Provider
from billvend.ports.queries import Queries
from billvend.ports.queue import Queue
from billvend.ports.repositories import AccountStatuses, ApiKeys, Deposits, Outbox
from billvend.ports.telemetry import Metrics, ProvidersConfigured
from billvend.usecases.account_status import ProviderAccounts
from billvend.usecases.api_keys import ApiAccess
from billvend.usecases.deposits import DepositChecks
from billvend.usecases.fund import Fundings
from billvend.usecases.health import HealthChecks
from billvend.usecases.ledger import Ledger
from billvend.usecases.limits import Limits
from billvend.usecases.meters import MeterCheck, Meters
from billvend.usecases.metrics import Monitoring
from billvend.usecases.notifications import Notifications
from billvend.usecases.pay import Payments
from billvend.usecases.queries import Lookups
from billvend.usecases.requery import Requeries
from billvend.usecases.review import Reviews
from billvend.usecases.settle import Settlement
from billvend.usecases.start_deposit import DepositStart
from billvend.usecases.sweep import Sweeps


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything that one billvend works with. Safe to share between threads."""

    journal: Journal
    queries: Queries
    queue: Queue
    providers: Mapping[tuple[str, str], Provider]
    """By (provider, account), in order of preference."""
    clock: Clock
    policy: Policy
    limits: Limits
    default_currency: str
    mode: Mode
    sweep_quiet_seconds: float
    """A sweep queues no second hint for a payment within this time."""
    account_status: AccountStatuses
    metrics: Metrics
    api_keys: ApiKeys
    deposits: Deposits
    outbox: Outbox
    meter_check: MeterCheck = field(default_factory=MeterCheck)
    gateway: Gateway | None = None
    """Where customers make deposits; None if no gateway is configured."""
    notifiers: Mapping[Channel, Notifier] = field(default_factory=dict)
    """The configured channels. The journal writes messages for these."""

    def close(self) -> None:
        """Close connections and files."""
        self.queue.close()
        for part in (*self.providers.values(), self.gateway, *self.notifiers.values()):
            if part is not None:
                part.close()
        self.journal.close()


class UseCases:
    """The use cases. Each gets the ports, the other use cases and the settings that it needs."""

    def __init__(self, deps: Dependencies) -> None:
        queries, queue, clock, metrics = deps.queries, deps.queue, deps.clock, deps.metrics
        providers, limits, statuses = deps.providers, deps.limits, deps.account_status
        configured = {key: provider.account for key, provider in providers.items()}
        metrics.observe(ProvidersConfigured([provider for provider, _ in configured]))
        self.ledger = Ledger(deps.journal, queries, queue, clock, metrics, deps.mode, bool(deps.notifiers))
        self.accounts = ProviderAccounts(statuses, queries, providers, clock, deps.policy, limits)
        self.meters = Meters(providers, clock, deps.meter_check)
        self.fundings = Fundings(self.ledger, limits, deps.default_currency)
        self.payments = Payments(self.ledger, self.accounts, self.meters, limits, deps.default_currency)
        self.settlement = Settlement(self.ledger, providers, self.accounts, self.meters)
        self.requeries = Requeries(self.ledger, providers, self.accounts, self.settlement)
        self.reviews = Reviews(self.ledger, deps.deposits, self.accounts)
        self.sweeps = Sweeps(deps.journal, queue, clock, metrics, deps.sweep_quiet_seconds)
        self.lookups = Lookups(queries, clock, self.accounts, deps.default_currency)
        self.deposit_start = DepositStart(deps.gateway, deps.deposits, self.fundings)
        self.deposit_checks = DepositChecks(deps.gateway, deps.deposits, self.fundings, deps.outbox)
        self.notifications = Notifications(deps.outbox, deps.notifiers, clock, metrics)
        self.api_access = ApiAccess(deps.api_keys, clock)
        self.health_checks = HealthChecks(queue, queries, statuses, configured, clock)
        self.monitoring = Monitoring(
            metrics, queries, statuses, deps.outbox, queue, clock, configured, deps.default_currency
        )
