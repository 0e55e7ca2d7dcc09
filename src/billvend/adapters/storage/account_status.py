"""How each provider account is, in the database."""

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage.database import Database, make_storable, unavailable
from billvend.adapters.storage.tables import provider_accounts
from billvend.ports.breaker import AccountState


class SqlAccountStatuses:
    """See `billvend.ports.breaker.Breaker`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> list[AccountState]:
        """All that is known."""
        try:
            with self._database.read_transaction() as connection:
                found = connection.execute(sa.select(provider_accounts)).all()
        except DBAPIError as error:
            raise unavailable(error) from error
        return [
            AccountState(
                row.provider, row.account, row.suspended_reason, row.suspended_at,
                bool(row.not_found_ignored), row.float_minor, row.float_checked_at,
            )
            for row in found
        ]  # fmt: skip

    def write(self, state: AccountState) -> None:
        """Replace what is known of one account."""
        row = {
            "provider": state.provider,
            "account": state.account,
            "suspended_reason": None if state.closed_because is None else make_storable(state.closed_because),
            "suspended_at": state.closed_at,
            "not_found_ignored": int(state.distrusted),
            "float_minor": state.float_minor,
            "float_checked_at": state.asked_at,
        }
        try:
            with self._database.write_transaction() as connection:
                self._database.upsert(connection, provider_accounts, [row])
        except DBAPIError as error:
            raise unavailable(error) from error
