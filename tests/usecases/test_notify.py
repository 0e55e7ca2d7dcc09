"""Telling the outside: at once, again when it failed, and never for ever; a channel in trouble is no trouble of others."""

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from billvend import Payment, ResourceNotFound, Unavailable, ValidationFailed
from billvend.domain.delivery_retry import GAPS_SECONDS, JITTER
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Declined, Delivered
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.outbox import FinalStatus, Message
from billvend.ports.queue import Hint, QueueName
from billvend.usecases.notifications import DELIVERY_LEASE_SECONDS, MAX_MESSAGES_PER_CHANNEL
from tests.usecases.shop import ANOTHER, SILENCE, TOKEN, Shop, closing

DELIVERED = DeliveryResult(DeliveryOutcome.DELIVERED, "https://shop.example", "HTTP 200", 200)
FAILED = DeliveryResult(DeliveryOutcome.FAILED, "https://shop.example", "HTTP 500", 500)
GONE = DeliveryResult(DeliveryOutcome.GONE, "https://shop.example", "HTTP 410", 410)


class Outside:
    """A channel that says what the test wrote down, and notes what it was told."""

    def __init__(self, *, endpoint: str | None = None) -> None:
        self.endpoint = endpoint
        self.says = DELIVERED
        self.told: list[Message] = []
        self.while_delivering: Callable[[], object] = lambda: None

    def deliver(self, message: Message) -> DeliveryResult:
        self.told.append(message)
        self.while_delivering()
        return self.says

    def close(self) -> None: ...

    @property
    def kinds(self) -> list[str]:
        return [message.kind for message in self.told]


@pytest.fixture
def webhook() -> Outside:
    return Outside(endpoint="one")


@pytest.fixture
def mail() -> Outside:
    return Outside()


@pytest.fixture
def shop(webhook: Outside, mail: Outside) -> Iterator[Shop]:
    """It tells both of them; that ada paid in is told already."""
    shop = Shop(notifiers={Channel.WEBHOOK: webhook, Channel.MAIL: mail})
    shop.bv.deliver_notifications()
    webhook.told.clear()
    mail.told.clear()
    yield from closing(shop)


def sold(shop: Shop) -> Payment:
    """A payment that was sold, of which nobody was told."""
    shop.company.sells = Delivered(f"{int(shop.clock.new_id()[3:]):020}")  # each has a token of its own
    shop.clock.sleep(1)
    return shop.settled(shop.pay(100))


def last(shop: Shop) -> tuple[str, FinalStatus | None, int]:
    """Of the newest webhook: what it tells of, how it ended, and how often it was tried since it began."""
    message = shop.bv.notification_history(limit=1)[0].message
    return message.kind, message.final_status, message.attempt_count


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_sale_is_told_once_to_everybody(shop: Shop, webhook: Outside, mail: Outside) -> None:
    payment = sold(shop)
    assert shop.bv.deliver_notifications() == 2
    assert shop.bv.deliver_notifications() == 0
    assert webhook.kinds == mail.kinds == ["payment.completed"]
    data = json.loads(mail.told[0].data)
    assert (data["transactionId"], data["token"]) == (payment.transaction_id, payment.token)
    (told, _) = shop.bv.notification_history()
    assert (told.message.final_status, [one.detail for one in told.attempts]) == (
        FinalStatus.DELIVERED,
        ["HTTP 200"],
    )


def test_what_goes_back_and_what_people_must_see_is_told(shop: Shop, webhook: Outside, mail: Outside) -> None:
    shop.company.sells = Declined("no such meter")
    shop.settled(shop.settled(shop.pay()))
    shop.bv.cancel(shop.pay().transaction_id)
    doubtful = shop.in_review()
    shop.bv.resolve(doubtful.transaction_id, operator="ngozi", reason="by phone", token=TOKEN)
    shop.company.tells = Delivered(ANOTHER)
    shop.bv.refresh(doubtful.transaction_id)
    while shop.bv.deliver_notifications():
        pass
    expected = ["payment.reversed", "payment.reversed", "payment.completed"]
    assert sorted(mail.kinds) == sorted(expected)  # several are told at once
    assert sorted(webhook.kinds) == sorted([*expected, "payment.in_review", "payment.incident"])


