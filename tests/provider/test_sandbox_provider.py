"""The sandbox as a provider: what it declares, what it refuses at the door, when it asks whether it may send."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billvend.adapters.providers.sandbox.provider import SandboxProvider, make_reference
from billvend.domain.enums import VendType
from billvend.domain.errors import Unavailable
from billvend.domain.outcome import Declined, Delivered, NotFound, NotSent, Unknown
from billvend.domain.policy.accounts import Mode
from billvend.ports.provider import Order
from tests.provider.sandbox_rig import NOW, Rig, order


def test_it_declares_a_test_account_that_sells_all_twelve_in_naira(rig: Rig) -> None:
    account = rig.provider.account
    assert (account.provider, account.mode, account.currency) == ("sandbox", Mode.TEST, "NGN")
    assert len(account.billers) == 12
    assert account.reports_not_found
    assert account.max_processing_seconds == 600
    assert not account.whole_units_only
    assert not account.reference_lasts_a_day


def test_its_day_begins_at_midnight_in_lagos(rig: Rig) -> None:
    late = datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC)
    assert rig.provider.account.day(late) == date(2026, 11, 22)
    assert rig.provider.account.day(late + timedelta(seconds=1)) == date(2026, 11, 23)


def test_the_account_is_the_book(rig: Rig, tmp_path: Path) -> None:
    again, another = Rig(rig.path), Rig(tmp_path / "another.db")
    account = rig.provider.account.account_id
    assert again.provider.account.account_id == account
    assert another.provider.account.account_id != account
    assert account.startswith("sandbox-")
    rig.vend(order())
    assert [entry.account for entry in rig.book.records()] == [account]
    again.provider.close()
    another.provider.close()


@given(st.text(), st.integers(1, 99), st.dates(), st.dates())
def test_a_reference_is_a_short_plain_word_that_is_the_same_on_any_day(
    seed: str, attempt: int, day: date, another_day: date
) -> None:
    reference = make_reference(seed, attempt, day)
    assert re.fullmatch(r"SB[A-Z2-7]{30}", reference)
    assert reference == make_reference(seed, attempt, another_day)


def test_payments_and_attempts_have_references_of_their_own() -> None:
    day = date(2026, 11, 22)
    made = [make_reference(payment, attempt, day) for payment in ("p", "p1", "p|1") for attempt in (1, 11)]
    assert len(set(made)) == len(made)
    assert made[0] == "SBIVABZH5WAPRW6POFRQDH2PGMBKN67Z", "books that were restored must derive it again"


def test_it_asks_whether_it_may_send_once_and_before_it_touches_the_book(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "sandbox.db")
    there: list[bool] = []

    def may_send() -> bool:
        there.append(rig.path.exists())
        return len(there) > 1

    assert isinstance(rig.provider.vend(order(), may_send), NotSent)
    assert not rig.path.exists()
    assert isinstance(rig.provider.vend(order(), may_send), Delivered)
    assert there == [False, False]
    assert rig.book.call_counts(order().reference).sends == 1
    rig.provider.close()


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (order(biller="NEPA"), "unknown_biller"),
        (order(amount_minor=0), "invalid_amount"),
        (order(amount_minor=-500), "invalid_amount"),
        (order(currency="USD"), "invalid_amount"),
    ],
)
def test_what_it_can_not_sell_is_a_decline_of_that_request_and_of_nothing_else(
    rig: Rig, refused: Order, code: str
) -> None:
    answer = rig.vend(refused)
    assert isinstance(answer, Declined)
    assert (answer.code, answer.about_transaction) == (code, False)
    assert isinstance(rig.requery(refused), NotFound)
    assert rig.book.records() == []
    assert isinstance(rig.vend(order()), Delivered), "the reference is still free"
    assert rig.book.call_counts(refused.reference) == (2, 0)


def test_a_postpaid_meter_declines_prepaid_orders_for_what_they_are(rig: Rig) -> None:
    answer = rig.vend(order("1010101010101"))
    assert answer == Declined("the meter is not prepaid", "wrong_meter_type", about_transaction=True)


def test_a_second_send_sells_nothing_and_says_that_the_reference_is_known(rig: Rig) -> None:
    assert isinstance(rig.vend(order()), Delivered)
    before = rig.book.sales()
    again = rig.vend(order("98765432109", amount_minor=900_00))
    assert again == Unknown("this reference exists already", known_to_provider=True)
    (entry,) = rig.book.records()
    assert (entry.meter, entry.amount_minor, entry.token) == ("12345678901", 500_00, before[0].token)
    assert (entry.vends, rig.book.call_counts(entry.reference)) == (1, (2, 0))


@pytest.mark.parametrize("meter", ["201000000000", "600000000001", "600000000004", "600000000007"])
def test_a_second_send_does_not_move_what_is_known_but_unsold(rig: Rig, meter: str) -> None:
    rig.vend(order(meter))
    (before,) = rig.book.records()
    assert rig.vend(order(meter)) == Unknown("this reference exists already", known_to_provider=True)
    (after,) = rig.book.records()
    assert (after.status, after.vends, after.sends) == (before.status, 0, 2)


@pytest.mark.parametrize("meter", ["400000000000", "600000000002"])
def test_requests_that_were_dropped_are_counted_although_nobody_knows_them(rig: Rig, meter: str) -> None:
    first, second = rig.vend(order(meter)), rig.vend(order(meter))
    assert first == second
    rig.requery(order(meter))
    assert rig.book.call_counts(order(meter).reference) == (2, 1)
    assert rig.book.sale_count(order(meter).reference) == 0


def test_a_requery_echoes_what_was_sold_and_not_what_was_asked(rig: Rig) -> None:
    rig.vend(order())
    answer = rig.requery(order("98765432109", amount_minor=1))
    assert isinstance(answer, Delivered)
    assert (answer.meter, answer.amount_minor) == ("12345678901", 500_00)


def test_a_requery_of_what_was_never_sent_is_not_found_and_leaves_no_trace(rig: Rig) -> None:
    assert isinstance(rig.requery(order()), NotFound)
    assert rig.book.call_counts(order().reference) == (0, 0)
    assert rig.book.find(order().reference) is None


def test_the_book_tells_what_was_asked_and_when(rig: Rig) -> None:
    rig.vend(order(biller="ABA", vend_type=VendType.POSTPAID))
    (entry,) = rig.book.records()
    assert (entry.biller, entry.vend_type, entry.amount) == ("ABA", VendType.POSTPAID, order().amount)
    assert entry.received_at == entry.vended_at == NOW


def test_a_book_that_can_not_be_opened_was_never_sent_to(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "no such folder" / "sandbox.db")
    sent, asked = rig.vend(order()), rig.requery(order())
    assert isinstance(sent, NotSent)
    assert "no such folder" in sent.reason
    assert isinstance(asked, Unknown), "of an earlier send that says nothing"
    with pytest.raises(Unavailable, match="can't be opened"):
        _ = rig.provider.account


def test_a_book_that_breaks_later_leaves_the_outcome_unknown(rig: Rig) -> None:
    rig.vend(order(reference="A"))
    for path in rig.path.parent.glob("sandbox.db*"):
        path.write_bytes(b"no book at all" * 1000)
    for answer in (rig.vend(order(reference="B")), rig.requery(order(reference="A"))):
        assert isinstance(answer, Unknown)
        assert "the sandbox's book failed" in answer.reason


def test_it_goes_on_after_it_was_closed(rig: Rig) -> None:
    rig.vend(order())
    rig.provider.close()
    rig.provider.close()
    assert isinstance(rig.requery(order()), Delivered)


def test_the_sandbox_takes_the_currency_that_it_is_told(tmp_path: Path) -> None:
    sandbox = SandboxProvider(tmp_path / "ghana.db", timeout_seconds=30, now=lambda: NOW, currency="GHS")
    assert sandbox.account.currency == "GHS"
    assert isinstance(sandbox.vend(order(currency="GHS"), lambda: True), Delivered)
    assert isinstance(sandbox.vend(order(reference="B"), lambda: True), Declined)
    sandbox.close()
