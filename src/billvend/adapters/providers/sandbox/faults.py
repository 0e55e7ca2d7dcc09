"""How the sandbox behaves: every fault in one table, the meters that have one, and plans of when one strikes.

A plan replaces the behaviour of a meter, of a reference or of the next few sends. The documentation prints both tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from math import inf
from types import MappingProxyType
from typing import Final

from billvend.adapters.providers.sandbox.sale import SaleStatus
from billvend.domain.enums import VendType

MAX_REQUERIES: Final = 1_000_000
"""More requeries than any test makes."""


class DeliveryFault(StrEnum):
    """How the answer to a send comes back."""

    NONE = auto()
    CONNECTION_CLOSED = auto()
    """The connection is closed before any answer."""
    HTML_ERROR = auto()
    """HTTP 500 with an HTML page."""


class Webhook(StrEnum):
    """Which webhooks follow a sale. The sandbox in process sends none."""

    NONE = auto()
    TAKEN_BACK = auto()
    """The sale is reversed shortly after the answer, and the webhook says so."""
    SETTLED = auto()
    """A pending sale ends shortly after the answer, and the webhook says so."""
    BEFORE_ANSWER = auto()
    FIVE_TIMES = auto()
    FORGED = auto()
    """The webhook says that the sale was reversed, but it was not."""


class Lasting(StrEnum):
    """What lasts until the requery with the number `Behaviour.requeries`."""

    NOTHING = auto()
    STATUS = auto()
    """The reference keeps its status after the send, then it gets `Behaviour.final_status`."""
    NO_TOKEN = auto()
    NO_ANSWER = auto()
    """The connections of requeries are cut."""
    TOO_EARLY = auto()
    """Requeries are refused as too early."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What happens to a send. The default is an ordinary sale."""

    description: str
    """The text of the table in the documentation."""
    status: SaleStatus = SaleStatus.VENDED
    """The status of the reference after the send."""
    reason_code: str = ""
    """Why it is refused or declined. `description` is the same for people."""
    answer_code: str = ""
    """The false answer to a send that sold, or to all calls while the sale is pending. Empty is a true answer."""
    delivery: DeliveryFault = DeliveryFault.NONE
    delay_seconds: float = 0.0
    """Until the answer to the send is delivered. Infinite is never within any deadline."""
    lasting: Lasting = Lasting.NOTHING
    requeries: int = 0
    """The requery, counted from 1, at which `lasting` ends."""
    final_status: SaleStatus = SaleStatus.VENDED
    echoed_meter: str | None = None
    """The wrong meter that the answer to the send names, if any."""
    vend_types: tuple[VendType, ...] = (VendType.PREPAID, VendType.POSTPAID)
    minimum_minor: int | None = None
    """The smallest amount that is sold, in minor units."""
    is_verification_down: bool = False
    has_key_change: bool = False
    """Whether two tokens that change the meter's key come with the sale. They are typed in before the bought one."""
    webhook: Webhook = Webhook.NONE

    def lasts(self, what: Lasting, requeries: int) -> bool:
        """Whether this still lasts after so many requeries."""
        return self.lasting is what and requeries < self.requeries


_REFUSED, _RECEIVED, _PENDING, _DECLINED = (
    SaleStatus.REFUSED, SaleStatus.RECEIVED, SaleStatus.PENDING, SaleStatus.DECLINED,
)  # fmt: skip
_CUT, _HTML = DeliveryFault.CONNECTION_CLOSED, DeliveryFault.HTML_ERROR
_PENDING_THEN_DELIVERED: Final = Behaviour(
    "pending, delivered at the second requery", _PENDING, lasting=Lasting.STATUS, requeries=2
)
MINIMUM: Final = "minimum"
VERIFICATION_DOWN: Final = "verification_down"

