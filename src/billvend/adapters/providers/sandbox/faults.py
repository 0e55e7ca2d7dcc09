"""The faults by name, and plans of when they strike.

A plan replaces the behaviour of a meter, of a reference or of the next few sends. Plans are stored in the file of the
sales store, so they survive a restart and every process sees them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from billvend.adapters.providers.sandbox import meters
from billvend.adapters.providers.sandbox.meters import (
    METERS,
    ORDINARY,
    Behaviour,
    DeliveryFault,
    WebhookBehaviour,
)
from billvend.adapters.providers.sandbox.sale_record import SaleStatus

MAX_REQUERIES: Final = 1_000_000
"""More requeries than any test makes."""
VERIFICATION_DOWN: Final = "verification_down"
MINIMUM: Final = "minimum"

_REFUSED, _DECLINED, _PENDING = SaleStatus.REFUSED, SaleStatus.DECLINED, SaleStatus.PENDING

BEHAVIOUR_BY_FAULT: Final[Mapping[str, Behaviour]] = MappingProxyType(
    {
        "none": ORDINARY,
        "timeout": METERS["300000000000"],
        "drop": METERS["400000000000"],
        "cut": METERS["600000000003"],
        "html_500": METERS["500000000000"],
        "html_500_unsold": Behaviour(
            "never vended, the answer is HTTP 500 with HTML",
            status_after_send=_REFUSED,
            delivery_fault=DeliveryFault.HTML_ERROR,
        ),
        "slow": METERS["600000000005"],
        "declined": METERS["600000000001"],
        "pending_then_delivered": METERS["201000000000"],
        "pending_then_failed": METERS["600000000004"],
        "pending_for_ever": Behaviour(
            "pending for ever", status_after_send=_PENDING, ends_at_requery=MAX_REQUERIES
        ),
        "initiated_then_delivered": replace(
            METERS["201000000000"],
            description="in progress (VTpass: 000 and initiated), then delivered",
            answer_code=meters.INITIATED,
        ),
        "still_processing": replace(
            METERS["201000000000"],
            description="in progress (BuyPower: 400 with 201), then delivered",
            answer_code=meters.STILL_PROCESSING,
        ),
        "please_retry": replace(
            METERS["201000000000"],
            description="not successful, retry (BuyPower: 400 with 202), then delivered",
            answer_code=meters.PLEASE_RETRY,
        ),
        "no_token_until": METERS["600000000006"],
        "lands_late": METERS["600000000007"],
        "other_meter": METERS["600000000009"],
        "duplicate_reference": Behaviour(
            "vended, the answer says that the reference was used before",
            answer_code=meters.DUPLICATE_REFERENCE,
        ),
        "likely_duplicate": Behaviour(
            "refused as a likely duplicate", status_after_send=_REFUSED, reason_code=meters.LIKELY_DUPLICATE
        ),
        "low_float": METERS["600000000002"],
        "bad_credentials": Behaviour(
            "our credentials are refused", status_after_send=_REFUSED, reason_code=meters.BAD_CREDENTIALS
        ),
        "maintenance": Behaviour(
            "the meter is being maintained", status_after_send=_DECLINED, reason_code=meters.MAINTENANCE
        ),
        "not_initiated": Behaviour(
            "the transaction was never initiated",
            status_after_send=_DECLINED,
            reason_code=meters.NOT_INITIATED,
        ),
        "system_error": Behaviour("vended, the answer is a system error", answer_code=meters.SYSTEM_ERROR),
        "bad_gateway": Behaviour("vended, the answer is a bad gateway", answer_code=meters.BAD_GATEWAY),
        "unavailable": Behaviour("vended, the answer is service unavailable", answer_code=meters.UNAVAILABLE),
        "unlisted_code": Behaviour(
            "vended, the answer is an unlisted code", answer_code=meters.UNLISTED_CODE
        ),
        "requery_cut": Behaviour(
            "vended, connection cut, also of the first requeries",
            delivery_fault=DeliveryFault.CONNECTION_CLOSED,
            answers_from_requery=2,
        ),
        "requery_too_early": Behaviour(
            "vended, connection cut, early requeries are refused",
            delivery_fault=DeliveryFault.CONNECTION_CLOSED,
            accepts_from_requery=2,
        ),
        "key_change": Behaviour("delivered with two tokens that change the meter's key", has_key_change=True),
        "taken_back_with_hook": METERS["600000000008"],
        "settled_with_hook": replace(
            METERS["201000000000"],
            description="pending, delivered soon after, a webhook says so",
            webhook=WebhookBehaviour.SETTLED,
        ),
        "hook_before_answer": Behaviour(
            "delivered, the webhook comes before the answer", webhook=WebhookBehaviour.BEFORE_ANSWER
        ),
        "hook_five_times": Behaviour(
            "delivered, the webhook comes five times", webhook=WebhookBehaviour.FIVE_TIMES
        ),
        "hook_forged": Behaviour(
            "delivered, a forged webhook says that it was reversed", webhook=WebhookBehaviour.FORGED
        ),
        "no_such_meter": METERS["000000000000"],
        "cannot_vend": Behaviour(
            "the meter cannot be sold to", status_after_send=_DECLINED, reason_code=meters.CANNOT_VEND
        ),
        MINIMUM: Behaviour("refused below a minimum amount"),
        VERIFICATION_DOWN: Behaviour("verification is down", is_verification_down=True),
    }
)
"""Every fault by its name."""


class InvalidFault(ValueError):
    """An unknown fault, or parameters that it does not have. The message is one line for people."""


class PlanScope(StrEnum):
    """What a plan applies to."""

    METER = "meter"
    REFERENCE = "reference"
    NEXT = "next"
    """The next sends (for `verification_down`: verifications), for any meter."""


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
            if not (
                known.ends_at_requery
                or known.token_from_requery
                or known.answers_from_requery
                or known.accepts_from_requery
            ):
                raise InvalidFault(f"{self.name} has no parameter requeries")
            if not 1 <= self.requeries <= MAX_REQUERIES:
                raise InvalidFault(f"requeries must be from 1 to {MAX_REQUERIES}")
        if (self.minimum_minor is not None) is not (self.name == MINIMUM):
            raise InvalidFault(f"{MINIMUM} requires an amount, and no other fault has one")

    @property
    def behaviour(self) -> Behaviour:
        """How it changes a send."""
        known = BEHAVIOUR_BY_FAULT[self.name]

        def until(own: int) -> int:
            return self.requeries if own and self.requeries else own

        return replace(
            known,
            ends_at_requery=until(known.ends_at_requery),
            token_from_requery=until(known.token_from_requery),
            answers_from_requery=until(known.answers_from_requery),
            accepts_from_requery=until(known.accepts_from_requery),
            minimum_minor=self.minimum_minor,
        )

    @property
    def is_for_verification(self) -> bool:
        """Whether it strikes verifications and not sends."""
        return self.name == VERIFICATION_DOWN


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault, and when it strikes. A new plan for a meter or a reference replaces the old one."""

    fault: SandboxFault
    scope: PlanScope
    target: str = ""
    """The meter or the reference."""
    times_left: int | None = None
    """How often it still strikes. None is always."""


def parse_fault(text: str) -> SandboxFault:
    """Parse a fault from a header: `pending_then_failed`, or `pending_then_failed:3` with its requeries.

    Raises `InvalidFault`.
    """
    name, colon, requeries = text.strip().partition(":")
    if colon and not (requeries.isascii() and requeries.isdigit() and len(requeries) <= 7):
        raise InvalidFault("requeries must be a whole number")
    return SandboxFault(name, int(requeries) if colon else None)