def hints(shop: Shop, what: Callable[[], object]) -> int:
    """How many hints a worker gets while something happens."""
    got: list[Hint] = []
    stop, ready = threading.Event(), threading.Event()
    ready_hint = Hint("ready", "ready")

    def take(hint: Hint) -> None:
        if hint == ready_hint:
            ready.set()
        else:
            got.append(hint)

    consuming = threading.Thread(
        target=lambda: shop.queue.consume({QueueName.NOTIFICATIONS: take}, threads=1, stop=stop)
    )
    consuming.start()
    try:
        while not ready.wait(0.01):
            shop.queue.enqueue(QueueName.NOTIFICATIONS, [ready_hint])
        what()
        last = Hint("last", "last")
        shop.queue.enqueue(QueueName.NOTIFICATIONS, [last])
        for _ in range(500):
            if last in got:
                break
            ready.clear()
            ready.wait(0.01)
    finally:
        stop.set()
        consuming.join()
    assert got[-1] == last
    return len(got) - 1


def test_workers_are_told_of_news_and_of_nothing_else(shop: Shop) -> None:
    shop.clock.sleep(1)
    assert hints(shop, lambda: shop.bv.fund("ada", 100)) == 1
    shop.clock.sleep(1)
    assert hints(shop, shop.pay) == 0, "that it was accepted is no news"
    shop.clock.sleep(1)
    assert hints(shop, lambda: sold(shop)) == 1
    shop.clock.sleep(1)
    assert hints(shop, shop.in_doubt) == 0
    cancelled = shop.pay()
    assert hints(shop, lambda: shop.bv.cancel(cancelled.transaction_id)) == 1


def test_a_hint_wakes_a_worker_up(shop: Shop, webhook: Outside) -> None:
    stop, came = threading.Event(), threading.Event()
    webhook.while_delivering = came.set
    worker = threading.Thread(target=lambda: shop.bv.run_worker(threads=1, stop=stop))
    worker.start()
    try:
        for _ in range(100):  # it takes hints as soon as it listens
            shop.bv.fund("ada", 100)
            if came.wait(0.1):
                break
    finally:
        stop.set()
        worker.join()
    assert set(webhook.kinds) == {"wallet.funded"}


def test_where_nobody_is_to_be_told_nothing_is_done() -> None:
    shop = Shop()
    assert hints(shop, lambda: shop.bv.fund("ada", 100)) == 0
    assert shop.bv.deliver_notifications() == 0
    assert shop.bv.notification_history(channel=None) == []
    shop.close()


# --- again ------------------------------------------------------------------------------------------------------------


def test_what_fails_is_tried_ten_times_in_four_days_and_then_given_up(shop: Shop, webhook: Outside) -> None:
    webhook.says = FAILED
    sold(shop)
    shop.bv.deliver_notifications()
    for gap in GAPS_SECONDS:
        assert last(shop)[1] is None
        shop.clock.sleep(gap - 0.5)
        assert shop.bv.deliver_notifications() == 0, "not before its time"
        shop.clock.sleep(0.5 + gap * JITTER)
        assert shop.bv.deliver_notifications() == 1
    assert last(shop) == ("payment.completed", FinalStatus.GAVE_UP, 10)
    shop.clock.sleep(10**7)
    assert shop.bv.deliver_notifications() == 0
    assert len({(message.message_id, message.data, message.at) for message in webhook.told}) == 1
    (told,) = shop.bv.notification_history(failed=True)
    assert [one.number for one in told.attempts] == list(range(1, 11))


def test_who_asks_for_patience_gets_it(shop: Shop, webhook: Outside) -> None:
    webhook.says = DeliveryResult(
        DeliveryOutcome.FAILED, "https://shop.example", "HTTP 503", 503, retry_after_seconds=900.0
    )
    sold(shop)
    shop.bv.deliver_notifications()
    shop.clock.sleep(899)
    assert shop.bv.deliver_notifications() == 0
    shop.clock.sleep(1)
    assert shop.bv.deliver_notifications() == 1


