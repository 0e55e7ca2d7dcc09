"""Resolve: a person decides about a payment without a clear answer, or acknowledges an incident."""

import re

from billvend.domain.decisions.commands import Resolve
from billvend.domain.enums import OperatorDecision
from billvend.domain.errors import TransactionNotFound, ValidationFailed
from billvend.domain.ids import parse_transaction_id
from billvend.domain.payment.state import Payment
from billvend.domain.safe_text import safe_repr
from billvend.usecases.account_status import current_policy
from billvend.usecases.activity_log import log_payment
from billvend.usecases.dependencies import Dependencies, execute_command
from billvend.usecases.notifications import enqueue_payment_notification_hint

MAX_TEXT_CHARACTERS = 500
_TOKEN_PATTERN = re.compile("[0-9]{20}")


def resolve(
    deps: Dependencies, transaction_id: str, decision: str, *, operator: str, reason: str, token: str | None
) -> Payment:
    """Complete a payment with a token, reverse it, or acknowledge its incidents.

    Raises `TransactionNotFound`; `NotInReview`; `ValidationFailed` if the token is not 20 digits, or if the reason or
    the operator's name is missing; `Unavailable`.
    """
    payment = deps.queries.transaction(parse_transaction_id(transaction_id))
    if not isinstance(payment, Payment):
        raise TransactionNotFound(f"There is no payment {safe_repr(transaction_id)}.")
    command = Resolve(
        payment.user_id,
        deps.clock.new_id(),
        payment.transaction_id,
        deps.clock.now(),
        current_policy(deps),
        _parse_text(operator, "operator", "operator's name"),
        _parse_decision(decision),
        _parse_text(reason, "reason", "reason"),
        _parse_token(token),
    )
    resolved = execute_command(deps, command).payment or payment
    log_payment(deps, resolved, command.at)
    enqueue_payment_notification_hint(deps, resolved, command.at)
    return resolved


def _parse_decision(value: str) -> OperatorDecision:
    if value in list(OperatorDecision):
        return OperatorDecision(value)
    reason = f"must be one of {', '.join(OperatorDecision)}"
    raise ValidationFailed(
        f"The decision is not accepted: it {reason}. Nothing was changed.", fields={"decision": reason}
    )


def _parse_text(value: object, field: str, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        reason = f"must be 1 to {MAX_TEXT_CHARACTERS} printable characters"
        raise ValidationFailed(
            f"The {name} is not accepted: it {reason}. Nothing was changed.", fields={field: reason}
        )
    return text


def _parse_token(value: object) -> str | None:
    """A token as a person types it, with spaces or hyphens between its groups."""
    if value is None:
        return None
    digits = value.replace(" ", "").replace("-", "") if isinstance(value, str) else ""
    if not _TOKEN_PATTERN.fullmatch(digits) or int(digits) >= 2**66:
        reason = "must be 20 digits, as printed on the receipt"
        raise ValidationFailed(
            f"The token is not accepted: it {reason}. Nothing was changed.", fields={"token": reason}
        )
    return digits