BEHAVIOUR_BY_FAULT: Final[Mapping[str, Behaviour]] = MappingProxyType({
    "none": Behaviour("delivered"),
    "timeout": Behaviour("vended, the answer comes after the deadline", delay_seconds=inf),
    "drop": Behaviour("closed without an answer, never vended", _REFUSED, delivery=_CUT),
    "cut": Behaviour("vended, connection cut", delivery=_CUT),
    "html_500": Behaviour("vended, the answer is HTTP 500 with HTML", delivery=_HTML),
    "html_500_unsold": Behaviour("never vended, the answer is HTTP 500 with HTML", _REFUSED, delivery=_HTML),
    "slow": Behaviour("slow (3 s)", delay_seconds=3.0),
    "declined": Behaviour("declined", _DECLINED, "failed"),
    "pending_then_delivered": _PENDING_THEN_DELIVERED,
    "pending_then_failed": replace(_PENDING_THEN_DELIVERED, description="pending then failed",
                                   final_status=_DECLINED, reason_code="failed"),
    "pending_for_ever": replace(_PENDING_THEN_DELIVERED, description="pending for ever", requeries=MAX_REQUERIES),
    "initiated_then_delivered": replace(_PENDING_THEN_DELIVERED, answer_code="initiated",
                                        description="in progress (VTpass: 000 and initiated), then delivered"),
    "still_processing": replace(_PENDING_THEN_DELIVERED, answer_code="still_processing",
                                description="in progress (BuyPower: 400 with 201), then delivered"),
    "please_retry": replace(_PENDING_THEN_DELIVERED, answer_code="please_retry",
                            description="not successful, retry (BuyPower: 400 with 202), then delivered"),
    "no_token_until": Behaviour("vended without a token until the second requery", lasting=Lasting.NO_TOKEN, requeries=2),
    "lands_late": Behaviour("connection cut, not found at first, vended late", _RECEIVED, delivery=_CUT,
                            lasting=Lasting.STATUS, requeries=3),
    "other_meter": Behaviour("vended, the answer names another meter", echoed_meter="62000000009"),
    "duplicate_reference": Behaviour("vended, the answer says that the reference was used before",
                                     answer_code="duplicate_reference"),
    "likely_duplicate": Behaviour("refused as a likely duplicate", _REFUSED, "likely_duplicate"),
    "low_float": Behaviour("our float is empty", _REFUSED, "low_float"),
    "bad_credentials": Behaviour("our credentials are refused", _REFUSED, "bad_credentials"),
    "maintenance": Behaviour("the meter is being maintained", _DECLINED, "maintenance"),
    "not_initiated": Behaviour("the transaction was never initiated", _DECLINED, "not_initiated"),
    "system_error": Behaviour("vended, the answer is a system error", answer_code="system_error"),
    "bad_gateway": Behaviour("vended, the answer is a bad gateway", answer_code="bad_gateway"),
    "unavailable": Behaviour("vended, the answer is service unavailable", answer_code="unavailable"),
    "unlisted_code": Behaviour("vended, the answer is an unlisted code", answer_code="unlisted_code"),
    "requery_cut": Behaviour("vended, connection cut, also of the first requeries", delivery=_CUT,
                             lasting=Lasting.NO_ANSWER, requeries=2),
    "requery_too_early": Behaviour("vended, connection cut, early requeries are refused", delivery=_CUT,
                                   lasting=Lasting.TOO_EARLY, requeries=2),
    "key_change": Behaviour("delivered with two tokens that change the meter's key", has_key_change=True),
    "taken_back_with_hook": Behaviour("delivered, then reversed, a webhook says so", webhook=Webhook.TAKEN_BACK),
    "settled_with_hook": replace(_PENDING_THEN_DELIVERED, webhook=Webhook.SETTLED,
                                 description="pending, delivered soon after, a webhook says so"),
    "hook_before_answer": Behaviour("delivered, the webhook comes before the answer", webhook=Webhook.BEFORE_ANSWER),
    "hook_five_times": Behaviour("delivered, the webhook comes five times", webhook=Webhook.FIVE_TIMES),
    "hook_forged": Behaviour("delivered, a forged webhook says that it was reversed", webhook=Webhook.FORGED),
    "no_such_meter": Behaviour("no such meter", _DECLINED, "no_such_meter"),
    "cannot_vend": Behaviour("the meter cannot be sold to", _DECLINED, "cannot_vend"),
    MINIMUM: Behaviour("refused below a minimum amount"),
    VERIFICATION_DOWN: Behaviour("verification is down", is_verification_down=True),
})  # fmt: skip
"""Every fault by its name."""

