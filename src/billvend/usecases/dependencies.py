"""The dependencies of the use cases: the adapters, and the rules from the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache

from billvend.domain.decisions.commands import Command, Executed
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.errors import BillvendError
from billvend.domain.money import Money, parse_amount
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
from billvend.ports.telemetry import Metrics, NullMetrics
from billvend.usecases.caches import AccountStatusCache, ApiKeyUseTimes, MeterCache


@dataclass(frozen=True, slots=True)
class Limits:
    """The smallest and largest amount of a payment or funding, both inclusive, in major units of any currency."""

    min_payment_major: str
    max_amount_major: str
    max_in_doubt_major: str = "0"
    """A provider account with more than this amount in doubt is suspended; 0: no limit."""
    min_float_major: str = "0"
    """A provider account with a smaller float is suspended; 0: no limit."""
    max_not_found: int = 0
    """A provider account is suspended when this many attempts of the last ten minutes, and more than half of them, were
    not found; 0: no limit."""

    def min_payment(self, currency: str) -> Money:
        """The smallest payment."""
        return _parse_limit(self.min_payment_major, currency)

    def max_amount(self, currency: str) -> Money:
        """The largest payment, and the largest funding."""
        return _parse_limit(self.max_amount_major, currency)

    def max_in_doubt(self, currency: str) -> Money | None:
        """The largest amount in doubt at a provider account; None: no limit."""
        return (
            None if Decimal(self.max_in_doubt_major) == 0 else _parse_limit(self.max_in_doubt_major, currency)
        )

    def min_float(self, currency: str) -> Money | None:
        """The smallest float at a provider account; None: no limit."""
        return None if Decimal(self.min_float_major) == 0 else _parse_limit(self.min_float_major, currency)


@cache  # every payment needs them, and there are few
def _parse_limit(amount: str, currency: str) -> Money:
    return parse_amount(amount, currency)


@dataclass(frozen=True, slots=True)
class MeterCheck:
    """Whether a meter is checked with a provider before money is held."""

    is_enabled: bool = False
    allows_unreachable: bool = False
    """True accepts a payment if no provider answers about its meter."""


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
    api_keys: ApiKeys
    deposits: Deposits
    outbox: Outbox
    meter_check: MeterCheck = MeterCheck()
    meter_cache: MeterCache = field(default_factory=MeterCache)
    account_status_cache: AccountStatusCache = field(default_factory=AccountStatusCache)
    gateway: Gateway | None = None
    """Where customers make deposits; None if no gateway is configured."""
    api_key_use_times: ApiKeyUseTimes = field(default_factory=ApiKeyUseTimes)
    notifiers: Mapping[Channel, Notifier] = field(default_factory=dict)
    """The configured channels. The journal writes messages for these."""
    metrics: Metrics = field(default_factory=NullMetrics)
    """Counts events for monitoring."""


def execute_command(deps: Dependencies, command: Command) -> Executed:
    """Execute one command. Raises its error."""
    return single_result(deps.journal.execute([command]))


def single_result(results: Sequence[CommandOutcome]) -> Executed:
    """The only result. Raises it if it is an error."""
    (result,) = results
    if isinstance(result, BillvendError):
        raise result
    return result
