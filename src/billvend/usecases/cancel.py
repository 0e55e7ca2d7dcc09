"""Cancel: give the money back while nothing was sent."""

from billvend.domain.commands import Cancel
from billvend.domain.errors import TransactionNotFound
from billvend.domain.names import parse_transaction_id
from billvend.domain.payment import Payment
from billvend.domain.quote import quoted
from billvend.usecases.note import note_payment
from billvend.usecases.notify import tell_workers_of
from billvend.usecases.parts import Parts, carry_out


def cancel(parts: Parts, transaction_id: str) -> Payment:
    """Release a payment of which nothing was sent, with proof `not_sent`.

    Raises `TransactionNotFound`; `AlreadySent` once a request may have reached the provider; `Unavailable`.
    """
    found = parts.books.transaction(parse_transaction_id(transaction_id))
    if not isinstance(found, Payment):
        raise TransactionNotFound(f"There is no payment {quoted(transaction_id)}.")
    command = Cancel(found.user_id, parts.clock.new_id(), found.transaction_id, parts.clock.now())
    cancelled = carry_out(parts, command).payment or found
    note_payment(parts, cancelled, command.at)
    tell_workers_of(parts, cancelled, command.at)
    return cancelled
