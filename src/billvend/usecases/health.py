"""Health: how each part is, and what waits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.ports.account_status import by_account
from billvend.usecases.dependencies import Dependencies


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One part."""

    status: str
    """`up` or `down`; for providers `configured`, or `down` where one does not sell, or one that payments in doubt need is
    not configured any more; for the backlog, `ok` or `late`, or `down` with its database."""
    latency_ms: float
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Health:
    """All parts together."""

    status: str
    """`ok`; `degraded` while payments are accepted although a part is away or work is late; `down` without books."""
    checks: Mapping[str, HealthCheck]


LATE_AFTER_SECONDS = 300
"""A payment that is due for longer than this has no worker to look at it."""


def health(deps: Dependencies) -> Health:
    """Ask every part how it is. Raises nothing: what is away is said to be."""
    database = _run_check(deps, lambda: _check_database(deps))
    is_database_down = database.status == "down"
    checks = {
        "database": database,
        "queue": _run_check(deps, lambda: _check_queue(deps), {"backend": deps.queue.backend}),
        "provider": _run_check(deps, lambda: _check_providers(deps, can_read_database=not is_database_down)),
        # Who just heard that the books are away need not wait for them again.
        "backlog": database if is_database_down else _run_check(deps, lambda: _check_backlog(deps)),
    }
    if is_database_down:
        return Health("down", checks)
    is_healthy = all(check.status in ("up", "ok", "configured") for check in checks.values())
    return Health("ok" if is_healthy else "degraded", checks)


ProbeResult = tuple[str, Mapping[str, object]]


def _run_check(
    deps: Dependencies, probe: Callable[[], ProbeResult], static_details: Mapping[str, object] | None = None
) -> HealthCheck:
    """A part that is asked now, and how long it took; `known` is told of one that is away, too."""
    started_at_seconds = deps.clock.elapsed_seconds()
    try:
        status, details = probe()
    except BillvendError as error:
        status, details = "down", {**(static_details or {}), "error": error.message}
    return HealthCheck(status, round((deps.clock.elapsed_seconds() - started_at_seconds) * 1000, 1), details)


def _check_database(deps: Dependencies) -> ProbeResult:
    deps.api_keys.is_empty()  # the smallest question
    return "up", {}


def _check_queue(deps: Dependencies) -> ProbeResult:
    queued = {str(queue): hints for queue, hints in deps.queue.depth().items()}
    return "up", {"backend": deps.queue.backend, "queued": queued}


def _check_providers(deps: Dependencies, *, can_read_database: bool) -> ProbeResult:
    """The accounts as they were when they were last looked after: nobody is asked here. `knows`: the books can be read."""
    details: dict[str, object] = {
        "providers": [f"{account.provider} ({account.mode})" for account in deps.policy.accounts]
    }
    states = by_account(deps.account_status.all()) if can_read_database else {}
    suspended = {
        account.provider: state.suspended_reason
        for account in deps.policy.accounts
        if (state := states.get((account.provider, account.account_id))) and state.suspended_reason
    }
    floats = {
        account.provider: str(Money(state.float_minor, account.currency))
        for account in deps.policy.accounts
        if (state := states.get((account.provider, account.account_id))) and state.float_minor is not None
    }
    unconfigured = _unconfigured_accounts(deps) if can_read_database else []
    details |= {"float": floats} if floats else {}
    details |= {"suspended": suspended} if suspended else {}
    details |= {"unconfigured": unconfigured} if unconfigured else {}
    return "down" if suspended or unconfigured else "configured", details


def _unconfigured_accounts(deps: Dependencies) -> list[str]:
    """Accounts that hold payments in doubt, and that nobody can ask any more: they need to be configured again."""
    return sorted(
        f"{exposure.provider} account {exposure.account_id}"
        for exposure in deps.queries.exposures(deps.clock.now())
        if exposure.in_doubt_minor and (exposure.provider, exposure.account_id) not in deps.providers
    )


def _check_backlog(deps: Dependencies) -> ProbeResult:
    now = deps.clock.now()
    backlog = deps.queries.backlog(now)
    oldest_due_at = backlog.oldest_due_at
    overdue_seconds = (now - oldest_due_at).total_seconds() if oldest_due_at else 0.0
    return "late" if overdue_seconds > LATE_AFTER_SECONDS else "ok", {
        "due": backlog.due,
        "oldestDueAt": oldest_due_at,
        "payments": {str(status): count for status, count in backlog.payments.items()},
        "money": {f"{status} {money.currency}": str(money) for (status, _), money in backlog.amounts.items()},
    }
