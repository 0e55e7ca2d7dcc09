"""The outbox: messages are written with their event or not at all, taken by one worker at a time, and never lost."""

import json
import multiprocessing
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from billvend.adapters.storage.database import Database
from billvend.adapters.storage.deposits import SqlDeposits
from billvend.adapters.storage.journal import SqlJournal
from billvend.adapters.storage.outbox import SqlOutbox
from billvend.domain.decisions.commands import Pay
from billvend.domain.errors import Unavailable
from billvend.domain.money import Money
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Answer, Declined, NotSent, Unknown
from billvend.ports.queries import Search
from billvend.ports.repositories import DeliveryAttempt, Deposit, DisabledEndpoint, FinalStatus, Message
from billvend.presentation.notifications import notification_for
from tests.storage.concurrency import run_in_threads
from tests.storage.harness import (
    NOW,
    TOKEN,
    JournalHarness,
    delivered,
    open_harness,
    recorded_statements,
    result_codes,
)

ALL = tuple(Channel)
LEASE_SECONDS = 60.0


@pytest.fixture
def notifying(harness: JournalHarness) -> JournalHarness:
    """A harness that sends notifications on every channel."""
    return enable_channels(harness)


@pytest.fixture
def outbox(harness: JournalHarness) -> SqlOutbox:
    return SqlOutbox(harness.database)


def enable_channels(harness: JournalHarness, *channels: Channel) -> JournalHarness:
    harness.journal = SqlJournal(
        harness.database, channels=channels or ALL, render_notification=notification_for
    )
    return harness


def message_kinds(outbox: SqlOutbox, channel: Channel = Channel.WEBHOOK) -> list[str]:
    """The messages of a channel, pending or ended, in order."""
    found = outbox.history(limit=100, channel=channel)
    return [message.kind for message in sorted(found, key=lambda message: message.at)]


def take(
    outbox: SqlOutbox, harness: JournalHarness, channel: Channel = Channel.WEBHOOK, limit: int = 100
) -> list[Message]:
    return outbox.take(channel, harness.now, limit=limit, lease_seconds=LEASE_SECONDS)


def take_one(outbox: SqlOutbox, harness: JournalHarness) -> Message:
    """The only due webhook."""
    (message,) = take(outbox, harness)
    return message


def report(
    outbox: SqlOutbox,
    harness: JournalHarness,
    message: Message,
    end: FinalStatus | None = None,
    *,
    due_seconds: float = 0,
    detail: str = "HTTP 500",
) -> DeliveryAttempt:
    """Record a delivery attempt, after which the message has this end, or is due again after so many seconds."""
    attempt = DeliveryAttempt(harness.now, "https://shop.example", 500, 35, detail)
    next_at = None if end else harness.now + timedelta(seconds=due_seconds)
    outbox.record_attempt(message, attempt, next_at=next_at, final_status=end)
    return attempt


def only_webhook(outbox: SqlOutbox) -> Message:
    (message,) = outbox.history(limit=10, channel=Channel.WEBHOOK)
    return message


def pay_and_answer(harness: JournalHarness, *answers: Answer) -> Pay:
    """The messages of a payment that was sold or reversed."""
    harness.advance(1)
    pay = harness.accept_payment()
    for answer in answers:
        harness.advance(1)
        harness.answer(pay, answer, early=True)
    return pay


# --- written with the event -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((delivered(),), ["payment.completed"]),
        ((Declined("no such meter"),), ["payment.reversed"]),
        ((Unknown("no answer"),), []),
        ((Unknown("no answer"), delivered()), ["payment.completed"]),
        ((delivered(), delivered("99999999999999999999")), ["payment.completed", "payment.incident"]),
    ],
    ids=["sold", "declined", "in doubt", "sold late", "sold twice"],
)
def test_event_writes_its_messages(
    notifying: JournalHarness, outbox: SqlOutbox, answers: tuple[Answer, ...], expected: list[str]
) -> None:
    notifying.add_funds()
    pay = pay_and_answer(notifying, *answers)
    if expected == ["payment.reversed"]:
        notifying.advance(1)
        notifying.execute_one(notifying.claim(pay))  # releases the money
    assert message_kinds(outbox) == ["wallet.funded", *expected]
    assert message_kinds(outbox, Channel.MAIL) == [
        kind for kind in ["wallet.funded", *expected] if kind != "payment.incident"
    ]
    assert notifying.audit().ok


