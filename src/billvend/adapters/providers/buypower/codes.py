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

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFault

DISCO_BY_BILLER: Final = MappingProxyType(
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


class AnswerKind(Enum):
    """What an answer says of the sale."""

    DELIVERED = auto()
    """Sold, provided that the rest of the answer agrees."""
    DECLINED = auto()
    MISCONFIGURED = auto()
    """Our key or our float."""
    RATE_LIMITED = auto()
    """Asked too often or too early: this request was not carried out."""
    IN_PROGRESS = auto()
    ACKNOWLEDGED = auto()
    """BuyPower knows our reference, and says nothing more that is clear."""
    NOT_FOUND = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """One row of a table: it fits an answer when everything that it names fits. The first row that fits counts."""

    kind: AnswerKind
    statuses: Container[int]
    """HTTP statuses."""
    codes: Container[str | None] | None = None
    """Values of `responseCode`, None for an answer without one; left out: any."""
    message_pattern: re.Pattern[str] | None = None
    """What is found in the message; left out: anything."""

    def matches(self, status: int, code: str | None, message: str) -> bool:
        """Whether this is the row of such an answer."""
        if status not in self.statuses or (self.codes is not None and code not in self.codes):
            return False
        return self.message_pattern is None or self.message_pattern.search(message) is not None


AnswerRules: TypeAlias = tuple[AnswerRule, ...]


def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_SALE_EXISTS_WORDS: Final = (
    "in progress|processing|pending|already|duplicate|exists|been used|successful|being handled"
)
_EMPTY_WALLET: Final = _pattern("insufficient (wallet|balance|fund)|wallet.* insufficient")
_FAILED_AND_REFUNDED: Final = _pattern(r"^transaction failed\. refund already processed\.?$")
SALE_EXISTS: Final = _pattern(f"requery|{_SALE_EXISTS_WORDS}")
"""Words of a sale that exists. An answer that has them refuses nothing, whatever its numbers say."""
SALE_EXISTS_IN_REQUERY: Final = _pattern(_SALE_EXISTS_WORDS)
"""The same in answer to a requery, where "requery" only names the question."""

CONTRADICTING_CODES: Final = frozenset({"200", "409", "429", "500", "501", "502", "503"})
"""Codes that go with other statuses than a refusal's: such an answer makes two statements, and neither is believed."""

ANSWER_RULES: Final[Mapping[Endpoint, AnswerRules]] = MappingProxyType(
    {
        Endpoint.VEND: (
            AnswerRule(AnswerKind.DELIVERED, {200}, {"200"}),
            AnswerRule(AnswerKind.IN_PROGRESS, {202}, {"202", None}),
            AnswerRule(AnswerKind.ACKNOWLEDGED, {409}),  # "Request already received"
            AnswerRule(AnswerKind.ACKNOWLEDGED, {400, 422, 429}, message_pattern=SALE_EXISTS),
            AnswerRule(AnswerKind.UNKNOWN, {400, 422}, CONTRADICTING_CODES),
            AnswerRule(AnswerKind.UNKNOWN, {400}, {"202"}),
            AnswerRule(AnswerKind.DECLINED, {400}),  # a field that is missing or wrong
            AnswerRule(AnswerKind.MISCONFIGURED, {401, 403}),
            AnswerRule(AnswerKind.MISCONFIGURED, {422}, {"202"}),  # our wallet there is empty
            AnswerRule(AnswerKind.MISCONFIGURED, {422}, message_pattern=_EMPTY_WALLET),
            AnswerRule(AnswerKind.DECLINED, {422}),
            AnswerRule(AnswerKind.RATE_LIMITED, {429}),
            # 500, 502, 503: requery. 501 (the meter is being maintained, migrated, not activated) most likely sold
            # nothing, but it is for a requery to say so.
        ),
        Endpoint.REQUERY: (
            AnswerRule(AnswerKind.DELIVERED, {200}, {"200"}),
            AnswerRule(AnswerKind.IN_PROGRESS, {202}, {"202", None}),
            AnswerRule(AnswerKind.ACKNOWLEDGED, {429}, message_pattern=SALE_EXISTS_IN_REQUERY),
            AnswerRule(AnswerKind.RATE_LIMITED, {429}),
            AnswerRule(AnswerKind.IN_PROGRESS, {400}, {"201"}, _pattern("still processing|in progress")),
            AnswerRule(AnswerKind.DECLINED, {400}, {"202"}, _pattern(r"^transaction failed\.?$")),
            # It sounds final, but those who know BuyPower ask again.
            AnswerRule(AnswerKind.ACKNOWLEDGED, {400}, {"202"}, _pattern("^transaction not successful")),
            AnswerRule(AnswerKind.DECLINED, {400}, {"203"}, _pattern(r"^transaction not initiated\.?$")),
            # Which code comes with it is not known. A 5xx speaks against these words, and the careful reading counts.
            AnswerRule(AnswerKind.DECLINED, range(400, 500), message_pattern=_FAILED_AND_REFUNDED),
            AnswerRule(AnswerKind.NOT_FOUND, {404}, {"20"}, _pattern("^no transaction found")),
        ),
    }
)  # fmt: skip


def classify(endpoint: Endpoint, status: int, code: str | None, message: str) -> AnswerKind:
    """What an answer says of the sale, by its endpoint, HTTP status, `responseCode` and message, never by one alone."""
    rows = ANSWER_RULES[endpoint]
    return next((row.kind for row in rows if row.matches(status, code, message)), AnswerKind.UNKNOWN)


# --- what a meter check means -----------------------------------------------------------------------------------------

REJECTION_STATUSES: Final = frozenset({200, 400, 404, 422, 501})
"""The HTTP statuses with which a meter may be refused. 401, 403, 429 and the other 5xx say nothing of the meter."""

# There is no public table of these refusals: only words that are plainly about the meter are believed.
METER_FAULT_PATTERNS: Final = (
    (MeterFault.WRONG_METER_TYPE, _pattern(r"\bnot (a |an )?(pre|post)-?paid|\b(wrong|invalid) (meter|vend) ?type")),
    (MeterFault.METER_CANNOT_VEND, _pattern(r"\bmeter( \w+){0,4} (maintenance|migrated|blocked|inactive)\b")),
    (MeterFault.METER_CANNOT_VEND, _pattern(r"\bmeter( \w+){0,4} not (yet )?(been )?activated\b")),
    (MeterFault.METER_NOT_FOUND, _pattern(r"\b(invalid|unknown|incorrect|wrong) (meter|customer)\b")),
    (MeterFault.METER_NOT_FOUND, _pattern(r"\b(meter|customer)( \w+){0,4} (not found|not exist|invalid|incorrect)\b")),
    (MeterFault.METER_NOT_FOUND, _pattern(r"\bno such (meter|customer)\b|\bno (meter|customer)( \w+)? found\b")),
)  # fmt: skip


def find_meter_fault(status: int, message: str) -> MeterFault | None:
    """Why a meter is not sold to, where the answer to a check says so in clear words."""
    if status not in REJECTION_STATUSES:
        return None
    return next((fault for fault, pattern in METER_FAULT_PATTERNS if pattern.search(message)), None)
