"""What is to be told to the outside: there with its event or not at all, taken by one at a time, and never lost."""

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

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
from billvend.ports.deposits import Deposit
from billvend.ports.outbox import DeliveryAttempt, DisabledEndpoint, FinalStatus, Message
from billvend.ports.queries import Search
from tests.storage.rivals import at_once
from tests.storage.till import NOW, TOKEN, Till, delivered, named, open_till, statements

ALL = tuple(Channel)
LEASE_SECONDS = 60.0


@pytest.fixture
def telling(till: Till) -> Till:
    """A till that tells the outside on every channel."""
    return tell(till)


@pytest.fixture
def outbox(till: Till) -> SqlOutbox:
    return SqlOutbox(till.database)


def tell(till: Till, *channels: Channel) -> Till:
    till.journal = SqlJournal(till.database, channels=channels or ALL)
    return till


def kinds(outbox: SqlOutbox, channel: Channel = Channel.WEBHOOK) -> list[str]:
    """What is or was told on a channel, in order."""
    found = [told.message for told in outbox.history(limit=100, channel=channel)]
    return [message.kind for message in sorted(found, key=lambda message: message.at)]


def take(
    outbox: SqlOutbox, till: Till, channel: Channel = Channel.WEBHOOK, limit: int = 100
) -> list[Message]:
    return outbox.take(channel, till.now, limit=limit, lease_seconds=LEASE_SECONDS)


def tried(till: Till, detail: str = "HTTP 500", status: int | None = 500) -> DeliveryAttempt:
    return DeliveryAttempt(till.now, "https://shop.example", status, 35, detail)


def answered(till: Till, *answers: Answer) -> Pay:
    """A payment that was sold, or not, as told."""
    till.pass_time(1)
    pay = till.paid()
    for answer in answers:
        till.pass_time(1)
        till.told(pay, answer, early=True)
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
def test_what_happens_is_told(
    telling: Till, outbox: SqlOutbox, answers: tuple[Answer, ...], expected: list[str]
) -> None:
    telling.funded()
    pay = answered(telling, *answers)
    if expected == ["payment.reversed"]:
        telling.pass_time(1)
        telling.done(telling.claim(pay))  # gives the money back
    assert kinds(outbox) == ["wallet.funded", *expected]
    assert kinds(outbox, Channel.MAIL) == [
        kind for kind in ["wallet.funded", *expected] if kind != "payment.incident"
    ]
    assert telling.audit().ok


