"""The status of each provider account, in the database."""

from dataclasses import asdict

import sqlalchemy as sa

from billvend.adapters.storage.repository import Repository
from billvend.adapters.storage.tables import provider_accounts
from billvend.ports.repositories import AccountStatus


class SqlAccountStatuses(Repository):
    """See `billvend.ports.repositories.AccountStatuses`."""

    def all(self) -> dict[tuple[str, str], AccountStatus]:
        """Every account whose status is stored."""
        return {
            (row.provider, row.account): AccountStatus(
                row.provider, row.account, row.suspended_reason, row.suspended_at,
                bool(row.not_found_ignored), row.float_minor, row.float_checked_at,
            )
            for row in self._read(sa.select(provider_accounts))
        }  # fmt: skip

    def save(self, status: AccountStatus) -> None:
        """Replace the status of one account."""
        row = asdict(status) | {"not_found_ignored": int(status.not_found_ignored)}
        row["account"] = row.pop("account_id")
        self._upsert(provider_accounts, row)
