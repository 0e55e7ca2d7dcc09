"""The breaker: where too much money is at risk, or nothing can be sold, nothing more is sold until it clears.

The sweeper looks at the books and at our floats now and then; a worker closes an account at once when the provider says
that our set-up or float is at fault. What they find is soft and shared through the database; each process looks at it
every few seconds.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from billvend.domain.abilities import Abilities
from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.outcome import Misconfigured
from billvend.domain.policy import Policy
from billvend.ports.breaker import AccountState, Risk, by_account
from billvend.ports.provider import Provider
from billvend.usecases.parts import Parts

FRESH_SECONDS = 2.0
"""How long a process goes by what it read last."""
LATELY_SECONDS = 600
"""The attempts of so long are looked at for "not found"."""
ASK_FLOAT_SECONDS = 60
"""How often a provider is asked for our float."""

LOOK_SECONDS = 10.0
"""How often a process that accepts payments looks at the money in doubt."""
TRY_AGAIN_SECONDS = 600
"""An account at fault that can't be asked about our float sells again after this: the next answer tells."""

AT_FAULT = "our set-up there is at fault"

logger = logging.getLogger("billvend.breaker")


def policy_now(parts: Parts) -> Policy:
    """The policy with what is closed at present. Raises nothing: without news the last known holds."""
    known = parts.accounts
    with known.lock:
        if parts.clock.elapsed_seconds() - known.read_at_seconds >= FRESH_SECONDS:
            known.read_at_seconds = parts.clock.elapsed_seconds()
            try:
                known.states = by_account(parts.breaker.states())
            except BillvendError:
                logger.debug("How the provider accounts are could not be read")
        states = known.states
    closed = frozenset(key for key, state in states.items() if state.closed_because is not None)
    distrusted = frozenset(key for key, state in states.items() if state.distrusted)
    # Every payment asks, and nearly always all is well.
    return (
        replace(parts.policy, closed=closed, distrusted=distrusted) if closed or distrusted else parts.policy
    )


def close(parts: Parts, provider: str, account: str, why: str) -> None:
    """Stop selling at an account at once: it said that our set-up or our float is at fault."""
    before = _state(parts, (provider, account))
    # What our float was before proves nothing now.
    _write(parts, replace(before, closed_because=why, closed_at=parts.clock.now(), float_minor=None), before)


def look_now_and_then(parts: Parts) -> None:
    """Look at the books alone, if this process has not for a while: there may be no worker who does. Raises `Unavailable`."""
    known, now_seconds = parts.accounts, parts.clock.elapsed_seconds()
    with known.lock:
        if now_seconds - known.looked_after_at_seconds < LOOK_SECONDS:
            return
        known.looked_after_at_seconds = now_seconds
    look_after(parts, ask_floats=False)


def look_after(parts: Parts, *, ask_floats: bool = True) -> None:
    """Close what should not sell, and open what may again. Raises `Unavailable`."""
    now = parts.clock.now()
    states = _states(parts)
    risks = {
        (risk.provider, risk.account): risk
        for risk in parts.books.risks(now - timedelta(seconds=LATELY_SECONDS))
    }
    for key, provider in parts.providers.items():
        before = states.get(key) or AccountState(*key)
        state = _asked(parts, provider, before, now) if ask_floats else before
        risk = risks.get(key) or Risk(*key, 0, 0, 0)
        finds_too_little = _finds_too_little(parts, risk)
        # Proof that something is absent takes longer than ten minutes: the doubt stays while there are payments to doubt.
        distrusted = finds_too_little or (before.distrusted and risk.in_doubt_minor > 0)
        why = _why_closed(parts, provider.abilities, state, risk, now, finds_too_little=finds_too_little)
        closed_at = (state.closed_at or now) if why is not None else None
        found = replace(state, closed_because=why, closed_at=closed_at, distrusted=distrusted)
        # Providers were asked meanwhile: where a worker has heard more by now, the next look goes by that.
        if found != before and _state(parts, key) == before:
            _write(parts, found, before)


def _why_closed(
    parts: Parts, route: Abilities, state: AccountState, risk: Risk, now: datetime, *, finds_too_little: bool
) -> str | None:
    if not _is_mended(state, now):
        return state.closed_because  # before all else, which may clear sooner
    most, least = parts.limits.most_in_doubt(route.currency), parts.limits.least_float(route.currency)
    if most is not None and risk.in_doubt_minor > most.amount_minor:
        in_doubt = Money(risk.in_doubt_minor, route.currency)
        return f"{in_doubt.display} are in doubt there, more than {most.display}"
    if finds_too_little:
        return f"{risk.lately_not_found} of its last {risk.lately} orders were not found: is it the right account?"
    if least is not None and state.float_minor is not None and state.float_minor < least.amount_minor:
        return f"our float there is {Money(state.float_minor, route.currency).display}, less than {least.display}"
    return None


def _is_mended(state: AccountState, now: datetime) -> bool:
    """Whether an account that was closed because our set-up or float was at fault may be tried again."""
    if state.closed_because is None or state.closed_at is None:
        return True
    if not state.closed_because.startswith(AT_FAULT):
        return True  # what it was closed for is looked at anew each time
    asked_since = state.asked_at is not None and state.asked_at > state.closed_at
    if asked_since and state.float_minor is not None:
        return state.float_minor > 0
    return abs(now - state.closed_at) >= timedelta(seconds=TRY_AGAIN_SECONDS)


def at_fault(answer: Misconfigured) -> str:
    """Why an account is closed that gave this answer."""
    return f"{AT_FAULT}: {answer.why}"


def _finds_too_little(parts: Parts, risk: Risk) -> bool:
    most = parts.limits.most_not_found
    return bool(most) and risk.lately_not_found >= most and risk.lately_not_found * 2 > risk.lately


def _asked(parts: Parts, provider: Provider, state: AccountState, now: datetime) -> AccountState:
    """The state with our float as it is now, if it is time to ask again."""
    if state.asked_at is not None and abs(now - state.asked_at) < timedelta(seconds=ASK_FLOAT_SECONDS):
        return state
    if not parts.accounts.asking.acquire(blocking=False):
        return state  # another thread waits for a provider that may be slow: one buyer is enough
    try:
        said = provider.ask_float()
    except Exception as error:  # noqa: BLE001  an adapter's bug must not stop what looks after the others
        logger.warning("Asking %s for our float failed: %s", state.provider, type(error).__name__)
        return replace(state, asked_at=now)
    finally:
        parts.accounts.asking.release()
    if isinstance(said, Money):
        return replace(state, float_minor=said.amount_minor, asked_at=now)
    if isinstance(said, Misconfigured):
        return replace(state, float_minor=None, asked_at=now, closed_because=at_fault(said), closed_at=now)
    return replace(state, asked_at=now)


def _states(parts: Parts) -> dict[tuple[str, str], AccountState]:
    return by_account(parts.breaker.states())


def _state(parts: Parts, key: tuple[str, str]) -> AccountState:
    return _states(parts).get(key) or AccountState(*key)


def _write(parts: Parts, state: AccountState, before: AccountState) -> None:
    if state == before:
        return
    parts.breaker.write(state)
    parts.accounts.read_at_seconds = float("-inf")
    context = {"context": {"provider": state.provider, "account": state.account}}
    if state.closed_because is not None and before.closed_because is None:
        logger.error("Nothing is sold at a provider now: %s", state.closed_because, extra=context)
    if state.closed_because is None and before.closed_because is not None:
        logger.warning("A provider sells again", extra=context)
