"""The dependencies of the use cases: the adapters, and the rules from the settings."""

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
from billvend.ports.telemetry import Metrics
from billvend.usecases.limits import Limits
from billvend.usecases.meters import MeterCheck


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
