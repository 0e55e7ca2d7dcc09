"""Reads what commands need, under locks: payments in order, then wallets in order, then the rest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from billvend.adapters.storage.database import Database, make_storable
from billvend.adapters.storage.streams import load_payments, load_results
from billvend.adapters.storage.tables import INSTANT, transactions, wallets
from billvend.domain.decisions.commands import Command, Fund, Pay
from billvend.domain.decisions.customer import DUPLICATE_WINDOW_SECONDS
from billvend.domain.decisions.decider import (
    DuplicateFingerprint,
    Snapshot,
    StreamHead,
    token_of,
)
from billvend.domain.decisions.worker import needs_wallet
from billvend.domain.journal.events import StreamKey
from billvend.domain.ledger.wallet import Wallet, wallet_stream
from billvend.domain.money import Money


class SnapshotReader:
    """Reads snapshots. Each statement is built once, and finds the rows of any number of commands."""

    def __init__(self, database: Database) -> None:
        self._database = database
        in_keys, table = database.in_keys, transactions.c
        self._payment_keys = (
            sa.select(table.user_id, table.transaction_id)
            .where(in_keys(table.user_id, table.transaction_id), table.type == "payment")
            .order_by(table.user_id, table.transaction_id)
            .with_for_update()
        )
        self._wallets = (
            sa.select(*(wallets.c[name] for name in ("user_id", "currency", "balance_minor", "seq", "hash")))
            .where(in_keys(wallets.c.user_id, wallets.c.currency))
            .order_by(wallets.c.user_id, wallets.c.currency)
            .with_for_update()
        )
        self._recent = (
            sa.select(
                table.user_id, table.meter, table.biller, table.amount_minor, table.currency, table.created_at
            )
            .where(
                in_keys(table.user_id, table.meter),
                table.created_at > sa.bindparam("since", type_=INSTANT),
                table.status != "reversed",
            )
            .order_by(table.created_at)
        )
        self._token_owners = (
            sa.select(table.token, table.user_id, table.transaction_id)
            .where(in_keys(table.token))
            .order_by(table.updated_at)
        )

    def read(self, connection: Connection, commands: Sequence[Command]) -> Snapshot:
        """Lock and read what the commands need."""
        command_counts = Counter(
            (c.user_id, c.transaction_id) for c in commands if not isinstance(c, (Fund, Pay))
        )
        found = self._rows(connection, self._payment_keys, sorted(command_counts))
        payments = load_payments(
            connection, self._database, [(row.user_id, row.transaction_id) for row in found]
        )
        wallet_keys = {(c.user_id, c.amount.currency) for c in commands if isinstance(c, (Fund, Pay))}
        for command in commands:
            known = payments.get(StreamKey(command.user_id, command.transaction_id))
            # An earlier command of the list can change the payment so that a later one has to release its money.
            shared = command_counts[command.user_id, command.transaction_id] > 1
            if known is not None and (shared or needs_wallet(known[0], command)):
                wallet_keys.add((command.user_id, known[0].amount.currency))
        return Snapshot(
            wallets=self._read_wallets(connection, sorted(wallet_keys)),
            payments=payments,
            stored_results=load_results(connection, self._database, [c.command_key for c in commands]),
            recent_by_fingerprint=self._read_recent(connection, commands),
            token_owners=self._read_token_owners(connection, commands),
        )

    def _rows(
        self,
        connection: Connection,
        statement: sa.Select[Any],
        keys: Sequence[tuple[str, ...]],
        **values: object,
    ) -> Iterable[Any]:
        """The rows of these keys. Without keys there is no query."""
        return connection.execute(statement, self._database.key_parameters(keys) | values) if keys else ()

    def _read_wallets(
        self, connection: Connection, keys: list[tuple[str, str]]
    ) -> dict[StreamKey, tuple[Wallet, StreamHead]]:
        return {
            wallet_stream(user_id, currency): (
                Wallet(user_id, Money(minor, currency)),
                StreamHead(seq, hash_),
            )
            for user_id, currency, minor, seq, hash_ in self._rows(connection, self._wallets, keys)
        }

    def _read_recent(
        self, connection: Connection, commands: Sequence[Command]
    ) -> dict[DuplicateFingerprint, datetime]:
        """When equal bills were last paid, for payments that could be double clicks."""
        guarded = [c for c in commands if isinstance(c, Pay) and not (c.has_caller_key or c.allow_duplicate)]
        if not guarded:
            return {}
        since = min(pay.at for pay in guarded) - timedelta(seconds=DUPLICATE_WINDOW_SECONDS)
        keys = [(pay.user_id, pay.meter) for pay in guarded]
        return {
            DuplicateFingerprint(*fingerprint): created_at
            for *fingerprint, created_at in self._rows(connection, self._recent, keys, since=since)
        }

    def _read_token_owners(self, connection: Connection, commands: Sequence[Command]) -> dict[str, StreamKey]:
        """The payment that was first completed with each token. Most often there is none."""
        keys = [(make_storable(token),) for c in commands if (token := token_of(c))]
        owners: dict[str, StreamKey] = {}
        for token, user_id, transaction_id in self._rows(connection, self._token_owners, keys):
            owners.setdefault(token, StreamKey(user_id, transaction_id))
        return owners
