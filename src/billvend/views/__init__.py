"""What the doors show: domain values as JSON documents, and in plain words.

`documents` are the shapes of the HTTP API's `data` and of `--json`: names in camelCase, money as strings with the
currency's decimals, times as RFC 3339 in UTC. `words` say the same to people.
"""

from billvend.views.documents import (
    Document,
    audit_document,
    balance_document,
    biller_document,
    endpoint_document,
    funded_document,
    funding_document,
    health_document,
    intent_document,
    key_document,
    message_document,
    message_status,
    meter_document,
    payment_document,
    review_document,
    settled_document,
    transaction_document,
    when,
)
from billvend.views.words import answer_words, at_words, event_words, grouped, message, tokens_to_type

__all__ = [
    "Document",
    "answer_words",
    "at_words",
    "audit_document",
    "balance_document",
    "biller_document",
    "endpoint_document",
    "event_words",
    "funded_document",
    "funding_document",
    "grouped",
    "health_document",
    "intent_document",
    "key_document",
    "message",
    "message_document",
    "message_status",
    "meter_document",
    "payment_document",
    "review_document",
    "settled_document",
    "tokens_to_type",
    "transaction_document",
    "when",
]
