"""What the use cases work with: the ports, filled, and the rules that the settings give."""

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
from billvend.ports.account_status import AccountStatuses
from billvend.ports.api_keys import ApiKeys
from billvend.ports.clock import Clock
from billvend.ports.deposits import Deposits
from billvend.ports.gateway import Gateway
from billvend.ports.journal import Journal
from billvend.ports.notifier import Notifier
from billvend.ports.outbox import Outbox
from billvend.ports.provider import Provider
from billvend.ports.queries import Queries
from billvend.ports.queue import Queue
from billvend.ports.telemetry import Metrics, NullMetrics
from billvend.usecases.caches import AccountStatusCache, ApiKeyUseTimes, MeterCache


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be paid or funded at once, both inclusive, in major units of any currency."""

    min_payment_major: str
    max_amount_major: str
    max_in_doubt_major: str = "0"
    """Beyond this sum in doubt at a provider nothing more is sold there; 0: no such limit, as with the next two."""
    min_float_major: str = "0"
    """Below this float of ours nothing is sold there."""
    max_not_found: int = 0
    """From so many attempts on that were not found within ten minutes, if they are over half, nothing is sold there."""

    def min_payment(self, currency: str) -> Money:
        """The smallest payment."""
        return _parse_limit(self.min_payment_major, currency)

    def max_amount(self, currency: str) -> Money:
        """The largest payment, and the largest funding."""
        return _parse_limit(self.max_amount_major, currency)

    def max_in_doubt(self, currency: str) -> Money | None:
        """The most that may be in doubt at a provider; None for no limit."""
        return (
            None if Decimal(self.max_in_doubt_major) == 0 else _parse_limit(self.max_in_doubt_major, currency)
        )

    def min_float(self, currency: str) -> Money | None:
        """The least float that we must have there; None for no limit."""
        return None if Decimal(self.min_float_major) == 0 else _parse_limit(self.min_float_major, currency)


@cache  # every payment asks, and there are a handful
def _parse_limit(amount: str, currency: str) -> Money:
    return parse_amount(amount, currency)


@dataclass(frozen=True, slots=True)
class MeterCheck:
    """Whether providers are asked about a meter before money is held."""

    is_enabled: bool = False
    allows_unreachable: bool = False
    """True lets a payment pass whose meter nobody could be asked about."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """One wired billvend. Safe to share between threads."""

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
    """How long a sweep leaves a payment alone that was pointed out before."""
    account_status: AccountStatuses
    api_keys: ApiKeys
    deposits: Deposits
    outbox: Outbox
    meter_check: MeterCheck = MeterCheck()
    meter_cache: MeterCache = field(default_factory=MeterCache)
    account_status_cache: AccountStatusCache = field(default_factory=AccountStatusCache)
    gateway: Gateway | None = None
    """Where customers pay in; None where none is configured."""
    api_key_use_times: ApiKeyUseTimes = field(default_factory=ApiKeyUseTimes)
    notifiers: Mapping[Channel, Notifier] = field(default_factory=dict)
    """The ways to the outside that are set up; the journal writes messages for these."""
    metrics: Metrics = field(default_factory=NullMetrics)
    """Where what happens is counted."""


def execute_command(deps: Dependencies, command: Command) -> Executed:
    """Have one command done; raises its refusal."""
    return single_result(deps.journal.execute([command]))


def single_result(results: Sequence[CommandOutcome]) -> Executed:
    """The one result, raised if it is a refusal."""
    (result,) = results
    if isinstance(result, BillvendError):
        raise result
    return result
