"""The customer's meter: its number, and how the customer pays for it."""

import re

from billvend.domain.enums import VendType
from billvend.domain.errors import InvalidMeter, ValidationFailed
from billvend.domain.safe_text import safe_repr

_METER = re.compile("[0-9]{10,16}")


def parse_meter(value: object) -> str:
    """A meter number: text of 10 to 16 ASCII digits, leading zeros kept. Raises `InvalidMeter`."""
    if isinstance(value, str) and _METER.fullmatch(value):
        return value
    reason = (
        "must be 10 to 16 digits"
        if isinstance(value, str)
        else "must be text, so that leading zeros are kept"
    )
    raise InvalidMeter(
        f"The meter number {safe_repr(value)} is not accepted: it {reason}.", fields={"meterNumber": reason}
    )


def parse_vend_type(value: object) -> VendType:
    """`prepaid` or `postpaid`, in any case. Raises `ValidationFailed`."""
    for vend_type in VendType:
        if isinstance(value, str) and value.lower() == vend_type:
            return vend_type
    reason = f"must be {' or '.join(VendType)}"
    raise ValidationFailed(
        f"The vend type {safe_repr(value)} is not accepted: it {reason}.", fields={"vendType": reason}
    )
