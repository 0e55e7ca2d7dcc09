"""Whose meter is it: asked before any money is held, and in bulk before anything is sent."""

from collections.abc import Iterator

import pytest

from billvend import (
    Bill,
    BillvendError,
    IdempotencyMismatch,
    InsufficientFunds,
    InvalidAmount,
    InvalidMeter,
    Money,
    Status,
)
from billvend.adapters.storage.journal import SqlJournal
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import Proof
from billvend.domain.errors import (
    BelowMinimum,
    LikelyDuplicate,
    MeterCannotVend,
    MeterNotFound,
    ProviderUnavailable,
    UnknownBiller,
    WalletNotFound,
    WrongMeterType,
)
from billvend.domain.meter_lookup import (
    MeterFault,
    MeterFound,
    MeterLookupFailed,
    MeterLookupResult,
    MeterRejected,
)
from billvend.domain.outcome import Delivered
from billvend.usecases.caches import METER_CACHE_SECONDS
from billvend.usecases.dependencies import MeterCheck
from tests.usecases.shop import METER, TOKEN, Company, Shop, closing

ASKING = MeterCheck(is_enabled=True)
OTHER_METER = "10987654321"
DARK = MeterLookupFailed("no answer in 5 s")
REFUSALS: list[tuple[MeterLookupResult, type[BillvendError]]] = [
    (MeterRejected(MeterFault.METER_NOT_FOUND, "no such meter"), MeterNotFound),
    (MeterRejected(MeterFault.WRONG_METER_TYPE, "it is postpaid"), WrongMeterType),
    (MeterRejected(MeterFault.METER_CANNOT_VEND, "it is blocked"), MeterCannotVend),
    (MeterFound("Ada Obi", minimum_minor=50_001), BelowMinimum),
    (DARK, ProviderUnavailable),
]
KINDS = [kind.__name__ for _, kind in REFUSALS]


@pytest.fixture
def shop() -> Iterator[Shop]:
    yield from closing(Shop(verification=ASKING))


def accept(shop: Shop, amount: int = 500, meter: str = METER, key: str | None = None) -> str:
    return shop.bv.accept(Bill("ada", amount, meter, "EKEDC", key=key)).payment.transaction_id


# --- before the hold --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "kind"), REFUSALS, ids=KINDS)
def test_a_meter_that_is_not_sold_to_is_refused_and_nothing_is_held(
    shop: Shop, said: MeterLookupResult, kind: type[BillvendError]
) -> None:
    shop.company.knows = said
    with pytest.raises(kind) as refused:
        shop.pay(500)
    assert "Nothing was held" in refused.value.message
    assert shop.balance == (10_000, 0)
    assert shop.bv.payments() == []
    assert shop.company.asked == ["verify"]


def test_the_smallest_amount_that_a_meter_takes_is_taken(shop: Shop) -> None:
    shop.company.knows = MeterFound("Ada Obi", minimum_minor=50_000)
    assert shop.settled(shop.pay(500)).token == TOKEN


def test_the_largest_amount_that_a_meter_takes_is_taken_and_more_is_refused(shop: Shop) -> None:
    shop.company.knows = MeterFound("Ada Obi", minimum_minor=50_000, maximum_minor=50_000)
    assert shop.settled(shop.pay(500)).token == TOKEN
    with pytest.raises(InvalidAmount, match=r"NGN 500\.00 at most\. Nothing was held") as refused:
        shop.pay(501)
    assert refused.value.fields == {"amount": "must be at most 500.00"}
    assert shop.balance == (9_500, 0)


def test_who_pays_is_told_whose_meter_it_is(shop: Shop) -> None:
    paid = shop.bv.accept(Bill("ada", 500, METER, "EKEDC"))
    assert paid.meter == MeterFound("Ada Obi")
    assert paid.payment.verified
    shop.settled(paid.payment)
    assert shop.company.asked == ["verify", "vend"]  # and the worker does not ask again


def test_anybody_may_ask_whose_meter_it_is(shop: Shop) -> None:
    assert shop.bv.meter(METER, biller="EKEDC").customer_name == "Ada Obi"
    with pytest.raises(InvalidMeter):
        shop.bv.meter("12", biller="EKEDC")
    with pytest.raises(UnknownBiller):
        shop.bv.meter(METER, biller="NOBODY")
    assert shop.company.asked == ["verify"]
    for said, kind in REFUSALS:
        shop.company.knows = said
        if kind is not BelowMinimum:
            with pytest.raises(kind):
                shop.bv.meter(OTHER_METER, biller="EKEDC")


