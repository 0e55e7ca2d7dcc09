"""A person decides while the provider gives no answer. A later answer that contradicts the decision is shown as an
incident."""

from collections.abc import Callable, Iterator

import pytest

from billvend import InvalidInput, Payment, Status, TransactionNotFound, ValidationFailed
from billvend.domain.enums import OperatorDecision, Proof
from billvend.domain.errors import Conflict, NotInReview
from billvend.domain.journal.events import CostRecorded, OperatorDecided, ReversalDecided
from billvend.domain.outcome import Answer, Declined, Delivered, NotFound, NotSent, Pending
from tests.harness import NO_ANSWER, OTHER_TOKEN, TOKEN, AppHarness, using

FAILED = Declined("it failed", about_transaction=True)
DAY = 86_400


@pytest.fixture
def app() -> Iterator[AppHarness]:
    yield from using(AppHarness())


def complete(app: AppHarness, payment: Payment, token: str | None = TOKEN) -> Payment:
    return app.bv.resolve(
        payment.transaction_id,
        operator="ngozi",
        reason="EKEDC read it to me",
        token=token,
        decision="delivered",
    )


def reverse(app: AppHarness, payment: Payment) -> Payment:
    return app.bv.resolve(payment.transaction_id, operator="ngozi", reason="EKEDC has no such sale")


def acknowledge(app: AppHarness, payment: Payment) -> Payment:
    return app.bv.resolve(
        payment.transaction_id,
        operator="ngozi",
        reason="talked to them",
        decision=OperatorDecision.ACKNOWLEDGED,
    )


def answer_after_webhook(app: AppHarness, payment: Payment, answer: Answer) -> Payment:
    """The provider gives this answer when a webhook causes a requery."""
    app.provider.requery_answer = answer
    app.receive_webhook(payment)
    app.advance(100)
    return app.reload(payment)


# --- review -----------------------------------------------------------------------------------------------------------


def test_review_is_empty_at_first(app: AppHarness) -> None:
    app.payment_in_doubt()
    assert (app.bv.review().payments_in_review, app.bv.review().payments_with_incidents) == ([], [])


def test_review_lists_payments_with_evidence_oldest_first(app: AppHarness) -> None:
    app.provider.requery_answer = Pending("at work")
    first = app.payment_in_review(300)
    second = app.payment_in_review(400)
    waiting = app.bv.review().payments_in_review
    assert [found.transaction_id for found in waiting] == [first.transaction_id, second.transaction_id]
    assert waiting[0].review_reason == "it has been in doubt for too long"
    answers = waiting[0].attempts[0].answers
    assert answers[0] == NO_ANSWER
    assert set(answers[1:]) == {Pending("at work")}
    assert app.balance == (9_300, 700)


def test_payment_in_review_is_requeried_daily_until_answered(app: AppHarness) -> None:
    payment = app.payment_in_review()
    requeries = app.provider.count("requery")
    for day in range(1, 4):
        assert DAY * 0.9 < app.advance_until_due(payment) <= DAY
        app.settle_due()
        assert app.provider.count("requery") == requeries + day
    app.provider.requery_answer = Delivered(TOKEN)
    app.advance_until_due(payment)
    app.settle_due()
    assert app.reload(payment).token == TOKEN
    assert app.bv.review().payments_in_review == []


def test_decline_in_review_reverses_the_payment(app: AppHarness) -> None:
    payment = app.payment_in_review()
    app.provider.requery_answer = FAILED
    app.advance_until_due(payment)
    app.settle_due()
    assert app.reload(payment).proof is Proof.DECLINED
    assert app.balance == (10_000, 0)


# --- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["in doubt", "in review"])
def test_operator_completes_payment_with_token(app: AppHarness, state: str) -> None:
    payment = app.payment_in_doubt() if state == "in doubt" else app.payment_in_review()
    done = complete(app, payment)
    assert (done.status, done.token) == (Status.COMPLETED, TOKEN)
    assert app.reload(payment) == done
    assert app.balance == (9_500, 0)
    assert app.account_total("provider:acme") == 500
    decided = OperatorDecided("ngozi", OperatorDecision.DELIVERED, "EKEDC read it to me")
    assert decided in app.events(payment)
    assert app.seconds_until_due(payment) is None


@pytest.mark.parametrize("state", ["in doubt", "in review"])
def test_operator_reverses_payment_on_own_proof(app: AppHarness, state: str) -> None:
    payment = app.payment_in_doubt() if state == "in doubt" else app.payment_in_review()
    done = reverse(app, payment)
    assert (done.status, done.proof) == (Status.REVERSED, Proof.OPERATOR)
    assert app.balance == (10_000, 0)
    assert OperatorDecided("ngozi", OperatorDecision.REVERSE, "EKEDC has no such sale") in app.events(payment)
    (decided,) = [event for event in app.events(payment) if isinstance(event, ReversalDecided)]
    assert "ngozi" in decided.reason
    assert "EKEDC has no such sale" in decided.reason


