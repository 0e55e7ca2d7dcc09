"""The closed sets of words that the API, the CLI and the database share."""

from enum import StrEnum


class VendType(StrEnum):
    """How a meter is paid for: in advance, with a token to type in, or afterwards, by account."""

    PREPAID = "prepaid"
    POSTPAID = "postpaid"


class Status(StrEnum):
    """The status of a payment."""

    PENDING = "pending"
    PROCESSING = "processing"
    IN_DOUBT = "in_doubt"
    IN_REVIEW = "in_review"
    COMPLETED = "completed"
    REVERSING = "reversing"
    REVERSED = "reversed"


class Proof(StrEnum):
    """Why it is safe to give the money back."""

    DECLINED = "declined"
    NOT_SENT = "not_sent"
    NOT_EXECUTED = "not_executed"
    NOT_FOUND = "not_found"
    PROVIDER_REVERSED = "provider_reversed"
    OPERATOR = "operator"


class IncidentKind(StrEnum):
    """What can turn up after a payment's end."""

    ANOTHER_TOKEN = "another_token"  # noqa: S105  a kind of incident, not a secret
    TAKEN_BACK = "taken_back"
    DELIVERED_AFTER_REVERSAL = "delivered_after_reversal"
    DELIVERED_TWICE = "delivered_twice"
    TOKEN_OF_ANOTHER = "token_of_another"  # noqa: S105  as above
    """The token that completed a payment had completed another payment before."""


class OperatorDecision(StrEnum):
    """What a person may decide about a payment."""

    DELIVERED = "delivered"
    """It was sold: the hold is captured."""
    REVERSE = "reverse"
    """It was not sold: the hold is released, with proof `operator`."""
    ACKNOWLEDGED = "acknowledged"
    """Its incidents have been dealt with. They are not shown any more."""
