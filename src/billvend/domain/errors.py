"""Everything that billvend refuses or fails at, as one tree.

    BillvendError
    ├── Rejected                billvend said no; nothing was done, no money moved
    │   ├── InvalidInput        the request itself is wrong: mend it
    │   │   ├── InvalidAmount, UnsupportedCurrency, InvalidMeter, UnknownBiller, ValidationFailed
    │   │   └── MeterNotFound, MeterCannotVend, WrongMeterType, BelowMinimum    as the provider says
    │   ├── ResourceNotFound    WalletNotFound, TransactionNotFound
    │   ├── InsufficientFunds
    │   └── Conflict            IdempotencyMismatch, RequestInProgress, LikelyDuplicate, AlreadySent, NotInReview
    ├── DependencyError         a part is away
    │   ├── Unavailable         nothing was done
    │   ├── ProviderUnavailable nothing is sold there now, and nothing was held
    │   └── OutcomeUnknown      the command may or may not be on the books: repeat it with its key
    ├── ConfigurationError      the configuration is wrong: nothing was started
    └── InvalidTransition       a bug in billvend: a status was asked to change in a way the rules forbid

Each class carries a stable `code`, which every door shows. The message is one line for people: what happened, what was
or was not done with the money, what to do now. The doors map the classes to exit statuses and HTTP statuses.
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
        """What was wrong, by the name of the field; empty where no single field is to blame."""


class Rejected(BillvendError):
    """billvend said no before anything was done: no money moved, and nothing was sent to a provider."""


class InvalidInput(Rejected):
    """The request is wrong in itself; sending it again unchanged gets the same refusal."""

    code = "validation_failed"


class ValidationFailed(InvalidInput):
    """A field is missing, too long or not of its kind. `fields` names each."""

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
    """The provider knows no such meter. Nothing was held."""

    code = "meter_not_found"


class MeterCannotVend(InvalidInput):
    """The provider knows the meter and does not sell to it. Nothing was held."""

    code = "meter_cannot_vend"


class WrongMeterType(InvalidInput):
    """The meter is paid for the other way: prepaid for postpaid, or the reverse. Nothing was held."""

    code = "wrong_meter_type"


class BelowMinimum(InvalidInput):
    """The meter itself takes no payment as small as this. Nothing was held."""

    code = "below_minimum"


class ResourceNotFound(Rejected):
    """What was named does not exist."""

    code = "not_found"


class WalletNotFound(ResourceNotFound):
    """The user has no wallet in this currency: nothing was ever funded."""

    code = "wallet_not_found"


class TransactionNotFound(ResourceNotFound):
    """No transaction has this id."""

    code = "transaction_not_found"


class InsufficientFunds(Rejected):
    """The wallet holds less than the payment asks for. Nothing was held."""

    code = "insufficient_funds"


class Conflict(Rejected):
    """The request contradicts something that already happened."""

    code = "conflict"


class IdempotencyMismatch(Conflict):
    """The key was used before for another request. The earlier one stands; this one did nothing."""

    code = "idempotency_mismatch"


class RequestInProgress(Conflict):
    """The first request with this key is still at work. Nothing was done now: repeat it in a moment."""

    code = "request_in_progress"


class LikelyDuplicate(Conflict):
    """The same bill was paid seconds ago without a key: a likely double click. Nothing was held."""

    code = "likely_duplicate"


class AlreadySent(Conflict):
    """The payment can't be cancelled: a request may have reached the provider, or it has ended."""

    code = "already_sent"


class NotInReview(Conflict):
    """There is nothing for a person to decide: the payment is not in doubt, and has no open incident."""

    code = "not_in_review"


class DependencyError(BillvendError):
    """A part that billvend needs does not answer."""

    code = "unavailable"


class Unavailable(DependencyError):
    """A part is away, and nothing was done: try again."""

    code = "unavailable"

    def __init__(
        self, message: str, *, detail: str | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        """`detail` is what the part itself said: it goes into brackets behind the first sentence, and to nobody outside."""
        what, stop, rest = message.partition(". ")
        super().__init__(message if detail is None else f"{what} ({detail}){stop}{rest}", fields=fields)
        self.public_message = message
        """The message for who does not run this billvend."""
        self.detail = detail


class ProviderUnavailable(DependencyError):
    """Nothing is sold for this biller now: the provider can't be asked, or selling there has been stopped for a while.

    Nothing was held.
    """

    code = "provider_unavailable"


class OutcomeUnknown(DependencyError):
    """The connection broke while the command was being committed, and the database stays away.

    The command may or may not be on the books. Repeating it with `idempotency_key` is safe: it is done at most once.
    """

    code = "outcome_unknown"

    def __init__(self, message: str, *, transaction_id: str | None, idempotency_key: str) -> None:
        super().__init__(message)
        self.transaction_id = transaction_id
        self.idempotency_key = idempotency_key


class ConfigurationError(BillvendError):
    """A setting is unknown, malformed or contradicts another one. Nothing was started."""

    code = "bad_setting"


class InvalidTransition(BillvendError):
    """A bug: a payment was asked to change status in a way that the rules forbid. Nothing was written."""

    code = "illegal_move"
