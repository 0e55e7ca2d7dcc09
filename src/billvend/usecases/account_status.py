"""Account status: suspends sales at a provider account while too much money is at risk or nothing can be sold.

The worker's account status loop checks the ledger and our floats at intervals. A worker suspends an account at once when
the provider answers that our configuration or our float is at fault. The status is shared through the database, and
each process reads it every few seconds. Losing it costs one more check.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.outcome import Misconfigured
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.policy import Policy
from billvend.ports.clock import Clock
from billvend.ports.provider import Provider
from billvend.ports.queries import Queries
from billvend.ports.repositories import AccountStatus, AccountStatuses, Exposure
from billvend.usecases.limits import Limits

STATUS_CACHE_SECONDS = 2.0
"""How long a process uses the statuses that it read last."""
NOT_FOUND_WINDOW_SECONDS = 600
"""The age of the attempts that count for "not found"."""
FLOAT_POLL_INTERVAL_SECONDS = 60
"""How often a provider is asked for our float."""
REFRESH_INTERVAL_SECONDS = 10.0
"""How often a process that accepts payments checks the money in doubt."""
FAULT_RETRY_SECONDS = 600
"""An account that is suspended for a fault, and whose float is unknown, sells again after this. The next answer shows
whether the fault remains."""

CONFIGURATION_FAULT_PREFIX = "our configuration or float there is at fault"

logger = logging.getLogger("billvend.account_status")


@dataclass(slots=True)
class AccountStatusCache:
    """The status of the provider accounts when it was last read."""

    read_at_seconds: float = float("-inf")
    refreshed_at_seconds: float = float("-inf")
    """When this process last recomputed the statuses from the database."""
    statuses: Mapping[tuple[str, str], AccountStatus] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    float_poll_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a provider is asked for our float."""


