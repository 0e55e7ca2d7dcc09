"""Health: the status of each dependency, and of the open work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.usecases.dependencies import Dependencies


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The health of one dependency, or of the open work."""

    status: str
    """`up` or `down`. For providers `configured`, or `down` if one is suspended, or if payments in doubt need one that is
    no longer configured. For the backlog `ok` or `late`, or `down` with its database."""
    latency_ms: float
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Health:
    """The health of billvend."""

    status: str
    """`ok`; `degraded` if payments are accepted but a dependency is unavailable or work is late; `down` without the
    database."""
    checks: Mapping[str, HealthCheck]


LATE_AFTER_SECONDS = 300
"""If a payment is due for longer than this, no worker is settling payments."""


def health(deps: Dependencies) -> Health:
    """Check every dependency. Raises nothing: an unavailable dependency has the status `down`."""
    database = _run_check(deps, lambda: _check_database(deps))
    is_database_down = database.status == "down"
    checks = {
        "database": database,
        "queue": _run_check(deps, lambda: _check_queue(deps), {"backend": deps.queue.backend}),
        "provider": _run_check(deps, lambda: _check_providers(deps, can_read_database=not is_database_down)),
        # The database did not answer: do not wait for it again.
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
    """Run one check, and measure how long it took. `static_details` are part of a failed check too."""
    started_at_seconds = deps.clock.elapsed_seconds()
    try:
        status, details = probe()
    except BillvendError as error:
        status, details = "down", {**(static_details or {}), "error": error.message}
    return HealthCheck(status, round((deps.clock.elapsed_seconds() - started_at_seconds) * 1000, 1), details)


def _check_database(deps: Dependencies) -> ProbeResult:
    deps.account_status.all()  # a few rows
    return "up", {}


def _check_queue(deps: Dependencies) -> ProbeResult:
    queued = {str(queue): hints for queue, hints in deps.queue.depth().items()}
    return "up", {"backend": deps.queue.backend, "queued": queued}


def _check_providers(deps: Dependencies, *, can_read_database: bool) -> ProbeResult:
    """The provider accounts by their stored status. No provider is called."""
    details: dict[str, object] = {
        "providers": [f"{account.provider} ({account.mode})" for account in deps.policy.accounts]
    }
    states = deps.account_status.all() if can_read_database else {}
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
    """Accounts with payments in doubt that are no longer configured. Without them no requery is possible."""
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
