"""An answer counts only if it does not repeat another order than ours. A delivery needs its token, too."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest

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
    verify_answer,
)

TOKEN = "12345678901234567890"
ORDER = {"reference": "ref-1", "meter": "12345678901", "biller": "EKEDC", "amount_minor": 30000}
PLAIN = [
    Declined("no"),
    Declined("reversed", "040", about_transaction=True, provider_reversed=True),
    NotSent("refused"),
    Deferred("again", 30),
    Misconfigured("float"),
    Unknown("?"),
    Unknown("?", known_to_provider=True),
    Pending("at work", 120),
    NotFound("no such reference"),
]


def verified(answer: object, *, needs_token: bool = True) -> Answer:
    return verify_answer(
        answer, reference="ref-1", meter="12345678901", biller="EKEDC", amount_minor=30000, needs_token=needs_token
    )  # fmt: skip


@pytest.mark.parametrize("answer", [*PLAIN, Delivered(TOKEN, "4.5", 29000, {"tax": "20.93"}, "17")])
@pytest.mark.parametrize("names", [[], *([name] for name in ORDER), list(ORDER)])
@pytest.mark.parametrize("needs_token", [True, False])
def test_answer_with_matching_or_missing_echo_is_accepted(
    answer: Answer, names: list[str], needs_token: bool
) -> None:
    echoed = replace(answer, **{name: ORDER[name] for name in names})  # type: ignore[arg-type]
    assert verified(echoed, needs_token=needs_token) == echoed


@pytest.mark.parametrize(
    ("echo", "why"),
    [
        ({"reference": "ref-2"}, "reference"),
        ({"reference": "REF-1"}, "reference"),
        ({"reference": ""}, "reference"),
        ({"meter": "12345678902"}, "meter"),
        ({"meter": "012345678901"}, "meter"),
        ({"biller": "IKEDC"}, "biller"),
        ({"amount_minor": 29999}, "amount"),
        ({"amount_minor": 0}, "amount"),
        ({"reference": "ref-2", "meter": "12345678902"}, "reference"),
    ],
)
@pytest.mark.parametrize("answer", [*PLAIN, Delivered(TOKEN)])
def test_answer_with_wrong_echo_becomes_unknown(answer: Answer, echo: dict[str, Any], why: str) -> None:
    """Only an answer that showed by itself that the provider knows our reference, and echoes no other, still shows it."""
    shows_it = isinstance(answer, Delivered | Pending) or getattr(answer, "known_to_provider", False)
    assert verified(replace(answer, **echo)) == Unknown(
        f"the answer is for another {why}", known_to_provider=shows_it and why != "reference"
    )


@pytest.mark.parametrize("token", [None, ""])
def test_only_postpaid_delivery_needs_no_token(token: str | None) -> None:
    assert verified(Delivered(token), needs_token=False) == Delivered(None)
    assert verified(Delivered(token)) == Unknown("delivered, but without a token", known_to_provider=True)


@pytest.mark.parametrize("cost", [-1, MAX_AMOUNT_MINOR + 1, 10**40])
def test_impossible_cost_is_dropped(cost: int) -> None:
    assert verified(Delivered(TOKEN, "4.5", cost)) == Delivered(TOKEN, "4.5", None)


@pytest.mark.parametrize("cost", [None, 0, 29000, 30001, MAX_AMOUNT_MINOR])
def test_valid_cost_is_kept(cost: int | None) -> None:
    assert verified(Delivered(TOKEN, cost_minor=cost)) == Delivered(TOKEN, cost_minor=cost)


# --- answers with invalid fields --------------------------------------------------------------------------------------


class MalformedValue:
    """Answers that no adapter should pass on."""

    def __str__(self) -> str:
        return "garbled"


@pytest.mark.parametrize("given_", [None, "delivered", 200, {"token": TOKEN}, Delivered, MalformedValue()])
def test_invalid_answer_becomes_unknown(given_: object) -> None:
    found = verified(given_)
    assert isinstance(found, Unknown)
    assert not found.known_to_provider


def malformed(answer: Answer, **values: Any) -> Answer:
    return verified(replace(answer, **values))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (malformed(Delivered(TOKEN), token=1234, units=4.5), Delivered("1234", "4.5")),
        (malformed(Delivered(TOKEN), units=Decimal("79.90")), Delivered(TOKEN, "79.90")),
        (malformed(Delivered(TOKEN), cost_minor="29000"), Delivered(TOKEN)),
        (malformed(Delivered(TOKEN), cost_minor=True, amount_minor=300.0), Delivered(TOKEN)),
        (malformed(Delivered(TOKEN), meter=12345678901), Delivered(TOKEN, meter="12345678901")),
        (malformed(Delivered(TOKEN), receipt=["tax", "1"]), Delivered(TOKEN)),
        (malformed(Delivered(TOKEN), receipt={"tax": 1.5, 7: None}), Delivered(TOKEN, receipt={"tax": "1.5", "7": "None"})),
        (malformed(Delivered(TOKEN), provider_reference=17), Delivered(TOKEN, None, None, {}, "17")),
        (malformed(Declined("no"), code=16, about_transaction="yes", provider_reversed=1), Declined("no", "16")),
        (malformed(NotSent("a"), reason=MalformedValue()), NotSent("garbled")),
        (malformed(NotFound("a"), reason=None), NotFound("None")),
        (malformed(Deferred("a"), retry_after_seconds="30"), Deferred("a")),
        (malformed(Pending("a"), retry_after_seconds=30.5), Pending("a")),
        (malformed(Misconfigured("a"), code=18), Misconfigured("a", "18")),
        (malformed(Unknown("a"), known_to_provider="yes"), Unknown("a")),
    ],
)  # fmt: skip
def test_answer_field_of_wrong_type_is_converted_or_dropped(answer: Answer, expected: Answer) -> None:
    assert answer == expected


@pytest.mark.parametrize("kind", Answer.__args__, ids=lambda kind: kind.__name__)
def test_verified_answer_can_always_be_stored(kind: type) -> None:
    names = {field.name for field in fields(kind)} - set(ORDER)
    answer = verified(kind(**{name: MalformedValue() for name in names}))
    assert isinstance(answer, kind)
    assert loads(kind, dumps(answer)) == answer