def test_a_message_says_what_the_event_says(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded(minor=10_000)
    pay = answered(telling, delivered())
    sold, funded = (told.message for told in outbox.history(limit=10, channel=Channel.WEBHOOK))
    data = json.loads(sold.data)
    assert (data["token"], data["units"], data["amount"]) == (TOKEN, "12.5", "10.00")
    assert (sold.user_id, sold.transaction_id, sold.at) == ("ada", pay.transaction_id, telling.now)
    assert (sold.attempt_count, sold.next_at, sold.final_status) == (0, telling.now, None)
    assert json.loads(funded.data)["amount"] == "100.00"


def test_messages_of_all_channels_have_names_of_their_own(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded()
    names = [told.message.message_id for told in outbox.history(limit=10)]
    assert len(set(names)) == len(ALL)


def test_only_configured_channels_are_told(till: Till, outbox: SqlOutbox) -> None:
    till.funded()  # on none
    tell(till, Channel.MAIL)
    answered(till, delivered())
    assert Counter(told.message.channel for told in outbox.history(limit=10)) == {Channel.MAIL: 1}


def test_without_channels_nothing_is_written_and_not_a_statement_more_is_made(till: Till) -> None:
    with statements(till.database) as seen:
        till.funded()
        till.told(till.paid(), delivered())
    assert not [statement for statement in seen if "outbox" in statement]


def test_accepting_payments_takes_not_a_statement_more_with_channels(telling: Till) -> None:
    telling.funded(minor=100_000)
    with statements(telling.database) as seen:
        telling.do(*(telling.pay(meter=f"1234567890{number}") for number in range(5)))
    assert not [statement for statement in seen if "outbox" in statement]


def test_many_messages_take_one_statement(telling: Till) -> None:
    with statements(telling.database) as seen:
        telling.do(*(telling.fund() for _ in range(20)))
    assert len([statement for statement in seen if "outbox" in statement]) == 1


def test_a_refused_and_a_repeated_command_tell_nothing(telling: Till, outbox: SqlOutbox) -> None:
    first = telling.fund(key="once")
    assert named(telling.do(first, first, telling.fund(key="once", minor=1), telling.pay(minor=10**9))) == [
        *("done", "replayed", "idempotency_mismatch", "insufficient_funds")
    ]
    telling.done(first)
    assert kinds(outbox) == ["wallet.funded"]


def test_what_can_not_be_told_does_not_happen(telling: Till, outbox: SqlOutbox) -> None:
    telling.run("ALTER TABLE outbox_messages RENAME TO elsewhere")
    with suppress(Unavailable):
        assert named(telling.do(telling.fund())) == ["internal"]
    telling.run("ALTER TABLE elsewhere RENAME TO outbox_messages")
    assert telling.books.balance("ada", "NGN") is None
    assert outbox.history(limit=10) == []
    telling.funded()
    assert kinds(outbox) == ["wallet.funded"]


# --- killed -----------------------------------------------------------------------------------------------------------


def commit_and_die(url: str, moment: str) -> None:
    """In a process: sell, and be killed just before or just after the commit of the sale."""
    with open_till(url, name="dying") as till:
        tell(till)
        till.funded()
        pay = till.paid()
        report = till.report(pay, till.working(pay), delivered())
        if moment == "before":
            sa.event.listen(till.database.engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        till.done(report)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_is_killed_leaves_both_or_neither(url: str, moment: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=commit_and_die, args=(url, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with open_till(url) as till:
        sold = till.rows("SELECT 1 FROM events WHERE type = 'PaymentCompleted'")
        due = [message.kind for message in take(SqlOutbox(till.database), till)]
        assert bool(sold) == (moment == "after")
        assert due == ["wallet.funded", *["payment.completed"] * len(sold)]
        assert till.audit().ok


# --- taken ------------------------------------------------------------------------------------------------------------


def test_what_is_taken_is_taken_by_one(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded()
    (first,) = take(outbox, telling)
    assert take(outbox, telling) == []
    assert len(take(outbox, telling, Channel.MAIL)) == 1, "the other channels have theirs"
    telling.pass_time(LEASE_SECONDS - 1)
    assert take(outbox, telling) == []
    telling.pass_time(1)
    (second,) = take(outbox, telling)
    assert (second.message_id, second.data, second.attempt_count) == (first.message_id, first.data, 0)


def test_what_is_due_first_is_taken_first_and_no_more_than_asked_for(
    telling: Till, outbox: SqlOutbox
) -> None:
    for _ in range(3):
        telling.funded()
        telling.pass_time(1)
    taken = [take(outbox, telling, limit=2), take(outbox, telling, limit=2)]
    assert [len(messages) for messages in taken] == [2, 1]
    assert [message.at for messages in taken for message in messages] == [
        NOW + timedelta(seconds=number) for number in range(3)
    ]


def test_where_nothing_is_due_nobody_who_writes_is_disturbed(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded()
    take(outbox, telling)
    with statements(telling.database) as seen:
        assert take(outbox, telling) == []
    assert not [statement for statement in seen if "FOR UPDATE" in statement or "UPDATE" in statement]


def test_takers_who_come_at_once_share(url: str) -> None:
    with open_till(url) as till, open_till(url, name="u") as other:
        tell(till)
        till.do(*(till.fund() for _ in range(40)))
        boxes = [SqlOutbox(one.database) for one in (till, other)] * 3
        taken = at_once(*(lambda box=box: take(box, till, limit=10) for box in boxes))
        names = [message.message_id for messages in taken for message in messages]
        assert len(set(names)) == len(names)
        rest = take(SqlOutbox(till.database), till)
        assert len(names) + len(rest) == 40


def test_one_message_can_be_taken_unless_somebody_is_at_it(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded()
    (message,) = take(outbox, telling)

    def one(name: str = message.message_id) -> Message | None:
        return outbox.take_one(name, telling.now, lease_seconds=LEASE_SECONDS)

    assert one() is None
    outbox.record_attempt(
        message, tried(telling), next_at=telling.now + timedelta(hours=2), final_status=None
    )
    again = one()
    assert again is not None, "due or not"
    assert one() is None
    outbox.record_attempt(again, tried(telling), next_at=None, final_status=FinalStatus.DELIVERED)
    assert one() is None
    assert one("msg_none") is None
    assert one("\0") is None


# --- answered for -----------------------------------------------------------------------------------------------------


def test_a_try_in_vain_is_due_again(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded()
    (message,) = take(outbox, telling)
    outbox.record_attempt(
        message, tried(telling), next_at=telling.now + timedelta(seconds=5), final_status=None
    )
    assert take(outbox, telling) == []
    telling.pass_time(5)
    (again,) = take(outbox, telling)
    assert (again.message_id, again.data, again.at, again.attempt_count) == (
        *(message.message_id, message.data, message.at, 1),
    )


@pytest.mark.parametrize("end", FinalStatus)
def test_what_has_ended_is_never_due(telling: Till, outbox: SqlOutbox, end: FinalStatus) -> None:
    telling.funded()
    (message,) = take(outbox, telling)
    telling.pass_time(3)
    outbox.record_attempt(message, tried(telling, "HTTP 200", 200), next_at=None, final_status=end)
    telling.pass_time(10**6)
    assert take(outbox, telling) == []
    (told,) = outbox.history(limit=10, channel=Channel.WEBHOOK)
    assert (told.message.final_status, told.message.ended_at) == (end, NOW + timedelta(seconds=3))
    assert told.attempts == (
        replace(tried(telling, "HTTP 200", 200), at=NOW + timedelta(seconds=3), number=1),
    )


def late(telling: Till, outbox: SqlOutbox) -> tuple[Message, Message]:
    """The same message with somebody whose lease ran out, and with the one who took it then."""
    telling.funded()
    (slow,) = take(outbox, telling)
    telling.pass_time(LEASE_SECONDS)
    (quick,) = take(outbox, telling)
    return slow, quick


def test_somebody_who_comes_too_late_undoes_nothing(telling: Till, outbox: SqlOutbox) -> None:
    slow, quick = late(telling, outbox)
    outbox.record_attempt(
        quick, tried(telling, "HTTP 200", 200), next_at=None, final_status=FinalStatus.DELIVERED
    )
    outbox.record_attempt(slow, tried(telling), next_at=telling.now, final_status=None)
    assert take(outbox, telling) == []
    (told,) = outbox.history(limit=10, channel=Channel.WEBHOOK)
    assert told.message.final_status is FinalStatus.DELIVERED
    assert [one.detail for one in told.attempts] == ["HTTP 200", "HTTP 500"], (
        "what was tried is noted all the same"
    )
    assert [one.number for one in told.attempts] == [1, 2]


def test_somebody_who_delivered_it_is_believed_however_late(telling: Till, outbox: SqlOutbox) -> None:
    slow, quick = late(telling, outbox)
    outbox.record_attempt(
        slow, tried(telling, "HTTP 200", 200), next_at=None, final_status=FinalStatus.DELIVERED
    )
    outbox.record_attempt(quick, tried(telling), next_at=telling.now, final_status=None)
    assert take(outbox, telling) == []
    (told,) = outbox.history(limit=10, channel=Channel.WEBHOOK)
    assert told.message.final_status is FinalStatus.DELIVERED


def test_reports_that_come_at_once_are_all_noted(url: str) -> None:
    with open_till(url) as till:
        outbox = SqlOutbox(tell(till).database)
        till.funded()
        (message,) = take(outbox, till)
        again = till.now + timedelta(hours=1)
        at_once(*[lambda: outbox.record_attempt(message, tried(till), next_at=again, final_status=None)] * 6)
        (told,) = outbox.history(limit=10, channel=Channel.WEBHOOK)
        assert [one.number for one in told.attempts] == [1, 2, 3, 4, 5, 6]
        assert (told.message.attempt_count, told.message.next_at) == (1, again)


@pytest.mark.parametrize("text", ["NUL \0", "half \ud800", "Ọ̀rọ̀"])
def test_whatever_the_other_side_says_is_written_down(telling: Till, outbox: SqlOutbox, text: str) -> None:
    telling.funded()
    (message,) = take(outbox, telling)
    outbox.record_attempt(message, tried(telling, text, None), next_at=None, final_status=FinalStatus.GAVE_UP)
    (told,) = outbox.history(limit=10, channel=Channel.WEBHOOK)
    assert told.attempts[0].detail == text.replace("\0", "\ufffd").replace("\ud800", "?")


# --- looked at, and told again ----------------------------------------------------------------------------------------


def test_what_failed_is_found(telling: Till, outbox: SqlOutbox) -> None:
    fates: list[tuple[str, FinalStatus | None]] = [
        *(("untouched", None), ("at it", None), ("in vain", None)),
        *(
            ("given up", FinalStatus.GAVE_UP),
            ("skipped", FinalStatus.SKIPPED),
            ("delivered", FinalStatus.DELIVERED),
        ),
    ]
    names = {}
    for name, end in fates:
        telling.pass_time(1)
        telling.funded()
        if name == "untouched":
            names[name] = outbox.history(limit=1, channel=Channel.WEBHOOK)[0].message.message_id
            telling.run("UPDATE outbox_messages SET channel = 'webhook-' WHERE channel = 'webhook'")
            continue
        (message,) = take(outbox, telling)
        names[name] = message.message_id
        if name != "at it":
            telling.pass_time(0.5)
            due = None if end else telling.now + timedelta(hours=5)
            outbox.record_attempt(message, tried(telling), next_at=due, final_status=end)
    telling.run("UPDATE outbox_messages SET channel = 'webhook' WHERE channel = 'webhook-'")
    failed = [told.message.message_id for told in outbox.history(limit=10, failed=True)]
    assert failed == [names["given up"], names["in vain"]], "the newest first"
    listed = [told.message.message_id for told in outbox.history(limit=4, channel=Channel.WEBHOOK)]
    assert listed == [names[name] for name in ("delivered", "skipped", "given up", "in vain")]
    (one,) = outbox.history(limit=10, message_id=names["skipped"])
    assert one.message.final_status is FinalStatus.SKIPPED
    assert outbox.history(limit=10, message_id="msg_none") == []
    assert outbox.history(limit=10, message_id="\0") == []


@pytest.mark.parametrize("end", FinalStatus)
def test_what_is_replayed_begins_anew_under_its_name(
    telling: Till, outbox: SqlOutbox, end: FinalStatus
) -> None:
    telling.funded()
    (message,) = take(outbox, telling)
    outbox.record_attempt(message, tried(telling), next_at=None, final_status=end)
    telling.pass_time(100)
    assert outbox.replay(message.message_id, telling.now)
    (again,) = take(outbox, telling)
    assert (again.message_id, again.data, again.at) == (message.message_id, message.data, message.at)
    assert (again.attempt_count, again.final_status) == (0, None)
    outbox.record_attempt(
        again, tried(telling, "HTTP 200", 200), next_at=None, final_status=FinalStatus.DELIVERED
    )
    (told,) = outbox.history(limit=1, message_id=message.message_id)
    assert [(one.number, one.detail) for one in told.attempts] == [(1, "HTTP 500"), (2, "HTTP 200")]
    assert telling.audit().ok


def test_what_there_is_not_can_not_be_replayed(outbox: SqlOutbox) -> None:
    assert not outbox.replay("msg_none", NOW)
    assert not outbox.replay("\0", NOW)


# --- endpoints, and addresses -----------------------------------------------------------------------------------------


def test_an_endpoint_is_disabled_once_and_enabled_again(outbox: SqlOutbox) -> None:
    first = DisabledEndpoint("a1", "https://shop.example", NOW, "HTTP 410")
    other = DisabledEndpoint("b2", "https://other.example", NOW + timedelta(seconds=1), "HTTP 410")
    assert outbox.disabled() == []
    for disabled in (replace(first, reason="before"), other, first):
        outbox.disable(disabled)
    assert outbox.disabled() == [first, other]
    assert [outbox.enable("a1"), outbox.enable("a1")] == [1, 0]
    assert outbox.disabled() == [other]
    outbox.disable(first)
    assert outbox.enable() == 2
    assert outbox.disabled() == []


def test_email_kept_first_stays_until_another_is_set(outbox: SqlOutbox) -> None:
    assert outbox.email_of("ada", "any") is None
    outbox.set_email_if_absent("ada", "first@example.com", NOW)
    outbox.set_email_if_absent("ada", "second@example.com", NOW)
    assert outbox.email_of("ada", "any") == "first@example.com"
    for email in ("third@example.com", "fourth@example.com"):
        outbox.set_email("ada", email, NOW)
        assert outbox.email_of("ada", "any") == email
    outbox.set_email_if_absent("ada", "fifth@example.com", NOW)
    assert outbox.email_of("ada", "any") == "fourth@example.com"
    assert outbox.email_of("ben", "any") is None


def test_email_of_a_deposit_without_wallet_email_gets_its_receipt_alone(
    till: Till, outbox: SqlOutbox
) -> None:
    for reference, source in (("r1", "paystack"), ("r2", "manual")):
        SqlDeposits(till.database).add(
            Deposit("ada", reference, None, "paystack", Money(100, "NGN"), f"{reference}@example.com", NOW)
        )
        till.done(till.fund(source=source, reference=reference))
    paid_in, by_hand = (till.books.search(Search(reference=each))[0].transaction_id for each in ("r1", "r2"))
    pay = till.paid()
    assert outbox.email_of("ada", paid_in) == "r1@example.com"
    for other in (by_hand, pay.transaction_id, "r1"):
        assert outbox.email_of("ada", other) is None
    assert outbox.email_of("ben", paid_in) is None
    outbox.set_email_if_absent("ada", "ada@example.com", NOW)
    assert outbox.email_of("ada", paid_in) == "ada@example.com"


@pytest.fixture
def nowhere() -> Iterator[SqlOutbox]:
    database = Database("sqlite:////nowhere/at/all/books.db")
    yield SqlOutbox(database)
    database.close()


def test_with_the_database_away_it_says_so(nowhere: SqlOutbox) -> None:
    with pytest.raises(Unavailable):
        nowhere.take(Channel.WEBHOOK, NOW, limit=1, lease_seconds=1)
    with pytest.raises(Unavailable):
        nowhere.history(limit=1)
    with pytest.raises(Unavailable):
        nowhere.replay("msg_1", NOW)
    with pytest.raises(Unavailable):
        nowhere.disabled()
    with pytest.raises(Unavailable):
        nowhere.email_of("ada", "t-1")
    with pytest.raises(Unavailable):
        nowhere.set_email_if_absent("ada", "ada@example.com", NOW)
    with pytest.raises(Unavailable):
        nowhere.set_email("ada", "ada@example.com", NOW)


def test_a_sale_that_was_not_sent_is_told_when_the_money_is_back(telling: Till, outbox: SqlOutbox) -> None:
    telling.funded()
    telling.pass_time(1)
    pay = telling.paid()
    telling.told(pay, NotSent("refused"))
    assert kinds(outbox) == ["wallet.funded"]
    telling.pass_time(1)
    unsent = telling.paid(meter="10987654321")
    telling.done(telling.cancel(unsent))
    assert kinds(outbox) == ["wallet.funded", "payment.reversed"]
