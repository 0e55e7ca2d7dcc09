"""The breaker: where too much money is at risk, or nothing can be sold, nothing more is sold until it clears.

The sweeper looks at the books and at our floats now and then; a worker closes an account at once when the provider says
that our set-up or float is at fault. What they find is soft and shared through the database; each process looks at it
every few seconds.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.outcome import Misconfigured
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.policy import Policy
from billvend.ports.account_status import AccountStatus, Exposure, by_account
from billvend.ports.provider import Provider
from billvend.usecases.dependencies import Dependencies

STATUS_CACHE_SECONDS = 2.0
"""How long a process goes by what it read last."""
NOT_FOUND_WINDOW_SECONDS = 600
"""The attempts of so long are looked at for "not found"."""
FLOAT_POLL_INTERVAL_SECONDS = 60
"""How often a provider is asked for our float."""

REFRESH_INTERVAL_SECONDS = 10.0
"""How often a process that accepts payments looks at the money in doubt."""
FAULT_RETRY_SECONDS = 600
"""An account at fault that can't be asked about our float sells again after this: the next answer tells."""

CONFIGURATION_FAULT_PREFIX = "our set-up there is at fault"

logger = logging.getLogger("billvend.account_status")


def current_policy(deps: Dependencies) -> Policy:
    """The policy with what is closed at present. Raises nothing: without news the last known holds."""
    cache = deps.account_status_cache
    with cache.lock:
        if deps.clock.elapsed_seconds() - cache.read_at_seconds >= STATUS_CACHE_SECONDS:
            cache.read_at_seconds = deps.clock.elapsed_seconds()
            try:
                cache.states = by_account(deps.account_status.all())
            except BillvendError:
                logger.debug("How the provider accounts are could not be read")
        states = cache.states
    suspended = frozenset(key for key, state in states.items() if state.suspended_reason is not None)
    not_found_ignored = frozenset(key for key, state in states.items() if state.not_found_ignored)
    # Every payment asks, and nearly always all is well.
    return (
        replace(deps.policy, suspended=suspended, not_found_ignored=not_found_ignored)
        if suspended or not_found_ignored
        else deps.policy
    )


def suspend(deps: Dependencies, provider: str, account: str, reason: str) -> None:
    """Stop selling at an account at once: it said that our set-up or our float is at fault."""
    previous = _load_state(deps, (provider, account))
    # What our float was before proves nothing now.
    _save(
        deps,
        replace(previous, suspended_reason=reason, suspended_at=deps.clock.now(), float_minor=None),
        previous,
    )


def refresh_if_stale(deps: Dependencies) -> None:
    """Look at the books alone, if this process has not for a while: there may be no worker who does. Raises `Unavailable`."""
    cache, now_seconds = deps.account_status_cache, deps.clock.elapsed_seconds()
    with cache.lock:
        if now_seconds - cache.refreshed_at_seconds < REFRESH_INTERVAL_SECONDS:
            return
        cache.refreshed_at_seconds = now_seconds
    refresh_account_status(deps, poll_floats=False)


def refresh_account_status(deps: Dependencies, *, poll_floats: bool = True) -> None:
    """Close what should not sell, and open what may again. Raises `Unavailable`."""
    now = deps.clock.now()
    states = _load_states(deps)
    exposures = {
        (exposure.provider, exposure.account_id): exposure
        for exposure in deps.queries.exposures(now - timedelta(seconds=NOT_FOUND_WINDOW_SECONDS))
    }
    for key, provider in deps.providers.items():
        previous = states.get(key) or AccountStatus(*key)
        state = _poll_float(deps, provider, previous, now) if poll_floats else previous
        exposure = exposures.get(key) or Exposure(*key, 0, 0, 0)
        has_too_many_not_found = _has_too_many_not_found(deps, exposure)
        # Proof that something is absent takes longer than ten minutes: the doubt stays while there are payments to doubt.
        not_found_ignored = has_too_many_not_found or (
            previous.not_found_ignored and exposure.in_doubt_minor > 0
        )
        reason = _suspension_reason(
            deps, provider.account, state, exposure, now, has_too_many_not_found=has_too_many_not_found
        )
        suspended_at = (state.suspended_at or now) if reason is not None else None
        updated = replace(
            state, suspended_reason=reason, suspended_at=suspended_at, not_found_ignored=not_found_ignored
        )
        # Providers were asked meanwhile: where a worker has heard more by now, the next look goes by that.
        if updated != previous and _load_state(deps, key) == previous:
            _save(deps, updated, previous)


