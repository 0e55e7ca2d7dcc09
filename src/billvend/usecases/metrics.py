"""Metrics: what was counted, and how things stand, as text for Prometheus.

What the books say is read anew each time, by whichever process is asked: it is the same for all, and never added up.
"""

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.payment import ENDED
from billvend.domain.words import Status
from billvend.ports.breaker import by_account
from billvend.ports.measures import Account, Standing, Waiting
from billvend.ports.queue import QueueName
from billvend.usecases.parts import Parts


def metrics(parts: Parts) -> str:
    """The text. Raises nothing for a part that is away: that is one of the figures."""
    return parts.measures.exposition(_standing(parts))


def _standing(parts: Parts) -> Standing:
    try:
        waiting, accounts = _read(parts)
    except BillvendError:
        return Standing(None, (), _depth(parts))
    return Standing(waiting, accounts, _depth(parts))


def _read(parts: Parts) -> tuple[Waiting, list[Account]]:
    now = parts.clock.now()
    backlog, disabled = parts.books.backlog(now), parts.outbox.disabled()
    risks = {(risk.provider, risk.account): risk for risk in parts.books.risks(now)}
    states = by_account(parts.breaker.states())
    open_ = [status for status in Status if status not in ENDED]
    currencies = {parts.default_currency, *(currency for _, currency in backlog.amounts)}
    nothing = {(status, currency): Money(0, currency) for status in open_ for currency in sorted(currencies)}
    oldest = backlog.oldest_due_at
    waiting = Waiting(
        payments=dict.fromkeys(open_, 0) | dict(backlog.payments),
        amounts=nothing | dict(backlog.amounts),
        due=backlog.due,
        oldest_due_seconds=(now - oldest).total_seconds() if oldest else 0.0,
        open_incidents=backlog.open_incidents,
        disabled_endpoints=len(disabled),
        unconfigured=sum(
            1 for key, risk in risks.items() if risk.in_doubt_minor and key not in parts.providers
        ),
    )
    accounts = []
    for route in parts.policy.routes:
        key = (route.provider, route.account)
        state, risk = states.get(key), risks.get(key)
        known = None if state is None else state.float_minor
        accounts.append(
            Account(
                provider=route.provider,
                sells=state is None or state.closed_because is None,
                in_doubt=Money(risk.in_doubt_minor if risk else 0, route.currency),
                float_=None if known is None else Money(known, route.currency),
            )
        )
    return waiting, accounts


def _depth(parts: Parts) -> dict[QueueName, int] | None:
    try:
        return parts.queue.depth()
    except BillvendError:
        return None
