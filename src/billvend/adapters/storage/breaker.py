"""How each provider account is, in the database."""

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from billvend.adapters.storage.database import Database, storable, unavailable
from billvend.adapters.storage.tables import accounts
from billvend.ports.breaker import AccountState


class SqlBreaker:
    """See `billvend.ports.breaker.Breaker`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> list[AccountState]:
        """All that is known."""
        try:
            with self._database.reading() as connection:
                found = connection.execute(sa.select(accounts)).all()
        except DBAPIError as error:
            raise unavailable(error) from error
        return [
            AccountState(
                row.provider, row.account, row.closed_because, row.closed_at,
                bool(row.distrusted), row.float_minor, row.asked_at,
            )
            for row in found
        ]  # fmt: skip

    def write(self, state: AccountState) -> None:
        """Replace what is known of one account."""
        row = {
            "provider": state.provider,
            "account": state.account,
            "closed_because": None if state.closed_because is None else storable(state.closed_because),
            "closed_at": state.closed_at,
            "distrusted": int(state.distrusted),
            "float_minor": state.float_minor,
            "asked_at": state.asked_at,
        }
        try:
            with self._database.writing() as connection:
                self._database.upsert(connection, accounts, [row])
        except DBAPIError as error:
            raise unavailable(error) from error