def test_the_order_of_refusals(shop: Shop) -> None:
    """Each request is wrong in all that comes later as well; the provider is asked last, and only then."""
    shop.company.knows = REFUSALS[0][0]
    for kind, bill in [
        (InvalidMeter, Bill("bob", "0", "12", "NOBODY")),
        (InvalidAmount, Bill("bob", "0", METER, "NOBODY")),
        (UnknownBiller, Bill("bob", "99999", METER, "NOBODY")),
        (WalletNotFound, Bill("bob", "99999", METER, "EKEDC")),
        (InsufficientFunds, Bill("ada", "99999", METER, "EKEDC")),
    ]:
        with pytest.raises(kind):
            shop.bv.accept(bill)
    assert shop.company.asked == []
    with pytest.raises(MeterNotFound):
        accept(shop)
    assert shop.balance == (10_000, 0)


def test_a_key_used_for_something_else_is_refused_before_the_wallet_is_looked_at(shop: Shop) -> None:
    accept(shop, 9_000, key="order-1")
    asked = shop.company.times("verify")
    with pytest.raises(IdempotencyMismatch):
        accept(shop, 99_999, OTHER_METER, key="order-1")
    assert shop.company.times("verify") == asked


def test_a_double_click_is_refused_before_the_funds_and_without_asking(shop: Shop) -> None:
    accept(shop, 6_000)
    shop.company.knows = DARK
    with pytest.raises(LikelyDuplicate):
        accept(shop, 6_000)
    assert shop.company.times("verify") == 1


@pytest.mark.parametrize("said", [said for said, _ in REFUSALS], ids=KINDS)
def test_a_replay_asks_nobody_and_answers_as_before(shop: Shop, said: MeterLookupResult) -> None:
    first = accept(shop, 500, key="order-1")
    shop.company.knows = said
    shop.clock.sleep(METER_CACHE_SECONDS + 1)
    assert accept(shop, 500, key="order-1") == first
    assert shop.company.times("verify") == 1
    assert shop.balance == (9_500, 500)


def test_the_funds_are_looked_at_again_at_the_hold(shop: Shop) -> None:
    spent: list[object] = []

    def spend() -> None:
        shop.company.while_verifying = lambda: None
        spent.append(shop.pay(9_800, meter=OTHER_METER))

    shop.company.while_verifying = spend
    with pytest.raises(InsufficientFunds):
        accept(shop, 500)
    assert len(spent) == 1
    assert shop.balance == (200, 9_800)


def test_the_same_key_used_while_the_provider_was_asked_pays_once(shop: Shop) -> None:
    def again() -> None:
        shop.company.while_verifying = lambda: None
        accept(shop, 500, key="order-1")

    shop.company.while_verifying = again
    accept(shop, 500, key="order-1")
    assert len(shop.bv.payments()) == 1
    assert shop.balance == (9_500, 500)


@pytest.mark.parametrize("said", [said for said, _ in REFUSALS], ids=KINDS)
def test_what_was_accepted_while_the_meter_was_asked_about_is_what_the_caller_is_told_of(
    shop: Shop, said: MeterLookupResult
) -> None:
    """The same request twice at once: where the first is accepted, nothing may be said to have been refused."""
    first: list[str] = []

    def again() -> None:
        shop.company.while_verifying = lambda: None
        first.append(accept(shop, 500, key="order-1"))
        shop.company.knows = said

    shop.company.while_verifying = again
    paid = shop.bv.accept(Bill("ada", 500, METER, "EKEDC", key="order-1"))
    assert [paid.payment.transaction_id] == first
    assert (paid.replayed, paid.meter) == (True, None)
    assert shop.company.asked == ["verify", "verify"]
    assert shop.balance == (9_500, 500)


