"""A person decides, while the provider gives no answer; what it says later contradicts in the open."""

from collections.abc import Callable, Iterator

import pytest

from billvend import InvalidInput, Payment, Status, TransactionNotFound, ValidationFailed
from billvend.domain.enums import OperatorDecision, Proof
from billvend.domain.errors import Conflict, NotInReview
from billvend.domain.journal.events import CostRecorded, OperatorDecided, ReversalDecided
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, NotSent, Pending
from tests.usecases.shop import ANOTHER, SILENCE, TOKEN, Shop, closing

FAILED = Declined("it failed", about_transaction=True)
DAY = 86_400


@pytest.fixture
def shop() -> Iterator[Shop]:
    yield from closing(Shop())


def complete(shop: Shop, payment: Payment, token: str | None = TOKEN) -> Payment:
    return shop.bv.resolve(
        payment.transaction_id,
        operator="ngozi",
        reason="EKEDC read it to me",
        token=token,
        decision="delivered",
    )


def reverse(shop: Shop, payment: Payment) -> Payment:
    return shop.bv.resolve(payment.transaction_id, operator="ngozi", reason="EKEDC has no such sale")


def see(shop: Shop, payment: Payment) -> Payment:
    return shop.bv.resolve(
        payment.transaction_id,
        operator="ngozi",
        reason="talked to them",
        decision=OperatorDecision.ACKNOWLEDGED,
    )


def told(shop: Shop, payment: Payment, answer: Answer) -> Payment:
    """The company says this when it is asked because of a hook."""
    shop.company.tells = answer
    shop.hook(payment)
    shop.later(100)
    return shop.now(payment)


# --- review -----------------------------------------------------------------------------------------------------------


def test_nothing_waits_at_first(shop: Shop) -> None:
    shop.in_doubt()
    assert (shop.bv.review().payments_in_review, shop.bv.review().payments_with_incidents) == ([], [])


def test_review_lists_what_waits_with_its_evidence_the_oldest_first(shop: Shop) -> None:
    shop.company.tells = Pending("at work")
    first = shop.in_review(300)
    second = shop.in_review(400)
    waiting = shop.bv.review().payments_in_review
    assert [found.transaction_id for found in waiting] == [first.transaction_id, second.transaction_id]
    assert waiting[0].review_reason == "it has been in doubt for too long"
    answers = waiting[0].attempts[0].answers
    assert answers[0] == SILENCE
    assert set(answers[1:]) == {Pending("at work")}
    assert shop.balance == (9_300, 700)


def test_in_review_it_is_asked_about_daily_and_an_answer_wins(shop: Shop) -> None:
    payment = shop.in_review()
    asked = shop.company.times("requery")
    for day in range(1, 4):
        assert DAY * 0.9 < shop.until_due(payment) <= DAY
        shop.work()
        assert shop.company.times("requery") == asked + day
    shop.company.tells = Delivered(TOKEN)
    shop.until_due(payment)
    shop.work()
    assert shop.now(payment).token == TOKEN
    assert shop.bv.review().payments_in_review == []


def test_in_review_a_clear_no_gives_the_money_back(shop: Shop) -> None:
    payment = shop.in_review()
    shop.company.tells = FAILED
    shop.until_due(payment)
    shop.work()
    assert shop.now(payment).proof is Proof.DECLINED
    assert shop.balance == (10_000, 0)


# --- deciding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["in doubt", "in review"])
def test_a_person_completes_it_with_the_token(shop: Shop, state: str) -> None:
    payment = shop.in_doubt() if state == "in doubt" else shop.in_review()
    done = complete(shop, payment)
    assert (done.status, done.token) == (Status.COMPLETED, TOKEN)
    assert shop.now(payment) == done
    assert shop.balance == (9_500, 0)
    assert shop.account("provider:acme") == 500
    decided = OperatorDecided("ngozi", OperatorDecision.DELIVERED, "EKEDC read it to me")
    assert decided in shop.events(payment)
    assert shop.due_in(payment) is None


@pytest.mark.parametrize("state", ["in doubt", "in review"])
def test_a_person_reverses_it_and_answers_for_it(shop: Shop, state: str) -> None:
    payment = shop.in_doubt() if state == "in doubt" else shop.in_review()
    done = reverse(shop, payment)
    assert (done.status, done.proof) == (Status.REVERSED, Proof.OPERATOR)
    assert shop.balance == (10_000, 0)
    assert OperatorDecided("ngozi", OperatorDecision.REVERSE, "EKEDC has no such sale") in shop.events(
        payment
    )
    (decided,) = [event for event in shop.events(payment) if isinstance(event, ReversalDecided)]
    assert "ngozi" in decided.reason
    assert "EKEDC has no such sale" in decided.reason


