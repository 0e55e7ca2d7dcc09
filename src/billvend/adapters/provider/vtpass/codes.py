"""What VTpass's codes and words mean, and what it calls the electricity companies. Data only.

What a code proves depends on the call that it answers:

| kind         | answer to /pay                     | answer to /requery                 |
| ------------ | ---------------------------------- | ---------------------------------- |
| BY_STATUS    | as the transaction's status says   | as the transaction's status says   |
| RESOLVED     | only delivered or reversed count   | only delivered or reversed count   |
| FAILED       | declined                           | declined, the transaction itself   |
| REVERSED     | declined, taken back               | the same, the transaction itself   |
| REFUSED      | declined, this request             | nothing: it speaks of the requery  |
| SET_UP       | our set-up is at fault             | nothing: it speaks of the requery  |
| TOO_SOON     | deferred                           | nothing: it speaks of the requery  |
| NO_SUCH_ID   | nothing                            | not found                          |
| KNOWN        | in doubt, the reference is known   | in doubt, the reference is known   |
| OPEN         | nothing                            | nothing                            |

A status that contradicts its code leaves the transaction in doubt, and so does a code that is not listed.
"""

from enum import Enum, auto
from types import MappingProxyType
from typing import Final, NamedTuple

SANDBOX_URL: Final = "https://sandbox.vtpass.com/api"


class Kind(Enum):
    """What a code says; see the table above."""

    BY_STATUS = auto()
    RESOLVED = auto()
    FAILED = auto()
    REVERSED = auto()
    REFUSED = auto()
    SET_UP = auto()
    TOO_SOON = auto()
    NO_SUCH_ID = auto()
    KNOWN = auto()
    OPEN = auto()


class Code(NamedTuple):
    """A code and its meaning in our words: a provider's own text may hold anything, and customers read ours."""

    kind: Kind
    words: str


CODES: Final = MappingProxyType(
    {
        "000": Code(Kind.BY_STATUS, "the transaction is processed"),
        "001": Code(Kind.BY_STATUS, "the transaction was looked up"),
        "010": Code(Kind.REFUSED, "the variation code does not exist"),
        "011": Code(Kind.REFUSED, "arguments are missing or invalid"),
        "012": Code(Kind.REFUSED, "the product does not exist"),
        "013": Code(Kind.REFUSED, "the amount is below the minimum"),
        "014": Code(Kind.KNOWN, "the request id exists already"),
        "015": Code(Kind.NO_SUCH_ID, "the request id is not known"),
        "016": Code(Kind.FAILED, "the transaction failed"),
        "017": Code(Kind.REFUSED, "the amount is above the maximum"),
        "018": Code(Kind.SET_UP, "our balance at VTpass is too low"),
        "019": Code(Kind.TOO_SOON, "the same meter was paid for less than 30 s ago"),
        # Says "biller confirmed", an answer to verification. Clients saw it on failed purchases: asking tells.
        "020": Code(Kind.OPEN, "the biller is confirmed"),
        "021": Code(Kind.SET_UP, "our account is locked"),
        "022": Code(Kind.SET_UP, "our account is suspended"),
        "023": Code(Kind.SET_UP, "API access is not enabled for our account"),
        "024": Code(Kind.SET_UP, "our account is inactive"),
        "025": Code(Kind.REFUSED, "the bank code is invalid"),
        "026": Code(Kind.REFUSED, "the bank account is not verified"),
        "027": Code(Kind.SET_UP, "our IP address is not whitelisted"),
        "028": Code(Kind.SET_UP, "the product is not whitelisted for our account"),
        "030": Code(Kind.REFUSED, "the electricity company can't be reached"),
        "031": Code(Kind.REFUSED, "the quantity is below the minimum"),
        "032": Code(Kind.REFUSED, "the quantity is above the maximum"),
        "034": Code(Kind.REFUSED, "the service is suspended"),
        "035": Code(Kind.REFUSED, "the service is inactive"),
        "040": Code(Kind.REVERSED, "the transaction was reversed"),
        "044": Code(Kind.RESOLVED, "the transaction is resolved: ask VTpass"),
        "083": Code(Kind.OPEN, "VTpass has a system error"),
        "085": Code(Kind.SET_UP, "the request id is not of today in Lagos or malformed: check the clock"),
        "087": Code(Kind.SET_UP, "our credentials are not accepted"),
        "089": Code(Kind.KNOWN, "the request is still being processed"),
        # Speaks of the transaction, not of the request: it was not processed, and nothing was charged for it.
        "091": Code(Kind.FAILED, "the transaction was not processed and not charged"),
        "099": Code(Kind.BY_STATUS, "the transaction is being processed"),
    }
)

UNLISTED: Final = Code(Kind.OPEN, "VTpass gave an answer that is in no table")

ACKNOWLEDGING: Final = frozenset({Kind.BY_STATUS, Kind.RESOLVED, Kind.KNOWN, Kind.FAILED, Kind.REVERSED})
"""The kinds that show that VTpass knows the reference."""

RETRY_AFTER_SECONDS: Final = 31
"""After TOO_SOON: VTpass takes the same meter again after 30 s."""


class Stated(Enum):
    """What the status of a transaction says."""

    DELIVERED = auto()
    UNDER_WAY = auto()
    FAILED = auto()
    REVERSED = auto()
    OTHER = auto()
    """Anything else: it is there, and proves nothing."""


STATUSES: Final = MappingProxyType(
    {
        "delivered": Stated.DELIVERED,
        "successful": Stated.DELIVERED,
        "initiated": Stated.UNDER_WAY,
        "pending": Stated.UNDER_WAY,
        "failed": Stated.FAILED,
        "reversed": Stated.REVERSED,
    }
)
"""By `content.transactions.status`, in small letters. "resolved" is left out: it does not say how."""

SERVICE_IDS: Final = MappingProxyType(
    {
        "EKEDC": "eko-electric",
        "IKEDC": "ikeja-electric",
        "AEDC": "abuja-electric",
        "IBEDC": "ibadan-electric",
        "KEDCO": "kano-electric",
        "PHED": "portharcourt-electric",
        "JED": "jos-electric",
        "KAEDCO": "kaduna-electric",
        "EEDC": "enugu-electric",
        "BEDC": "benin-electric",
        "YEDC": "yola-electric",
        "ABA": "aba-electric",
    }
)
"""VTpass's serviceID of each electricity company, by our code."""
