"""Domain values as rows. Values that are folded from events are only written. Only wallets are read back."""

from collections.abc import Collection, Iterable
from itertools import chain
from typing import Any

from billvend.adapters.storage import tables
from billvend.adapters.storage.database import TableRows, make_storable
from billvend.domain.decisions.commands import Command, CommandResult
from billvend.domain.decisions.decider import Snapshot, StreamHead, WriteSet
from billvend.domain.journal import codec
from billvend.domain.journal.events import (
    PaymentCompleted,
    PaymentReversed,
    StoredEvent,
    WalletFunded,
    WalletHeld,
    WalletReleased,
)
from billvend.domain.ledger.transfers import transfers as transfers_of
from billvend.domain.ledger.wallet import Wallet
from billvend.domain.notifications import Channel, NotificationRenderer, message_id
from billvend.domain.payment.state import Attempt, Payment, Requery, Send

RowDict = dict[str, Any]


def changed_rows(
    before: Snapshot, changes: WriteSet, channels: Collection[Channel], render: NotificationRenderer | None
) -> list[TableRows]:
    """All rows to write, in an order that foreign keys allow. `render` writes the notifications for each of `channels`."""
    currencies = {key: wallet.balance.currency for key, (wallet, _) in changes.wallets.items()}
    currencies |= {key: payment.amount.currency for key, (payment, _) in changes.payments.items()}
    payments = {key: payment for key, (payment, _) in changes.payments.items()}
    ended_before = {key for key, (payment, _) in before.payments.items() if payment.has_ended}
    last_at = {stored.key: stored.at for stored in changes.events}
    fundings: list[RowDict] = []
    transfers: list[RowDict] = []
    messages: list[RowDict] = []
    for stored in changes.events:
        fundings += funding_rows(stored, currencies[stored.key])
        transfers += transfer_rows(stored, currencies[stored.key])
        messages += outbox_message_rows(stored, payments.get(stored.key), channels, render) if render else ()
    payment_rows = [
        payment_row(payment, head) | {"next_check_at": changes.next_at[key], "last_hint_at": None}
        for key, (payment, head) in changes.payments.items()
    ]
    wallet_rows = [
        wallet_row(wallet, head) | {"updated_at": last_at[key]}
        for key, (wallet, head) in changes.wallets.items()
    ]
    resolutions = [resolution_rows(payment) for key, payment in payments.items() if key not in ended_before]
    return [
        TableRows(tables.events, [event_row(stored) for stored in changes.events]),
        TableRows(tables.transactions, fundings),
        TableRows(tables.transactions, payment_rows, is_upsert=True),
        TableRows(tables.attempts, [*chain(*map(attempt_rows, payments.values()))], is_upsert=True),
        TableRows(tables.wallets, wallet_rows, is_upsert=True),
        TableRows(tables.transfers, transfers),
        TableRows(tables.resolutions, [*chain(*resolutions)]),
        TableRows(tables.commands, [command_row(*executed) for executed in changes.results.values()]),
        TableRows(tables.outbox_messages, messages),
    ]


def event_row(stored: StoredEvent) -> RowDict:
    """The row of an event."""
    return {
        "user_id": stored.key.user_id,
        "stream": stored.key.stream,
        "seq": stored.seq,
        "type": type(stored.event).__name__,
        "at": stored.at,
        "command_key": stored.command_key,
        "data": stored.data,
        "prev_seq": stored.seq - 1 or None,
        "prev_hash": stored.prev_hash,
        "hash": stored.hash,
    }


def transfer_rows(stored: StoredEvent, currency: str) -> Iterable[RowDict]:
    """The rows of the transfers that an event makes."""
    event = stored.event
    wallet_events = (WalletFunded, WalletHeld, WalletReleased)
    transaction_id = event.transaction_id if isinstance(event, wallet_events) else stored.key.stream
    for leg, transfer in enumerate(transfers_of(event)):
        yield {
            "user_id": stored.key.user_id,
            "stream": stored.key.stream,
            "seq": stored.seq,
            "leg": leg,
            "transaction_id": transaction_id,
            "source": transfer.source,
            "target": transfer.target,
            "amount_minor": transfer.amount_minor,
            "currency": currency,
            "at": stored.at,
        }


def wallet_row(wallet: Wallet, head: StreamHead) -> RowDict:
    """The row of a wallet and the end of its stream, without `updated_at`."""
    return {
        "user_id": wallet.user_id,
        "currency": wallet.balance.currency,
        "balance_minor": wallet.balance.amount_minor,
        "seq": head.seq,
        "hash": head.hash,
    }