def test_a_key_used_for_something_else_while_the_meter_was_asked_about_is_refused(shop: Shop) -> None:
    def another() -> None:
        shop.company.while_verifying = lambda: None
        accept(shop, 700, key="order-1")
        shop.company.knows = DARK

    shop.company.while_verifying = another
    with pytest.raises(IdempotencyMismatch):
        accept(shop, 500, key="order-1")
    assert shop.balance == (9_300, 700)


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_a_found_meter_is_remembered_for_ten_minutes(shop: Shop) -> None:
    accept(shop, 500, key="one")
    shop.clock.sleep(599)
    accept(shop, 500, key="two")
    assert shop.company.times("verify") == 1
    shop.clock.sleep(1)
    accept(shop, 500, key="three")
    assert shop.company.times("verify") == 2


def test_a_remembered_meter_is_paid_for_in_one_look_at_the_books(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(shop, 500, key="one")

    def dry_run(_journal: SqlJournal, _commands: object) -> list[CommandOutcome]:
        raise AssertionError("nobody has to be asked: the decision alone says no")

    monkeypatch.setattr(SqlJournal, "dry_run", dry_run)
    paid = shop.bv.accept(Bill("ada", 500, METER, "EKEDC", key="two"))
    again = shop.bv.accept(Bill("ada", 500, METER, "EKEDC", key="two"))
    assert (paid.replayed, paid.meter, paid.payment.verified) == (False, MeterFound("Ada Obi"), True)
    assert (again.replayed, again.meter, again.payment) == (True, None, paid.payment)
    for kind, bill in [
        (IdempotencyMismatch, Bill("ada", 501, METER, "EKEDC", key="two")),
        (InsufficientFunds, Bill("ada", 9_001, METER, "EKEDC")),
        (LikelyDuplicate, Bill("ada", 500, METER, "EKEDC")),
    ]:
        with pytest.raises(kind):
            shop.bv.accept(bill)
    assert shop.balance == (9_000, 1_000)


def test_what_is_remembered_is_of_one_meter_and_one_way_of_paying(shop: Shop) -> None:
    shop.pay(500)
    shop.pay(500, meter=OTHER_METER)
    shop.pay(500, vend_type="postpaid")
    assert shop.company.times("verify") == 3


def test_the_smallest_amount_is_remembered_too(shop: Shop) -> None:
    shop.company.knows = MeterFound("Ada Obi", minimum_minor=60_000)
    shop.pay(600)
    with pytest.raises(BelowMinimum):
        shop.pay(599)
    assert shop.company.times("verify") == 1


@pytest.mark.parametrize("said", [said for said, kind in REFUSALS if kind is not BelowMinimum])
def test_what_is_no_is_not_remembered(shop: Shop, said: MeterLookupResult) -> None:
    shop.company.knows = said
    with pytest.raises(BillvendError):
        shop.pay(500)
    shop.company.knows = MeterFound("Ada Obi")
    shop.pay(500)
    assert shop.company.times("verify") == 2


# --- when nobody can be asked -----------------------------------------------------------------------------------------


def test_an_adapter_that_breaks_is_taken_for_one_that_can_not_be_asked(shop: Shop) -> None:
    def broken() -> None:
        raise KeyError("name")

    shop.company.while_verifying = broken
    with pytest.raises(ProviderUnavailable):
        shop.pay(500)
    assert shop.balance == (10_000, 0)


def test_the_next_provider_is_asked_where_the_first_can_not_be() -> None:
    first, second = Company("acme"), Company("backup")
    shop = Shop(first, second, verification=ASKING)
    first.knows, second.knows = DARK, MeterFound("Ada at backup")
    assert shop.bv.meter(METER, biller="EKEDC").customer_name == "Ada at backup"
    first.knows = REFUSALS[0][0]
    with pytest.raises(MeterNotFound):
        shop.bv.meter(METER, biller="EKEDC")
    shop.close()


def test_where_that_is_allowed_a_payment_passes_unasked() -> None:
    shop = Shop(verification=MeterCheck(is_enabled=True, allows_unreachable=True))
    shop.company.knows = DARK
    payment = shop.pay(500)
    assert not payment.verified
    assert shop.settled(payment).status is Status.COMPLETED
    shop.company.knows = REFUSALS[0][0]  # allowed is only what could not be asked about
    with pytest.raises(MeterNotFound):
        shop.pay(500)
    shop.close()


def test_turned_off_nobody_is_asked() -> None:
    shop = Shop(verification=MeterCheck(is_enabled=False))
    shop.company.knows = REFUSALS[0][0]
    assert shop.settled(shop.pay(500)).status is Status.COMPLETED
    assert shop.settled(shop.pay_many()[0]).status is Status.COMPLETED
    assert shop.company.times("verify") == 0
    shop.close()


# --- in bulk ----------------------------------------------------------------------------------------------------------


def test_in_bulk_the_worker_asks_before_it_sends(shop: Shop) -> None:
    (payment,) = shop.pay_many()
    assert shop.company.asked == []
    assert not payment.verified
    assert shop.settled(payment).token == TOKEN
    assert shop.company.asked == ["verify", "vend"]


@pytest.mark.parametrize(("said", "kind"), REFUSALS[:4], ids=KINDS[:4])
def test_in_bulk_a_refused_meter_gives_the_money_back_with_nothing_sent(
    shop: Shop, said: MeterLookupResult, kind: type[BillvendError]
) -> None:
    shop.company.knows = said
    (payment,) = shop.pay_many()
    assert shop.balance == (9_500, 500)
    shop.work()
    ended = shop.now(payment)
    assert (ended.status, ended.proof) == (Status.REVERSED, Proof.DECLINED)
    assert shop.balance == (10_000, 0)
    assert shop.company.times("vend") == shop.company.times("requery") == 0


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (MeterFound("Ada Obi", minimum_minor=50_001), "the amount must be at least 500.01"),
        (MeterFound("Ada Obi", maximum_minor=49_999), "the amount must be at most 499.99"),
    ],
)
def test_in_bulk_the_meter_s_own_bounds_hold_too(shop: Shop, found: MeterFound, reason: str) -> None:
    shop.company.knows = found
    (payment,) = shop.pay_many()
    shop.work()
    ended = shop.now(payment)
    assert ended.proof is Proof.DECLINED
    assert ended.reversal is not None
    assert ended.reversal.reason == reason
    assert shop.company.times("vend") == 0
    shop.company.knows = MeterFound("Ada Obi", minimum_minor=50_000, maximum_minor=50_000)
    shop.clock.sleep(METER_CACHE_SECONDS)
    (payment,) = shop.pay_many()
    shop.work()
    assert shop.now(payment).token == TOKEN