def test_message_data_comes_from_the_event(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    notifying.add_funds(minor=10_000)
    pay = pay_and_answer(notifying, delivered())
    sold, funded = (entry for entry in outbox.history(limit=10, channel=Channel.WEBHOOK))
    data = json.loads(sold.data)
    assert (data["token"], data["units"], data["amount"]) == (TOKEN, "12.5", "10.00")
    assert (sold.user_id, sold.transaction_id, sold.at) == ("ada", pay.transaction_id, notifying.now)
    assert (sold.attempt_count, sold.next_at, sold.final_status) == (0, notifying.now, None)
    assert json.loads(funded.data)["amount"] == "100.00"


def test_message_ids_differ_between_channels(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    notifying.add_funds()
    names = [entry.message_id for entry in outbox.history(limit=10)]
    assert len(set(names)) == len(ALL)


def test_only_configured_channels_get_messages(harness: JournalHarness, outbox: SqlOutbox) -> None:
    harness.add_funds()  # on no channel
    enable_channels(harness, Channel.MAIL)
    pay_and_answer(harness, delivered())
    assert Counter(entry.channel for entry in outbox.history(limit=10)) == {Channel.MAIL: 1}


def test_no_channels_need_no_outbox_statement(harness: JournalHarness) -> None:
    with recorded_statements(harness.database) as seen:
        harness.add_funds()
        harness.answer(harness.accept_payment(), delivered())
    assert not [statement for statement in seen if "outbox" in statement]


def test_accepting_payments_needs_no_outbox_statement(notifying: JournalHarness) -> None:
    notifying.add_funds(minor=100_000)
    with recorded_statements(notifying.database) as seen:
        notifying.execute(*(notifying.pay(meter=f"1234567890{number}") for number in range(5)))
    assert not [statement for statement in seen if "outbox" in statement]


def test_many_messages_take_one_statement(notifying: JournalHarness) -> None:
    with recorded_statements(notifying.database) as seen:
        notifying.execute(*(notifying.fund() for _ in range(20)))
    assert len([statement for statement in seen if "outbox" in statement]) == 1


def test_rejected_or_repeated_command_writes_no_message(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    first = notifying.fund(key="once")
    assert result_codes(
        notifying.execute(first, first, notifying.fund(key="once", minor=1), notifying.pay(minor=10**9))
    ) == [*("done", "replayed", "idempotency_mismatch", "insufficient_funds")]
    notifying.execute_one(first)
    assert message_kinds(outbox) == ["wallet.funded"]


def test_event_is_rolled_back_when_message_cannot_be_written(
    notifying: JournalHarness, outbox: SqlOutbox
) -> None:
    notifying.run("ALTER TABLE outbox_messages RENAME TO elsewhere")
    with suppress(Unavailable):
        assert result_codes(notifying.execute(notifying.fund())) == ["internal"]
    notifying.run("ALTER TABLE elsewhere RENAME TO outbox_messages")
    assert notifying.queries.balance("ada", "NGN") is None
    assert outbox.history(limit=10) == []
    notifying.add_funds()
    assert message_kinds(outbox) == ["wallet.funded"]


# --- killed -----------------------------------------------------------------------------------------------------------


def commit_and_die(url: str, moment: str) -> None:
    """In a process: sell, and be killed just before or just after the commit of the sale."""
    with open_harness(url, name="dying") as harness:
        enable_channels(harness)
        harness.add_funds()
        pay = harness.accept_payment()
        report = harness.report(pay, harness.claim_work(pay), delivered())
        if moment == "before":
            sa.event.listen(harness.database.engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        harness.execute_one(report)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_process_leaves_event_and_message_or_neither(url: str, moment: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=commit_and_die, args=(url, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with open_harness(url) as harness:
        sold = harness.rows("SELECT 1 FROM events WHERE type = 'PaymentCompleted'")
        due = [message.kind for message in take(SqlOutbox(harness.database), harness)]
        assert bool(sold) == (moment == "after")
        assert due == ["wallet.funded", *["payment.completed"] * len(sold)]
        assert harness.audit().ok


# --- taken ------------------------------------------------------------------------------------------------------------


def test_leased_message_is_not_taken_twice(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    notifying.add_funds()
    first = take_one(outbox, notifying)
    assert take(outbox, notifying) == []
    assert len(take(outbox, notifying, Channel.MAIL)) == 1, "the other channels have theirs"
    notifying.advance(LEASE_SECONDS - 1)
    assert take(outbox, notifying) == []
    notifying.advance(1)
    second = take_one(outbox, notifying)
    assert (second.message_id, second.data, second.attempt_count) == (first.message_id, first.data, 0)


def test_due_messages_are_taken_oldest_first_and_limited(
    notifying: JournalHarness, outbox: SqlOutbox
) -> None:
    for _ in range(3):
        notifying.add_funds()
        notifying.advance(1)
    taken = [take(outbox, notifying, limit=2), take(outbox, notifying, limit=2)]
    assert [len(messages) for messages in taken] == [2, 1]
    assert [message.at for messages in taken for message in messages] == [
        NOW + timedelta(seconds=number) for number in range(3)
    ]


def test_taking_without_due_messages_takes_no_locks(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    notifying.add_funds()
    take(outbox, notifying)
    with recorded_statements(notifying.database) as seen:
        assert take(outbox, notifying) == []
    assert not [statement for statement in seen if "FOR UPDATE" in statement or "UPDATE" in statement]


def test_concurrent_takers_get_different_messages(url: str) -> None:
    with open_harness(url) as harness, open_harness(url, name="u") as other:
        enable_channels(harness)
        harness.execute(*(harness.fund() for _ in range(40)))
        boxes = [SqlOutbox(one.database) for one in (harness, other)] * 3
        taken = run_in_threads(*(lambda box=box: take(box, harness, limit=10) for box in boxes))
        names = [message.message_id for messages in taken for message in messages]
        assert len(set(names)) == len(names)
        rest = take(SqlOutbox(harness.database), harness)
        assert len(names) + len(rest) == 40


def test_single_message_is_taken_when_due(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    for _ in range(2):
        notifying.add_funds()
    message = outbox.history(limit=1, channel=Channel.WEBHOOK)[0]

    def take_message(name: str = message.message_id) -> list[str]:
        found = outbox.take(
            Channel.WEBHOOK, notifying.now, limit=9, lease_seconds=LEASE_SECONDS, message_id=name
        )
        return [each.message_id for each in found]

    assert [take_message(name) for name in ("msg_none", "\0")] == [[], []]
    assert [take_message(), take_message()] == [[message.message_id], []]
    assert outbox.replay(message.message_id, notifying.now)
    assert take_message() == [message.message_id]


# --- delivery results -------------------------------------------------------------------------------------------------


def test_failed_delivery_is_due_again(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    notifying.add_funds()
    message = take_one(outbox, notifying)
    report(outbox, notifying, message, due_seconds=5)
    assert take(outbox, notifying) == []
    notifying.advance(5)
    again = take_one(outbox, notifying)
    assert again == replace(message, attempt_count=1, next_at=again.next_at, lease_until=again.lease_until)


@pytest.mark.parametrize("end", FinalStatus)
def test_ended_message_is_due_only_after_a_replay(
    notifying: JournalHarness, outbox: SqlOutbox, end: FinalStatus
) -> None:
    notifying.add_funds()
    message = take_one(outbox, notifying)
    notifying.advance(3)
    first = replace(report(outbox, notifying, message, end), number=1)
    notifying.advance(10**6)
    assert take(outbox, notifying) == []
    ended = only_webhook(outbox)
    assert (ended.final_status, ended.ended_at, ended.attempts) == (end, NOW + timedelta(seconds=3), (first,))

    assert outbox.replay(message.message_id, notifying.now)
    again = take_one(outbox, notifying)
    assert again == replace(message, next_at=again.next_at, lease_until=again.lease_until)
    second = replace(report(outbox, notifying, again, FinalStatus.DELIVERED, detail="HTTP 200"), number=2)
    assert only_webhook(outbox).attempts == (first, second)
    assert notifying.audit().ok


def test_replay_of_unknown_message_does_nothing(outbox: SqlOutbox) -> None:
    assert not outbox.replay("msg_none", NOW)
    assert not outbox.replay("\0", NOW)


@pytest.mark.parametrize("is_delivered_late", [False, True])
def test_late_report_changes_nothing_but_a_delivery_counts(
    notifying: JournalHarness, outbox: SqlOutbox, is_delivered_late: bool
) -> None:
    """One worker's lease ran out, and another one took the message then. Every attempt is logged."""
    notifying.add_funds()
    slow = take_one(outbox, notifying)
    notifying.advance(LEASE_SECONDS)
    quick = take_one(outbox, notifying)
    delivering, failing = (slow, quick) if is_delivered_late else (quick, slow)
    report(outbox, notifying, delivering, FinalStatus.DELIVERED, detail="HTTP 200")
    report(outbox, notifying, failing)
    assert take(outbox, notifying) == []
    message = only_webhook(outbox)
    assert message.final_status is FinalStatus.DELIVERED
    assert [(one.number, one.detail) for one in message.attempts] == [(1, "HTTP 200"), (2, "HTTP 500")]


def test_concurrent_delivery_reports_are_all_recorded(url: str) -> None:
    with open_harness(url) as harness:
        outbox = SqlOutbox(enable_channels(harness).database)
        harness.add_funds()
        message = take_one(outbox, harness)
        run_in_threads(*[lambda: report(outbox, harness, message, due_seconds=3600)] * 6)
        stored = only_webhook(outbox)
        assert [one.number for one in stored.attempts] == [1, 2, 3, 4, 5, 6]
        assert (stored.attempt_count, stored.next_at) == (1, harness.now + timedelta(hours=1))


@pytest.mark.parametrize("text", ["NUL \0", "half \ud800", "Ọ̀rọ̀"])
def test_odd_response_text_is_stored(notifying: JournalHarness, outbox: SqlOutbox, text: str) -> None:
    notifying.add_funds()
    report(outbox, notifying, take_one(outbox, notifying), FinalStatus.GAVE_UP, detail=text)
    (attempt,) = only_webhook(outbox).attempts
    assert attempt.detail == text.replace("\0", "\ufffd").replace("\ud800", "?")


# --- history ----------------------------------------------------------------------------------------------------------


def test_failed_messages_are_listed_newest_first(harness: JournalHarness, outbox: SqlOutbox) -> None:
    enable_channels(harness, Channel.WEBHOOK)
    ends = {"leased": None, "failing": None, "gave up": FinalStatus.GAVE_UP}
    ends |= {"skipped": FinalStatus.SKIPPED, "delivered": FinalStatus.DELIVERED}
    names: dict[str, str] = {}
    for name, end in ends.items():
        harness.advance(1)
        harness.add_funds()
        message = take_one(outbox, harness)
        names[message.message_id] = name
        if name != "leased":
            report(outbox, harness, message, end, due_seconds=10**6)
    harness.advance(1)
    harness.add_funds()

    def listed(**criteria: Any) -> list[str]:
        return [names.get(one.message_id, "untouched") for one in outbox.history(**criteria)]

    assert listed(limit=10, failed=True) == ["gave up", "failing"]
    assert listed(limit=5) == ["untouched", "delivered", "skipped", "gave up", "failing"]
    assert listed(limit=10, channel=Channel.MAIL) == []
    for message_id, name in names.items():
        assert listed(limit=10, message_id=message_id) == [name]
    assert listed(limit=10, message_id="msg_none") == listed(limit=10, message_id="\0") == []


# --- endpoints and email addresses ------------------------------------------------------------------------------------


def test_endpoint_can_be_disabled_and_enabled(outbox: SqlOutbox) -> None:
    first = DisabledEndpoint("a1", "https://shop.example", NOW, "HTTP 410")
    other = DisabledEndpoint("b2", "https://other.example", NOW + timedelta(seconds=1), "HTTP 410")
    assert outbox.disabled() == []
    for disabled in (replace(first, reason="before"), other, first):
        outbox.disable(disabled)
    assert outbox.disabled() == [first, other]
    assert outbox.enable_all() == 2
    assert (outbox.disabled(), outbox.enable_all()) == ([], 0)


def test_first_email_stays_until_another_is_set(outbox: SqlOutbox) -> None:
    assert outbox.email_of("ada", "any") is None
    for email, replaces, expected in (
        ("1@example.com", False, "1@example.com"),
        ("2@example.com", False, "1@example.com"),
        ("3@example.com", True, "3@example.com"),
        ("4@example.com", True, "4@example.com"),
        ("5@example.com", False, "4@example.com"),
    ):
        outbox.set_email("ada", email, NOW, replace=replaces)
        assert outbox.email_of("ada", "any") == expected
    assert outbox.email_of("ben", "any") is None


def test_email_of_a_deposit_without_wallet_email_gets_its_receipt_alone(
    harness: JournalHarness, outbox: SqlOutbox
) -> None:
    for reference, source in (("r1", "paystack"), ("r2", "manual")):
        SqlDeposits(harness.database).add(
            Deposit("ada", reference, None, "paystack", Money(100, "NGN"), f"{reference}@example.com", NOW)
        )
        harness.execute_one(harness.fund(source=source, reference=reference))
    paid_in, by_hand = (
        harness.queries.search(Search(reference=each))[0].transaction.transaction_id for each in ("r1", "r2")
    )
    pay = harness.accept_payment()
    assert outbox.email_of("ada", paid_in) == "r1@example.com"
    for other in (by_hand, pay.transaction_id, "r1"):
        assert outbox.email_of("ada", other) is None
    assert outbox.email_of("ben", paid_in) is None
    outbox.set_email("ada", "ada@example.com", NOW, replace=False)
    assert outbox.email_of("ada", paid_in) == "ada@example.com"


def test_outbox_is_unavailable_when_database_is_down(unavailable_database: Database) -> None:
    outbox = SqlOutbox(unavailable_database)
    for call in (
        lambda: outbox.take(Channel.WEBHOOK, NOW, limit=1, lease_seconds=1),
        lambda: outbox.history(limit=1),
        lambda: outbox.replay("msg_1", NOW),
        outbox.disabled,
        lambda: outbox.email_of("ada", "t-1"),
        lambda: outbox.set_email("ada", "ada@example.com", NOW, replace=True),
    ):
        with pytest.raises(Unavailable):
            call()


def test_unsent_payment_is_notified_when_reversed(notifying: JournalHarness, outbox: SqlOutbox) -> None:
    notifying.add_funds()
    notifying.advance(1)
    pay = notifying.accept_payment()
    notifying.answer(pay, NotSent("rejected"))
    assert message_kinds(outbox) == ["wallet.funded"]
    notifying.advance(1)
    unsent = notifying.accept_payment(meter="10987654321")
    notifying.execute_one(notifying.cancel(unsent))
    assert message_kinds(outbox) == ["wallet.funded", "payment.reversed"]
