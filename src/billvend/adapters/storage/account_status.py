"""The status of each provider account, in the database."""

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage.database import Database, make_storable, unavailable
from billvend.adapters.storage.tables import provider_accounts
from billvend.ports.account_status import AccountStatus


class SqlAccountStatuses:
    """See `billvend.ports.account_status.AccountStatuses`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[AccountStatus]:
        """Every account whose status is stored."""
        try:
            with self._database.read_transaction() as connection:
                found = connection.execute(sa.select(provider_accounts)).all()
        except DBAPIError as error:
            raise unavailable(error) from error
        return [
            AccountStatus(
                row.provider, row.account, row.suspended_reason, row.suspended_at,
                bool(row.not_found_ignored), row.float_minor, row.float_checked_at,
            )
            for row in found
        ]  # fmt: skip

    def save(self, state: AccountStatus) -> None:
        """Replace the status of one account."""
        row = {
            "provider": state.provider,
            "account": state.account_id,
            "suspended_reason": None
            if state.suspended_reason is None
            else make_storable(state.suspended_reason),
            "suspended_at": state.suspended_at,
            "not_found_ignored": int(state.not_found_ignored),
            "float_minor": state.float_minor,
            "float_checked_at": state.float_checked_at,
        }
        try:
            with self._database.write_transaction() as connection:
                self._database.upsert(connection, provider_accounts, [row])
        except DBAPIError as error:
            raise unavailable(error) from error