@pytest.mark.parametrize("typed", ["1234 5678 9012 3456 7890", "1234-5678-9012-3456-7890", f" {TOKEN} "])
def test_token_may_be_entered_in_groups(app: AppHarness, typed: str) -> None:
    assert complete(app, app.payment_in_doubt(), typed).token == TOKEN


@pytest.mark.parametrize(
    "typed",
    ["", "1234", TOKEN[:-1], TOKEN + "1", "1234567890123456789O", "١" * 20, None, "12345678901234567890\n1"],
)
def test_invalid_token_is_rejected(app: AppHarness, typed: str | None) -> None:
    payment = app.payment_in_doubt()
    with pytest.raises(ValidationFailed) as error:
        complete(app, payment, typed)
    assert "token" in error.value.fields
    assert app.reload(payment) == payment


def test_postpaid_payment_is_completed_without_token(app: AppHarness) -> None:
    payment = app.payment_in_doubt(vend_type="postpaid")
    assert complete(app, payment, None).status is Status.COMPLETED


@pytest.mark.parametrize("blank", ["", "   ", "x" * 501, "a\nb", "\0"])
@pytest.mark.parametrize("field", ["operator", "reason"])
def test_resolve_without_operator_or_reason_is_rejected(app: AppHarness, field: str, blank: str) -> None:
    payment = app.payment_in_doubt()
    words = {"operator": "ngozi", "reason": "by phone"} | {field: blank}
    with pytest.raises(InvalidInput) as error:
        app.bv.resolve(payment.transaction_id, token=TOKEN, **words)
    assert list(error.value.fields) == [field]
    assert app.reload(payment) == payment


# --- decisions that are rejected --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "to be sent again", "completed", "reversed", "reversing"])
@pytest.mark.parametrize("verdict", list(OperatorDecision))
def test_resolve_of_payment_not_in_doubt_is_rejected(
    app: AppHarness, state: str, verdict: OperatorDecision
) -> None:
    sent: dict[str, Answer] = {"completed": Delivered(TOKEN), "to be sent again": NotSent("rejected")}
    app.provider.send_answer = sent.get(state, FAILED)
    payment = app.pay()
    if state == "reversed":
        app.settle_due()
    elif state != "pending":
        app.settle(payment)
    before = app.reload(payment)
    with pytest.raises(NotInReview) as error:
        app.bv.resolve(
            payment.transaction_id, operator="ngozi", reason="by phone", decision=verdict, token=OTHER_TOKEN
        )
    assert isinstance(error.value, Conflict)  # exit status 5
    assert app.reload(payment) == before


def test_resolve_of_unknown_payment_is_not_found(app: AppHarness) -> None:
    funding = app.bv.history("ada")[-1].transaction_id
    for unknown in ("id-999999", funding):
        with pytest.raises(TransactionNotFound):
            app.bv.resolve(unknown, operator="ngozi", reason="by phone", token=TOKEN)


Decide = Callable[[AppHarness, Payment], Payment]


@pytest.mark.parametrize("first", [complete, reverse])
@pytest.mark.parametrize("second", [complete, reverse])
def test_second_decision_is_rejected(app: AppHarness, first: Decide, second: Decide) -> None:
    payment = app.payment_in_doubt()
    done = first(app, payment)
    with pytest.raises(NotInReview):
        second(app, payment)
    assert app.reload(payment) == done


@pytest.mark.parametrize("decide", [complete, reverse])
@pytest.mark.parametrize("answer", [Delivered(TOKEN), FAILED, NotFound("no such reference"), NO_ANSWER])
def test_decision_during_requery_is_kept(app: AppHarness, decide: Decide, answer: Answer) -> None:
    """The answer comes to a payment that has ended. It stays as the person decided, and the balances add up."""
    payment = app.payment_in_doubt()
    app.provider.requery_answer = answer
    app.provider.during_requery = lambda: decide(app, payment)
    app.advance_until_due(payment)
    app.settle(payment)
    ended = app.reload(payment)
    assert ended.status is (Status.COMPLETED if decide is complete else Status.REVERSED)
    contradicted = {Delivered: decide is reverse, Declined: decide is complete}.get(type(answer), False)
    assert bool(ended.incidents) == contradicted
    assert app.balance == ((9_500, 0) if decide is complete else (10_000, 0))


# --- later answers ----------------------------------------------------------------------------------------------------