METERS: Final[Mapping[str, Behaviour]] = MappingProxyType({
    "1111111111111": BEHAVIOUR_BY_FAULT["none"],
    "12345678901": BEHAVIOUR_BY_FAULT["none"],
    "1010101010101": Behaviour("postpaid, delivered without a token", vend_types=(VendType.POSTPAID,)),
    "201000000000": BEHAVIOUR_BY_FAULT["pending_then_delivered"],
    "300000000000": BEHAVIOUR_BY_FAULT["timeout"],
    "400000000000": BEHAVIOUR_BY_FAULT["drop"],
    "500000000000": BEHAVIOUR_BY_FAULT["html_500"],
    "600000000001": BEHAVIOUR_BY_FAULT["declined"],
    "600000000002": BEHAVIOUR_BY_FAULT["low_float"],
    "600000000003": BEHAVIOUR_BY_FAULT["cut"],
    "600000000004": BEHAVIOUR_BY_FAULT["pending_then_failed"],
    "600000000005": BEHAVIOUR_BY_FAULT["slow"],
    "600000000006": BEHAVIOUR_BY_FAULT["no_token_until"],
    "600000000007": BEHAVIOUR_BY_FAULT["lands_late"],
    "600000000008": BEHAVIOUR_BY_FAULT["taken_back_with_hook"],
    "600000000009": BEHAVIOUR_BY_FAULT["other_meter"],
    "000000000000": BEHAVIOUR_BY_FAULT["no_such_meter"],
})  # fmt: skip
"""The meters with a behaviour of their own. Those from 1111111111111 to 500000000000 are of VTpass's own sandbox."""
_NOT_A_METER: Final = Behaviour("a meter number has 11 or 13 digits", _DECLINED, "no_such_meter")


def behaviour_of(meter: str) -> Behaviour:
    """How a meter behaves: as in the table, else an ordinary sale for 11 or 13 digits, else declined."""
    digits = len(meter) if meter.isascii() and meter.isdigit() else 0
    return METERS.get(meter) or (BEHAVIOUR_BY_FAULT["none"] if digits in (11, 13) else _NOT_A_METER)


class InvalidFault(ValueError):
    """An unknown fault, or parameters that it does not have. The message is one line for people."""


@dataclass(frozen=True, slots=True)
class SandboxFault:
    """A fault with its parameters. Raises `InvalidFault` for an unknown fault or a wrong parameter."""

    name: str
    requeries: int | None = None
    """The requery, counted from 1, at which it ends. None is the default of the fault."""
    minimum_minor: int | None = None
    """For `minimum` alone: the smallest amount that is sold, in minor units."""

    def __post_init__(self) -> None:
        known = BEHAVIOUR_BY_FAULT.get(self.name)
        if known is None:
            raise InvalidFault(
                f"there is no fault {self.name!a}. The faults are: {', '.join(BEHAVIOUR_BY_FAULT)}"
            )
        if self.requeries is not None:
            if known.lasting is Lasting.NOTHING:
                raise InvalidFault(f"{self.name} has no parameter requeries")
            if not 1 <= self.requeries <= MAX_REQUERIES:
                raise InvalidFault(f"requeries must be from 1 to {MAX_REQUERIES}")
        if (self.minimum_minor is not None) is not (self.name == MINIMUM):
            raise InvalidFault(f"{MINIMUM} requires an amount, and no other fault has one")

    @property
    def behaviour(self) -> Behaviour:
        """How it changes a send."""
        known = BEHAVIOUR_BY_FAULT[self.name]
        return replace(known, requeries=self.requeries or known.requeries, minimum_minor=self.minimum_minor)

    @property
    def is_for_verification(self) -> bool:
        """Whether it strikes verifications and not sends."""
        return self.name == VERIFICATION_DOWN


def parse_fault(text: str) -> SandboxFault:
    """Parse a fault from a header: `pending_then_failed`, or `pending_then_failed:3` with its requeries.

    Raises `InvalidFault`.
    """
    name, colon, requeries = text.strip().partition(":")
    if colon and not (requeries.isascii() and requeries.isdigit() and len(requeries) <= 7):
        raise InvalidFault("requeries must be a whole number")
    return SandboxFault(name, int(requeries) if colon else None)


class PlanScope(StrEnum):
    """What a plan applies to."""

    METER = auto()
    REFERENCE = auto()
    NEXT = auto()
    """The next sends (for `verification_down`: verifications), for any meter."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault, and when it strikes. A new plan for a meter or a reference replaces the old one."""

    fault: SandboxFault
    scope: PlanScope
    target: str = ""
    """The meter or the reference."""
    times_left: int | None = None
    """How often it still strikes. None is always."""
