"""The sandbox as a provider: its account, rejected orders, and when it calls the send guard."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.adapters.providers.sandbox.provider import make_reference
from billvend.domain.enums import VendType
from billvend.domain.errors import Unavailable
from billvend.domain.outcome import Declined, Delivered, NotFound, NotSent, Unknown
from billvend.domain.policy.accounts import Mode
from billvend.ports.provider import Order
from tests.provider.sandbox_harness import NOW, SandboxHarness, order


def test_account_is_test_mode_with_all_billers_in_naira(harness: SandboxHarness) -> None:
    account = harness.provider.account
    assert (account.provider, account.mode, account.currency) == ("sandbox", Mode.TEST, "NGN")
    assert len(account.billers) == 12
    assert account.reports_not_found
    assert account.max_processing_seconds == 600
    assert not account.whole_units_only
    assert not account.reference_lasts_a_day


def test_account_day_starts_at_midnight_in_lagos(harness: SandboxHarness) -> None:
    late = datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC)
    assert harness.provider.account.day(late) == date(2026, 11, 22)
    assert harness.provider.account.day(late + timedelta(seconds=1)) == date(2026, 11, 23)


def test_account_id_belongs_to_the_store_file(harness: SandboxHarness, tmp_path: Path) -> None:
    again, another = SandboxHarness(harness.path), SandboxHarness(tmp_path / "another.db")
    account = harness.provider.account.account_id
    assert again.provider.account.account_id == account
    assert another.provider.account.account_id != account
    assert account.startswith("sandbox-")
    harness.vend(order())
    again.provider.close()
    another.provider.close()


@given(st.text(), st.integers(1, 99), st.dates(), st.dates())
def test_reference_is_alphanumeric_and_does_not_depend_on_day(
    seed: str, attempt: int, day: date, another_day: date
) -> None:
    reference = make_reference(seed, attempt, day)
    assert re.fullmatch(r"SB[A-Z2-7]{30}", reference)
    assert reference == make_reference(seed, attempt, another_day)


def test_references_differ_by_payment_and_attempt() -> None:
    day = date(2026, 11, 22)
    references = [
        make_reference(payment, attempt, day) for payment in ("p", "p1", "p|1") for attempt in (1, 11)
    ]
    assert len(set(references)) == len(references)
    assert references[0] == "SBIVABZH5WAPRW6POFRQDH2PGMBKN67Z", (
        "a restored backup must derive the same reference"
    )


def test_send_guard_is_called_once_before_store_access(tmp_path: Path) -> None:
    harness = SandboxHarness(tmp_path / "sandbox.db")
    file_existed: list[bool] = []

    def may_send() -> bool:
        file_existed.append(harness.path.exists())
        return len(file_existed) > 1

    assert isinstance(harness.provider.vend(order(), may_send), NotSent)
    assert not harness.path.exists()
    assert isinstance(harness.provider.vend(order(), may_send), Delivered)
    assert file_existed == [False, False]
    assert harness.call_counts(order().reference) == (1, 0)
    harness.provider.close()


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (order(biller="NEPA"), "unknown_biller"),
        (order(amount_minor=0), "invalid_amount"),
        (order(amount_minor=-500), "invalid_amount"),
        (order(currency="USD"), "invalid_amount"),
    ],
)
def test_unsupported_order_declines_only_the_request(
    harness: SandboxHarness, refused: Order, code: str
) -> None:
    answer = harness.vend(refused)
    assert isinstance(answer, Declined)
    assert (answer.code, answer.about_transaction) == (code, False)
    assert isinstance(harness.requery(refused), NotFound)
    assert harness.store.sales() == []
    assert isinstance(harness.vend(order()), Delivered), "the reference is still free"
    assert harness.call_counts(refused.reference) == (2, 0)


def test_prepaid_order_for_postpaid_meter_is_declined(harness: SandboxHarness) -> None:
    answer = harness.vend(order("1010101010101"))
    assert answer == Declined("the meter is not prepaid", "wrong_meter_type", about_transaction=True)


def test_resend_sells_nothing_and_is_acknowledged(harness: SandboxHarness) -> None:
    assert isinstance(harness.vend(order()), Delivered)
    before = harness.store.sales()
    again = harness.vend(order("98765432109", amount_minor=900_00))
    assert again == Unknown("this reference exists already", known_to_provider=True)
    (entry,) = harness.store.records()
    assert (entry.meter, entry.amount_minor, entry.token) == ("12345678901", 500_00, before[0].token)
    assert (entry.vends, harness.call_counts(entry.reference)) == (1, (2, 0))


@pytest.mark.parametrize("meter", ["201000000000", "600000000001", "600000000004", "600000000007"])
def test_resend_does_not_change_unsold_record(harness: SandboxHarness, meter: str) -> None:
    harness.vend(order(meter))
    (before,) = harness.store.records()
    assert harness.vend(order(meter)) == Unknown("this reference exists already", known_to_provider=True)
    (after,) = harness.store.records()
    assert (after.status, after.vends, after.sends) == (before.status, 0, 2)


@pytest.mark.parametrize("meter", ["400000000000", "600000000002"])
def test_dropped_requests_are_counted(harness: SandboxHarness, meter: str) -> None:
    first, second = harness.vend(order(meter)), harness.vend(order(meter))
    assert first == second
    harness.requery(order(meter))
    assert harness.call_counts(order(meter).reference) == (2, 1)
    assert harness.store.sale_count(order(meter).reference) == 0


def test_requery_echoes_the_sale_not_the_request(harness: SandboxHarness) -> None:
    harness.vend(order())
    answer = harness.requery(order("98765432109", amount_minor=1))
    assert isinstance(answer, Delivered)
    assert (answer.meter, answer.amount_minor) == ("12345678901", 500_00)


def test_requery_of_unsent_reference_is_not_found(harness: SandboxHarness) -> None:
    assert isinstance(harness.requery(order()), NotFound)
    assert harness.call_counts(order().reference) == (0, 0)
    assert harness.store.find(order().reference) is None


def test_record_has_order_and_times(harness: SandboxHarness) -> None:
    harness.vend(order(biller="ABA", vend_type=VendType.POSTPAID))
    (entry,) = harness.store.records()
    assert (entry.biller, entry.vend_type, entry.amount) == ("ABA", VendType.POSTPAID, order().amount)
    assert entry.received_at == entry.vended_at == NOW


def test_unopenable_store_gives_not_sent(tmp_path: Path) -> None:
    harness = SandboxHarness(tmp_path / "no such folder" / "sandbox.db")
    send_answer, requery_answer = harness.vend(order()), harness.requery(order())
    assert isinstance(send_answer, NotSent)
    assert "no such folder" in send_answer.reason
    assert isinstance(requery_answer, Unknown), "it proves nothing about an earlier send"
    with pytest.raises(Unavailable, match="can't be opened"):
        _ = harness.provider.account


def test_corrupt_store_gives_unknown_outcome(harness: SandboxHarness) -> None:
    harness.vend(order(reference="A"))
    for path in harness.path.parent.glob("sandbox.db*"):
        path.write_bytes(b"not a database" * 1000)
    for answer in (harness.vend(order(reference="B")), harness.requery(order(reference="A"))):
        assert isinstance(answer, Unknown)
        assert "the sandbox's sales store failed" in answer.reason


def test_provider_works_after_close(harness: SandboxHarness) -> None:
    harness.vend(order())
    harness.provider.close()
    harness.provider.close()
    assert isinstance(harness.requery(order()), Delivered)


def test_sandbox_uses_configured_currency(tmp_path: Path) -> None:
    ghana = SandboxHarness(tmp_path / "ghana.db", currency="GHS")
    assert ghana.provider.account.currency == "GHS"
    assert isinstance(ghana.vend(order(currency="GHS")), Delivered)
    assert isinstance(ghana.vend(order(reference="B")), Declined)
    ghana.provider.close()
