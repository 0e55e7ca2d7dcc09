"""All errors that billvend raises on purpose, as one tree.

    BillvendError
    ├── Rejected                billvend rejected it; nothing was done, no money moved
    │   ├── InvalidInput        the request itself is wrong: correct it
    │   │   ├── InvalidAmount, UnsupportedCurrency, InvalidMeter, UnknownBiller, ValidationFailed
    │   │   └── MeterNotFound, MeterCannotVend, WrongMeterType, BelowMinimum    stated by the provider
    │   ├── ResourceNotFound    WalletNotFound, TransactionNotFound
    │   ├── InsufficientFunds
    │   └── Conflict            IdempotencyMismatch, RequestInProgress, LikelyDuplicate, AlreadySent, NotInReview
    ├── DependencyError         a dependency is unavailable
    │   ├── Unavailable         nothing was done
    │   ├── ProviderUnavailable no provider sells it now, and nothing was held
    │   └── OutcomeUnknown      the command may or may not be in the journal: repeat it with its key
    ├── ConfigurationError      the configuration is wrong: nothing was started
    └── InvalidTransition       a bug in billvend: a change of status that the rules forbid

Each class has a stable `code`, which the API and the CLI show. The message is one line for people: what happened, what
was or was not done with the money, what to do now. `billvend.presentation.errors` has the HTTP status and the exit status
of each class.
"""

from collections.abc import Mapping
from typing import ClassVar


class BillvendError(Exception):
    """Any error that billvend raises on purpose. `str(error)` is one line for people."""

    code: ClassVar[str] = "internal"

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        """A class without a `code` of its own has that of its parent."""
        super().__init_subclass__()
        cls.code = code or cls.code

    def __init__(self, message: str | None = None, *, fields: Mapping[str, str] | None = None) -> None:
        """The default message is the docstring of the class, as one line."""
        self.message = message or " ".join((self.__doc__ or "").split())
        super().__init__(self.message)
        self.fields: dict[str, str] = dict(fields or {})
        """What was wrong, by the name of the field. Empty if the error is not about single fields."""


class Rejected(BillvendError):
    """billvend rejected the request before it did anything. No money moved, and nothing was sent to a provider."""


class InvalidInput(Rejected, code="validation_failed"):
    """The request itself is wrong. Sent again unchanged, it is rejected again."""


class ValidationFailed(InvalidInput):
    """A field is missing, too long or of the wrong kind. `fields` names each."""


class InvalidAmount(InvalidInput, code="invalid_amount"):
    """An amount that is not a positive sum of money within the limits."""


class UnsupportedCurrency(InvalidInput, code="unsupported_currency"):
    """A currency that billvend does not keep wallets in."""


class InvalidMeter(InvalidInput, code="invalid_meter"):
    """A meter number that is not 10 to 16 digits."""


class UnknownBiller(InvalidInput, code="unknown_biller"):
    """An electricity company that no configured provider sells for."""


class MeterNotFound(InvalidInput, code="meter_not_found"):
    """The provider does not know this meter. Nothing was held."""


class MeterCannotVend(InvalidInput, code="meter_cannot_vend"):
    """The provider knows the meter, but does not sell to it. Nothing was held."""


class WrongMeterType(InvalidInput, code="wrong_meter_type"):
    """The meter is postpaid and prepaid was requested, or the reverse. Nothing was held."""


class BelowMinimum(InvalidInput, code="below_minimum"):
    """The amount is below the minimum of this meter. Nothing was held."""


class ResourceNotFound(Rejected, code="not_found"):
    """The wallet or transaction does not exist."""


class WalletNotFound(ResourceNotFound, code="wallet_not_found"):
    """The user has no wallet in this currency, because none was ever funded."""


class TransactionNotFound(ResourceNotFound, code="transaction_not_found"):
    """No transaction has this id."""


class InsufficientFunds(Rejected, code="insufficient_funds"):
    """The available balance is less than the amount of the payment. Nothing was held."""


class Conflict(Rejected, code="conflict"):
    """The request contradicts an earlier one, or the state of the payment."""


class IdempotencyMismatch(Conflict, code="idempotency_mismatch"):
    """The key was used before for another request. The earlier one is unchanged. This one did nothing."""


class RequestInProgress(Conflict, code="request_in_progress"):
    """The first request with this key is still in progress. Nothing was done. Repeat it in a moment."""


class LikelyDuplicate(Conflict, code="likely_duplicate"):
    """The same bill was paid seconds ago without a key, probably by a double click. Nothing was held."""


class AlreadySent(Conflict, code="already_sent"):
    """The payment can't be cancelled: a request may have reached the provider, or the payment has ended."""


class NotInReview(Conflict, code="not_in_review"):
    """A person has nothing to decide: the payment is not in doubt, and has no open incident."""


class DependencyError(BillvendError, code="unavailable"):
    """A dependency of billvend does not answer."""


class Unavailable(DependencyError):
    """A dependency is unavailable, and nothing was done. Try again."""

    def __init__(self, message: str, advice: str = "", *, detail: str | None = None) -> None:
        """`message` says what happened, `advice` what to do. `detail` is the message of the dependency itself.

        Operators see it in brackets after `message`. It is never sent to API clients: it may name hosts.
        """
        shown = message if detail is None else f"{message.removesuffix('.')} ({detail})."
        super().__init__(f"{shown} {advice}".rstrip())
        self.public_message = f"{message} {advice}".rstrip()
        """The message for API clients, without `detail`."""
        self.detail = detail


class ProviderUnavailable(DependencyError, code="provider_unavailable"):
    """No provider sells for this biller now: it does not answer, or sales there are suspended. Nothing was held."""


class OutcomeUnknown(DependencyError, code="outcome_unknown"):
    """The connection broke during the commit of a command, and the database stays unavailable.

    The command may or may not be in the journal. It is safe to repeat it with `idempotency_key`: it is done at most once.
    """

    def __init__(self, message: str, *, transaction_id: str | None, idempotency_key: str) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.idempotency_key = idempotency_key


class ConfigurationError(BillvendError, code="bad_setting"):
    """A setting is unknown or malformed, or contradicts another one. Nothing was started."""


class InvalidTransition(BillvendError, code="illegal_move"):
    """A bug in billvend: a payment would have changed its status in a way that the rules forbid. Nothing was written."""
