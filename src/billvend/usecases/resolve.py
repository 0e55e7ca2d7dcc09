"""Resolve: a person decides, while the provider gives no answer, or has dealt with an incident."""

import re

from billvend.domain.commands import Resolve
from billvend.domain.errors import TransactionNotFound, ValidationFailed
from billvend.domain.names import parse_transaction_id
from billvend.domain.payment import Payment
from billvend.domain.quote import quoted
from billvend.domain.words import Verdict
from billvend.usecases.breaker import policy_now
from billvend.usecases.note import note_payment
from billvend.usecases.notify import tell_workers_of
from billvend.usecases.parts import Parts, carry_out

LONGEST_TEXT = 500
_TOKEN = re.compile("[0-9]{20}")


def resolve(
    parts: Parts, transaction_id: str, verdict: str, *, operator: str, reason: str, token: str | None
) -> Payment:
    """Complete a payment with a token, reverse it, or note that its incidents were dealt with.

    Raises `TransactionNotFound`; `NotInReview`; `ValidationFailed` for a token that is not 20 digits, or no reason or
    name; `Unavailable`.
    """
    found = parts.books.transaction(parse_transaction_id(transaction_id))
    if not isinstance(found, Payment):
        raise TransactionNotFound(f"There is no payment {quoted(transaction_id)}.")
    command = Resolve(
        found.user_id,
        parts.clock.new_id(),
        found.transaction_id,
        parts.clock.now(),
        policy_now(parts),
        _text(operator, "operator", "name of whoever decides"),
        _verdict(verdict),
        _text(reason, "reason", "reason"),
        _token(token),
    )
    resolved = carry_out(parts, command).payment or found
    note_payment(parts, resolved, command.at)
    tell_workers_of(parts, resolved, command.at)
    return resolved


def _verdict(value: str) -> Verdict:
    if value in list(Verdict):
        return Verdict(value)
    reason = f"must be one of {', '.join(Verdict)}"
    raise ValidationFailed(f"The verdict is not accepted: it {reason}.", fields={"verdict": reason})


def _text(value: object, field: str, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > LONGEST_TEXT or not text.isprintable():
        reason = f"must be 1 to {LONGEST_TEXT} printable characters"
        raise ValidationFailed(f"The {name} is not accepted: it {reason}.", fields={field: reason})
    return text


def _token(value: object) -> str | None:
    """A token as a person types it, with blanks or hyphens between its groups."""
    if value is None:
        return None
    digits = value.replace(" ", "").replace("-", "") if isinstance(value, str) else ""
    if not _TOKEN.fullmatch(digits) or int(digits) >= 2**66:
        reason = "must be 20 digits, as printed on the receipt"
        raise ValidationFailed(
            f"The token is not accepted: it {reason}. Nothing was changed.", fields={"token": reason}
        )
    return digits
