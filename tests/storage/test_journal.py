"""The contract of the journal port: what every journal does with commands, alone and in lists."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from billvend.adapters.storage.tables import transactions
from billvend.domain.decisions.commands import Claim, Command, Executed, Fund, Pay, ProviderCall, RecordAnswer
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import IncidentKind, Proof, Status
from billvend.domain.errors import (
    BillvendError,
    IdempotencyMismatch,
    InsufficientFunds,
    LikelyDuplicate,
    TransactionNotFound,
    WalletNotFound,
)
from billvend.domain.journal.events import PaymentReversed
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, NotFound, NotSent, Unknown
from billvend.domain.policy.accounts import Mode
from billvend.ports.journal import DuePayment
from tests.storage.till import NOTHING_DELIVERED, NOW, TOKEN, Till, all_done, delivered, named, statements

# --- one command ------------------------------------------------------------------------------------------------------


def test_a_funding_opens_the_wallet_and_the_next_adds_to_it(till: Till) -> None:
    first = till.done(till.fund(minor=300))
    second = till.done(till.fund(minor=45))
    assert (first.result.status, first.result.balance_minor, first.replayed) == (Status.COMPLETED, 300, False)
    assert second.result.balance_minor == 345
    assert till.balance() == (345, 0)
    assert till.accounts() == {"wallet": 345}
    assert till.audit().ok


def test_wallets_are_kept_by_user_and_currency(till: Till) -> None:
    till.do(till.fund("ada", 1), till.fund("ada", 2, currency="KES"), till.fund("ben", 4))
    assert [till.balance("ada"), till.balance("ada", "KES"), till.balance("ben")] == [(1, 0), (2, 0), (4, 0)]
    assert named(till.do(till.pay("ben", 1, currency="KES"))) == ["wallet_not_found"]
    assert till.books.balance("ben", "KES") is None
    assert till.audit().wallets == 3


def test_a_payment_holds_its_money(till: Till) -> None:
    till.funded(minor=10_000)
    pay = till.pay(minor=1_500, key="order-42")
    done = till.done(pay)
    reply = done.result
    assert (reply.transaction_id, reply.status, reply.balance_minor) == (
        pay.transaction_id,
        Status.PENDING,
        8_500,
    )
    assert reply.next_at == NOW
    assert done.payment == till.payment(pay)
    assert till.payment(pay).key == "order-42"
    assert till.balance() == (8_500, 1_500)
    assert till.accounts() == {"wallet": 8_500, "in_flight": 1_500}


def test_a_payment_without_a_given_key_shows_none(till: Till) -> None:
    till.funded()
    pay = till.pay(given=False)
    till.done(pay)
    assert till.payment(pay).key is None


def test_a_delivery_captures_the_hold(till: Till) -> None:
    till.funded(minor=10_000)
    pay = till.paid(minor=1_000)
    work = till.working(pay)
    assert (work.attempt, work.call_number, work.is_requery, work.provider) == (1, 1, False, "sandbox")
    assert work.send_before == NOW + timedelta(seconds=29)
    assert till.status(pay) is Status.PROCESSING
    reply = till.done(till.report(pay, work, delivered(cost_minor=980))).result
    assert (reply.status, reply.next_at, reply.proof) == (Status.COMPLETED, None, None)
    assert till.payment(pay).token == TOKEN
    assert till.balance() == (9_000, 0)
    assert till.accounts() == {"wallet": 9_000, "provider:sandbox": 980, "commission:sandbox": 20}
    assert till.rows("SELECT kind, proof FROM resolutions") == [("completed", None)]
    assert till.rows(
        "SELECT token, units, provider, next_check_at FROM transactions WHERE type = 'payment'"
    ) == [(TOKEN, "12.5", "sandbox", None)]
    assert till.audit().ok


def test_a_reference_is_on_the_books_before_it_is_sent(till: Till) -> None:
    till.funded()
    pay = till.paid()
    work = till.working(pay)
    assert till.rows("SELECT attempt, reference, sends FROM attempts") == [(1, work.reference, 1)]
    assert till.payment(pay).attempts[0].reference == work.reference


def test_a_decline_is_reversed_by_the_next_claim(till: Till) -> None:
    till.funded(minor=10_000)
    pay = till.paid(minor=1_000)
    decided = till.told(pay, NOTHING_DELIVERED)
    assert (decided.status, decided.next_at, decided.proof) == (Status.REVERSING, NOW, Proof.DECLINED)
    assert till.balance() == (9_000, 1_000)
    released = till.done(till.claim(pay)).result
    assert (released.status, released.balance_minor, released.proof) == (
        Status.REVERSED,
        10_000,
        Proof.DECLINED,
    )
    assert (released.provider_call, released.next_at) == (None, None)
    assert till.balance() == (10_000, 0)
    assert till.rows("SELECT kind, proof, reason FROM resolutions") == [
        ("reversed", "declined", "no such meter")
    ]
    assert till.audit().ok


def test_only_one_claim_at_a_time_gets_work(till: Till) -> None:
    till.funded()
    pay = till.paid()
    till.working(pay)
    other = till.done(till.claim(pay)).result
    assert (other.provider_call, other.status, other.next_at) == (
        None,
        Status.PROCESSING,
        NOW + timedelta(seconds=60),
    )


def test_a_send_whose_worker_died_is_asked_about_and_never_sent_again(till: Till) -> None:
    till.funded()
    pay = till.paid()
    sent = till.working(pay)
    till.pass_time(61)
    asked = till.working(pay)
    assert till.status(pay) is Status.IN_DOUBT
    assert (asked.is_requery, asked.reference, asked.send_before) == (True, sent.reference, None)
    till.done(till.report(pay, asked, delivered()))
    assert till.status(pay) is Status.COMPLETED
    assert till.audit().ok


def test_not_found_often_and_late_enough_gives_the_money_back(till: Till) -> None:
    till.funded(minor=10_000)
    pay = till.paid(minor=1_000)
    reply = till.told(pay, Unknown("no answer"))
    for _ in range(20):
        if reply.status is not Status.IN_DOUBT:
            break
        assert reply.next_at is not None
        till.now = reply.next_at
        reply = till.told(pay, NotFound("no such reference"))
    assert (reply.status, reply.proof) == (Status.REVERSING, Proof.NOT_FOUND)
    released = till.done(till.claim(pay)).result
    assert till.balance() == (10_000, 0)
    assert till.rows("SELECT answers FROM attempts")[0][0].startswith(
        "send 1: Unknown; requery 1: NotFound; requery 2"
    )
    assert released.next_at == till.now + timedelta(hours=1)  # it stays watched
    assert till.journal.take_due_payments(released.next_at, 10, 60) == [
        DuePayment("ada", pay.transaction_id, Status.REVERSED)
    ]
    assert till.audit().ok


def test_what_never_left_is_sent_again_under_the_same_reference(till: Till) -> None:
    till.funded()
    pay = till.paid()
    first = till.working(pay)
    reply = till.done(till.report(pay, first, NotSent("refused"))).result
    assert (reply.status, reply.next_at) == (Status.PROCESSING, NOW + timedelta(seconds=5))
    assert till.done(till.claim(pay)).result.provider_call is None
    till.pass_time(5)
    second = till.working(pay)
    assert (second.call_number, second.reference) == (2, first.reference)
    assert till.rows("SELECT attempt, sends FROM attempts") == [(1, 2)]


def test_a_delivery_after_the_money_went_back_is_booked_as_a_loss(till: Till) -> None:
    till.funded(minor=10_000)
    pay = till.paid(minor=1_000)
    work = till.working(pay)
    till.done(till.report(pay, work, NOTHING_DELIVERED))
    till.done(till.claim(pay))
    till.done(till.report(pay, work, delivered(cost_minor=970)))
    payment = till.payment(pay)
    assert (payment.status, [raised.kind for raised in payment.incidents]) == (
        Status.REVERSED,
        [IncidentKind.DELIVERED_AFTER_REVERSAL],
    )
    assert till.balance() == (10_000, 0)
    assert till.accounts() == {"wallet": 10_000, "provider:sandbox": 970}
    assert till.rows("SELECT count(*) FROM transfers WHERE source = 'loss'") == [(1,)]
    assert till.audit().ok


def test_a_payment_that_was_not_sent_can_be_cancelled(till: Till) -> None:
    till.funded(minor=10_000)
    pay = till.paid(minor=1_000)
    reply = till.done(till.cancel(pay)).result
    assert (reply.status, reply.proof, reply.balance_minor) == (Status.REVERSED, Proof.NOT_SENT, 10_000)
    assert till.balance() == (10_000, 0)
    assert named(till.do(till.claim(pay), till.cancel(pay))) == ["done", "already_sent"]
    assert till.audit().ok


def test_a_payment_that_was_claimed_can_not_be_cancelled(till: Till) -> None:
    till.funded()
    pay = till.paid()
    till.working(pay)
    before = till.everything()
    assert named(till.do(till.cancel(pay))) == ["already_sent"]
    assert till.everything() == before


def test_nothing_is_done_for_an_empty_list(till: Till) -> None:
    assert till.do() == []


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_refusals_leave_no_trace(till: Till) -> None:
    till.funded(minor=1_000)
    pay = till.paid(minor=400, meter="11111111111")
    unknown = replace(pay, transaction_id="nobody-knows")
    before = till.everything()
    refused: list[tuple[Command, type[BillvendError]]] = [
        (till.pay(minor=601), InsufficientFunds),
        (till.pay("ben"), WalletNotFound),
        (till.pay(currency="KES"), WalletNotFound),
        (till.pay(minor=400, meter="11111111111", given=False), LikelyDuplicate),
        (till.cancel(unknown), TransactionNotFound),
        (till.claim(unknown), TransactionNotFound),
        (till.claim(replace(pay, user_id="ben")), TransactionNotFound),
        (replace(pay, amount=Money(1, "NGN")), IdempotencyMismatch),
    ]
    alone = [till.do(command)[0] for command, _ in refused]
    together = till.do(*(command for command, _ in refused))
    for results in (alone, together):
        assert [type(result) for result in results] == [kind for _, kind in refused]
    assert till.everything() == before


def test_a_refused_command_does_not_disturb_its_neighbours(till: Till) -> None:
    till.funded(minor=1_000)
    results = till.do(
        till.pay(minor=700, key="a"),
        till.pay(minor=700, key="b"),
        till.pay("nobody", key="c"),
        till.pay(minor=300, key="d"),
        till.pay(minor=1, key="e"),
        till.fund(minor=50, key="f"),
        till.pay(minor=50, key="g"),
    )
    assert named(results) == [
        *("done", "insufficient_funds", "wallet_not_found", "done", "insufficient_funds", "done", "done"),
    ]
    balances = [result.result.balance_minor for result in results if isinstance(result, Executed)]
    assert balances == [300, 0, 50, 0]
    assert till.balance() == (0, 1_050)
    assert till.audit().ok


def test_a_refusal_is_not_remembered(till: Till) -> None:
    till.funded(minor=10)
    pay = till.pay(minor=100, key="order-42")
    assert named(till.do(pay)) == ["insufficient_funds"]
    till.funded(minor=90)
    assert named(till.do(pay)) == ["done"]


def test_the_same_bill_without_a_key_is_taken_for_a_double_click(till: Till) -> None:
    till.funded()
    clicked = till.pay(minor=100, given=False)
    till.done(clicked)
    till.pass_time(29)
    twins = [
        till.pay(minor=100, given=False),
        till.pay(minor=100, given=False, again=True),
        till.pay(minor=100, given=True),
        till.pay(minor=101, given=False),
        till.pay(minor=100, given=False, meter="99999999999"),
    ]
    assert named(till.do(*twins)) == ["likely_duplicate", "done", "done", "done", "done"]
    till.pass_time(30)
    assert named(till.do(till.pay(minor=100, given=False))) == ["done"]


def test_a_payment_that_was_reversed_is_no_twin(till: Till) -> None:
    till.funded()
    clicked = till.pay(minor=100, given=False)
    till.done(clicked)
    till.done(till.cancel(clicked))
    assert named(till.do(till.pay(minor=100, given=False))) == ["done"]


def test_two_clicks_in_one_list(till: Till) -> None:
    till.funded()
    assert named(till.do(till.pay(given=False), till.pay(given=False))) == ["done", "likely_duplicate"]


# --- repeats ----------------------------------------------------------------------------------------------------------


def _a_fund(till: Till) -> Command:
    return till.fund(key="same")


def _a_pay(till: Till) -> Command:
    return till.pay(key="same")


def _a_cancel(till: Till) -> Command:
    return till.cancel(till.paid(), key="same")


def _a_claim(till: Till) -> Command:
    return till.claim(till.paid(), key="same")


def _a_release(till: Till) -> Command:
    pay = till.paid()
    till.told(pay, NOTHING_DELIVERED)
    return till.claim(pay, key="same")


def _a_report(till: Till) -> Command:
    pay = till.paid()
    return till.report(pay, till.working(pay), delivered(), key="same")


ONE_OF_EACH = pytest.mark.parametrize(
    "made", [_a_fund, _a_pay, _a_cancel, _a_claim, _a_release, _a_report], ids=lambda made: made.__name__[3:]
)


@ONE_OF_EACH
def test_a_repeated_command_is_done_once_and_answered_the_same(
    till: Till, made: Callable[[Till], Command]
) -> None:
    till.funded()
    command = made(till)
    first = till.done(command)
    after = till.everything()
    till.pass_time(3_600)
    for repeated in (command, replace(command, at=till.now)):
        again = till.done(repeated)
        assert (again.replayed, first.replayed) == (True, False)
        assert again.result == first.result
        assert again.payment is None
    assert till.everything() == after
    assert till.audit().ok


@ONE_OF_EACH
def test_a_command_repeated_in_its_own_list(till: Till, made: Callable[[Till], Command]) -> None:
    till.funded()
    command = made(till)
    first, again = all_done(till.do(command, command))
    assert (first.replayed, again.replayed) == (False, True)
    assert first.result == again.result
    assert till.audit().ok


@ONE_OF_EACH
def test_a_key_can_not_be_used_for_another_request(till: Till, made: Callable[[Till], Command]) -> None:
    till.funded()
    command = made(till)
    other = till.paid()
    till.done(command)
    before = till.everything()
    changed: Command
    if isinstance(command, Fund | Pay):
        changed = replace(command, amount=Money(7, "NGN"))
    else:
        changed = replace(command, transaction_id=other.transaction_id)
    assert named(till.do(changed)) == ["idempotency_mismatch"]
    assert till.everything() == before


def test_a_repeat_under_a_fresh_id_is_answered_with_the_first(till: Till) -> None:
    till.funded()
    first, again = till.pay(key="order-42"), till.pay(key="order-42")
    assert first.transaction_id != again.transaction_id
    results = all_done([*till.do(first), *till.do(again)])
    assert [done.result.transaction_id for done in results] == [first.transaction_id] * 2
    assert till.books.transaction(again.transaction_id) is None


def test_a_key_counts_for_one_user_and_one_operation(till: Till) -> None:
    results = till.do(till.fund("ada", key="1"), till.fund("ben", key="1"), till.pay("ada", key="1"))
    assert named(results) == ["done", "done", "done"]


def test_a_key_of_another_wallet_of_the_same_user_is_the_same_key(till: Till) -> None:
    till.do(till.fund(key="1"), till.fund(currency="KES", key="2"))
    assert named(till.do(till.fund(currency="KES", key="1"))) == ["idempotency_mismatch"]
    assert named(till.do(till.pay(key="3"), till.pay(currency="KES", key="3"))) == [
        "done",
        "idempotency_mismatch",
    ]


def test_a_late_report_of_the_same_call_is_kept_only_where_it_brings_a_delivery(till: Till) -> None:
    till.funded()
    pay = till.paid()
    work = till.working(pay)
    till.done(till.report(pay, work, Unknown("no answer")))
    before = till.rows("SELECT count(*) FROM events")
    till.done(till.report(pay, work, NotSent("refused")))
    assert till.rows("SELECT count(*) FROM events") == before
    till.done(till.report(pay, work, delivered()))
    assert till.status(pay) is Status.COMPLETED
    assert till.audit().ok


# --- lists ------------------------------------------------------------------------------------------------------------


def test_a_whole_life_in_one_list(till: Till) -> None:
    fund, pay, doomed = till.fund(minor=1_000), till.pay(minor=600), till.pay(minor=400)
    first_send = ProviderCall(1, 1, False, "", "sandbox", "here")
    commands: list[Command] = [
        *(fund, pay, doomed),
        *(till.claim(pay), till.report(pay, first_send, delivered()), till.claim(pay), till.cancel(pay)),
        *(till.cancel(doomed), till.claim(doomed)),
    ]
    results = till.do(*commands)
    assert named(results) == [*["done"] * 6, "already_sent", "done", "done"]
    statuses = [result.result.status.value for result in results if isinstance(result, Executed)]
    assert statuses == [
        "completed",
        "pending",
        "pending",
        "processing",
        "completed",
        "completed",
        "reversed",
        "reversed",
    ]
    assert till.balance() == (400, 0)
    assert till.audit().ok


def test_a_reversal_decided_and_made_in_one_list(till: Till) -> None:
    till.funded(minor=1_000)
    pay = till.paid(minor=600)
    work = till.working(pay)
    results = till.do(till.report(pay, work, NOTHING_DELIVERED), till.claim(pay))
    assert named(results) == ["done", "done"]
    assert till.status(pay) is Status.REVERSED
    assert till.balance() == (1_000, 0)
    assert till.audit().ok


def test_two_claims_of_one_payment_in_one_list(till: Till) -> None:
    till.funded()
    pay = till.paid()
    first, second = all_done(till.do(till.claim(pay), till.claim(pay)))
    assert first.result.provider_call is not None
    assert second.result.provider_call is None
    assert till.audit().ok


def test_two_payments_of_one_wallet_in_one_list(till: Till) -> None:
    till.funded(minor=1_000)
    assert named(till.do(till.pay(minor=600), till.pay(minor=600))) == ["done", "insufficient_funds"]
    assert till.balance() == (400, 600)
    assert till.audit().ok


def test_results_come_in_the_order_of_the_commands(till: Till) -> None:
    users = ["zoe", "ada", "mia", "ada", "zoe"]
    funds = [till.fund(user, minor) for minor, user in enumerate(users, 1)]
    done = all_done(till.do(*funds))
    assert [result.result.transaction_id for result in done] == [command.transaction_id for command in funds]
    assert [result.result.balance_minor for result in done] == [1, 2, 3, 6, 6]


def _funds(till: Till, size: int) -> list[Command]:
    return [till.fund(f"user{number % 100}") for number in range(size)]


def _pays(till: Till, size: int) -> list[Command]:
    till.do(*(till.fund(f"user{number}", 100_000) for number in range(100)))
    return [
        till.pay(f"user{number % 100}", 1, given=False, meter=f"9{till.new_id()}") for number in range(size)
    ]


def _pays_of_one(till: Till, size: int) -> list[Command]:
    till.funded(minor=size * 1_000)
    return [till.pay() for _ in range(size)]


def _orders(till: Till, size: int) -> list[Pay]:
    pays = [command for command in _pays(till, size) if isinstance(command, Pay)]
    all_done(till.do(*pays))
    return pays


def _claims(till: Till, size: int) -> list[Command]:
    return [till.claim(pay) for pay in _orders(till, size)]


def _reports(till: Till, size: int, answer: Answer = NOTHING_DELIVERED) -> list[Command]:
    pays = _orders(till, size)
    claimed = all_done(till.do(*map(till.claim, pays)))
    pairs = zip(pays, claimed, strict=True)
    return [
        till.report(pay, done.result.provider_call, answer)
        for pay, done in pairs
        if done.result.provider_call
    ]


def _deliveries(till: Till, size: int) -> list[Command]:
    return _reports(till, size, delivered())


def _releases(till: Till, size: int) -> list[Command]:
    reports = _reports(till, size)
    all_done(till.do(*reports))
    return [
        Claim(report.user_id, till.new_id(), report.transaction_id, till.now, till.policy)
        for report in reports
        if isinstance(report, RecordAnswer)
    ]


def _everything_at_once(till: Till, size: int) -> list[Command]:
    of_each = size // 4 + 1
    rest = [*_funds(till, of_each), *_claims(till, of_each), *_deliveries(till, of_each)]
    return [*rest, *(till.pay("user0", 1) for _ in range(max(1, size - 3 * of_each)))]


@pytest.mark.parametrize(
    "made",
    [_funds, _pays, _pays_of_one, _claims, _reports, _deliveries, _releases, _everything_at_once],
    ids=lambda made: made.__name__[1:],
)
def test_a_list_of_any_length_takes_the_same_number_of_statements(
    till: Till, made: Callable[[Till, int], list[Command]]
) -> None:
    taken: list[int] = []
    for size in (1, 64, 500):
        commands = made(till, size)
        with statements(till.database) as seen:
            all_done(till.do(*commands))
        taken.append(len(seen))
    assert taken == [taken[0]] * 3
    assert taken[0] <= 16
    assert till.audit().ok


# --- poison -----------------------------------------------------------------------------------------------------------


def _taken_reference(till: Till) -> Command:
    """A database constraint refuses it."""
    till.done(till.fund(source="paystack", reference="once"))
    return till.fund(source="paystack", reference="once")


def _too_much(till: Till) -> Command:
    """No column can hold the balance."""
    return till.fund("rich", 2**63)


def _unreadable_name(till: Till) -> Command:
    """No database can store such a text."""
    return till.fund("lone \ud800 surrogate")


def _call_that_nobody_made(till: Till) -> Command:
    """The rules call it a bug of ours."""
    pay = till.paid()
    till.working(pay)
    return till.report(pay, ProviderCall(1, 7, False, "", "sandbox", "here"), delivered())


@pytest.mark.parametrize(
    "made",
    [_taken_reference, _too_much, _unreadable_name, _call_that_nobody_made],
    ids=lambda made: made.__name__[1:],
)
def test_a_poisoned_command_fails_alone(till: Till, made: Callable[[Till], Command]) -> None:
    till.funded(minor=10_000)
    poison = made(till)
    before = till.balance()[0]
    alone = till.do(poison)
    together = till.do(till.fund(minor=1), poison, till.fund(minor=10), poison, till.fund(minor=100))
    assert named(together) == ["done", together_code(alone), "done", together_code(alone), "done"]
    assert till.balance()[0] == before + 111
    assert till.audit().ok


def together_code(alone: list[CommandOutcome]) -> str:
    (result,) = alone
    assert isinstance(result, BillvendError)
    assert "\n" not in str(result)
    return result.code


AWKWARD = ["nul \0 inside", "lone \ud800 surrogate", "😀 ﷽ \u202e", "', \" \\ % :x ?", " \n\t ", "x" * 20_000]


@pytest.mark.parametrize("text", AWKWARD, ids=range(len(AWKWARD)))
def test_whatever_text_a_provider_says_is_written_down(till: Till, text: str) -> None:
    till.funded()
    sold, refused = till.paid(), till.paid()
    till.told(sold, replace(delivered(token=text), units=text, receipt={text: text}, provider_reference=text))
    till.told(refused, Declined(text, code=text, about_transaction=True))
    till.done(till.claim(refused))
    assert till.payment(sold).token == text
    assert till.payment(refused).reversal == PaymentReversed(Proof.DECLINED, text, 1_000)
    assert till.audit().ok


NAMES = [
    "Zoe",
    "ada",
    "zoe",
    "Émile",
    "émile",
    "ﬀ",
    "ａ",
    "😀",
    "ﬀ0",
    "a",
    "a ",
    "a:b",
    "a\u0301",
    "á",
    "%",
    "_",
    "'",
    "\\",
]


def test_names_of_any_script_are_told_apart(till: Till) -> None:
    funds = [till.fund(name, 1 << place, key=name) for place, name in enumerate(NAMES)]
    all_done(till.do(*funds))
    all_done(till.do(*(till.pay(name, 1 << place, key=name) for place, name in enumerate(NAMES))))
    assert [till.balance(name) for name in NAMES] == [(0, 1 << place) for place in range(len(NAMES))]
    assert named(till.do(*funds)) == ["replayed"] * len(NAMES)
    found = till.audit()
    assert (found.differences, found.wallets, found.payments) == ([], len(NAMES), len(NAMES))


# --- what is due ------------------------------------------------------------------------------------------------------


def _ids(due: list[DuePayment]) -> list[str]:
    return [found.transaction_id for found in due]


def test_due_payments_are_pointed_out_once_in_a_while(till: Till) -> None:
    till.funded()
    pay = till.paid()
    assert till.journal.take_due_payments(till.now, 10, 60) == [
        DuePayment("ada", pay.transaction_id, Status.PENDING)
    ]
    assert till.journal.take_due_payments(till.now, 10, 60) == []
    assert till.journal.take_due_payments(till.now + timedelta(seconds=59), 10, 60) == []
    assert _ids(till.journal.take_due_payments(till.now + timedelta(seconds=60), 10, 60)) == [
        pay.transaction_id
    ]
    assert till.audit().ok


def test_what_is_not_due_yet_or_never_again_is_not_pointed_out(till: Till) -> None:
    till.funded()
    waiting, working, done, cancelled = (till.paid() for _ in range(4))
    till.working(working)
    till.told(done, delivered())
    till.done(till.cancel(cancelled))
    assert _ids(till.journal.take_due_payments(till.now, 10, 60)) == [waiting.transaction_id]
    assert till.journal.take_due_payments(till.now + timedelta(seconds=59), 10, 60) == []
    found = till.journal.take_due_payments(till.now + timedelta(seconds=60), 10, 60)
    assert {due.transaction_id: due.status for due in found} == {
        waiting.transaction_id: Status.PENDING,
        working.transaction_id: Status.PROCESSING,
    }


def test_a_step_forward_makes_the_next_hint_possible_at_once(till: Till) -> None:
    till.funded()
    pay = till.paid()
    till.journal.take_due_payments(till.now, 10, 3_600)
    assert till.told(pay, NOTHING_DELIVERED).next_at == till.now
    assert till.journal.take_due_payments(till.now, 10, 3_600) == [
        DuePayment("ada", pay.transaction_id, Status.REVERSING)
    ]


def test_the_longest_due_come_first_and_no_more_than_asked_for(till: Till) -> None:
    till.funded(minor=1_000_000)
    pays: list[Pay] = []
    for _ in range(7):
        pays.append(till.paid())
        till.pass_time(1)
    ids = [pay.transaction_id for pay in pays]
    assert _ids(till.journal.take_due_payments(till.now, 3, 60)) == ids[:3]
    assert _ids(till.journal.take_due_payments(till.now, 3, 60)) == ids[3:6]
    assert _ids(till.journal.take_due_payments(till.now, 3, 60)) == ids[6:]
    assert _ids(till.journal.take_due_payments(till.now, 3, 60)) == []


def _without(name: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    place = [column.name for column in transactions.columns].index(name)
    return [(*row[:place], *row[place + 1 :]) for row in rows]


def _due_of(till: Till, pay: Pay) -> datetime | None:
    table = transactions.c
    with till.database.read_transaction() as connection:
        due: datetime | None = connection.scalar(
            sa.select(table.next_check_at).where(table.transaction_id == pay.transaction_id)
        )
    return due


def test_what_was_looked_at_for_nothing_is_put_off_and_nothing_else_changes(till: Till) -> None:
    """By hints for what somebody is at, for what is not due, and for what has ended, whatever the row said."""
    till.funded()
    leased, doubtful, ended, other = (till.paid() for _ in range(4))
    till.working(leased)
    doubt_until = till.told(doubtful, Unknown("no answer")).next_at
    till.told(ended, delivered())
    for wrong in ("created_at", "NULL"):
        till.run(f"UPDATE transactions SET next_check_at = {wrong} WHERE type = 'payment'")
        till.journal.take_due_payments(
            till.now, 10, 60
        )  # where a row says that it is due, it has been pointed out
        other_due = _due_of(till, other)
        before = till.everything()
        replies = [till.done(till.claim(pay)).result for pay in (leased, doubtful, ended)]
        assert [reply.provider_call for reply in replies] == [None, None, None]
        assert [_due_of(till, pay) for pay in (leased, doubtful, ended, other)] == [
            NOW + timedelta(seconds=60),
            doubt_until,
            None,
            other_due,
        ]
        after = till.everything()
        rows, rows_before = after.pop("transactions"), before.pop("transactions")
        assert sorted(_without("next_check_at", rows), key=repr) == sorted(
            _without("next_check_at", rows_before), key=repr
        )
        assert after == before
    assert till.audit().ok


def test_what_is_put_off_already_is_not_written_again(till: Till) -> None:
    till.funded()
    pay = till.paid()
    till.working(pay)
    before = till.everything()
    till.done(till.claim(pay))
    assert till.everything() == before


def test_pointing_out_takes_two_statements_however_many_are_due(till: Till) -> None:
    taken: list[int] = []
    for size in (1, 500):
        all_done(till.do(*_pays(till, size)))
        with statements(till.database) as seen:
            assert len(till.journal.take_due_payments(till.now, 1_000, 60)) == size
        taken.append(len([statement for statement in seen if not statement.startswith("BEGIN")]))
    assert taken == [2, 2]


# --- the environment --------------------------------------------------------------------------------------------------


def test_books_are_marked_once_and_for_ever(till: Till) -> None:
    other = Till(till.database).journal
    assert (till.journal.mode(), other.mode()) == (None, None)
    assert till.journal.bind_environment(Mode.TEST) is Mode.TEST
    assert (till.journal.mode(), other.mode()) == (Mode.TEST, Mode.TEST)
    assert till.journal.bind_environment(Mode.LIVE) is Mode.TEST
    assert Till(till.database).journal.bind_environment(Mode.LIVE) is Mode.TEST
