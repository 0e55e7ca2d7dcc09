"""The answers of a provider about a meter, before anything is sold to it, as a closed set."""

from dataclasses import dataclass
from enum import StrEnum


class MeterFault(StrEnum):
    """Why the provider does not sell to a meter. The values are the error codes of the API and the CLI."""

    METER_NOT_FOUND = "meter_not_found"
    WRONG_METER_TYPE = "wrong_meter_type"
    METER_CANNOT_VEND = "meter_cannot_vend"


@dataclass(frozen=True, slots=True)
class MeterFound:
    """The provider knows the meter and sells to it."""

    customer_name: str
    address: str = ""
    minimum_minor: int | None = None
    """The smallest payment that the meter takes, in minor units. None if the provider names none."""
    maximum_minor: int | None = None


@dataclass(frozen=True, slots=True)
class MeterRejected:
    """The provider does not know the meter, or does not sell to it."""

    fault: MeterFault
    reason: str
    """For people, in the provider's words if it gave any."""


@dataclass(frozen=True, slots=True)
class MeterLookupFailed:
    """Nothing is known about the meter: the provider was not reached, or its answer could not be read."""

    reason: str


MeterLookupResult = MeterFound | MeterRejected | MeterLookupFailed