def test_same_token_is_no_incident_and_late_cost_is_booked(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    assert app.account_total("provider:acme") == 500
    assert answer_after_webhook(app, payment, Delivered(TOKEN)).incidents == ()
    assert answer_after_webhook(app, payment, Delivered(TOKEN, cost_minor=49_000)).incidents == ()
    assert (app.account_total("provider:acme"), app.account_total("commission:acme")) == (490, 10)
    assert answer_after_webhook(app, payment, Delivered(TOKEN, cost_minor=49_000)).incidents == ()
    assert len([event for event in app.events(payment) if isinstance(event, CostRecorded)]) == 1
    assert app.reload(payment).token == TOKEN


def test_late_cost_above_face_value_is_an_expense(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    answer_after_webhook(app, payment, Delivered(TOKEN, cost_minor=50_700))
    assert (app.account_total("provider:acme"), app.account_total("expense:acme")) == (507, -7)


def test_another_token_is_one_incident_and_changes_nothing(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    for _ in range(2):
        answer_after_webhook(app, payment, Delivered(OTHER_TOKEN, cost_minor=49_000))
    assert app.incidents(payment) == [("another_token", 0)]
    assert app.reload(payment).token == TOKEN
    assert OTHER_TOKEN in app.reload(payment).incidents[0].detail


def test_failure_after_operator_completion_is_an_incident(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    assert answer_after_webhook(app, payment, FAILED).status is Status.COMPLETED
    assert app.incidents(payment) == [("taken_back", 500)]
    assert app.balance == (9_500, 0)


def test_payment_reversed_by_operator_is_monitored(app: AppHarness) -> None:
    payment = reverse(app, app.payment_in_doubt())
    requeries = app.provider.count("requery")
    waits = []
    while (due_in := app.seconds_until_due(payment)) is not None:
        waits.append(round(due_in / 3600))
        app.advance(due_in)
    assert waits == [1, 5, 18, 48]
    assert app.provider.count("requery") == requeries + 4


def test_delivery_after_operator_reversal_is_one_loss(app: AppHarness) -> None:
    payment = reverse(app, app.payment_in_doubt())
    app.provider.requery_answer = Delivered(TOKEN, cost_minor=49_000)
    app.advance(3_600)
    for _ in range(2):
        answer_after_webhook(app, payment, Delivered(TOKEN, cost_minor=49_000))
    assert app.incidents(payment) == [("delivered_after_reversal", 490)]
    assert (app.account_total("loss"), app.account_total("provider:acme")) == (-490, 490)
    assert app.balance == (10_000, 0)
    assert app.reload(payment).status is Status.REVERSED


# --- incidents --------------------------------------------------------------------------------------------------------


def test_incident_needs_review_until_acknowledged(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    with pytest.raises(NotInReview):
        acknowledge(app, payment)
    answer_after_webhook(app, payment, Delivered(OTHER_TOKEN))
    assert [found.transaction_id for found in app.bv.review().payments_with_incidents] == [
        payment.transaction_id
    ]
    acknowledge(app, payment)
    assert app.bv.review().payments_with_incidents == []
    assert app.incidents(payment) == [("another_token", 0)]  # acknowledged, but not forgotten
    with pytest.raises(NotInReview):
        acknowledge(app, payment)
    answer_after_webhook(app, payment, Delivered("33333333333333333333"))
    (open_,) = app.bv.review().payments_with_incidents
    assert len(open_.open_incidents) == 1
    assert OperatorDecided("ngozi", OperatorDecision.ACKNOWLEDGED, "talked to them") in app.events(payment)


def test_token_of_another_payment_is_an_incident(app: AppHarness) -> None:
    app.settle(app.pay())
    first = app.bv.payments()[0]
    second = complete(app, app.payment_in_doubt())
    assert (second.status, second.token) == (Status.COMPLETED, TOKEN)
    assert app.incidents(second) == [("token_of_another", 0)]
    assert first.transaction_id in app.reload(second).incidents[0].detail
    assert app.incidents(first) == []
    app.provider.send_answer = Delivered(TOKEN)
    third = app.settle(app.pay())
    assert app.incidents(third) == [("token_of_another", 0)]


def test_own_token_reported_again_is_no_incident(app: AppHarness) -> None:
    payment = complete(app, app.payment_in_doubt())
    answer_after_webhook(app, payment, Delivered(TOKEN))
    assert app.incidents(payment) == []


def test_unknown_decision_is_rejected(app: AppHarness) -> None:
    payment = app.payment_in_doubt()
    with pytest.raises(ValidationFailed):
        app.bv.resolve(payment.transaction_id, operator="ngozi", reason="by phone", decision="maybe")