def test_in_bulk_a_refusal_for_which_the_second_provider_sells_is_none() -> None:
    first, second = Company("acme"), Company("backup")
    shop = Shop(first, second, verification=ASKING)
    first.knows = REFUSALS[0][0]
    second.sells = Delivered(TOKEN)
    (payment,) = shop.pay_many()
    shop.work()
    assert shop.now(payment).token == TOKEN
    assert (first.asked, second.asked) == (["verify"], ["verify", "vend"])
    shop.close()


def test_in_bulk_what_can_never_be_asked_about_is_never_sold(shop: Shop) -> None:
    """Refused where it is paid alone; in bulk tried again, and then given back."""
    shop.company.knows = DARK
    (payment,) = shop.pay_many()
    shop.work()
    for _ in range(6):
        shop.later(100)
    ended = shop.now(payment)
    assert shop.company.times("vend") == 0
    assert (ended.status, ended.proof) == (Status.REVERSED, Proof.NOT_SENT)
    assert shop.balance == (10_000, 0)


def test_in_bulk_it_is_sold_once_the_provider_can_be_asked_again(shop: Shop) -> None:
    shop.company.knows = DARK
    (payment,) = shop.pay_many()
    shop.work()
    assert shop.balance == (9_500, 500)
    shop.company.knows = MeterFound("Ada Obi")
    shop.later(5)
    assert shop.now(payment).token == TOKEN
    assert shop.company.asked == ["verify", "verify", "vend"]


def test_a_meter_that_passed_unasked_is_asked_about_by_the_worker() -> None:
    shop = Shop(verification=MeterCheck(is_enabled=True, allows_unreachable=True))
    shop.company.knows = DARK
    payment = shop.pay(500)
    shop.company.knows = MeterRejected(MeterFault.METER_CANNOT_VEND, "it is blocked")
    shop.work()
    assert shop.now(payment).proof is Proof.DECLINED
    assert shop.company.times("vend") == 0
    assert Money(1_000_000, "NGN") == shop.bv.balance("ada").available
    shop.close()
