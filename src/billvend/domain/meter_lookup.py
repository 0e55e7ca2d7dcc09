"""What a provider says of a meter before anything is sold to it, as a closed set."""

from dataclasses import dataclass
from enum import StrEnum


class MeterFault(StrEnum):
    """Why a meter is not sold to; the words are the error codes on our doors."""

    METER_NOT_FOUND = "meter_not_found"
    WRONG_METER_TYPE = "wrong_meter_type"
    METER_CANNOT_VEND = "meter_cannot_vend"


@dataclass(frozen=True, slots=True)
class MeterFound:
    """The provider knows the meter and sells to it."""

    customer_name: str
    address: str = ""
    minimum_minor: int | None = None
    """The smallest payment that the meter takes, in minor units; None where the provider names none."""
    maximum_minor: int | None = None


@dataclass(frozen=True, slots=True)
class MeterRejected:
    """The provider knows no such meter, or does not sell to it."""

    fault: MeterFault
    reason: str
    """For people, in the provider's words where it gave any."""


@dataclass(frozen=True, slots=True)
class MeterLookupFailed:
    """Nothing is known of the meter: the provider could not be asked, or its answer could not be read."""

    reason: str


MeterLookupResult = MeterFound | MeterRejected | MeterLookupFailed