@pytest.mark.parametrize(
    ("outcome", "end"),
    [(DeliveryOutcome.REJECTED, FinalStatus.GAVE_UP), (DeliveryOutcome.NO_RECIPIENT, FinalStatus.SKIPPED)],
    ids=["refused", "nobody"],
)
def test_what_can_not_be_told_ends_at_once(
    shop: Shop, mail: Outside, outcome: DeliveryOutcome, end: FinalStatus
) -> None:
    mail.says = DeliveryResult(outcome, "", "why")
    sold(shop)
    shop.bv.deliver_notifications()
    (told, *_) = shop.bv.notification_history(channel="mail")
    assert (told.message.final_status, [one.detail for one in told.attempts]) == (end, ["why"])


def test_a_channel_that_breaks_is_tried_again_and_stops_no_other(
    shop: Shop, webhook: Outside, mail: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> None:
        raise KeyError(TOKEN)

    webhook.while_delivering = breaks
    sold(shop)
    assert shop.bv.deliver_notifications() == 2
    assert mail.kinds == ["payment.completed"]
    assert last(shop) == ("payment.completed", None, 1)
    assert shop.bv.notification_history()[0].attempts[0].detail == "it could not be tried: KeyError"
    assert TOKEN not in caplog.text


# --- workers ----------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_in_the_middle_leaves_it_to_the_next(
    shop: Shop, webhook: Outside, mail: Outside
) -> None:
    """At least once: it may have arrived."""

    def dies() -> None:
        raise SystemExit

    sold(shop)
    webhook.while_delivering = dies
    with pytest.raises(SystemExit):
        shop.bv.deliver_notifications()
    webhook.while_delivering = lambda: None
    assert shop.bv.deliver_notifications() == 0, "it is taken"
    shop.clock.sleep(DELIVERY_LEASE_SECONDS)
    assert shop.bv.deliver_notifications() == 1
    first, second = webhook.told
    assert (first.message_id, first.data) == (second.message_id, second.data)
    assert last(shop) == ("payment.completed", FinalStatus.DELIVERED, 1)
    assert len(mail.told) == 1


def test_while_one_is_at_it_another_one_is_not(shop: Shop, webhook: Outside) -> None:
    others: list[int] = []
    webhook.while_delivering = lambda: others.append(shop.bv.deliver_notifications())
    sold(shop)
    shop.bv.deliver_notifications()
    assert others == [0]
    assert len(webhook.told) == 1


def test_a_pass_tries_so_many_of_each_channel_at_once(shop: Shop, webhook: Outside, mail: Outside) -> None:
    """Whoever has much to tell on one channel holds up no other; and a slow endpoint is not waited for one by one."""
    together = threading.Barrier(MAX_MESSAGES_PER_CHANNEL)
    webhook.while_delivering = lambda: together.wait(30)
    for _ in range(2 * MAX_MESSAGES_PER_CHANNEL):
        sold(shop)
    for _ in range(2):
        assert shop.bv.deliver_notifications() == 2 * MAX_MESSAGES_PER_CHANNEL
    assert (len(webhook.told), len(mail.told)) == (2 * MAX_MESSAGES_PER_CHANNEL, 2 * MAX_MESSAGES_PER_CHANNEL)
    assert shop.bv.deliver_notifications() == 0


def test_with_the_database_away_afterwards_it_is_told_again_later(shop: Shop, webhook: Outside) -> None:
    def away() -> None:
        with shop.database.write_transaction() as connection:
            connection.exec_driver_sql("ALTER TABLE delivery_attempts RENAME TO elsewhere")

    webhook.while_delivering = away
    shop.notifiers = {Channel.WEBHOOK: webhook}
    shop.reopen(shop.company)
    shop.bv.fund("ada", 100)
    with pytest.raises(Unavailable):
        shop.bv.deliver_notifications()
    with shop.database.write_transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO delivery_attempts")
    webhook.while_delivering = lambda: None
    shop.clock.sleep(DELIVERY_LEASE_SECONDS)
    assert shop.bv.deliver_notifications() == 1
    assert len(webhook.told) == 2


