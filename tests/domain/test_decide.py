"""What scenarios cannot express: lists of commands in one transaction, keys, and commands about missing transactions."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandKey,
    Executed,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    RequestRequery,
)
from billvend.domain.decisions.decider import CommandOutcome, Snapshot, WriteSet, decide
from billvend.domain.decisions.worker import needs_wallet
from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.errors import (
    AlreadySent,
    BillvendError,
    IdempotencyMismatch,
    InsufficientFunds,
    InvalidTransition,
    LikelyDuplicate,
    TransactionNotFound,
    WalletNotFound,
)
from billvend.domain.journal.events import PaymentAccepted, StreamKey
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Declined, Delivered, NotSent, Unknown
from billvend.domain.policy.policy import Policy
from tests.domain.model_ledger import NOON, ModelLedger, provider, seconds

POLICY = Policy((provider(),))


def fund(kobo: int = 100000, *, user: str = "ada", key: str = "fund-1") -> Fund:
    return Fund(user, key, f"funding-{key}", NOON, Money(kobo, "NGN"), "manual", key)


def pay(name: str = "bill", kobo: int = 30000, *, user: str = "ada", key: str | None = None) -> Pay:
    return Pay(
        user, key or name, name, NOON, key is not None, Money(kobo, "NGN"), "12345678901", "EKEDC",
        VendType.PREPAID,
    )  # fmt: skip


def cancel(name: str = "bill", *, user: str = "ada", key: str = "cancel-1") -> Cancel:
    return Cancel(user, key, name, NOON)


def claim(name: str = "bill", *, user: str = "ada", key: str = "claim-1", at: datetime = NOON) -> Claim:
    return Claim(user, key, name, at, POLICY)


def record_answer(
    answer: Answer,
    *,
    name: str = "bill",
    user: str = "ada",
    key: str = "report-1",
    attempt: int = 1,
    call: int = 1,
    is_requery: bool = False,
) -> RecordAnswer:
    return RecordAnswer(user, key, name, NOON, POLICY, attempt, call, is_requery, answer)


def ledger_after(*commands: Command) -> ModelLedger:
    ledger = ModelLedger()
    for command in commands:
        execute(ledger, command)
    return ledger


def execute(ledger: ModelLedger, command: Command) -> Executed:
    """Execute one command, which must not be rejected."""
    return expect_executed(ledger.execute(command)[0])


def expect_executed(result: CommandOutcome) -> Executed:
    assert isinstance(result, Executed), repr(result)
    return result


def result_types(results: Sequence[CommandOutcome]) -> list[type]:
    return [type(result) for result in results]


# --- lists ------------------------------------------------------------------------------------------------------------


def test_batch_payment_without_funds_left_is_rejected() -> None:
    ledger = ledger_after(fund(50000))
    found = ledger.execute(pay("first", key="a"), pay("second", key="b"), pay("third", 20000, key="c"))
    assert result_types(found) == [Executed, InsufficientFunds, Executed]
    assert ledger.balance("ada") == 0


def test_rejected_command_changes_nothing_and_others_succeed() -> None:
    ledger = ledger_after(fund())
    before = ledger.copy()
    found = ledger.execute(
        pay("dear", 10**9), cancel("nowhere"), pay("bob's", user="bob"), fund(99, key="fund-1")
    )
    assert result_types(found) == [
        InsufficientFunds,
        TransactionNotFound,
        WalletNotFound,
        IdempotencyMismatch,
    ]
    assert vars(ledger) == vars(before)
    found = ledger.execute(pay("dear", 10**9), pay(), cancel("nowhere"), claim())
    assert result_types(found) == [InsufficientFunds, Executed, TransactionNotFound, Executed]


def test_failing_command_does_not_affect_others_in_batch() -> None:
    ledger = ledger_after(fund(), pay(), claim())
    found = ledger.execute(record_answer(NotSent("late"), call=7), fund(500, key="fund-2"))
    assert result_types(found) == [InvalidTransition, Executed]
    assert ledger.balance("ada") == 70500


def test_repeated_key_in_one_batch_is_replayed() -> None:
    ledger = ledger_after(fund())
    first, again, other = ledger.execute(
        pay(key="order-1"), pay("second", key="order-1"), pay("third", 100, key="order-1")
    )
    assert not expect_executed(first).replayed
    assert (expect_executed(again).replayed, expect_executed(again).result) == (
        True,
        expect_executed(first).result,
    )
    assert isinstance(other, IdempotencyMismatch)
    assert ledger.balance("ada") == 70000


def test_likely_duplicate_in_one_batch_is_rejected() -> None:
    ledger = ledger_after(fund())
    found = ledger.execute(pay("first"), pay("second"), pay("other", 20000))
    assert result_types(found) == [Executed, LikelyDuplicate, Executed]


def test_token_of_a_payment_completed_in_the_same_batch_is_an_incident() -> None:
    ledger = ledger_after(fund(), pay(), pay("second", 20000), claim(), claim("second", key="claim-2"))
    ledger.execute(
        record_answer(Delivered("1234")), record_answer(Delivered("1234"), name="second", key="report-2")
    )
    incidents = [ledger.payment("ada", name).incidents for name in ("bill", "second")]
    assert [[incident.kind for incident in raised] for raised in incidents] == [[], ["token_of_another"]]


def test_reversal_without_wallet_lock_waits_for_next_claim() -> None:
    """A journal locks the wallet for a claim if it read the status `reversing`. Here the status changes within the list."""
    ledger = ledger_after(fund(), pay(), claim())
    answered, claimed = ledger.execute(record_answer(Declined("no")), claim(key="claim-2"))
    assert expect_executed(answered).result.status is Status.REVERSING
    assert expect_executed(claimed).result.status is Status.REVERSING
    assert expect_executed(claimed).result.next_at == NOON
    assert ledger.balance("ada") == 70000
    released = execute(ledger, claim(key="claim-3")).result
    assert (released.status, released.balance_minor) == (Status.REVERSED, 100000)


def test_claim_that_decides_a_reversal_does_not_make_it_even_if_the_wallet_is_locked() -> None:
    """The next claim decides again."""
    ledger = ledger_after(fund(), pay())
    a_day_later = NOON + seconds(86400)
    decided, _ = ledger.execute(claim(at=a_day_later), fund(500, key="fund-2"))
    assert expect_executed(decided).result.status is Status.REVERSING
    assert execute(ledger, claim(key="claim-2", at=a_day_later)).result.status is Status.REVERSED


def test_requery_request_for_another_attempt_replaces_the_open_one() -> None:
    policy = Policy((provider(), provider("backup")))
    ledger = ledger_after(fund(), pay(), replace(claim(), policy=policy))
    execute(ledger, replace(record_answer(Declined("no")), policy=policy))
    execute(ledger, replace(claim(key="claim-2"), policy=policy))
    requested = []
    for key, number in (("a", 1), ("b", 2), ("c", 2)):
        reference = ledger.payment("ada", "bill").attempt(number).reference
        execute(ledger, RequestRequery("ada", key, "bill", NOON, policy, "webhook", reference))
        requested.append(ledger.payment("ada", "bill").requery_request)
    assert [request.attempt if request else None for request in requested] == [1, 2, 2]
    assert requested[1] is requested[2]


def test_only_commands_that_release_money_need_the_wallet() -> None:
    ledger = ledger_after(fund(), pay())
    pending = ledger.payment("ada", "bill")
    reversing = replace(pending, status=Status.REVERSING)
    assert needs_wallet(pending, cancel())
    assert needs_wallet(reversing, claim())
    assert not needs_wallet(pending, claim())
    assert not needs_wallet(reversing, record_answer(NotSent("late")))


# --- missing transactions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [cancel, claim, lambda **given: record_answer(Delivered("1"), **given)])
def test_command_on_unknown_or_foreign_payment_is_not_found(make: Callable[..., Command]) -> None:
    ledger = ledger_after(fund(), pay())
    before = ledger.copy()
    for command in (make(name="nowhere"), make(user="bob"), make(name="funding-fund-1")):
        assert result_types(ledger.execute(command)) == [TransactionNotFound]
    assert vars(ledger) == vars(before)


@pytest.mark.parametrize("number", [-1, 0, 2, 10**9])
@pytest.mark.parametrize("field", ["attempt", "call"])
@pytest.mark.parametrize("is_requery", [True, False])
def test_answer_to_unknown_call_is_rejected(number: int, field: str, is_requery: bool) -> None:
    ledger = ledger_after(
        fund(), pay(), claim(), record_answer(Unknown("?")), claim(key="claim-2", at=NOON + seconds(30))
    )
    before = ledger.copy()
    late = record_answer(Delivered("1234"), key="late", is_requery=is_requery)
    command = replace(late, attempt=number) if field == "attempt" else replace(late, call_number=number)
    assert result_types(ledger.execute(command)) == [InvalidTransition]
    assert vars(ledger) == vars(before)


def test_cancel_without_wallet_is_rejected() -> None:
    ledger = ledger_after(fund(), pay())
    known = ledger.payments[StreamKey("ada", "bill")]
    changes, results = decide(Snapshot(payments={StreamKey("ada", "bill"): known}), [cancel()])
    assert result_types(results) == [WalletNotFound]
    assert changes == WriteSet()


# --- keys and replies -------------------------------------------------------------------------------------------------


def test_repeated_claim_returns_same_call_and_starts_nothing() -> None:
    ledger = ledger_after(fund(), pay())
    first = execute(ledger, claim())
    again = execute(ledger, claim(at=NOON + seconds(5)))
    assert (again.replayed, again.result) == (True, first.result)
    seed = ledger.payment("ada", "bill").reference_seed
    assert first.result.provider_call == ProviderCall(
        1, 1, False, f"acme/{seed}/1/2026-11-22", "acme", "key-1", NOON + seconds(29), verify_meter=True
    )
    assert len(ledger.payment("ada", "bill").attempt(1).sends) == 1


def test_second_claim_during_lease_returns_no_call() -> None:
    ledger = ledger_after(fund(), pay(), claim())
    other = execute(ledger, claim(key="claim-2"))
    assert (other.replayed, other.result.provider_call, other.result.next_at) == (
        False,
        None,
        NOON + seconds(60),
    )


def test_command_without_effect_is_not_stored() -> None:
    ledger = ledger_after(fund(), pay(), claim())
    changes, results = decide(ledger.snapshot([claim(key="claim-2")]), [claim(key="claim-2")])
    assert result_types(results) == [Executed]
    waits = {StreamKey("ada", "bill"): NOON + seconds(60)}
    assert changes == WriteSet(next_at=dict(waits)), "nothing but when to look again"


def test_lease_shorter_than_timeout_allows_send_only_now() -> None:
    short = replace(POLICY, lease_seconds=20, timeout_seconds=30)
    ledger = ledger_after(fund(), pay())
    work = execute(ledger, replace(claim(), policy=short)).result.provider_call
    assert work is not None
    assert work.send_before == NOON
    send = ledger.payment("ada", "bill").attempt(1).send(1)
    assert (send.send_before, send.answer_by, send.lease_until) == (
        *(NOON, NOON + seconds(30), NOON + seconds(20)),
    )


def test_reply_has_balance_status_next_check_and_proof() -> None:
    ledger = ModelLedger()
    assert execute(ledger, fund()).result.balance_minor == 100000
    accepted = execute(ledger, pay())
    assert (accepted.result.balance_minor, accepted.result.next_at) == (70000, NOON)
    assert accepted.payment == ledger.payment("ada", "bill")
    cancelled = execute(ledger, cancel()).result
    assert (cancelled.status, cancelled.balance_minor) == (Status.REVERSED, 100000)
    assert (cancelled.next_at, cancelled.proof) == (None, Proof.NOT_SENT)


@pytest.mark.parametrize("key", ["order-1", None])
def test_payment_stores_only_a_key_given_by_the_caller(key: str | None) -> None:
    ledger = ledger_after(fund(), pay(key=key))
    accepted = ledger.streams[StreamKey("ada", "bill")][0]
    assert isinstance(accepted.event, PaymentAccepted)
    assert (accepted.event.key, accepted.command_key) == (key, key or "bill")


@pytest.mark.parametrize(
    ("command", "same", "others"),
    [
        (
            fund(),
            {"user_id": "bob", "key": "k", "transaction_id": "t", "at": NOON + seconds(1)},
            {"amount": Money(100000, "KES"), "source": "paystack", "reference": "r"},
        ),
        (fund(), {}, {"amount": Money(99999, "NGN")}),
        (
            pay(),
            {"user_id": "bob", "key": "k", "transaction_id": "t", "at": NOON, "allow_duplicate": True},
            {"meter": "12345678902", "biller": "IKEDC", "vend_type": VendType.POSTPAID, "phone": "0800"},
        ),
        (pay(), {"has_caller_key": True}, {"amount": Money(30001, "NGN")}),
        (cancel(), {"user_id": "bob", "key": "k", "at": NOON + seconds(1)}, {"transaction_id": "t"}),
        (claim(), {"policy": Policy(())}, {"transaction_id": "t"}),
        (
            record_answer(NotSent("a")),
            {"policy": Policy(()), "answer": NotSent("b")},
            {"transaction_id": "t", "attempt": 2, "call_number": 2, "is_requery": True},
        ),
    ],
)
def test_request_hash_ignores_user_key_and_time(
    command: Command, same: dict[str, object], others: dict[str, object]
) -> None:
    for field, value in same.items():
        assert replace(command, **{field: value}).request_hash == command.request_hash  # type: ignore[arg-type]
    hashes = {replace(command, **{field: value}).request_hash for field, value in others.items()}  # type: ignore[arg-type]
    assert len(hashes | {command.request_hash}) == 1 + len(others)


def test_command_key_is_user_operation_and_key() -> None:
    commands = (
        fund(key="k"),
        pay(key="k"),
        cancel(key="k"),
        claim(key="k"),
        record_answer(NotSent("a"), key="k"),
    )
    assert [command.command_key for command in commands] == [
        CommandKey("ada", operation, "k") for operation in ("fund", "pay", "cancel", "claim", "record_answer")
    ]


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ([], "it may have reached the provider"),
        ([Unknown("?")], "it may have reached the provider"),
        ([Declined("no")], "it is reversing"),
        ([Delivered("1234")], "it is completed"),
    ],
)
def test_cancel_after_send_is_rejected_with_reason(history: Sequence[Answer], why: str) -> None:
    ledger = ledger_after(fund(), pay(), claim(), *(record_answer(answer) for answer in history))
    [rejected] = ledger.execute(cancel())
    assert isinstance(rejected, AlreadySent)
    assert rejected.message == f"The payment can't be cancelled: {why}. Nothing was changed."


def test_every_rejection_says_what_happened_to_the_money() -> None:
    ledger = ledger_after(fund(), pay(key="order-1"), claim())
    rejected: Sequence[Command] = (
        *(pay("second"), pay("third", 10**9), pay("x", user="bob"), pay("x", 1, key="order-1"), cancel()),
    )
    for result in ledger.execute(*rejected):
        assert isinstance(result, BillvendError)
        assert re.search("[Nn]othing was (held|done|changed)", result.message)
