"""What BuyPower's answers mean. Tables, and one pure function for each kind of answer.

Sources: public integrations of its API and one public list of its errors. BuyPower itself publishes no table. An
answer that fits no row proves nothing.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Final, TypeAlias

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFault

VEND_TYPES: Final = MappingProxyType({VendType.PREPAID: "PREPAID", VendType.POSTPAID: "POSTPAID"})


# --- what a vend and a requery mean -----------------------------------------------------------------------------------


class Endpoint(Enum):
    """The two calls that are answered with a sale."""

    VEND = auto()
    REQUERY = auto()


class AnswerKind(Enum):
    """What an answer says about the sale."""

    DELIVERED = auto()
    """Sold, if the rest of the answer agrees."""
    DECLINED = auto()
    MISCONFIGURED = auto()
    """Our key is wrong or our float is too small."""
    RATE_LIMITED = auto()
    """Too many requests or too early. This request was not carried out."""
    IN_PROGRESS = auto()
    ACKNOWLEDGED = auto()
    """BuyPower knows our reference. Nothing else is clear."""
    NOT_FOUND = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """One row of a table. It matches if all of its fields match. The first matching row counts."""

    kind: AnswerKind
    statuses: Container[int]
    """HTTP statuses."""
    codes: Container[str | None] | None = None
    """Values of `responseCode`, with None for an answer without one. By default any."""
    message_pattern: re.Pattern[str] | None = None
    """A pattern to find in the message. By default any message."""

    def matches(self, status: int, code: str | None, message: str) -> bool:
        """Whether the row matches an answer."""
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
"""Words that show that the sale exists. An answer with them is no refusal, with any status or code."""
SALE_EXISTS_IN_REQUERY: Final = _pattern(_SALE_EXISTS_WORDS)
"""The same for a requery, whose answers may contain the word "requery" for another reason."""

CONTRADICTING_CODES: Final = frozenset({"200", "409", "429", "500", "501", "502", "503"})
"""Codes that contradict the status of a refusal. Such an answer says two things, and neither is believed."""

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
            # 500, 502, 503: a requery decides. 501 (the meter is being maintained, migrated, not activated) most
            # likely sold nothing, but only a requery proves it.
        ),
        Endpoint.REQUERY: (
            AnswerRule(AnswerKind.DELIVERED, {200}, {"200"}),
            AnswerRule(AnswerKind.IN_PROGRESS, {202}, {"202", None}),
            AnswerRule(AnswerKind.ACKNOWLEDGED, {429}, message_pattern=SALE_EXISTS_IN_REQUERY),
            AnswerRule(AnswerKind.RATE_LIMITED, {429}),
            AnswerRule(AnswerKind.IN_PROGRESS, {400}, {"201"}, _pattern("still processing|in progress")),
            AnswerRule(AnswerKind.DECLINED, {400}, {"202"}, _pattern(r"^transaction failed\.?$")),
            # It sounds final, but integrations of BuyPower requery.
            AnswerRule(AnswerKind.ACKNOWLEDGED, {400}, {"202"}, _pattern("^transaction not successful")),
            AnswerRule(AnswerKind.DECLINED, {400}, {"203"}, _pattern(r"^transaction not initiated\.?$")),
            # Its code is not known. A 5xx contradicts these words, so it is not in the range: the safe reading counts.
            AnswerRule(AnswerKind.DECLINED, range(400, 500), message_pattern=_FAILED_AND_REFUNDED),
            AnswerRule(AnswerKind.NOT_FOUND, {404}, {"20"}, _pattern("^no transaction found")),
        ),
    }
)  # fmt: skip


def classify(endpoint: Endpoint, status: int, code: str | None, message: str) -> AnswerKind:
    """What an answer says about the sale, by endpoint, HTTP status, `responseCode` and message, never by one alone."""
    rows = ANSWER_RULES[endpoint]
    return next((row.kind for row in rows if row.matches(status, code, message)), AnswerKind.UNKNOWN)


# --- what a meter check means -----------------------------------------------------------------------------------------

REJECTION_STATUSES: Final = frozenset({200, 400, 404, 422, 501})
"""The HTTP statuses that may reject a meter. 401, 403, 429 and the other 5xx say nothing about the meter."""

# There is no public table of these rejections. Only words that are clearly about the meter are believed.
METER_FAULT_PATTERNS: Final = (
    (MeterFault.WRONG_METER_TYPE, _pattern(r"\bnot (a |an )?(pre|post)-?paid|\b(wrong|invalid) (meter|vend) ?type")),
    (MeterFault.METER_CANNOT_VEND, _pattern(r"\bmeter( \w+){0,4} (maintenance|migrated|blocked|inactive)\b")),
    (MeterFault.METER_CANNOT_VEND, _pattern(r"\bmeter( \w+){0,4} not (yet )?(been )?activated\b")),
    (MeterFault.METER_NOT_FOUND, _pattern(r"\b(invalid|unknown|incorrect|wrong) (meter|customer)\b")),
    (MeterFault.METER_NOT_FOUND, _pattern(r"\b(meter|customer)( \w+){0,4} (not found|not exist|invalid|incorrect)\b")),
    (MeterFault.METER_NOT_FOUND, _pattern(r"\bno such (meter|customer)\b|\bno (meter|customer)( \w+)? found\b")),
)  # fmt: skip


def find_meter_fault(status: int, message: str) -> MeterFault | None:
    """Why a meter is rejected, if the answer to a check says so in clear words."""
    if status not in REJECTION_STATUSES:
        return None
    return next((fault for fault, pattern in METER_FAULT_PATTERNS if pattern.search(message)), None)