@pytest.mark.parametrize("typed", ["1234 5678 9012 3456 7890", "1234-5678-9012-3456-7890", f" {TOKEN} "])
def test_a_token_may_be_typed_in_groups(shop: Shop, typed: str) -> None:
    assert complete(shop, shop.in_doubt(), typed).token == TOKEN


@pytest.mark.parametrize(
    "typed",
    ["", "1234", TOKEN[:-1], TOKEN + "1", "1234567890123456789O", "١" * 20, None, "12345678901234567890\n1"],
)
def test_what_is_no_token_completes_nothing(shop: Shop, typed: str | None) -> None:
    payment = shop.in_doubt()
    with pytest.raises(ValidationFailed) as refused:
        complete(shop, payment, typed)
    assert "token" in refused.value.fields
    assert shop.now(payment) == payment


def test_postpaid_is_completed_without_a_token(shop: Shop) -> None:
    payment = shop.in_doubt(vend_type="postpaid")
    assert complete(shop, payment, None).status is Status.COMPLETED


@pytest.mark.parametrize("blank", ["", "   ", "x" * 501, "a\nb", "\0"])
@pytest.mark.parametrize("field", ["operator", "reason"])
def test_without_a_name_or_a_reason_nothing_is_decided(shop: Shop, field: str, blank: str) -> None:
    payment = shop.in_doubt()
    words = {"operator": "ngozi", "reason": "by phone"} | {field: blank}
    with pytest.raises(InvalidInput) as refused:
        shop.bv.resolve(payment.transaction_id, token=TOKEN, **words)
    assert list(refused.value.fields) == [field]
    assert shop.now(payment) == payment


# --- what is not to be decided ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "to be sent again", "completed", "reversed", "reversing"])
@pytest.mark.parametrize("verdict", list(OperatorDecision))
def test_what_is_not_in_doubt_is_not_to_be_decided(shop: Shop, state: str, verdict: OperatorDecision) -> None:
    sent: dict[str, Answer] = {"completed": Delivered(TOKEN), "to be sent again": NotSent("refused")}
    shop.company.sells = sent.get(state, FAILED)
    payment = shop.pay()
    if state == "reversed":
        shop.work()
    elif state != "pending":
        shop.settled(payment)
    before = shop.now(payment)
    with pytest.raises(NotInReview) as refused:
        shop.bv.resolve(
            payment.transaction_id, operator="ngozi", reason="by phone", decision=verdict, token=ANOTHER
        )
    assert isinstance(refused.value, Conflict)  # exit status 5
    assert shop.now(payment) == before


def test_what_does_not_exist_is_not_found(shop: Shop) -> None:
    funding = shop.bv.history("ada")[-1].transaction_id
    for unknown in ("id-999999", funding):
        with pytest.raises(TransactionNotFound):
            shop.bv.resolve(unknown, operator="ngozi", reason="by phone", token=TOKEN)


Decide = Callable[[Shop, Payment], Payment]


@pytest.mark.parametrize("first", [complete, reverse])
@pytest.mark.parametrize("second", [complete, reverse])
def test_of_two_who_decide_the_second_is_refused(shop: Shop, first: Decide, second: Decide) -> None:
    payment = shop.in_doubt()
    done = first(shop, payment)
    with pytest.raises(NotInReview):
        second(shop, payment)
    assert shop.now(payment) == done


@pytest.mark.parametrize("decide", [complete, reverse])
@pytest.mark.parametrize("answer", [Delivered(TOKEN), FAILED, NotFound("no such reference"), SILENCE])
def test_who_decides_while_the_provider_is_asked(shop: Shop, decide: Decide, answer: Answer) -> None:
    """The answer comes to a payment that has ended: it stays as the person decided, and the books balance."""
    payment = shop.in_doubt()
    shop.company.tells = answer
    shop.company.while_requerying = lambda: decide(shop, payment)
    shop.until_due(payment)
    shop.settled(payment)
    ended = shop.now(payment)
    assert ended.status is (Status.COMPLETED if decide is complete else Status.REVERSED)
    contradicted = {Delivered: decide is reverse, Declined: decide is complete}.get(type(answer), False)
    assert bool(ended.incidents) == contradicted
    assert shop.balance == ((9_500, 0) if decide is complete else (10_000, 0))


# --- what the provider says later -------------------------------------------------------------------------------------


