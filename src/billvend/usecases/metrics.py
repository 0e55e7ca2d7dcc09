"""Metrics: counters and gauges, as text for Prometheus.

The gauges are read from the database each time. They are the same in every process, so they must not be added up.
"""

from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.payment.state import TERMINAL_STATUSES
from billvend.ports.queue import QueueName
from billvend.ports.telemetry import AccountGauges, BacklogGauges, Gauges
from billvend.usecases.dependencies import Dependencies


def metrics(deps: Dependencies) -> str:
    """The text. An unavailable dependency raises nothing: it is one of the metrics."""
    return deps.metrics.exposition(_current_gauges(deps))


def _current_gauges(deps: Dependencies) -> Gauges:
    try:
        totals, accounts = _read_ledger(deps)
    except BillvendError:
        return Gauges(None, (), _queue_depth(deps))
    return Gauges(totals, accounts, _queue_depth(deps))


def _read_ledger(deps: Dependencies) -> tuple[BacklogGauges, list[AccountGauges]]:
    now = deps.clock.now()
    backlog, disabled = deps.queries.backlog(now), deps.outbox.disabled()
    exposures = {
        (exposure.provider, exposure.account_id): exposure for exposure in deps.queries.exposures(now)
    }
    states = deps.account_status.all()
    open_statuses = [status for status in Status if status not in TERMINAL_STATUSES]
    currencies = {deps.default_currency, *(currency for _, currency in backlog.amounts)}
    zero_amounts = {
        (status, currency): Money(0, currency) for status in open_statuses for currency in sorted(currencies)
    }
    oldest_due_at = backlog.oldest_due_at
    totals = BacklogGauges(
        payments=dict.fromkeys(open_statuses, 0) | dict(backlog.payments),
        amounts=zero_amounts | dict(backlog.amounts),
        due=backlog.due,
        oldest_due_seconds=(now - oldest_due_at).total_seconds() if oldest_due_at else 0.0,
        open_incidents=backlog.open_incidents,
        disabled_endpoints=len(disabled),
        unconfigured=sum(
            1 for key, exposure in exposures.items() if exposure.in_doubt_minor and key not in deps.providers
        ),
    )
    accounts = []
    for account in deps.policy.accounts:
        key = (account.provider, account.account_id)
        state, exposure = states.get(key), exposures.get(key)
        float_minor = None if state is None else state.float_minor
        accounts.append(
            AccountGauges(
                provider=account.provider,
                is_selling=state is None or state.suspended_reason is None,
                in_doubt=Money(exposure.in_doubt_minor if exposure else 0, account.currency),
                float_=None if float_minor is None else Money(float_minor, account.currency),
            )
        )
    return totals, accounts


def _queue_depth(deps: Dependencies) -> dict[QueueName, int] | None:
    try:
        return deps.queue.depth()
    except BillvendError:
        return None
