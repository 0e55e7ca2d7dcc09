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
from billvend.usecases.wait import Waiting


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


@dataclass(frozen=True, slots=True)
class UseCases:
    """The use cases, each with the ports and the settings that it needs. `wire` makes them."""

    ledger: Ledger
    fundings: Fundings
    payments: Payments
    settlement: Settlement
    waiting: Waiting
    requeries: Requeries
    reviews: Reviews
    sweeps: Sweeps
    lookups: Lookups
    meters: Meters
    accounts: ProviderAccounts
    monitoring: Monitoring
    deposit_start: DepositStart
    deposit_checks: DepositChecks
    notifications: Notifications
    api_access: ApiAccess
    health_checks: HealthChecks


def wire(deps: Dependencies) -> UseCases:
    """Give each use case what it needs."""
    ledger = Ledger(
        deps.journal, deps.queries, deps.queue, deps.clock, deps.metrics, deps.mode, bool(deps.notifiers)
    )
    accounts = ProviderAccounts(
        deps.account_status, deps.queries, deps.providers, deps.clock, deps.policy, deps.limits
    )
    meters = Meters(deps.providers, deps.clock, deps.meter_check)
    settlement = Settlement(ledger, deps.providers, accounts, meters)
    configured = {key: provider.account for key, provider in deps.providers.items()}
    deps.metrics.observe(ProvidersConfigured([account.provider for account in configured.values()]))
    fundings = Fundings(ledger, deps.limits, deps.default_currency)
    return UseCases(
        ledger=ledger,
        fundings=fundings,
        payments=Payments(ledger, accounts, meters, deps.limits, deps.default_currency),
        settlement=settlement,
        waiting=Waiting(ledger, settlement, accounts),
        requeries=Requeries(ledger, deps.providers, accounts, settlement),
        reviews=Reviews(ledger, deps.deposits, accounts),
        sweeps=Sweeps(deps.journal, deps.queue, deps.clock, deps.metrics, deps.sweep_quiet_seconds),
        lookups=Lookups(deps.queries, deps.clock, accounts, deps.default_currency),
        meters=meters,
        accounts=accounts,
        monitoring=Monitoring(
            deps.metrics, deps.queries, deps.account_status, deps.outbox, deps.queue, deps.clock, configured,
            deps.default_currency,
        ),
        deposit_start=DepositStart(deps.gateway, deps.deposits, fundings),
        deposit_checks=DepositChecks(deps.gateway, deps.deposits, fundings, deps.outbox),
        notifications=Notifications(deps.outbox, deps.notifiers, deps.clock, deps.metrics),
        api_access=ApiAccess(deps.api_keys, deps.clock),
        health_checks=HealthChecks(deps.queue, deps.queries, deps.account_status, configured, deps.clock),
    )  # fmt: skip
