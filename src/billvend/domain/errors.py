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
was or was not done with the money, what to do now. The CLI maps the classes to exit statuses, the API to HTTP statuses.
"""

from collections.abc import Mapping
from typing import ClassVar


class BillvendError(Exception):
    """Any error that billvend raises on purpose. `str(error)` is one line for people."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields: dict[str, str] = dict(fields or {})
        """What was wrong, by the name of the field. Empty if the error is not about single fields."""


class Rejected(BillvendError):
    """billvend rejected the request before it did anything. No money moved, and nothing was sent to a provider."""


class InvalidInput(Rejected):
    """The request itself is wrong. Sent again unchanged, it is rejected again."""

    code = "validation_failed"


class ValidationFailed(InvalidInput):
    """A field is missing, too long or of the wrong kind. `fields` names each."""

    code = "validation_failed"


class InvalidAmount(InvalidInput):
    """An amount that is not a positive sum of money within the limits."""

    code = "invalid_amount"


class UnsupportedCurrency(InvalidInput):
    """A currency that billvend does not keep wallets in."""

    code = "unsupported_currency"


class InvalidMeter(InvalidInput):
    """A meter number that is not 10 to 16 digits."""

    code = "invalid_meter"


class UnknownBiller(InvalidInput):
    """An electricity company that no configured provider sells for."""

    code = "unknown_biller"


class MeterNotFound(InvalidInput):
    """The provider does not know this meter. Nothing was held."""

    code = "meter_not_found"


class MeterCannotVend(InvalidInput):
    """The provider knows the meter, but does not sell to it. Nothing was held."""

    code = "meter_cannot_vend"


class WrongMeterType(InvalidInput):
    """The meter is postpaid and prepaid was requested, or the reverse. Nothing was held."""

    code = "wrong_meter_type"


class BelowMinimum(InvalidInput):
    """The amount is below the minimum of this meter. Nothing was held."""

    code = "below_minimum"


class ResourceNotFound(Rejected):
    """The wallet or transaction does not exist."""

    code = "not_found"


class WalletNotFound(ResourceNotFound):
    """The user has no wallet in this currency, because none was ever funded."""

    code = "wallet_not_found"


class TransactionNotFound(ResourceNotFound):
    """No transaction has this id."""

    code = "transaction_not_found"


class InsufficientFunds(Rejected):
    """The available balance is less than the amount of the payment. Nothing was held."""

    code = "insufficient_funds"


class Conflict(Rejected):
    """The request contradicts an earlier one, or the state of the payment."""

    code = "conflict"


class IdempotencyMismatch(Conflict):
    """The key was used before for another request. The earlier one is unchanged. This one did nothing."""

    code = "idempotency_mismatch"


class RequestInProgress(Conflict):
    """The first request with this key is still in progress. Nothing was done now. Repeat it in a moment."""

    code = "request_in_progress"


class LikelyDuplicate(Conflict):
    """The same bill was paid seconds ago without a key, probably by a double click. Nothing was held."""

    code = "likely_duplicate"


class AlreadySent(Conflict):
    """The payment can't be cancelled: a request may have reached the provider, or the payment has ended."""

    code = "already_sent"


class NotInReview(Conflict):
    """A person has nothing to decide: the payment is not in doubt, and has no open incident."""

    code = "not_in_review"


class DependencyError(BillvendError):
    """A dependency of billvend does not answer."""

    code = "unavailable"


class Unavailable(DependencyError):
    """A dependency is unavailable, and nothing was done. Try again."""

    code = "unavailable"

    def __init__(
        self, message: str, *, detail: str | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        """`detail` is the message of the dependency. Operators see it in brackets after the first sentence.

        It is never sent to API clients: it may name hosts.
        """
        what, stop, rest = message.partition(". ")
        super().__init__(message if detail is None else f"{what} ({detail}){stop}{rest}", fields=fields)
        self.public_message = message
        """The message for API clients, without `detail`."""
        self.detail = detail


class ProviderUnavailable(DependencyError):
    """No provider sells for this biller now: it does not answer, or sales there are suspended. Nothing was held."""

    code = "provider_unavailable"


class OutcomeUnknown(DependencyError):
    """The connection broke during the commit of a command, and the database stays unavailable.

    The command may or may not be in the journal. It is safe to repeat it with `idempotency_key`: it is done at most once.
    """

    code = "outcome_unknown"

    def __init__(self, message: str, *, transaction_id: str | None, idempotency_key: str) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.idempotency_key = idempotency_key


class ConfigurationError(BillvendError):
    """A setting is unknown or malformed, or contradicts another one. Nothing was started."""

    code = "bad_setting"


class InvalidTransition(BillvendError):
    """A bug in billvend: a payment would have changed its status in a way that the rules forbid. Nothing was written."""

    code = "illegal_move"