def test_the_same_token_is_no_incident_and_a_late_cost_is_booked(shop: Shop) -> None:
    payment = complete(shop, shop.in_doubt())
    assert shop.account("provider:acme") == 500
    assert told(shop, payment, Delivered(TOKEN)).incidents == ()
    assert told(shop, payment, Delivered(TOKEN, cost_minor=49_000)).incidents == ()
    assert (shop.account("provider:acme"), shop.account("commission:acme")) == (490, 10)
    assert told(shop, payment, Delivered(TOKEN, cost_minor=49_000)).incidents == ()
    assert len([event for event in shop.events(payment) if isinstance(event, CostRecorded)]) == 1
    assert shop.now(payment).token == TOKEN


def test_a_late_cost_above_the_face_value_is_our_expense(shop: Shop) -> None:
    payment = complete(shop, shop.in_doubt())
    told(shop, payment, Delivered(TOKEN, cost_minor=50_700))
    assert (shop.account("provider:acme"), shop.account("expense:acme")) == (507, -7)


def test_another_token_is_an_incident_once_and_nothing_is_overwritten(shop: Shop) -> None:
    payment = complete(shop, shop.in_doubt())
    for _ in range(2):
        told(shop, payment, Delivered(ANOTHER, cost_minor=49_000))
    assert shop.incidents(payment) == [("another_token", 0)]
    assert shop.now(payment).token == TOKEN
    assert ANOTHER in shop.now(payment).incidents[0].detail


def test_completed_by_a_person_and_failed_at_the_provider(shop: Shop) -> None:
    payment = complete(shop, shop.in_doubt())
    assert told(shop, payment, FAILED).status is Status.COMPLETED
    assert shop.incidents(payment) == [("taken_back", 500)]
    assert shop.balance == (9_500, 0)


def test_reversed_by_a_person_it_stays_watched(shop: Shop) -> None:
    payment = reverse(shop, shop.in_doubt())
    asked = shop.company.times("requery")
    waits = []
    while (due_in := shop.due_in(payment)) is not None:
        waits.append(round(due_in / 3600))
        shop.later(due_in)
    assert waits == [1, 5, 18, 48]
    assert shop.company.times("requery") == asked + 4


def test_reversed_by_a_person_and_delivered_is_a_loss_once(shop: Shop) -> None:
    payment = reverse(shop, shop.in_doubt())
    shop.company.tells = Delivered(TOKEN, cost_minor=49_000)
    shop.later(3_600)
    for _ in range(2):
        told(shop, payment, Delivered(TOKEN, cost_minor=49_000))
    assert shop.incidents(payment) == [("delivered_after_reversal", 490)]
    assert (shop.account("loss"), shop.account("provider:acme")) == (-490, 490)
    assert shop.balance == (10_000, 0)
    assert shop.now(payment).status is Status.REVERSED


# --- incidents --------------------------------------------------------------------------------------------------------


def test_an_incident_waits_until_somebody_has_seen_it(shop: Shop) -> None:
    payment = complete(shop, shop.in_doubt())
    with pytest.raises(NotInReview):
        see(shop, payment)
    told(shop, payment, Delivered(ANOTHER))
    assert [found.transaction_id for found in shop.bv.review().payments_with_incidents] == [
        payment.transaction_id
    ]
    see(shop, payment)
    assert shop.bv.review().payments_with_incidents == []
    assert shop.incidents(payment) == [("another_token", 0)]  # seen, not forgotten
    with pytest.raises(NotInReview):
        see(shop, payment)
    told(shop, payment, Delivered("33333333333333333333"))
    (open_,) = shop.bv.review().payments_with_incidents
    assert len(open_.open_incidents) == 1
    assert OperatorDecided("ngozi", OperatorDecision.ACKNOWLEDGED, "talked to them") in shop.events(payment)


def test_a_token_that_belongs_to_another_payment(shop: Shop) -> None:
    shop.settled(shop.pay())
    first = shop.bv.payments()[0]
    second = complete(shop, shop.in_doubt())
    assert (second.status, second.token) == (Status.COMPLETED, TOKEN)
    assert shop.incidents(second) == [("token_of_another", 0)]
    assert first.transaction_id in shop.now(second).incidents[0].detail
    assert shop.incidents(first) == []
    shop.company.sells = Delivered(TOKEN)
    third = shop.settled(shop.pay())
    assert shop.incidents(third) == [("token_of_another", 0)]


def test_a_payment_s_own_token_is_nobody_else_s(shop: Shop) -> None:
    payment = complete(shop, shop.in_doubt())
    told(shop, payment, Delivered(TOKEN))
    assert shop.incidents(payment) == []


def test_an_unknown_verdict_is_refused(shop: Shop) -> None:
    payment = shop.in_doubt()
    with pytest.raises(ValidationFailed):
        shop.bv.resolve(payment.transaction_id, operator="ngozi", reason="by phone", decision="maybe")
