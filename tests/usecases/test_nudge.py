"""When the provider is asked what became of a payment: on its schedule, and sooner when somebody hints at news."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from billvend import Status
from billvend.domain.enums import Proof
from billvend.domain.journal.events import CostRecorded, RequeryRequested, RequeryStarted, load_event
from billvend.domain.outcome import Answer, Declined, Deferred, Delivered, NotFound, Pending
from billvend.domain.policy.timing import JITTER
from billvend.ports.provider import Order
from tests.usecases.shop import TOKEN, Clock, Company, Shop, closing

SCHEDULE = (20, 60, 120, 300, 600, 1200)
TAKEN_BACK = Declined("reversed to the wallet", about_transaction=True, provider_reversed=True)


@pytest.fixture
def shop() -> Iterator[Shop]:
    yield from closing(Shop())


def requeries(shop: Shop) -> int:
    return shop.company.times("requery")


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_it_is_asked_about_at_growing_intervals_each_a_little_longer(shop: Shop) -> None:
    payment = shop.in_doubt()
    gaps = []
    for seconds in SCHEDULE:
        gaps.append(shop.until_due(payment))
        assert seconds <= gaps[-1] <= seconds * (1 + JITTER)
        shop.work()
    assert requeries(shop) == len(SCHEDULE)
    assert [gap for gap, seconds in zip(gaps, SCHEDULE, strict=True) if gap == seconds] == []


def test_payments_that_fail_together_are_not_asked_about_together(shop: Shop) -> None:
    assert len({shop.due_in(shop.in_doubt(100)) for _ in range(20)}) > 15


def test_before_its_time_nobody_asks(shop: Shop) -> None:
    payment = shop.in_doubt()
    due_in = shop.due_in(payment)
    assert due_in is not None
    shop.later(due_in - 0.001)
    assert requeries(shop) == 0
    shop.later(0.001)
    assert requeries(shop) == 1


def test_the_schedule_goes_on_after_a_restart(shop: Shop) -> None:
    payment = shop.in_doubt()
    shop.until_due(payment)
    shop.work()
    due_in = shop.due_in(payment)
    shop.reopen(shop.company)
    assert shop.due_in(payment) == due_in
    assert due_in is not None
    shop.later(due_in - 1)
    assert requeries(shop) == 1
    shop.company.tells = Delivered(TOKEN)
    shop.later(1)
    assert shop.now(payment).token == TOKEN


@pytest.mark.parametrize("advice", [5, 300, 7_000])
def test_the_provider_s_advice_comes_first(shop: Shop, advice: int) -> None:
    payment = shop.in_doubt()
    shop.company.tells = Pending("at work", retry_after_seconds=advice)
    shop.until_due(payment)
    shop.work()
    assert shop.due_in(payment) == pytest.approx(advice, rel=JITTER)


# --- on demand --------------------------------------------------------------------------------------------------------


def test_refresh_asks_now_and_sees_it_through(shop: Shop) -> None:
    payment = shop.in_doubt()
    shop.company.tells = Delivered(TOKEN)
    shop.bv.refresh(payment.transaction_id)
    assert shop.now(payment).token == TOKEN
    failed = shop.in_doubt()
    shop.company.tells = Declined("it failed", about_transaction=True)
    shop.bv.refresh(failed.transaction_id)
    assert shop.now(failed).status is Status.REVERSED


def test_refresh_need_not_wait_for_the_interval(shop: Shop) -> None:
    payment = shop.in_doubt()
    for _ in range(3):
        shop.bv.refresh(payment.transaction_id)
    assert requeries(shop) == 3


def test_refresh_need_not_wait_for_a_hint_that_waits(shop: Shop) -> None:
    payment = shop.in_doubt()
    shop.bv.refresh(payment.transaction_id)
    shop.clock.sleep(1)
    assert shop.hook(payment) == 1
    shop.company.tells = Delivered(TOKEN)
    shop.bv.refresh(payment.transaction_id)
    assert shop.now(payment).token == TOKEN


def test_refresh_asks_nobody_about_what_was_never_sent(shop: Shop) -> None:
    shop.bv.refresh(shop.pay().transaction_id)
    assert shop.company.asked == []


def test_refresh_finds_a_completed_payment_taken_back(shop: Shop) -> None:
    payment = shop.settled(shop.pay())
    shop.company.tells = TAKEN_BACK
    shop.bv.refresh(payment.transaction_id)
    assert shop.incidents(payment) == [("taken_back", 500)]
    assert shop.now(payment).status is Status.COMPLETED


# --- hints ------------------------------------------------------------------------------------------------------------


def hint(shop: Shop, payment: str, by: str) -> None:
    found = shop.bv.payments()[0]
    assert found.transaction_id == payment
    shop.hook(found) if by == "hook" else shop.bv.request_requery(payment)


@pytest.mark.parametrize("by", ["hook", "customer"])
def test_a_hint_brings_the_next_question_forward(shop: Shop, by: str) -> None:
    payment = shop.in_doubt()
    for _ in range(4):
        shop.until_due(payment)
        shop.work()
    shop.clock.sleep(100)
    hint(shop, payment.transaction_id, by)
    assert requeries(shop) == 4  # not inside of the request
    shop.company.tells = Delivered(TOKEN)
    shop.work()
    assert shop.now(payment).token == TOKEN
    assert requeries(shop) == 5


@pytest.mark.parametrize("by", ["hook", "customer"])
def test_hints_are_followed_at_most_once_an_interval(shop: Shop, by: str) -> None:
    payment = shop.in_doubt()
    for _ in range(4):
        shop.until_due(payment)
        shop.work()
    asked = requeries(shop)
    for _ in range(40):  # for 200 seconds, of which an interval has 20
        hint(shop, payment.transaction_id, by)
        shop.later(5)
    assert 8 <= requeries(shop) - asked <= 11


def scheduled_at(*, hinted: bool) -> list[float]:
    """When the schedule asked about a payment within 20 minutes, in seconds from its start."""
    shop = Shop()
    payment, began = shop.in_doubt(), shop.clock.at
    for _ in range(120):
        if hinted:
            shop.bv.request_requery(payment.transaction_id)
        shop.later(10)
    asked = [
        (logged.at - began).total_seconds()
        for logged in shop.bv.events(payment)
        if isinstance(event := load_event(logged.kind, logged.data), RequeryStarted) and not event.on_request
    ]
    shop.close()
    return asked


def test_hints_never_stretch_the_schedule() -> None:
    assert scheduled_at(hinted=True) == scheduled_at(hinted=False) != []


def test_a_forged_hook_changes_nothing_but_one_more_question(shop: Shop) -> None:
    payment = shop.in_doubt()
    before = shop.due_in(payment)
    shop.hook(payment)
    shop.work()
    after = shop.now(payment)
    assert requeries(shop) == 1
    assert (after.status, after.incidents, after.token) == (Status.IN_DOUBT, (), None)
    assert shop.due_in(payment) == before
    assert shop.balance == (9_500, 500)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"acme/id-999999/1/2026-11-22"])
def test_a_hook_about_nothing_of_ours_does_nothing(shop: Shop, body: bytes) -> None:
    shop.in_doubt()
    assert shop.bv.handle_provider_webhook("acme", body) == 0
    assert shop.bv.handle_provider_webhook("nobody", body) == 0
    shop.work()
    assert requeries(shop) == 0


def test_hooks_can_not_hurry_a_reversal_on_not_found(shop: Shop) -> None:
    """Forged hooks make it be asked about often; the proof takes as long as it takes without them."""
    payment = shop.in_doubt()
    shop.company.tells = NotFound("no such reference")
    for _ in range(55):  # 9 minutes
        shop.hook(payment)
        shop.later(10)
    assert shop.now(payment).status is Status.IN_DOUBT


def test_a_hint_before_anything_was_sent_does_nothing(shop: Shop) -> None:
    payment = shop.pay()
    shop.bv.request_requery(payment.transaction_id)
    shop.work()
    assert shop.company.asked == ["vend"]


def test_a_look_while_it_is_being_sent_asks_nothing_of_what_is_then_delivered() -> None:
    """Callers look at their payments all the time; a sale that went well needs no question."""

    class Looked(Company):
        def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
            shop.bv.request_requery(payment.transaction_id)
            return super().vend(order, may_send)

    shop = Shop(Looked())
    payment = shop.pay()
    shop.work()
    assert shop.now(payment).status is Status.COMPLETED
    assert requeries(shop) == 0
    shop.close()


@pytest.mark.parametrize("said", [Pending("at work", 600), Deferred("too early", 600)])
@pytest.mark.parametrize("by", ["hook", "customer"])
def test_hints_wait_while_the_provider_asks_to_be_left_alone(shop: Shop, by: str, said: Answer) -> None:
    payment = shop.in_doubt()
    shop.company.tells = said
    shop.until_due(payment)
    shop.work()
    shop.company.tells = Delivered(TOKEN)
    for _ in range(59):
        hint(shop, payment.transaction_id, by)
        shop.later(10)
    shop.later(9)
    assert requeries(shop) == 1
    shop.later(1)
    assert shop.now(payment).token == TOKEN


@pytest.mark.parametrize("said", [Pending("at work", 600), Deferred("too early", 600)])
def test_an_operator_need_not_wait_for_that(shop: Shop, said: Answer) -> None:
    payment = shop.in_doubt()
    shop.company.tells = said
    shop.until_due(payment)
    shop.work()
    shop.hook(payment)  # one that waits
    shop.company.tells = Delivered(TOKEN)
    shop.bv.refresh(payment.transaction_id)
    assert shop.now(payment).token == TOKEN


class Touchy(Company):
    """Turns away who asks within a minute, as BuyPower does, and knows nothing of anything."""

    last_asked_at: datetime | None = None
    turned_away = 0

    def requery(self, order: Order) -> Answer:
        before, self.last_asked_at = self.last_asked_at, self.clock.now()
        if before is not None and self.last_asked_at - before < timedelta(seconds=60):
            self.turned_away += 1
            return Deferred("too early", 60)
        return NotFound("no such reference")

    clock: Clock


@pytest.mark.parametrize("by", ["hook", "customer"])
def test_hints_can_not_hold_up_a_reversal_on_not_found(by: str) -> None:
    """Hints without end have us turned away; the proof is not undone by that."""
    touchy = Touchy()
    shop = Shop(touchy)
    touchy.clock = shop.clock
    payment = shop.in_doubt()
    for _ in range(350):  # shortly before a person would be called
        if shop.now(payment).has_ended:
            break
        hint(shop, payment.transaction_id, by)
        shop.later(20)
    assert touchy.turned_away > 5
    assert shop.now(payment).proof is Proof.NOT_FOUND
    assert shop.balance == (10_000, 0)
    shop.close()


@pytest.mark.parametrize("by", ["hook", "customer", "operator"])
def test_nobody_is_nudged_about_an_account_that_is_gone(shop: Shop, by: str) -> None:
    """A hint that can't be followed is not written down: they would pile up, and stand in the way of later ones."""
    payment, old = shop.in_doubt(), shop.company
    other = Company(account="key-2")
    shop.reopen(other)
    for _ in range(3):
        if by == "operator":
            shop.bv.refresh(payment.transaction_id)
        else:
            hint(shop, payment.transaction_id, by)
        shop.later(100)
    assert [event for event in shop.events(payment) if isinstance(event, RequeryRequested)] == []
    assert shop.now(payment).requery_request is None
    assert other.asked == []
    old.tells = Delivered(TOKEN)
    shop.reopen(other, old)
    hint(shop, payment.transaction_id, "customer")
    shop.work()
    assert shop.now(payment).token == TOKEN


