"""Nudge: somebody hints that a provider has news, and the next requery comes forward."""

from billvend.domain.commands import Nudge
from billvend.domain.payment import Payment
from billvend.ports.books import Search
from billvend.ports.queue import Hint
from billvend.usecases.breaker import policy_now
from billvend.usecases.parts import Parts, carry_out
from billvend.usecases.settle import tell

MOST_OF_A_REFERENCE = 10


def nudge(parts: Parts, payment: Payment, source: str, reference: str | None = None) -> Hint:
    """Bring the next requery of a payment forward; see `billvend.domain.commands.Nudge`. Raises `Unavailable`."""
    user_id, transaction_id = payment.user_id, payment.transaction_id
    command = Nudge(
        user_id, parts.clock.new_id(), transaction_id, parts.clock.now(), policy_now(parts), source, reference
    )
    hint = Hint(user_id, transaction_id)
    tell(parts, hint, carry_out(parts, command).reply)
    return hint


def nudge_reference(parts: Parts, reference: str, source: str) -> list[Hint]:
    """The same for whichever payment sent this reference; empty where none did. Raises `Unavailable`."""
    found = parts.books.search(Search(kind="payment", reference=reference, limit=MOST_OF_A_REFERENCE))
    return [nudge(parts, payment, source, reference) for payment in found if isinstance(payment, Payment)]
