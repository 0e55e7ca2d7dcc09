"""Domain values as rows. What is folded from events goes one way, into the tables; only wallets are read back."""

from collections.abc import Iterable
from typing import Any

from billvend.adapters.storage.database import make_storable
from billvend.domain import codec
from billvend.domain.announcements import Channel, announce, message_id
from billvend.domain.commands import Command, Reply
from billvend.domain.decide import Head
from billvend.domain.events import (
    PaymentCompleted,
    PaymentReversed,
    Recorded,
    WalletFunded,
    WalletHeld,
    WalletReleased,
)
from billvend.domain.payment import Attempt, Payment, Requery, Send
from billvend.domain.transfers import transfers
from billvend.domain.wallet import Wallet
from billvend.ports.books import LoggedEvent

RowDict = dict[str, Any]


def event_row(recorded: Recorded) -> RowDict:
    """An event."""
    return {
        "user_id": recorded.key.user_id,
        "stream": recorded.key.stream,
        "seq": recorded.seq,
        "type": type(recorded.event).__name__,
        "at": recorded.at,
        "command_key": recorded.command_key,
        "data": recorded.data,
        "prev_seq": recorded.seq - 1 or None,
        "prev_hash": recorded.prev_hash,
        "hash": recorded.hash,
    }


def transfer_rows(recorded: Recorded, currency: str) -> Iterable[RowDict]:
    """The transfers that an event makes."""
    event = recorded.event
    wallet_events = (WalletFunded, WalletHeld, WalletReleased)
    transaction_id = event.transaction_id if isinstance(event, wallet_events) else recorded.key.stream
    for leg, transfer in enumerate(transfers(event)):
        yield {
            "user_id": recorded.key.user_id,
            "stream": recorded.key.stream,
            "seq": recorded.seq,
            "leg": leg,
            "transaction_id": transaction_id,
            "source": transfer.source,
            "target": transfer.target,
            "amount_minor": transfer.amount_minor,
            "currency": currency,
            "at": recorded.at,
        }


def wallet_row(wallet: Wallet, head: Head) -> RowDict:
    """A wallet and the end of its stream; without `updated_at`."""
    return {
        "user_id": wallet.user_id,
        "currency": wallet.balance.currency,
        "balance_minor": wallet.balance.amount_minor,
        "seq": head.seq,
        "hash": head.hash,
    }


def funding_row(recorded: Recorded | LoggedEvent, event: WalletFunded, currency: str) -> RowDict:
    """A funding, as a transaction."""
    return {
        "user_id": recorded.key.user_id,
        "transaction_id": event.transaction_id,
        "type": "funding",
        "status": "completed",
        "amount_minor": event.amount_minor,
        "currency": currency,
        "key": recorded.command_key,
        "created_at": recorded.at,
        "updated_at": recorded.at,
        "source": event.source,
        "reference": event.reference,
        "open_incidents": 0,
        "seq": recorded.seq,
    }


def payment_row(payment: Payment, head: Head) -> RowDict:
    """A payment, as a transaction; without `next_check_at` and `last_hint_at`, which are not folded from events."""
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
        "account": attempt.account if attempt else None,
        "open_incidents": len(payment.open_incidents),
        "token": _display_text(payment.token),
        "units": _display_text(payment.units),
        "lease_until": call.lease_until if call else None,
        "seq": head.seq,
        "hash": head.hash,
    }


def attempt_rows(payment: Payment) -> Iterable[RowDict]:
    """A payment's attempts."""
    for attempt in payment.attempts:
        yield {
            "user_id": payment.user_id,
            "transaction_id": payment.transaction_id,
            "attempt": attempt.number,
            "reference": attempt.reference,
            "provider": attempt.provider,
            "account": attempt.account,
            "started_at": attempt.started_at,
            "send_before": attempt.sends[-1].send_before if attempt.sends else attempt.started_at,
            "valid_until": attempt.valid_until,
            "sends": len(attempt.sends),
            "requeries": len(attempt.requeries),
            "answers": _answers(attempt),
        }


def resolution_rows(payment: Payment) -> Iterable[RowDict]:
    """The one end of a payment, once it has one."""
    end = payment.completed or payment.reversal
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
    recorded: Recorded, payment: Payment | None, channels: Iterable[Channel]
) -> Iterable[RowDict]:
    """What is told of an event to the outside, a row a channel; of most events nothing is."""
    announcement = announce(recorded, payment)
    if announcement is None:
        return
    for channel in channels:
        if channel.takes(announcement.kind):
            yield {
                "user_id": recorded.key.user_id,
                "stream": recorded.key.stream,
                "seq": recorded.seq,
                "channel": channel.value,
                "message_id": message_id(recorded, channel),
                "transaction_id": announcement.transaction_id,
                "kind": announcement.kind.value,
                "data": announcement.data,
                "at": recorded.at,
                "next_attempt_at": recorded.at,
                "attempt_count": 0,
            }


def command_row(command: Command, reply: Reply) -> RowDict:
    """A command that was done, with its reply."""
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
    """Text of a provider, for a column of its own; the events keep it to the letter."""
    return None if text is None else make_storable(text)


def _answers(attempt: Attempt) -> str:
    """What each send and each requery brought back, in a line for people."""
    calls: list[tuple[str, Send | Requery]] = [("send", send) for send in attempt.sends]
    calls += [("requery", requery) for requery in attempt.requeries]
    return "; ".join(
        f"{name} {call.number}: {type(call.answer).__name__ if call.answer else 'no answer'}"
        for name, call in calls
    )
