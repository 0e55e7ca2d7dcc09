"""Health: how each part is, and what waits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.ports.books import Backlog
from billvend.ports.breaker import by_account
from billvend.usecases.parts import Parts


@dataclass(frozen=True, slots=True)
class Check:
    """One part."""

    status: str
    """`up` or `down`; for providers `configured`, or `down` where one does not sell, or one that payments in doubt need is
    not configured any more; for the backlog, `ok` or `late`."""
    latency_ms: float
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Health:
    """All parts together."""

    status: str
    """`ok`; `degraded` while payments are accepted although a part is away or work is late; `down` without books."""
    checks: Mapping[str, Check]


LATE_SECONDS = 300
"""A payment that is due for longer than this has no worker to look at it."""


def health(parts: Parts) -> Health:
    """Ask every part how it is. Raises nothing: what is away is said to be."""
    now = parts.clock.now()
    backlogs: list[Backlog] = []
    database = _check(parts, lambda: _noted(backlogs, parts.books.backlog(now)))
    queue = _check(
        parts,
        lambda: {
            "backend": parts.queue.backend,
            "depth": {str(k): v for k, v in parts.queue.depth().items()},
        },
    )
    if queue.status == "down":
        queue = Check("down", queue.latency_ms, {"backend": parts.queue.backend, **queue.details})
    checks = {
        "database": database,
        "queue": queue,
        "provider": _providers(parts),
    }
    if backlogs:
        checks["backlog"] = _backlog(parts, backlogs[0])
    if database.status == "down":
        return Health("down", checks)
    fine = all(check.status in ("up", "ok", "configured") for check in checks.values())
    return Health("ok" if fine else "degraded", checks)


def _check(parts: Parts, ask: Callable[[], Mapping[str, object]]) -> Check:
    began = parts.clock.elapsed_seconds()
    try:
        status, details = "up", ask()
    except BillvendError as error:
        status, details = "down", {"error": error.message}
    return Check(status, round((parts.clock.elapsed_seconds() - began) * 1000, 1), details)


def _providers(parts: Parts) -> Check:
    """The accounts as they were when they were last looked after: nobody is asked here."""
    try:
        states = by_account(parts.breaker.states())
    except BillvendError:
        states = {}
    details: dict[str, object] = {
        "providers": [f"{route.provider} ({route.mode})" for route in parts.policy.routes]
    }
    closed = {
        route.provider: state.closed_because
        for route in parts.policy.routes
        if (state := states.get((route.provider, route.account))) and state.closed_because
    }
    floats = {
        route.provider: str(Money(state.float_minor, route.currency))
        for route in parts.policy.routes
        if (state := states.get((route.provider, route.account))) and state.float_minor is not None
    }
    gone = _unconfigured(parts)
    details |= {"float": floats} if floats else {}
    details |= {"notSelling": closed} if closed else {}
    details |= {"noLongerConfigured": gone} if gone else {}
    return Check("down" if closed or gone else "configured", 0.0, details)


def _unconfigured(parts: Parts) -> list[str]:
    """Accounts that hold payments in doubt, and that nobody can ask any more: they need to be configured again."""
    try:
        risks = parts.books.risks(parts.clock.now())
    except BillvendError:
        return []
    lost = [
        risk for risk in risks if risk.in_doubt_minor and (risk.provider, risk.account) not in parts.providers
    ]
    return sorted(f"{risk.provider} account {risk.account}" for risk in lost)


def _noted(backlogs: list[Backlog], backlog: Backlog) -> Mapping[str, object]:
    backlogs.append(backlog)
    return {}


def _backlog(parts: Parts, backlog: Backlog) -> Check:
    oldest = backlog.oldest_due_at
    waits_seconds = (parts.clock.now() - oldest).total_seconds() if oldest else 0.0
    details: dict[str, object] = {
        "due": backlog.due,
        "oldestDueAt": oldest,
        "payments": {str(status): count for status, count in backlog.payments.items()},
        "money": {f"{status} {money.currency}": str(money) for (status, _), money in backlog.amounts.items()},
    }
    return Check("late" if waits_seconds > LATE_SECONDS else "ok", 0.0, details)
