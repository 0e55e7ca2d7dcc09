"""Every meter of the sandbox: the answers to a send and three requeries, and the stored status after each."""

from pathlib import Path

import pytest

from billvend.adapters.providers.sandbox.faults import BEHAVIOUR_BY_FAULT, METERS
from billvend.domain.enums import VendType
from billvend.domain.outcome import Answer, Declined, Delivered, Misconfigured, NotFound, Pending, Unknown
from tests.provider.sandbox_harness import SandboxHarness, order

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
DELIVERED = "delivered | vended"
TOKENLESS = "delivered without a token | vended"
UNKNOWN_VENDED = "unknown | vended"
DECLINED = "declined | declined"
NOT_FOUND = "not found | nothing"
IN_DOUBT = "unknown, acknowledged | pending"
PENDING = "pending, ask in 2 s | pending"

PREPAID: list[tuple[str, str, str, str, str]] = [
    # meter, send, requery 1, requery 2, requery 3: answer | stored status
    ("1111111111111", DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    ("12345678901", DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    ("98765432109", DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    ("1234567890123", DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    ("1010101010101", DECLINED, DECLINED, DECLINED, DECLINED),
    ("201000000000", IN_DOUBT, PENDING, DELIVERED, DELIVERED),
    ("300000000000", UNKNOWN_VENDED, DELIVERED, DELIVERED, DELIVERED),
    ("400000000000", "unknown | nothing", NOT_FOUND, NOT_FOUND, NOT_FOUND),
    ("500000000000", UNKNOWN_VENDED, DELIVERED, DELIVERED, DELIVERED),
    ("600000000001", DECLINED, DECLINED, DECLINED, DECLINED),
    ("600000000002", "misconfigured | nothing", NOT_FOUND, NOT_FOUND, NOT_FOUND),
    ("600000000003", UNKNOWN_VENDED, DELIVERED, DELIVERED, DELIVERED),
    ("600000000004", IN_DOUBT, PENDING, DECLINED, DECLINED),
    ("600000000005", DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    ("600000000006", TOKENLESS, TOKENLESS, DELIVERED, DELIVERED),
    ("600000000007", "unknown | received", "not found | received", "not found | received", DELIVERED),
    ("600000000008", DELIVERED, DELIVERED, DELIVERED, DELIVERED),
    ("600000000009", "delivered to another meter | vended", DELIVERED, DELIVERED, DELIVERED),
    ("000000000000", DECLINED, DECLINED, DECLINED, DECLINED),
    ("1234567890", DECLINED, DECLINED, DECLINED, DECLINED),
    ("123456789012", DECLINED, DECLINED, DECLINED, DECLINED),
    ("12345678901234", DECLINED, DECLINED, DECLINED, DECLINED),
    ("١٢٣٤٥٦٧٨٩٠١", DECLINED, DECLINED, DECLINED, DECLINED),
]

POSTPAID: list[tuple[str, str, str, str, str]] = [
    ("1010101010101", TOKENLESS, TOKENLESS, TOKENLESS, TOKENLESS),
    ("12345678901", TOKENLESS, TOKENLESS, TOKENLESS, TOKENLESS),
    ("201000000000", IN_DOUBT, PENDING, TOKENLESS, TOKENLESS),
    ("600000000001", DECLINED, DECLINED, DECLINED, DECLINED),
]


def describe(answer: Answer, meter: str) -> str:
    match answer:
        case Delivered(token=None):
            return "delivered without a token"
        case Delivered():
            return "delivered" if answer.meter == meter else "delivered to another meter"
        case Declined(about_transaction=True, provider_reversed=taken_back):
            return "taken back" if taken_back else "declined"
        case Declined():
            return "refused"
        case Misconfigured():
            return "misconfigured"
        case Unknown(known_to_provider=acknowledged):
            return "unknown, acknowledged" if acknowledged else "unknown"
        case Pending(retry_after_seconds=seconds):
            return f"pending, ask in {seconds} s"
        case NotFound():
            return "not found"
        case _:
            raise AssertionError(answer)


@pytest.mark.parametrize(
    ("vend_type", "row"),
    [(VendType.PREPAID, row) for row in PREPAID] + [(VendType.POSTPAID, row) for row in POSTPAID],
    ids=lambda value: f"meter {value[0]}" if isinstance(value, tuple) else str(value),
)
def test_meter_gives_expected_answers_and_status(
    harness: SandboxHarness, vend_type: VendType, row: tuple[str, ...]
) -> None:
    meter, *expected = row
    requested = order(meter, vend_type=vend_type)

    def with_sale_status(answer: Answer) -> str:
        entry = harness.store.find(requested.reference)
        return f"{describe(answer, meter)} | {entry.status if entry and entry.status != 'refused' else 'nothing'}"

    observed = [with_sale_status(harness.vend(requested))] + [
        with_sale_status(harness.requery(requested)) for _ in range(3)
    ]
    assert observed == expected
    assert harness.store.sale_count(requested.reference) == (
        1 if expected[-1] in (DELIVERED, TOKENLESS) else 0
    )
    assert [entry.reference for entry in harness.store.sales()] == [requested.reference] * (
        expected[-1] in (DELIVERED, TOKENLESS)
    )


def test_every_documented_meter_is_covered() -> None:
    assert set(METERS) <= {row[0] for row in PREPAID}


def test_docs_list_every_meter_and_fault() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    documented = [*METERS.items(), *BEHAVIOUR_BY_FAULT.items()]
    assert rows == [f"| `{name}` | {behaviour.description} |" for name, behaviour in documented]


def test_delivery_echoes_reference_meter_and_amount(harness: SandboxHarness) -> None:
    for number, (meter, *expected) in enumerate(PREPAID):
        requested = order(meter, reference=f"R{number}")
        harness.vend(requested)
        answer = [harness.requery(requested) for _ in range(3)][-1]
        if expected[-1] == DELIVERED:
            assert isinstance(answer, Delivered)
            assert (answer.reference, answer.meter, answer.amount_minor) == (f"R{number}", meter, 500_00)
            assert answer.units
            assert answer.cost_minor
            assert answer.provider_reference
            assert answer.receipt["receiptNumber"]


def test_taken_back_sale_is_declined_on_requery(harness: SandboxHarness) -> None:
    requested = order("600000000008")
    harness.vend(requested)
    harness.store.reverse_sale(requested.reference)
    harness.store.reverse_sale(requested.reference)
    assert describe(harness.requery(requested), requested.meter) == "taken back"
    assert harness.store.sales() == []
    assert harness.store.sale_count(requested.reference) == 1
    entry = harness.store.find(requested.reference)
    assert entry is not None
    assert entry.token, "the token was issued, and stays on record"


def test_take_back_without_sale_is_rejected(harness: SandboxHarness) -> None:
    requested = order("600000000001")
    harness.vend(requested)
    for reference in (requested.reference, "never heard of"):
        with pytest.raises(LookupError, match="nothing was vended"):
            harness.store.reverse_sale(reference)


@pytest.mark.parametrize(
    ("meter", "timeout_seconds", "paused", "why"),
    [
        ("300000000000", 30, [30], "no answer within 30 s"),
        ("300000000000", 0.5, [0.5], "no answer within 0.5 s"),
        ("600000000005", 30, [3], None),
        ("600000000005", 3, [3], "no answer within 3 s"),
        ("600000000005", 2, [2], "no answer within 2 s"),
        ("12345678901", 30, [], None),
    ],
)
def test_slow_answer_times_out_but_sale_is_stored(
    harness: SandboxHarness, meter: str, timeout_seconds: float, paused: list[float], why: str | None
) -> None:
    sold_when_pausing: list[int] = []
    hurried = SandboxHarness(
        harness.path,
        timeout_seconds,
        on_pause=lambda _: sold_when_pausing.append(len(harness.store.sales())),
    )
    answer = hurried.vend(order(meter))
    assert answer == Unknown(why) if why else isinstance(answer, Delivered)
    assert hurried.pauses == paused
    assert sold_when_pausing == [1] * len(paused), (
        "sold before the wait, so that a caller that dies during it was sold to"
    )
    hurried.provider.close()


def test_lost_answer_gives_its_reason(harness: SandboxHarness) -> None:
    assert harness.vend(order("500000000000", reference="A")) == Unknown("HTTP 500 with HTML")
    cut = Unknown("the connection was closed before an answer")
    assert [harness.vend(order(meter, reference=meter)) for meter in ("400000000000", "600000000003")] == [
        cut,
        cut,
    ]


def test_empty_float_is_misconfigured_not_declined(harness: SandboxHarness) -> None:
    answer = harness.vend(order("600000000002"))
    assert answer == Misconfigured("our float is empty", "low_float")
