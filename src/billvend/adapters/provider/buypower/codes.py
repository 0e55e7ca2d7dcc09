"""What BuyPower calls things, and what its answers mean. Tables, and one pure function for each kind of answer.

The facts come from public integrations of its API and from one public list of its errors; BuyPower publishes no table
of its own. What is in no row means nothing.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, TypeAlias

from billvend.domain.verification import MeterFault
from billvend.domain.words import VendType

DISCOS: Final = MappingProxyType(
    {
        "EKEDC": "EKO",
        "IKEDC": "IKEJA",
        "AEDC": "ABUJA",
        "IBEDC": "IBADAN",
        "KEDCO": "KANO",
        "PHED": "PH",
        "JED": "JOS",
        "KAEDCO": "KADUNA",
        "EEDC": "ENUGU",
        "BEDC": "BENIN",
        "YEDC": "YOLA",
        "ABA": "APLE",  # listed among the private estates
    }
)
"""BuyPower's names for our billers."""

VEND_TYPES: Final = MappingProxyType({VendType.PREPAID: "PREPAID", VendType.POSTPAID: "POSTPAID"})


# --- what a vend and a requery mean -----------------------------------------------------------------------------------


class Endpoint(Enum):
    """The two calls that speak of a sale."""

    VEND = auto()
    REQUERY = auto()


class Verdict(Enum):
    """What an answer says of the sale."""

    DELIVERED = auto()
    """Sold, provided that the rest of the answer agrees."""
    DECLINED = auto()
    MISCONFIGURED = auto()
    """Our key or our float."""
    TOO_OFTEN = auto()
    """Asked too often or too early: this request was not carried out."""
    IN_PROGRESS = auto()
    ACKNOWLEDGED = auto()
    """BuyPower knows our reference, and says nothing more that is clear."""
    NOT_FOUND = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: it fits an answer when everything that it names fits. The first row that fits counts."""

    verdict: Verdict
    statuses: Container[int]
    """HTTP statuses."""
    codes: Container[str | None] | None = None
    """Values of `responseCode`, None for an answer without one; left out: any."""
    says: re.Pattern[str] | None = None
    """What is found in the message; left out: anything."""

    def fits(self, status: int, code: str | None, message: str) -> bool:
        """Whether this is the row of such an answer."""
        if status not in self.statuses or (self.codes is not None and code not in self.codes):
            return False
        return self.says is None or self.says.search(message) is not None


Table: TypeAlias = tuple[Row, ...]


def _says(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_OF_A_SALE: Final = (
    "in progress|processing|pending|already|duplicate|exists|been used|successful|being handled"
)
UNDER_WAY: Final = _says(f"requery|{_OF_A_SALE}")
"""Words of a sale that exists. An answer that has them refuses nothing, whatever its numbers say."""
KNOWN: Final = _says(_OF_A_SALE)
"""The same in answer to a requery, where "requery" only names the question."""

OF_OTHERS: Final = frozenset({"200", "409", "429", "500", "501", "502", "503"})
"""Codes that go with other statuses than a refusal's: such an answer makes two statements, and neither is believed."""

TABLES: Final[Mapping[Endpoint, Table]] = MappingProxyType(
    {
        Endpoint.VEND: (
            Row(Verdict.DELIVERED, {200}, {"200"}),
            Row(Verdict.IN_PROGRESS, {202}, {"202", None}),
            Row(Verdict.ACKNOWLEDGED, {409}),  # "Request already received"
            Row(Verdict.ACKNOWLEDGED, {400, 422, 429}, says=UNDER_WAY),
            Row(Verdict.UNKNOWN, {400, 422}, OF_OTHERS),
            Row(Verdict.UNKNOWN, {400}, {"202"}),
            Row(Verdict.DECLINED, {400}),  # a field that is missing or wrong
            Row(Verdict.MISCONFIGURED, {401, 403}),
            Row(Verdict.MISCONFIGURED, {422}, {"202"}),  # our wallet there is empty
            Row(Verdict.MISCONFIGURED, {422}, says=_says("insufficient (wallet|balance|fund)|wallet.* insufficient")),
            Row(Verdict.DECLINED, {422}),
            Row(Verdict.TOO_OFTEN, {429}),
            # 500, 502, 503: requery. 501 (the meter is being maintained, migrated, not activated) most likely sold
            # nothing, but it is for a requery to say so.
        ),
        Endpoint.REQUERY: (
            Row(Verdict.DELIVERED, {200}, {"200"}),
            Row(Verdict.IN_PROGRESS, {202}, {"202", None}),
            Row(Verdict.ACKNOWLEDGED, {429}, says=KNOWN),
            Row(Verdict.TOO_OFTEN, {429}),
            Row(Verdict.IN_PROGRESS, {400}, {"201"}, _says("still processing|in progress")),
            Row(Verdict.DECLINED, {400}, {"202"}, _says(r"^transaction failed\.?$")),
            # It sounds final, but those who know BuyPower ask again.
            Row(Verdict.ACKNOWLEDGED, {400}, {"202"}, _says("^transaction not successful")),
            Row(Verdict.DECLINED, {400}, {"203"}, _says(r"^transaction not initiated\.?$")),
            # Which code comes with it is not known. A 5xx speaks against these words, and the careful reading counts.
            Row(Verdict.DECLINED, range(400, 500), says=_says(r"^transaction failed\. refund already processed\.?$")),
            Row(Verdict.NOT_FOUND, {404}, {"20"}, _says("^no transaction found")),
        ),
    }
)  # fmt: skip


def classify(endpoint: Endpoint, status: int, code: str | None, message: str) -> Verdict:
    """What an answer says of the sale, by its endpoint, HTTP status, `responseCode` and message, never by one alone."""
    rows = TABLES[endpoint]
    return next((row.verdict for row in rows if row.fits(status, code, message)), Verdict.UNKNOWN)


# --- what a meter check means -----------------------------------------------------------------------------------------

REFUSALS: Final = frozenset({200, 400, 404, 422, 501})
"""The HTTP statuses with which a meter may be refused. 401, 403, 429 and the other 5xx say nothing of the meter."""

# There is no public table of these refusals: only words that are plainly about the meter are believed.
FAULTS: Final = (
    (MeterFault.WRONG_METER_TYPE, _says(r"\bnot (a |an )?(pre|post)-?paid|\b(wrong|invalid) (meter|vend) ?type")),
    (MeterFault.METER_CANNOT_VEND, _says(r"\bmeter( \w+){0,4} (maintenance|migrated|blocked|inactive)\b")),
    (MeterFault.METER_CANNOT_VEND, _says(r"\bmeter( \w+){0,4} not (yet )?(been )?activated\b")),
    (MeterFault.METER_NOT_FOUND, _says(r"\b(invalid|unknown|incorrect|wrong) (meter|customer)\b")),
    (MeterFault.METER_NOT_FOUND, _says(r"\b(meter|customer)( \w+){0,4} (not found|not exist|invalid|incorrect)\b")),
    (MeterFault.METER_NOT_FOUND, _says(r"\bno such (meter|customer)\b|\bno (meter|customer)( \w+)? found\b")),
)  # fmt: skip


def fault_of(status: int, message: str) -> MeterFault | None:
    """Why a meter is not sold to, where the answer to a check says so in clear words."""
    if status not in REFUSALS:
        return None
    return next((fault for fault, says in FAULTS if says.search(message)), None)
