"""Health: how each part is, and what waits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.ports.breaker import by_account
from billvend.usecases.parts import Parts


@dataclass(frozen=True, slots=True)
class Check:
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
    checks: Mapping[str, Check]


LATE_SECONDS = 300
"""A payment that is due for longer than this has no worker to look at it."""


def health(parts: Parts) -> Health:
    """Ask every part how it is. Raises nothing: what is away is said to be."""
    database = _check(parts, lambda: _database(parts))
    is_away = database.status == "down"
    checks = {
        "database": database,
        "queue": _check(parts, lambda: _queue(parts), {"backend": parts.queue.backend}),
        "provider": _check(parts, lambda: _providers(parts, knows=not is_away)),
        # Who just heard that the books are away need not wait for them again.
        "backlog": database if is_away else _check(parts, lambda: _backlog(parts)),
    }
    if is_away:
        return Health("down", checks)
    fine = all(check.status in ("up", "ok", "configured") for check in checks.values())
    return Health("ok" if fine else "degraded", checks)


Found = tuple[str, Mapping[str, object]]


def _check(parts: Parts, ask: Callable[[], Found], known: Mapping[str, object] | None = None) -> Check:
    """A part that is asked now, and how long it took; `known` is told of one that is away, too."""
    began = parts.clock.elapsed_seconds()
    try:
        status, details = ask()
    except BillvendError as error:
        status, details = "down", {**(known or {}), "error": error.message}
    return Check(status, round((parts.clock.elapsed_seconds() - began) * 1000, 1), details)


def _database(parts: Parts) -> Found:
    parts.keys.is_empty()  # the smallest question
    return "up", {}


def _queue(parts: Parts) -> Found:
    depth = {str(queue): hints for queue, hints in parts.queue.depth().items()}
    return "up", {"backend": parts.queue.backend, "depth": depth}


def _providers(parts: Parts, *, knows: bool) -> Found:
    """The accounts as they were when they were last looked after: nobody is asked here. `knows`: the books can be read."""
    details: dict[str, object] = {
        "providers": [f"{route.provider} ({route.mode})" for route in parts.policy.routes]
    }
    states = by_account(parts.breaker.states()) if knows else {}
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
    gone = _unconfigured(parts) if knows else []
    details |= {"float": floats} if floats else {}
    details |= {"notSelling": closed} if closed else {}
    details |= {"noLongerConfigured": gone} if gone else {}
    return "down" if closed or gone else "configured", details


def _unconfigured(parts: Parts) -> list[str]:
    """Accounts that hold payments in doubt, and that nobody can ask any more: they need to be configured again."""
    return sorted(
        f"{risk.provider} account {risk.account}"
        for risk in parts.books.risks(parts.clock.now())
        if risk.in_doubt_minor and (risk.provider, risk.account) not in parts.providers
    )


def _backlog(parts: Parts) -> Found:
    now = parts.clock.now()
    backlog = parts.books.backlog(now)
    oldest = backlog.oldest_due_at
    waits_seconds = (now - oldest).total_seconds() if oldest else 0.0
    return "late" if waits_seconds > LATE_SECONDS else "ok", {
        "due": backlog.due,
        "oldestDueAt": oldest,
        "payments": {str(status): count for status, count in backlog.payments.items()},
        "money": {f"{status} {money.currency}": str(money) for (status, _), money in backlog.amounts.items()},
    }
