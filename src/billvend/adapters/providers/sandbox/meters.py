"""How each meter behaves. The documentation prints this table.

The numbers from 1111111111111 to 500000000000 are those of VTpass's own sandbox.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Final

from billvend.adapters.providers.sandbox.sale_record import SaleStatus
from billvend.domain.enums import VendType


class DeliveryFault(StrEnum):
    """How the answer to a send comes back."""

    NONE = "none"
    CONNECTION_CLOSED = "connection_closed"
    """The connection is closed before any answer."""
    HTML_ERROR = "html_error"
    """HTTP 500 with an HTML page."""


class WebhookBehaviour(StrEnum):
    """Which webhooks follow a sale. The sandbox in process sends none."""

    NONE = "none"
    TAKEN_BACK = "taken_back"
    """The sale is reversed shortly after the answer, and the webhook says so."""
    SETTLED = "settled"
    """A pending sale ends shortly after the answer, and the webhook says so."""
    BEFORE_ANSWER = "before_answer"
    FIVE_TIMES = "five_times"
    FORGED = "forged"
    """The webhook says that the sale was reversed, but it was not."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What happens to a send for a meter. The default is an ordinary sale."""

    description: str
    """The text of the table in the documentation."""
    status_after_send: SaleStatus = SaleStatus.VENDED
    """The status of the reference after the send."""
    ends_at_requery: int = 0
    """The requery, counted from 1, at which a received or pending reference changes to `final_status`."""
    final_status: SaleStatus = SaleStatus.VENDED
    reason_code: str = ""
    """Why it is refused or declined. `description` is the same for people."""
    delivery_fault: DeliveryFault = DeliveryFault.NONE
    delay_seconds: float = 0.0
    """Until the answer to the send is delivered. Infinite is never within any deadline."""
    token_from_requery: int = 0
    """The first requery whose answer has the token."""
    echoed_meter: str | None = None
    """The wrong meter that the answer to the send names, if any."""
    vend_types: tuple[VendType, ...] = (VendType.PREPAID, VendType.POSTPAID)
    answer_code: str = ""
    """The false answer to a send that sold, or to all calls while the sale is pending. Empty is a true answer."""
    answers_from_requery: int = 0
    """The first requery that is answered. The connections of earlier ones are cut."""
    accepts_from_requery: int = 0
    """The first requery that is not too early."""
    minimum_minor: int | None = None
    """The smallest amount that is sold, in minor units."""
    is_verification_down: bool = False
    has_key_change: bool = False
    """Whether two tokens that change the meter's key come with the sale. They are typed in before the bought one."""
    webhook: WebhookBehaviour = WebhookBehaviour.NONE


# Why a request is refused or declined.
LOW_FLOAT: Final = "low_float"
NO_SUCH_METER: Final = "no_such_meter"
WRONG_METER_TYPE: Final = "wrong_meter_type"
CANNOT_VEND: Final = "cannot_vend"
BELOW_MINIMUM: Final = "below_minimum"
LIKELY_DUPLICATE: Final = "likely_duplicate"
BAD_CREDENTIALS: Final = "bad_credentials"
MAINTENANCE: Final = "maintenance"
NOT_INITIATED: Final = "not_initiated"
# False answers.
DUPLICATE_REFERENCE: Final = "duplicate_reference"
SYSTEM_ERROR: Final = "system_error"
BAD_GATEWAY: Final = "bad_gateway"
UNAVAILABLE: Final = "unavailable"
UNLISTED_CODE: Final = "unlisted_code"
TOO_EARLY: Final = "too_early"
INITIATED: Final = "initiated"
STILL_PROCESSING: Final = "still_processing"
PLEASE_RETRY: Final = "please_retry"

ORDINARY: Final = Behaviour("delivered")

METERS: Final = MappingProxyType(
    {
        "1111111111111": ORDINARY,
        "12345678901": ORDINARY,
        "1010101010101": Behaviour("postpaid, delivered without a token", vend_types=(VendType.POSTPAID,)),
        "201000000000": Behaviour(
            "pending, delivered at the second requery",
            status_after_send=SaleStatus.PENDING,
            ends_at_requery=2,
        ),
        "300000000000": Behaviour("vended, the answer comes after the deadline", delay_seconds=inf),
        "400000000000": Behaviour(
            "closed without an answer, never vended",
            status_after_send=SaleStatus.REFUSED,
            delivery_fault=DeliveryFault.CONNECTION_CLOSED,
        ),
        "500000000000": Behaviour(
            "vended, the answer is HTTP 500 with HTML", delivery_fault=DeliveryFault.HTML_ERROR
        ),
        "600000000001": Behaviour("declined", status_after_send=SaleStatus.DECLINED, reason_code="failed"),
        "600000000002": Behaviour(
            "our float is empty", status_after_send=SaleStatus.REFUSED, reason_code=LOW_FLOAT
        ),
        "600000000003": Behaviour("vended, connection cut", delivery_fault=DeliveryFault.CONNECTION_CLOSED),
        "600000000004": Behaviour(
            "pending then failed",
            status_after_send=SaleStatus.PENDING,
            ends_at_requery=2,
            final_status=SaleStatus.DECLINED,
            reason_code="failed",
        ),
        "600000000005": Behaviour("slow (3 s)", delay_seconds=3.0),
        "600000000006": Behaviour("vended without a token until the second requery", token_from_requery=2),
        "600000000007": Behaviour(
            "connection cut, not found at first, vended late",
            status_after_send=SaleStatus.RECEIVED,
            ends_at_requery=3,
            delivery_fault=DeliveryFault.CONNECTION_CLOSED,
        ),
        "600000000008": Behaviour(
            "delivered, then reversed, a webhook says so", webhook=WebhookBehaviour.TAKEN_BACK
        ),
        "600000000009": Behaviour("vended, the answer names another meter", echoed_meter="62000000009"),
        "000000000000": Behaviour(
            "no such meter",
            status_after_send=SaleStatus.DECLINED,
            reason_code=NO_SUCH_METER,
        ),
    }
)
"""The meters with a row in the table. `behaviour_of` covers the rest."""

_NOT_A_METER: Final = Behaviour(
    "a meter number has 11 or 13 digits", status_after_send=SaleStatus.DECLINED, reason_code=NO_SUCH_METER
)


def behaviour_of(meter: str) -> Behaviour:
    """How a meter behaves: as in the table, else an ordinary sale for 11 or 13 digits, else declined."""
    digits = len(meter) if meter.isascii() and meter.isdigit() else 0
    return METERS.get(meter) or (ORDINARY if digits in (11, 13) else _NOT_A_METER)