# --- gone -------------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_wants_no_more_is_left_alone_until_it_is_enabled(
    shop: Shop, webhook: Outside, mail: Outside
) -> None:
    webhook.says = GONE
    sold(shop)
    shop.bv.deliver_notifications()
    (disabled,) = shop.bv.disabled_endpoints()
    assert (disabled.endpoint, disabled.reason) == ("one", "HTTP 410")
    sold(shop)
    shop.clock.sleep(10**6)
    assert shop.bv.deliver_notifications() == 1, "the mail"
    assert (len(webhook.told), len(mail.told)) == (1, 2)
    webhook.says = DELIVERED
    assert shop.bv.enable_webhooks() == 1
    assert shop.bv.deliver_notifications() == 2, "nothing was lost"
    assert len({message.message_id for message in webhook.told}) == 2
    assert (shop.bv.enable_webhooks(), shop.bv.disabled_endpoints()) == (0, [])


def test_another_endpoint_gets_what_the_old_one_did_not_want(shop: Shop, webhook: Outside) -> None:
    webhook.says = GONE
    sold(shop)
    shop.bv.deliver_notifications()
    new = Outside(endpoint="two")
    shop.notifiers = {Channel.WEBHOOK: new}
    shop.reopen(shop.company)
    assert shop.bv.deliver_notifications() == 1
    assert new.kinds == ["payment.completed"]


# --- replayed ---------------------------------------------------------------------------------------------------------


def test_what_was_delivered_can_be_told_again(shop: Shop, webhook: Outside, mail: Outside) -> None:
    sold(shop)
    shop.bv.deliver_notifications()
    (told, *_) = shop.bv.notification_history()
    shop.clock.sleep(10**7)
    again = shop.bv.replay_notification(told.message.message_id)
    assert (again.message.final_status, [one.number for one in again.attempts]) == (
        FinalStatus.DELIVERED,
        [1, 2],
    )
    assert len({(message.message_id, message.data) for message in webhook.told}) == 1
    assert len(mail.told) == 1


def test_what_is_told_again_in_vain_has_all_its_tries(shop: Shop, webhook: Outside) -> None:
    sold(shop)
    shop.bv.deliver_notifications()
    webhook.says = FAILED
    again = shop.bv.replay_notification(shop.bv.notification_history()[0].message.message_id)
    assert (again.message.final_status, again.message.attempt_count) == (None, 1)
    shop.clock.sleep(6)
    assert shop.bv.deliver_notifications() == 1


def test_where_its_channel_is_not_set_up_it_waits_for_a_worker(shop: Shop, webhook: Outside) -> None:
    sold(shop)
    shop.bv.deliver_notifications()
    name = shop.bv.notification_history()[0].message.message_id
    shop.notifiers, configured = {}, shop.notifiers
    shop.reopen(shop.company)
    assert shop.bv.replay_notification(name).message.final_status is None
    assert shop.bv.deliver_notifications() == 0
    shop.notifiers = configured
    shop.reopen(shop.company)
    assert shop.bv.deliver_notifications() == 1


def test_at_an_endpoint_that_is_disabled_it_waits(shop: Shop, webhook: Outside) -> None:
    webhook.says = GONE
    sold(shop)
    shop.bv.deliver_notifications()
    assert (
        shop.bv.replay_notification(shop.bv.notification_history()[0].message.message_id).message.final_status
        is None
    )
    assert len(webhook.told) == 1


def test_what_there_is_not(shop: Shop) -> None:
    with pytest.raises(ResourceNotFound):
        shop.bv.replay_notification("msg_none")
    with pytest.raises(ValidationFailed):
        shop.bv.notification_history(channel="pigeon")
    assert shop.bv.notification_history(message_id="msg_none") == []


def test_silence_of_a_company_is_told_to_nobody(shop: Shop, webhook: Outside) -> None:
    shop.company.sells = SILENCE
    shop.settled(shop.pay())
    assert shop.bv.deliver_notifications() == 0
    assert webhook.told == []
