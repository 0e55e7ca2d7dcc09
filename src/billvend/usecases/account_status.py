"""Account status: suspends sales at a provider account while too much money is at risk or nothing can be sold.

The worker's account status loop checks the ledger and our floats at intervals. A worker suspends an account at once when
the provider answers that our configuration or our float is at fault. The status is shared through the database, and
each process reads it every few seconds. Losing it costs one more check.
"""

import logging
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
from billvend.usecases.caches import AccountStatusCache
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
                cache.read_at_seconds = self.clock.elapsed_seconds()
                try:
                    cache.states = self.statuses.all()
                except BillvendError:
                    logger.debug("The status of the provider accounts could not be read")
            states = cache.states
        suspended = frozenset(key for key, state in states.items() if state.suspended_reason is not None)
        not_found_ignored = frozenset(key for key, state in states.items() if state.not_found_ignored)
        # Every payment calls this, and accounts are rarely suspended: avoid a new policy object.
        return (
            replace(self.base_policy, suspended=suspended, not_found_ignored=not_found_ignored)
            if suspended or not_found_ignored
            else self.base_policy
        )

    def suspend(self, provider: str, account: str, reason: str) -> None:
        """Suspend an account at once, because it answered that our configuration or our float is at fault."""
        previous = self._load_state((provider, account))
        # The float that was known before the fault proves nothing now.
        self._save(
            replace(previous, suspended_reason=reason, suspended_at=self.clock.now(), float_minor=None),
            previous,
        )

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
        now = self.clock.now()
        states = self._load_states()
        exposures = {
            (exposure.provider, exposure.account_id): exposure
            for exposure in self.queries.exposures(now - timedelta(seconds=NOT_FOUND_WINDOW_SECONDS))
        }
        for key, provider in self.providers.items():
            previous = states.get(key) or AccountStatus(*key)
            state = self._poll_float(provider, previous, now) if poll_floats else previous
            exposure = exposures.get(key) or Exposure(*key, 0, 0, 0)
            has_too_many_not_found = self._has_too_many_not_found(exposure)
            # Proof of "not found" takes longer than these ten minutes. So it stays ignored while payments are in doubt.
            not_found_ignored = has_too_many_not_found or (
                previous.not_found_ignored and exposure.in_doubt_minor > 0
            )
            reason = self._suspension_reason(
                provider.account, state, exposure, now, has_too_many_not_found=has_too_many_not_found
            )
            suspended_at = (state.suspended_at or now) if reason is not None else None
            updated = replace(
                state, suspended_reason=reason, suspended_at=suspended_at, not_found_ignored=not_found_ignored
            )
            # The providers took time to answer. If a worker stored a newer status meanwhile, keep that one.
            if updated != previous and self._load_state(key) == previous:
                self._save(updated, previous)

    def _suspension_reason(
        self,
        account: ProviderAccount,
        state: AccountStatus,
        exposure: Exposure,
        now: datetime,
        *,
        has_too_many_not_found: bool,
    ) -> str | None:
        if not _has_recovered(state, now):
            return state.suspended_reason  # a fault comes first: other reasons may clear sooner
        max_in_doubt, min_float = (
            self.limits.max_in_doubt(account.currency),
            self.limits.min_float(account.currency),
        )
        if max_in_doubt is not None and exposure.in_doubt_minor > max_in_doubt.amount_minor:
            in_doubt = Money(exposure.in_doubt_minor, account.currency)
            return f"{in_doubt.display} are in doubt there, more than {max_in_doubt.display}"
        if has_too_many_not_found:
            share = f"{exposure.recent_not_found} of its last {exposure.recent_attempts} orders"
            return f"{share} were not found: check that it is the right account"
        if (
            min_float is not None
            and state.float_minor is not None
            and state.float_minor < min_float.amount_minor
        ):
            return f"our float there is {Money(state.float_minor, account.currency).display}, less than {min_float.display}"
        return None

    def _has_too_many_not_found(self, exposure: Exposure) -> bool:
        max_not_found = self.limits.max_not_found
        return (
            bool(max_not_found)
            and exposure.recent_not_found >= max_not_found
            and exposure.recent_not_found * 2 > exposure.recent_attempts
        )

    def _poll_float(self, provider: Provider, state: AccountStatus, now: datetime) -> AccountStatus:
        """The status with our current float, if it is time to ask for it again."""
        if state.float_checked_at is not None and abs(now - state.float_checked_at) < timedelta(
            seconds=FLOAT_POLL_INTERVAL_SECONDS
        ):
            return state
        if not self.cache.float_poll_lock.acquire(blocking=False):
            return (
                state  # another thread waits for a provider that may be slow: one buyer who waits is enough
            )
        try:
            answer = provider.fetch_float()
        except Exception as error:  # noqa: BLE001  an adapter's bug must not stop the checks of the other accounts
            logger.warning("The float at %s could not be read: %s", state.provider, type(error).__name__)
            return replace(state, float_checked_at=now)
        finally:
            self.cache.float_poll_lock.release()
        if isinstance(answer, Money):
            return replace(state, float_minor=answer.amount_minor, float_checked_at=now)
        if isinstance(answer, Misconfigured):
            return replace(
                state,
                float_minor=None,
                float_checked_at=now,
                suspended_reason=configuration_fault_reason(answer),
                suspended_at=now,
            )
        return replace(state, float_checked_at=now)

    def _load_states(self) -> Mapping[tuple[str, str], AccountStatus]:
        cache = self.cache
        states = self.statuses.all()
        cache.states, cache.read_at_seconds = states, self.clock.elapsed_seconds()
        return states

    def _load_state(self, key: tuple[str, str]) -> AccountStatus:
        return self._load_states().get(key) or AccountStatus(*key)

    def _save(self, state: AccountStatus, previous: AccountStatus) -> None:
        if state == previous:
            return
        self.statuses.save(state)
        self.cache.read_at_seconds = float("-inf")
        context = {"context": {"provider": state.provider, "account": state.account_id}}
        if state.suspended_reason is not None and previous.suspended_reason is None:
            logger.error("Sales at a provider are suspended: %s", state.suspended_reason, extra=context)
        if state.suspended_reason is None and previous.suspended_reason is not None:
            logger.warning("Sales at a provider are resumed", extra=context)


def _has_recovered(state: AccountStatus, now: datetime) -> bool:
    """Whether an account that was suspended because our configuration or float was at fault may sell again."""
    if state.suspended_reason is None or state.suspended_at is None:
        return True
    if not state.suspended_reason.startswith(CONFIGURATION_FAULT_PREFIX):
        return True  # other reasons are checked again each time
    is_polled_since = state.float_checked_at is not None and state.float_checked_at > state.suspended_at
    if is_polled_since and state.float_minor is not None:
        return state.float_minor > 0
    return abs(now - state.suspended_at) >= timedelta(seconds=FAULT_RETRY_SECONDS)


def configuration_fault_reason(answer: Misconfigured) -> str:
    """Why an account that gave this answer is suspended."""
    return f"{CONFIGURATION_FAULT_PREFIX}: {answer.reason}"