@dataclass(frozen=True, slots=True)
class ProviderAccounts:
    """The configured provider accounts, and which of them sell now. Each process has one."""

    statuses: AccountStatuses
    queries: Queries
    providers: Mapping[tuple[str, str], Provider]
    """By (provider, account), in order of preference."""
    clock: Clock
    base_policy: Policy
    """The policy of the settings, without suspended accounts."""
    limits: Limits
    cache: AccountStatusCache = field(default_factory=AccountStatusCache)

    def current_policy(self) -> Policy:
        """The policy with the accounts that are suspended now. Raises nothing: if the database is unavailable, the last
        known statuses apply."""
        cache = self.cache
        with cache.lock:
            if self.clock.elapsed_seconds() - cache.read_at_seconds >= STATUS_CACHE_SECONDS:
                try:
                    self._load_statuses()
                except BillvendError:
                    cache.read_at_seconds = self.clock.elapsed_seconds()
                    logger.debug("The status of the provider accounts could not be read")
            statuses = cache.statuses
        suspended = frozenset(key for key, status in statuses.items() if status.suspended_reason is not None)
        not_found_ignored = frozenset(key for key, status in statuses.items() if status.not_found_ignored)
        if not suspended and not not_found_ignored:
            return self.base_policy  # every payment calls this: make no new object
        return replace(self.base_policy, suspended=suspended, not_found_ignored=not_found_ignored)

    def suspend(self, provider: str, account_id: str, answer: Misconfigured) -> None:
        """Suspend an account at once, because it answered that our configuration or our float is at fault."""
        previous = self._load_status((provider, account_id))
        self._save(_at_fault(previous, answer, self.clock.now()), previous)

    def refresh_if_stale(self) -> None:
        """Refresh the status from the database alone, if this process has not done so for 10 seconds.

        It is needed where no worker runs. Raises `Unavailable`.
        """
        cache, now_seconds = self.cache, self.clock.elapsed_seconds()
        with cache.lock:
            if now_seconds - cache.refreshed_at_seconds < REFRESH_INTERVAL_SECONDS:
                return
            cache.refreshed_at_seconds = now_seconds
        self.refresh(poll_floats=False)

    def refresh(self, *, poll_floats: bool = True) -> None:
        """Suspend accounts that should not sell, and resume those that may. Raises `Unavailable`."""
        now, statuses = self.clock.now(), self._load_statuses()
        exposures = {
            (exposure.provider, exposure.account_id): exposure
            for exposure in self.queries.exposures(now - timedelta(seconds=NOT_FOUND_WINDOW_SECONDS))
        }
        for key, provider in self.providers.items():
            previous = statuses.get(key) or AccountStatus(*key)
            polled = self._poll_float(provider, previous, now) if poll_floats else previous
            exposure = exposures.get(key) or Exposure(*key, 0, 0, 0)
            updated = self._judge(provider.account, polled, exposure, now)
            # The providers took time to answer. If a worker stored a newer status meanwhile, keep that one.
            if updated != previous and self._load_status(key) == previous:
                self._save(updated, previous)

    def _judge(
        self, account: ProviderAccount, status: AccountStatus, exposure: Exposure, now: datetime
    ) -> AccountStatus:
        """The status, suspended or not."""
        has_too_many_not_found = (
            0 < self.limits.max_not_found <= exposure.recent_not_found
            and exposure.recent_not_found * 2 > exposure.recent_attempts
        )
        if _is_still_at_fault(status, now):
            reason = status.suspended_reason  # a fault comes first: other reasons may clear sooner
        else:
            reason = self._risk_reason(account.currency, status, exposure, has_too_many_not_found)
        # Proof of "not found" takes longer than the ten minutes. So it stays ignored while payments are in doubt.
        is_kept = status.not_found_ignored and exposure.in_doubt_minor > 0
        return replace(
            status,
            suspended_reason=reason,
            suspended_at=None if reason is None else status.suspended_at or now,
            not_found_ignored=has_too_many_not_found or is_kept,
        )

    def _risk_reason(
        self, currency: str, status: AccountStatus, exposure: Exposure, has_too_many_not_found: bool
    ) -> str | None:
        """Why an account does not sell because of the risk there, or of our float; None if it sells."""
        in_doubt, max_in_doubt = Money(exposure.in_doubt_minor, currency), self.limits.max_in_doubt(currency)
        if max_in_doubt is not None and in_doubt.amount_minor > max_in_doubt.amount_minor:
            return f"{in_doubt.display} are in doubt there, more than {max_in_doubt.display}"
        if has_too_many_not_found:
            share = f"{exposure.recent_not_found} of its last {exposure.recent_attempts} orders"
            return f"{share} were not found: check that it is the right account"
        min_float = self.limits.min_float(currency)
        if min_float is None or status.float_minor is None or status.float_minor >= min_float.amount_minor:
            return None
        return (
            f"our float there is {Money(status.float_minor, currency).display}, less than {min_float.display}"
        )

    def _poll_float(self, provider: Provider, status: AccountStatus, now: datetime) -> AccountStatus:
        """The status with our current float, if it is time to ask for it again."""
        checked_at, interval = status.float_checked_at, timedelta(seconds=FLOAT_POLL_INTERVAL_SECONDS)
        if checked_at is not None and abs(now - checked_at) < interval:
            return status
        if not self.cache.float_poll_lock.acquire(blocking=False):
            return (
                status  # another thread waits for a provider that may be slow: one buyer who waits is enough
            )
        try:
            answer = provider.fetch_float()
        except Exception as error:  # noqa: BLE001  an adapter's bug must not stop the checks of the other accounts
            logger.warning("The float at %s could not be read: %s", status.provider, type(error).__name__)
            return replace(status, float_checked_at=now)
        finally:
            self.cache.float_poll_lock.release()
        if isinstance(answer, Money):
            return replace(status, float_minor=answer.amount_minor, float_checked_at=now)
        if isinstance(answer, Misconfigured):
            return replace(_at_fault(status, answer, now), float_checked_at=now)
        return replace(status, float_checked_at=now)

    def _load_statuses(self) -> Mapping[tuple[str, str], AccountStatus]:
        self.cache.statuses = statuses = self.statuses.all()
        self.cache.read_at_seconds = self.clock.elapsed_seconds()
        return statuses

    def _load_status(self, key: tuple[str, str]) -> AccountStatus:
        return self._load_statuses().get(key) or AccountStatus(*key)

    def _save(self, status: AccountStatus, previous: AccountStatus) -> None:
        if status == previous:
            return
        self.statuses.save(status)
        self.cache.read_at_seconds = float("-inf")
        context = {"context": {"provider": status.provider, "account": status.account_id}}
        if status.suspended_reason is not None and previous.suspended_reason is None:
            logger.error("Sales at a provider are suspended: %s", status.suspended_reason, extra=context)
        if status.suspended_reason is None and previous.suspended_reason is not None:
            logger.warning("Sales at a provider are resumed", extra=context)


def _at_fault(status: AccountStatus, answer: Misconfigured, now: datetime) -> AccountStatus:
    """The status of an account that gave this answer. The float that was known before proves nothing now."""
    reason = f"{CONFIGURATION_FAULT_PREFIX}: {answer.reason}"
    return replace(status, suspended_reason=reason, suspended_at=now, float_minor=None)


def _is_still_at_fault(status: AccountStatus, now: datetime) -> bool:
    """Whether an account was suspended because our configuration or float was at fault, and may not sell again yet."""
    if status.suspended_at is None or not (status.suspended_reason or "").startswith(
        CONFIGURATION_FAULT_PREFIX
    ):
        return False  # other reasons are checked again each time
    is_polled_since = status.float_checked_at is not None and status.float_checked_at > status.suspended_at
    if is_polled_since and status.float_minor is not None:
        return status.float_minor <= 0
    return abs(now - status.suspended_at) < timedelta(seconds=FAULT_RETRY_SECONDS)
