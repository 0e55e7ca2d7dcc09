"""The owners of meters. Names and addresses are invented, and always the same for a meter."""

from hashlib import sha256
from typing import Final, NamedTuple

FIRST_NAMES: Final = ("ADA", "BOLA", "CHIDI", "DAYO", "EFE", "FATIMA", "GARBA", "HALIMA", "IFE", "KUNLE")
LAST_NAMES: Final = ("SANDBOX", "EXAMPLE", "SPECIMEN", "SAMPLE", "PRACTICE", "FICTION", "MODEL", "TRIAL")
STREETS: Final = ("EXAMPLE ROAD", "SANDBOX CLOSE", "SPECIMEN AVENUE", "PRACTICE STREET", "MODEL CRESCENT")


class Customer(NamedTuple):
    """The owner of a meter."""

    name: str
    address: str


def customer_of(meter: str) -> Customer:
    """The invented owner of a meter."""
    first, last, street, house = sha256(f"customer|{meter}".encode()).digest()[:4]
    name = f"{FIRST_NAMES[first % len(FIRST_NAMES)]} {LAST_NAMES[last % len(LAST_NAMES)]}"
    return Customer(name, f"{house % 99 + 1} {STREETS[street % len(STREETS)]}")