# --- hints after the end ----------------------------------------------------------------------------------------------


def completed(shop: Shop, cost: int | None = None) -> str:
    shop.company.sells = Delivered(TOKEN, cost_minor=cost)
    return shop.settled(shop.pay()).transaction_id


def test_a_hook_on_a_completed_payment_finds_it_taken_back(shop: Shop) -> None:
    completed(shop, 49_000)
    (payment,) = shop.bv.payments()
    shop.company.tells = TAKEN_BACK
    shop.hook(payment)
    shop.work()
    assert shop.now(payment).status is Status.COMPLETED
    assert shop.incidents(payment) == [("taken_back", 490)]
    assert shop.account("recovered") == 490
    assert shop.balance == (9_500, 0)
    assert [found.transaction_id for found in shop.bv.review().payments_with_incidents] == [
        payment.transaction_id
    ]


def test_taken_back_is_an_incident_once_however_often_it_is_said(shop: Shop) -> None:
    completed(shop)
    (payment,) = shop.bv.payments()
    shop.company.tells = TAKEN_BACK
    for _ in range(3):
        shop.hook(payment)
        shop.later(100)
    assert requeries(shop) == 3
    assert shop.account("recovered") == 500
    assert shop.incidents(payment) == [("taken_back", 500)]


def test_a_forged_hook_on_a_completed_payment_changes_nothing(shop: Shop) -> None:
    completed(shop)
    (payment,) = shop.bv.payments()
    for answer in (Delivered(TOKEN), NotFound("no such reference"), Pending("at work")):
        shop.company.tells = answer
        shop.hook(payment)
        shop.later(100)
    assert requeries(shop) == 3
    assert shop.incidents(payment) == []
    assert shop.due_in(payment) is None
    assert shop.now(payment).token == TOKEN


def test_the_cost_that_a_hook_leads_to_is_booked_once(shop: Shop) -> None:
    completed(shop)
    (payment,) = shop.bv.payments()
    assert shop.account("provider:acme") == 500
    shop.company.tells = Delivered(TOKEN, cost_minor=49_000)
    for _ in range(2):
        shop.hook(payment)
        shop.later(100)
    assert (shop.account("provider:acme"), shop.account("commission:acme")) == (490, 10)
    assert [event for event in shop.events(payment) if isinstance(event, CostRecorded)] == [
        CostRecorded(1, "acme", 50_000, 49_000)
    ]


def test_a_hook_on_a_reversed_payment_finds_it_delivered(shop: Shop) -> None:
    shop.company.sells = Declined("not this one")
    payment = shop.pay()
    shop.work()
    assert shop.now(payment).proof is Proof.DECLINED
    shop.company.tells = Delivered(TOKEN)
    for _ in range(2):
        shop.hook(payment)
        shop.later(100)
    assert shop.incidents(payment) == [("delivered_after_reversal", 500)]
    assert shop.account("loss") == -500
    assert shop.balance == (10_000, 0)
