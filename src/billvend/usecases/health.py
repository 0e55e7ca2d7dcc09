"""Health: the status of each dependency, and of the open work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billvend.domain.errors import BillvendError
from billvend.domain.money import Money
from billvend.domain.policy.accounts import ProviderAccount
from billvend.ports.clock import Clock
from billvend.ports.queries import Queries
from billvend.ports.queue import Queue
from billvend.ports.repositories import AccountStatus, AccountStatuses

LATE_AFTER_SECONDS = 300
"""If a payment is due for longer than this, no worker is settling payments."""


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


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """Checks every dependency."""

    queue: Queue
    queries: Queries
    statuses: AccountStatuses
    accounts: Mapping[tuple[str, str], ProviderAccount]
    """The configured provider accounts, by (provider, account)."""
    clock: Clock

    def check(self) -> Health:
        """Check every dependency. Raises nothing: an unavailable dependency has the status `down`."""
        statuses: dict[tuple[str, str], AccountStatus] = {}

        def check_database() -> tuple[str, Mapping[str, object]]:
            statuses.update(self.statuses.all())  # a few rows
            return "up", {}

        database = self._run(check_database)
        is_up = database.status == "up"
        checks = {
            "database": database,
            "queue": self._run(self._check_queue, backend=self.queue.backend),
            "provider": self._run(lambda: self._check_providers(statuses, can_read_database=is_up)),
            # Without an answer of the database, do not wait for it again.
            "backlog": self._run(self._check_backlog) if is_up else database,
        }
        if not is_up:
            return Health("down", checks)
        is_healthy = all(check.status in ("up", "ok", "configured") for check in checks.values())
        return Health("ok" if is_healthy else "degraded", checks)

    def _run(self, check: Callable[[], tuple[str, Mapping[str, object]]], **details: object) -> HealthCheck:
        """Run one check, which returns a status and details, and measure how long it took."""
        started_at_seconds = self.clock.elapsed_seconds()
        try:
            status, found = check()
        except BillvendError as error:
            status, found = "down", {"error": error.message}
        latency_ms = round((self.clock.elapsed_seconds() - started_at_seconds) * 1000, 1)
        return HealthCheck(status, latency_ms, {**details, **found})

    def _check_queue(self) -> tuple[str, Mapping[str, object]]:
        return "up", {"queued": {str(queue): hints for queue, hints in self.queue.depth().items()}}

    def _check_providers(
        self, statuses: Mapping[tuple[str, str], AccountStatus], *, can_read_database: bool
    ) -> tuple[str, Mapping[str, object]]:
        """The provider accounts by their stored status. No provider is called."""
        known = [(account, statuses[key]) for key, account in self.accounts.items() if key in statuses]
        suspended = {
            account.provider: status.suspended_reason for account, status in known if status.suspended_reason
        }
        floats = {
            account.provider: str(Money(status.float_minor, account.currency))
            for account, status in known
            if status.float_minor is not None
        }
        unconfigured = self._unconfigured_accounts() if can_read_database else []
        names = [f"{account.provider} ({account.mode})" for account in self.accounts.values()]
        found = {"float": floats, "suspended": suspended, "unconfigured": unconfigured}
        details = {"providers": names} | {name: value for name, value in found.items() if value}
        return "down" if suspended or unconfigured else "configured", details

    def _unconfigured_accounts(self) -> list[str]:
        """Accounts with payments in doubt that are no longer configured. Without them no requery is possible."""
        return sorted(
            f"{exposure.provider} account {exposure.account_id}"
            for exposure in self.queries.exposures(self.clock.now())
            if exposure.in_doubt_minor and (exposure.provider, exposure.account_id) not in self.accounts
        )

    def _check_backlog(self) -> tuple[str, Mapping[str, object]]:
        now = self.clock.now()
        backlog = self.queries.backlog(now)
        oldest_due_at = backlog.oldest_due_at
        overdue_seconds = (now - oldest_due_at).total_seconds() if oldest_due_at else 0.0
        return "late" if overdue_seconds > LATE_AFTER_SECONDS else "ok", {
            "due": backlog.due,
            "oldestDueAt": oldest_due_at,
            "payments": {str(status): count for status, count in backlog.payments.items()},
            "money": {
                f"{status} {money.currency}": str(money) for (status, _), money in backlog.amounts.items()
            },
        }