def _suspension_reason(
    deps: Dependencies,
    account: ProviderAccount,
    state: AccountStatus,
    exposure: Exposure,
    now: datetime,
    *,
    has_too_many_not_found: bool,
) -> str | None:
    if not _has_recovered(state, now):
        return state.suspended_reason  # before all else, which may clear sooner
    max_in_doubt, min_float = (
        deps.limits.max_in_doubt(account.currency),
        deps.limits.min_float(account.currency),
    )
    if max_in_doubt is not None and exposure.in_doubt_minor > max_in_doubt.amount_minor:
        in_doubt = Money(exposure.in_doubt_minor, account.currency)
        return f"{in_doubt.display} are in doubt there, more than {max_in_doubt.display}"
    if has_too_many_not_found:
        share = f"{exposure.recent_not_found} of its last {exposure.recent_attempts} orders"
        return f"{share} were not found: is it the right account?"
    if min_float is not None and state.float_minor is not None and state.float_minor < min_float.amount_minor:
        return f"our float there is {Money(state.float_minor, account.currency).display}, less than {min_float.display}"
    return None


def _has_recovered(state: AccountStatus, now: datetime) -> bool:
    """Whether an account that was closed because our set-up or float was at fault may be tried again."""
    if state.suspended_reason is None or state.suspended_at is None:
        return True
    if not state.suspended_reason.startswith(CONFIGURATION_FAULT_PREFIX):
        return True  # what it was closed for is looked at anew each time
    is_polled_since = state.float_checked_at is not None and state.float_checked_at > state.suspended_at
    if is_polled_since and state.float_minor is not None:
        return state.float_minor > 0
    return abs(now - state.suspended_at) >= timedelta(seconds=FAULT_RETRY_SECONDS)


def configuration_fault_reason(answer: Misconfigured) -> str:
    """Why an account is closed that gave this answer."""
    return f"{CONFIGURATION_FAULT_PREFIX}: {answer.reason}"


def _has_too_many_not_found(deps: Dependencies, exposure: Exposure) -> bool:
    max_not_found = deps.limits.max_not_found
    return (
        bool(max_not_found)
        and exposure.recent_not_found >= max_not_found
        and exposure.recent_not_found * 2 > exposure.recent_attempts
    )


def _poll_float(deps: Dependencies, provider: Provider, state: AccountStatus, now: datetime) -> AccountStatus:
    """The state with our float as it is now, if it is time to ask again."""
    if state.float_checked_at is not None and abs(now - state.float_checked_at) < timedelta(
        seconds=FLOAT_POLL_INTERVAL_SECONDS
    ):
        return state
    if not deps.account_status_cache.float_poll_lock.acquire(blocking=False):
        return state  # another thread waits for a provider that may be slow: one buyer is enough
    try:
        answer = provider.fetch_float()
    except Exception as error:  # noqa: BLE001  an adapter's bug must not stop what looks after the others
        logger.warning("Asking %s for our float failed: %s", state.provider, type(error).__name__)
        return replace(state, float_checked_at=now)
    finally:
        deps.account_status_cache.float_poll_lock.release()
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


def _load_states(deps: Dependencies) -> dict[tuple[str, str], AccountStatus]:
    return by_account(deps.account_status.all())


def _load_state(deps: Dependencies, key: tuple[str, str]) -> AccountStatus:
    return _load_states(deps).get(key) or AccountStatus(*key)


def _save(deps: Dependencies, state: AccountStatus, previous: AccountStatus) -> None:
    if state == previous:
        return
    deps.account_status.save(state)
    deps.account_status_cache.read_at_seconds = float("-inf")
    context = {"context": {"provider": state.provider, "account": state.account_id}}
    if state.suspended_reason is not None and previous.suspended_reason is None:
        logger.error("Nothing is sold at a provider now: %s", state.suspended_reason, extra=context)
    if state.suspended_reason is None and previous.suspended_reason is not None:
        logger.warning("A provider sells again", extra=context)