def funding_rows(stored: StoredEvent, currency: str) -> Iterable[RowDict]:
    """The row in `transactions` of the funding that an event is, if it is one."""
    event = stored.event
    if not isinstance(event, WalletFunded):
        return
    yield {
        "user_id": stored.key.user_id,
        "transaction_id": event.transaction_id,
        "type": "funding",
        "status": "completed",
        "amount_minor": event.amount_minor,
        "currency": currency,
        "key": stored.command_key,
        "created_at": stored.at,
        "updated_at": stored.at,
        "source": event.source,
        "reference": event.reference,
        "open_incidents": 0,
        "seq": stored.seq,
    }


def payment_row(payment: Payment, head: StreamHead) -> RowDict:
    """The row of a payment in `transactions`, without `next_check_at` and `last_hint_at`: events do not determine them."""
    attempt = payment.attempts[-1] if payment.attempts else None
    call = attempt.open_call if attempt else None
    return {
        "user_id": payment.user_id,
        "transaction_id": payment.transaction_id,
        "type": "payment",
        "status": payment.status.value,
        "amount_minor": payment.amount.amount_minor,
        "currency": payment.amount.currency,
        "key": payment.key,
        "created_at": payment.accepted_at,
        "updated_at": payment.updated_at,
        "meter": payment.meter,
        "biller": payment.biller,
        "vend_type": payment.vend_type.value,
        "phone": payment.phone,
        "provider": attempt.provider if attempt else None,
        "account": attempt.account_id if attempt else None,
        "open_incidents": len(payment.open_incidents),
        "token": _display_text(payment.token),
        "units": _display_text(payment.units),
        "lease_until": call.lease_until if call else None,
        "seq": head.seq,
        "hash": head.hash,
    }


def attempt_rows(payment: Payment) -> Iterable[RowDict]:
    """The rows of a payment's attempts."""
    for attempt in payment.attempts:
        yield {
            "user_id": payment.user_id,
            "transaction_id": payment.transaction_id,
            "attempt": attempt.number,
            "reference": attempt.reference,
            "provider": attempt.provider,
            "account": attempt.account_id,
            "started_at": attempt.started_at,
            "send_before": attempt.sends[-1].send_before if attempt.sends else attempt.started_at,
            "valid_until": attempt.valid_until,
            "sends": len(attempt.sends),
            "requeries": len(attempt.requeries),
            "answers": _answers(attempt),
        }


def resolution_rows(payment: Payment) -> Iterable[RowDict]:
    """The row of a payment's end, if it has ended."""
    end = payment.completion or payment.reversal
    if payment.ended_at is None or not isinstance(end, (PaymentCompleted, PaymentReversed)):
        return
    reversal = end if isinstance(end, PaymentReversed) else None
    yield {
        "user_id": payment.user_id,
        "transaction_id": payment.transaction_id,
        "kind": "reversed" if reversal else "completed",
        "proof": reversal.proof.value if reversal else None,
        "reason": _display_text(reversal.reason) if reversal else None,
        "at": payment.ended_at,
    }


def outbox_message_rows(
    stored: StoredEvent, payment: Payment | None, channels: Iterable[Channel], render: NotificationRenderer
) -> Iterable[RowDict]:
    """The notifications of an event, a row a channel. Most events have none."""
    notification = render(stored, payment)
    if notification is None:
        return
    for channel in channels:
        if channel.accepts(notification.kind):
            yield {
                "user_id": stored.key.user_id,
                "stream": stored.key.stream,
                "seq": stored.seq,
                "channel": channel.value,
                "message_id": message_id(stored, channel),
                "transaction_id": notification.transaction_id,
                "kind": notification.kind.value,
                "data": notification.data,
                "at": stored.at,
                "next_attempt_at": stored.at,
                "attempt_count": 0,
            }


def command_row(command: Command, reply: CommandResult) -> RowDict:
    """The row of a command that was carried out, with its reply."""
    return {
        "user_id": command.user_id,
        "operation": command.operation,
        "key": command.key,
        "request_hash": command.request_hash,
        "transaction_id": reply.transaction_id,
        "result": codec.dumps(reply),
        "at": command.at,
    }


def _display_text(text: str | None) -> str | None:
    """Text of a provider as its own column can store it. The events keep the exact text."""
    return None if text is None else make_storable(text)


def _answers(attempt: Attempt) -> str:
    """The answers to each send and each requery, in a line for people."""
    calls: list[tuple[str, Send | Requery]] = [("send", send) for send in attempt.sends]
    calls += [("requery", requery) for requery in attempt.requeries]
    return "; ".join(
        f"{name} {call.number}: {type(call.answer).__name__ if call.answer else 'no answer'}"
        for name, call in calls
    )
