"""What VTpass's codes and statuses mean. Data only.

What a code proves depends on the call:

| kind          | answer to /pay                     | answer to /requery                 |
| ------------- | ---------------------------------- | ---------------------------------- |
| BY_STATUS     | the transaction's status decides   | the transaction's status decides   |
| RESOLVED      | only delivered or reversed count   | only delivered or reversed count   |
| FAILED        | declined                           | declined, the transaction itself   |
| REVERSED      | declined, reversed                 | the same, the transaction itself   |
| REJECTED      | declined, this request             | nothing: it is about the requery   |
| MISCONFIGURED | our set-up is wrong                | nothing: it is about the requery   |
| TOO_SOON      | deferred                           | nothing: it is about the requery   |
| NOT_FOUND     | nothing                            | not found                          |
| ACKNOWLEDGED  | in doubt, the reference is known   | in doubt, the reference is known   |
| INCONCLUSIVE  | nothing                            | nothing                            |

A status that contradicts its code leaves the transaction in doubt. So does an unlisted code.
"""

from enum import Enum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

SANDBOX_URL: Final = "https://sandbox.vtpass.com/api"


class CodeKind(Enum):
    """What a code means. See the table above."""

    BY_STATUS = auto()
    RESOLVED = auto()
    FAILED = auto()
    REVERSED = auto()
    REJECTED = auto()
    MISCONFIGURED = auto()
    TOO_SOON = auto()
    NOT_FOUND = auto()
    ACKNOWLEDGED = auto()
    INCONCLUSIVE = auto()


class Code(NamedTuple):
    """A code and its meaning in our words. Customers read ours, because a provider's text may contain anything."""

    kind: CodeKind
    meaning: str


CODES: Final = MappingProxyType(
    {
        "000": Code(CodeKind.BY_STATUS, "the transaction is processed"),
        "001": Code(CodeKind.BY_STATUS, "the transaction was looked up"),
        "010": Code(CodeKind.REJECTED, "the variation code does not exist"),
        "011": Code(CodeKind.REJECTED, "arguments are missing or invalid"),
        "012": Code(CodeKind.REJECTED, "the product does not exist"),
        "013": Code(CodeKind.REJECTED, "the amount is below the minimum"),
        "014": Code(CodeKind.ACKNOWLEDGED, "the request id exists already"),
        "015": Code(CodeKind.NOT_FOUND, "the request id is not known"),
        "016": Code(CodeKind.FAILED, "the transaction failed"),
        "017": Code(CodeKind.REJECTED, "the amount is above the maximum"),
        "018": Code(CodeKind.MISCONFIGURED, "our balance at VTpass is too low"),
        "019": Code(CodeKind.TOO_SOON, "the same meter was paid for less than 30 s ago"),
        # "Biller confirmed", an answer to verification. Clients saw it on failed purchases, so a requery decides.
        "020": Code(CodeKind.INCONCLUSIVE, "the biller is confirmed"),
        "021": Code(CodeKind.MISCONFIGURED, "our account is locked"),
        "022": Code(CodeKind.MISCONFIGURED, "our account is suspended"),
        "023": Code(CodeKind.MISCONFIGURED, "API access is not enabled for our account"),
        "024": Code(CodeKind.MISCONFIGURED, "our account is inactive"),
        "025": Code(CodeKind.REJECTED, "the bank code is invalid"),
        "026": Code(CodeKind.REJECTED, "the bank account is not verified"),
        "027": Code(CodeKind.MISCONFIGURED, "our IP address is not whitelisted"),
        "028": Code(CodeKind.MISCONFIGURED, "the product is not whitelisted for our account"),
        "030": Code(CodeKind.REJECTED, "the electricity company can't be reached"),
        "031": Code(CodeKind.REJECTED, "the quantity is below the minimum"),
        "032": Code(CodeKind.REJECTED, "the quantity is above the maximum"),
        "034": Code(CodeKind.REJECTED, "the service is suspended"),
        "035": Code(CodeKind.REJECTED, "the service is inactive"),
        "040": Code(CodeKind.REVERSED, "the transaction was reversed"),
        "044": Code(CodeKind.RESOLVED, "the transaction is resolved: ask VTpass"),
        "083": Code(CodeKind.INCONCLUSIVE, "VTpass has a system error"),
        "085": Code(
            CodeKind.MISCONFIGURED, "the request id is not of today in Lagos or malformed: check the clock"
        ),
        "087": Code(CodeKind.MISCONFIGURED, "our credentials are not accepted"),
        "089": Code(CodeKind.ACKNOWLEDGED, "the request is still being processed"),
        # About the transaction, not the request: it was not processed and nothing was charged.
        "091": Code(CodeKind.FAILED, "the transaction was not processed and not charged"),
        "099": Code(CodeKind.BY_STATUS, "the transaction is being processed"),
    }
)

UNLISTED: Final = Code(CodeKind.INCONCLUSIVE, "VTpass gave an answer that is in no table")

ACKNOWLEDGING_KINDS: Final = frozenset(
    {CodeKind.BY_STATUS, CodeKind.RESOLVED, CodeKind.ACKNOWLEDGED, CodeKind.FAILED, CodeKind.REVERSED}
)
"""The kinds that prove that VTpass knows the reference."""

SAME_METER_RETRY_SECONDS: Final = 31
"""After TOO_SOON. VTpass accepts the same meter again after 30 s."""


class TransactionStatus(Enum):
    """What the status of a transaction means."""

    DELIVERED = auto()
    IN_PROGRESS = auto()
    FAILED = auto()
    REVERSED = auto()
    OTHER = auto()
    """Any other text. It proves nothing but that there is a status."""


STATUS_BY_TEXT: Final = MappingProxyType(
    {
        "delivered": TransactionStatus.DELIVERED,
        "successful": TransactionStatus.DELIVERED,
        "initiated": TransactionStatus.IN_PROGRESS,
        "pending": TransactionStatus.IN_PROGRESS,
        "failed": TransactionStatus.FAILED,
        "reversed": TransactionStatus.REVERSED,
    }
)
"""By `content.transactions.status` in lower case. "resolved" is left out: it does not say how."""
