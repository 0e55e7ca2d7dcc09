"""How a command fails: its exit status and its message."""

import re
from dataclasses import dataclass, field

import typer

from billvend.domain.enums import Status
from billvend.domain.errors import BillvendError, LikelyDuplicate, OutcomeUnknown
from billvend.presentation.errors import Exit as Exit
from billvend.presentation.errors import statuses_of


def exit_of(status: Status) -> Exit:
    """The exit status of a command that waited for a payment."""
    return {Status.COMPLETED: Exit.DONE, Status.REVERSED: Exit.REVERSED}.get(status, Exit.UNFINISHED)


class FollowFailed(Exception):
    """A payment was accepted, and then waiting for it failed. The payment continues."""

    def __init__(self, transaction_id: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.transaction_id = transaction_id
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command failed: its exit status and its message."""

    status: Exit
    code: str
    message: str
    """For people. May have several lines and any characters."""
    fields: dict[str, str] = field(default_factory=dict)
    extra_members: dict[str, str] = field(default_factory=dict)
    """Further entries of the `error` object."""


def failure_of(error: BaseException) -> Failure:
    """The failure of a command that raised this error."""
    match error:
        case FollowFailed(transaction_id=transaction_id):
            return _follow_failure(transaction_id, failure_of(error.cause))
        case OutcomeUnknown():
            extra_members = {
                "transactionId": error.transaction_id or "",
                "idempotencyKey": error.idempotency_key,
            }
            message = f"{error.message} Transaction: {error.transaction_id}. Key: {error.idempotency_key}"
            return Failure(Exit.UNAVAILABLE, error.code, message, error.fields, extra_members)
        case LikelyDuplicate():
            return Failure(
                Exit.CONFLICT, error.code, f"{error.message} To pay it again, use --allow-duplicate."
            )
        case BillvendError():
            return Failure(statuses_of(type(error))[1], error.code, error.message, error.fields)
        case typer.TyperException():
            return _usage(error)
        case KeyboardInterrupt():
            message = "Interrupted. The command may or may not have been done. Check before you repeat it."
            return Failure(Exit.INTERRUPTED, "interrupted", message)
        case _:
            description = f"{type(error).__name__}: {error}".removesuffix(": ")
            message = f"Internal error: {description}. LOG_LEVEL=debug shows where."
            return Failure(Exit.FAILED, BillvendError.code, message)


def _follow_failure(transaction_id: str, cause: Failure) -> Failure:
    reason = cause.message.partition(". ")[0]  # the other sentences are about a command that was not done
    message = (
        f"The payment {transaction_id} is accepted and its money is held, but it cannot be followed now: {reason}. "
        f"See: billvend show {transaction_id}"
    )
    status = Exit.UNAVAILABLE if cause.status is Exit.UNAVAILABLE else Exit.FAILED
    return Failure(status, cause.code, message, extra_members={"transactionId": transaction_id})


def _usage(error: typer.TyperException) -> Failure:
    message = error.format_message()
    if re.match(r"No such option: -[.\d]", message):  # an amount with a sign looks like an option
        reason = "must be more than zero, without a sign"
        return Failure(Exit.USAGE, "invalid_amount", f"An amount {reason}.", {"amount": reason})
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    hint = f" See: {context.command_path} --help" if context else ""
    stop = "" if message.endswith((".", "?", "!")) else "."
    fields = {parameter.name: message} if parameter else {}
    return Failure(
        Exit.USAGE, "validation_failed" if parameter else "usage", f"{message}{stop}{hint}", fields
    )
