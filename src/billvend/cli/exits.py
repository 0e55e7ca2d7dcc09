"""Exit statuses, and the one table of exit statuses by error."""

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import typer

from billvend.domain.enums import Status
from billvend.domain.errors import (
    BillvendError,
    ConfigurationError,
    Conflict,
    DependencyError,
    InsufficientFunds,
    InvalidInput,
    LikelyDuplicate,
    OutcomeUnknown,
    ResourceNotFound,
)


class Exit(IntEnum):
    """The exit status of a command."""

    DONE = 0
    """Done. With `--no-wait`: accepted."""
    FAILED = 1
    """Internal error."""
    USAGE = 2
    """The command line, its input or a setting is wrong. Nothing was done."""
    NOT_FOUND = 3
    INSUFFICIENT_FUNDS = 4
    CONFLICT = 5
    """The key was used for something else, a likely double click, or it was sent already."""
    REVERSED = 6
    """The payment ended reversed: the money is released."""
    UNFINISHED = 7
    """The wait ran out before the payment ended. Its money stays held, and it continues."""
    DIFFERENCE = 8
    """An audit found a difference, or a payment differs from its deposit."""
    UNAVAILABLE = 9
    """A dependency is unavailable, or the outcome of the command is unknown."""
    INTERRUPTED = 130
    """Ctrl-C: 128 and the number of SIGINT, as in shells."""
    BROKEN_PIPE = 141
    """The reader of the output closed it: 128 and the number of SIGPIPE, as in shells."""


ERROR_EXIT: Final[tuple[tuple[type[BillvendError], Exit], ...]] = (
    (InvalidInput, Exit.USAGE),
    (ConfigurationError, Exit.USAGE),
    (ResourceNotFound, Exit.NOT_FOUND),
    (InsufficientFunds, Exit.INSUFFICIENT_FUNDS),
    (Conflict, Exit.CONFLICT),
    (DependencyError, Exit.UNAVAILABLE),
    (BillvendError, Exit.FAILED),
)
"""The first class that fits decides."""


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
            status = next(status for error_class, status in ERROR_EXIT if isinstance(error, error_class))
            return Failure(status, error.code, error.message, error.fields)
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
