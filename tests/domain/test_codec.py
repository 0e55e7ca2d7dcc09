"""What the journal stores is canonical: one text for one value, for ever, and the text decodes to the same value."""

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billvend.domain.decisions.commands import CommandResult, ProviderCall
from billvend.domain.enums import Proof, Status
from billvend.domain.journal.codec import dumps, format_timestamp, loads
from billvend.domain.journal.events import EVENT_TYPES, Event, SendAnswered, load_event
from billvend.domain.outcome import Answer, Declined, Delivered, Unknown
from tests.domain.model_ledger import NOON, seconds
from tests.domain.values import values

VALUES: list[object] = [
    CommandResult("t1", Status.REVERSED, 100000, None, Proof.NOT_FOUND),
    CommandResult(
        "t1",
        Status.PROCESSING,
        next_at=NOON,
        provider_call=ProviderCall(1, 2, False, "ref-1", "acme", "key-1", NOON + seconds(29.5)),
    ),
    SendAnswered(1, 1, Declined("déjà vu \u2028 \U0001f4a1", "016", about_transaction=True)),
    Delivered("1234", None, 0, {"tax": "0.10", "kct1": "9"}),
]
"""Their texts are in tests/golden/events.txt."""


def test_text_without_a_new_field_is_still_loaded() -> None:
    old = (
        '{"account_id":"key-1","attempt":1,"call_number":2,"is":"ProviderCall","is_requery":false,"provider":"acme",'
        '"reference":"ref-1"}'
    )
    assert loads(ProviderCall, old) == ProviderCall(1, 2, False, "ref-1", "acme", "key-1")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOON, "2026-11-22T12:00:00.000000Z"),
        (NOON + timedelta(microseconds=1), "2026-11-22T12:00:00.000001Z"),
        (NOON.astimezone(timezone(timedelta(hours=1))), "2026-11-22T12:00:00.000000Z"),
        (datetime(2026, 11, 22, 23, 30, tzinfo=timezone(-timedelta(hours=5))), "2026-11-23T04:30:00.000000Z"),
    ],
)
def test_time_is_stored_in_utc(at: datetime, text: str) -> None:
    assert format_timestamp(at) == text


@given(first=values(datetime), second=values(datetime))
def test_times_sort_as_text(first: datetime, second: datetime) -> None:
    assert (first < second) == (format_timestamp(first) < format_timestamp(second))


def test_tuple_of_plain_values_has_canonical_text() -> None:
    assert dumps((30000, "NGN", None, Status.PENDING, NOON, "é")) == (
        '[30000,"NGN",null,"pending","2026-11-22T12:00:00.000000Z","\\u00e9"]'
    )


@pytest.mark.parametrize(
    "kind", [*EVENT_TYPES.values(), CommandResult, ProviderCall, *Answer.__args__], ids=lambda k: k.__name__
)
@settings(max_examples=20)
@given(data=st.data())
def test_every_value_survives_dump_and_load(kind: type, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    text = dumps(value)
    assert loads(kind, text) == value
    assert dumps(loads(kind, text)) == text
    assert text.isascii()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


@given(
    st.sampled_from(list(EVENT_TYPES.values())).flatmap(lambda kind: st.tuples(values(kind), values(kind)))
)
def test_different_events_have_different_texts(events: tuple[Event, Event]) -> None:
    first, second = events
    assert (first == second) == (dumps(first) == dumps(second))


def test_every_event_class_is_loadable_by_name() -> None:
    assert set(EVENT_TYPES.values()) == set(Event.__args__)
    event = SendAnswered(1, 2, Unknown("?"))
    assert load_event("SendAnswered", dumps(event)) == event
    with pytest.raises(KeyError):
        load_event("Payment", "{}")


@dataclass(frozen=True)
class OldVersion:
    name: str
    note: str | None


@dataclass(frozen=True)
class NewVersion:
    name: str
    note: str | None
    added: str | None = None


def test_new_optional_field_keeps_old_text() -> None:
    old = dumps(OldVersion("ada", None))
    assert dumps(NewVersion("ada", None)) == old.replace("OldVersion", "NewVersion")
    assert loads(NewVersion, old) == NewVersion("ada", None)
    assert loads(OldVersion, dumps(NewVersion("ada", None, "new"))) == OldVersion("ada", None)


@pytest.mark.parametrize("value", [Decimal("0.10"), {1, 2}, b"bytes", object(), date(2026, 11, 22)])
def test_value_without_canonical_form_is_rejected(value: Any) -> None:
    with pytest.raises(TypeError, match="no canonical form"):
        dumps(replace(Unknown("?"), reason=value))
