"""What the CLI, the API and webhooks show: domain values as JSON documents, and in plain words.

`json_objects` are the shapes of the HTTP API's `data` and of `--json`: names in camelCase, money as strings with the
currency's decimals, times as RFC 3339 in UTC. `text` has the same for people.
"""

from billvend.presentation.json_objects import (
    JsonObject,
    api_key_json,
    audit_json,
    balance_json,
    biller_json,
    deposit_check_json,
    deposit_result_json,
    endpoint_json,
    funding_json,
    funding_result_json,
    health_json,
    iso_time,
    meter_json,
    notification_json,
    notification_status,
    payment_json,
    review_json,
    transaction_json,
)
from billvend.presentation.text import (
    customer_message,
    describe_answer,
    describe_event,
    describe_time,
    group_digits,
    token_lines,
)

__all__ = [
    "JsonObject",
    "describe_answer",
    "describe_time",
    "audit_json",
    "balance_json",
    "biller_json",
    "endpoint_json",
    "describe_event",
    "funding_result_json",
    "funding_json",
    "group_digits",
    "health_json",
    "deposit_result_json",
    "api_key_json",
    "customer_message",
    "notification_json",
    "notification_status",
    "meter_json",
    "payment_json",
    "review_json",
    "deposit_check_json",
    "token_lines",
    "transaction_json",
    "iso_time",
]
