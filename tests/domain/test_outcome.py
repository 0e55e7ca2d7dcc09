"""A delivery is believed only where it is provably of our payment. Every other answer is accepted as it is."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.domain.journal.codec import dumps, loads
from billvend.domain.money import MAX_AMOUNT_MINOR
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
    Unknown,
    normalise,
    verify_echo,
)
from tests.domain.values import values

TOKEN = "12345678901234567890"


def verified(answer: Answer, *, needs_token: bool = True) -> Answer:
    return verify_echo(
        answer, reference="ref-1", meter="12345678901", amount_minor=30000, needs_token=needs_token
    )


@pytest.mark.parametrize(
    "answer",
    [
        Declined("no"),
        Declined("reversed", "040", about_transaction=True, provider_reversed=True),
        NotSent("refused"),
        Deferred("again", 30),
        Misconfigured("float"),
        Unknown("?"),
        Unknown("?", known_to_provider=True),
        Pending("at work", 120),
        NotFound("no such reference"),
    ],
)
@pytest.mark.parametrize("needs_token", [True, False])
def test_answer_other_than_delivered_is_returned_unchanged(answer: Answer, needs_token: bool) -> None:
    assert verified(answer, needs_token=needs_token) is answer


@pytest.mark.parametrize(
    "answer",
    [
        Delivered(TOKEN),
        Delivered(TOKEN, reference="ref-1"),
        Delivered(TOKEN, meter="12345678901"),
        Delivered(TOKEN, amount_minor=30000),
        Delivered(TOKEN, "4.5", 29000, {"tax": "20.93"}, "17", "ref-1", "12345678901", 30000),
    ],
)
@pytest.mark.parametrize("needs_token", [True, False])
def test_delivery_with_matching_or_missing_echo_is_accepted(answer: Delivered, needs_token: bool) -> None:
    assert verified(answer, needs_token=needs_token) == answer


@pytest.mark.parametrize(
    ("answer", "why", "acknowledged"),
    [
        (Delivered(TOKEN, reference="ref-2"), "another reference", False),
        (Delivered(TOKEN, reference="REF-1"), "another reference", False),
        (Delivered(TOKEN, reference=""), "another reference", False),
        (Delivered(TOKEN, meter="12345678902"), "another meter", True),
        (Delivered(TOKEN, meter="012345678901"), "another meter", True),
        (Delivered(TOKEN, amount_minor=29999), "another amount", True),
        (Delivered(TOKEN, amount_minor=0), "another amount", True),
        (Delivered(None), "without a token", True),
        (Delivered(""), "without a token", True),
        (Delivered(None, reference="ref-2", meter="12345678902"), "another reference", False),
    ],
)
def test_delivery_with_wrong_echo_becomes_unknown(answer: Delivered, why: str, acknowledged: bool) -> None:
    found = verified(answer)
    assert isinstance(found, Unknown)
    assert why in found.reason
    assert found.known_to_provider is acknowledged


@pytest.mark.parametrize("token", [None, ""])
def test_postpaid_delivery_needs_no_token(token: str | None) -> None:
    assert verified(Delivered(token), needs_token=False) == Delivered(None)


@pytest.mark.parametrize("cost", [-1, MAX_AMOUNT_MINOR + 1, 10**40])
def test_impossible_cost_is_dropped(cost: int) -> None:
    assert verified(Delivered(TOKEN, "4.5", cost)) == Delivered(TOKEN, "4.5", None)


@pytest.mark.parametrize("cost", [None, 0, 29000, 30001, MAX_AMOUNT_MINOR])
def test_valid_cost_is_kept(cost: int | None) -> None:
    assert verified(Delivered(TOKEN, cost_minor=cost)) == Delivered(TOKEN, cost_minor=cost)


@given(
    answer=st.builds(
        Delivered,
        token=st.sampled_from([None, "", TOKEN]),
        cost_minor=st.none() | st.integers(),
        reference=st.sampled_from([None, "ref-1", "ref-2"]),
        meter=st.sampled_from([None, "12345678901", "12345678902"]),
        amount_minor=st.sampled_from([None, 30000, 3000000]),
    ),
    needs_token=st.booleans(),
)
def test_delivery_is_accepted_only_with_matching_echo_and_token(answer: Delivered, needs_token: bool) -> None:
    found = verified(answer, needs_token=needs_token)
    trusted = (
        answer.reference in (None, "ref-1")
        and answer.meter in (None, "12345678901")
        and answer.amount_minor in (None, 30000)
        and (bool(answer.token) or not needs_token)
    )
    assert isinstance(found, Delivered if trusted else Unknown)
    if isinstance(found, Delivered):
        assert found.cost_minor is None or 0 <= found.cost_minor <= MAX_AMOUNT_MINOR
        assert replace(found, cost_minor=None, token="") == replace(answer, cost_minor=None, token="")


# --- answers with invalid fields --------------------------------------------------------------------------------------


class MalformedValue:
    """Answers that no adapter should pass on."""

    def __str__(self) -> str:
        return "garbled"


@given(values(Answer))
def test_valid_answer_is_returned_unchanged(answer: Answer) -> None:
    assert normalise(answer) == answer


@pytest.mark.parametrize("given_", [None, "delivered", 200, {"token": TOKEN}, Delivered, MalformedValue()])
def test_invalid_answer_becomes_unknown(given_: object) -> None:
    found = normalise(given_)
    assert isinstance(found, Unknown)
    assert not found.known_to_provider


def normalised(answer: Answer, **fields_: Any) -> Answer:
    return normalise(replace(answer, **fields_))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (normalised(Delivered(TOKEN), token=1234, units=4.5), Delivered("1234", "4.5")),
        (normalised(Delivered(TOKEN), units=Decimal("79.90")), Delivered(TOKEN, "79.90")),
        (normalised(Delivered(TOKEN), cost_minor="29000"), Delivered(TOKEN)),
        (normalised(Delivered(TOKEN), cost_minor=True, amount_minor=300.0), Delivered(TOKEN)),
        (normalised(Delivered(TOKEN), receipt=["tax", "1"]), Delivered(TOKEN)),
        (normalised(Delivered(TOKEN), receipt={"tax": 1.5, 7: None}), Delivered(TOKEN, receipt={"tax": "1.5", "7": "None"})),
        (normalised(Delivered(TOKEN), provider_reference=17, reference=1), Delivered(TOKEN, None, None, {}, "17", "1")),
        (normalised(Delivered(TOKEN), meter=12345678901), Delivered(TOKEN, meter="12345678901")),
        (normalised(Declined("no"), code=16, about_transaction="yes", provider_reversed=1), Declined("no", "16")),
        (normalised(NotSent("a"), reason=MalformedValue()), NotSent("garbled")),
        (normalised(NotFound("a"), reason=None), NotFound("None")),
        (normalised(Deferred("a"), retry_after_seconds="30"), Deferred("a")),
        (normalised(Pending("a"), retry_after_seconds=30.5), Pending("a")),
        (normalised(Misconfigured("a"), code=18), Misconfigured("a", "18")),
        (normalised(Unknown("a"), known_to_provider="yes"), Unknown("a")),
    ],
)  # fmt: skip
def test_answer_field_of_wrong_type_is_converted_or_dropped(answer: Answer, expected: Answer) -> None:
    assert answer == expected


@pytest.mark.parametrize("kind", Answer.__args__, ids=lambda kind: kind.__name__)
def test_normalised_answer_can_always_be_stored(kind: type) -> None:
    answer = normalise(kind(**{field.name: MalformedValue() for field in fields(kind)}))
    assert isinstance(answer, kind)
    assert loads(kind, dumps(answer)) == answer
