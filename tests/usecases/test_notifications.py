"""Notifications are sent at once, retried after a failure, and not for ever. Trouble on one channel affects no other."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from billvend import Billvend, Payment, ResourceNotFound, Unavailable, ValidationFailed
from billvend.domain.delivery_retry import GAPS_SECONDS, JITTER
from billvend.domain.notifications import Channel
from billvend.domain.outcome import Declined, Delivered
from billvend.ports.notifier import DeliveryOutcome, DeliveryResult
from billvend.ports.queue import QueueName
from billvend.ports.repositories import FinalStatus, Message
from billvend.usecases.notifications import DELIVERY_LEASE_SECONDS, MAX_MESSAGES_PER_CHANNEL
from tests.harness import OTHER_TOKEN, TOKEN, AppHarness, UnreadQueue, using

DELIVERED = DeliveryResult(DeliveryOutcome.DELIVERED, "https://shop.example", "HTTP 200", 200)
FAILED = DeliveryResult(DeliveryOutcome.FAILED, "https://shop.example", "HTTP 500", 500)
GONE = DeliveryResult(DeliveryOutcome.GONE, "https://shop.example", "HTTP 410", 410)


class FakeChannel:
    """A channel that gives the results that the test set, and records the messages."""

    def __init__(self, *, endpoint: str | None = None) -> None:
        self.endpoint = endpoint
        self.answer = DELIVERED
        self.messages: list[Message] = []
        self.during_delivery: Callable[[], object] = lambda: None

    def deliver(self, message: Message) -> DeliveryResult:
        self.messages.append(message)
        self.during_delivery()
        return self.answer

    def close(self) -> None: ...

    @property
    def kinds(self) -> list[str]:
        return [message.kind for message in self.messages]


@pytest.fixture
def webhook() -> FakeChannel:
    return FakeChannel(endpoint="one")


@pytest.fixture
def mail() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def app(webhook: FakeChannel, mail: FakeChannel) -> Iterator[AppHarness]:
    """Both are sent; the funding of ada's wallet was sent already."""
    app = AppHarness(notifiers={Channel.WEBHOOK: webhook, Channel.MAIL: mail})
    app.bv.deliver_notifications()
    webhook.messages.clear()
    mail.messages.clear()
    yield from using(app)


def complete_payment(app: AppHarness) -> Payment:
    """A payment that was sold, with no notification sent."""
    app.provider.send_answer = Delivered(f"{int(app.clock.new_id()[3:]):020}")  # each has a token of its own
    app.clock.sleep(1)
    return app.settle(app.pay(100))


def latest_webhook(app: AppHarness) -> tuple[str, FinalStatus | None, int]:
    """Of the newest webhook: its type, its final status, and its number of attempts since it began."""
    message = app.bv.notification_history(limit=1)[0]
    return message.kind, message.final_status, message.attempt_count


# --- content ----------------------------------------------------------------------------------------------------------


def test_completed_payment_is_notified_once_on_each_channel(
    app: AppHarness, webhook: FakeChannel, mail: FakeChannel
) -> None:
    payment = complete_payment(app)
    assert app.bv.deliver_notifications() == 2
    assert app.bv.deliver_notifications() == 0
    assert webhook.kinds == mail.kinds == ["payment.completed"]
    data = json.loads(mail.messages[0].data)
    assert (data["transactionId"], data["token"]) == (payment.transaction_id, payment.token)
    assert latest_webhook(app) == ("payment.completed", FinalStatus.DELIVERED, 1)
    assert [one.detail for one in app.bv.notification_history()[0].attempts] == ["HTTP 200"]


def test_reversal_review_and_incident_are_notified(
    app: AppHarness, webhook: FakeChannel, mail: FakeChannel
) -> None:
    app.provider.send_answer = Declined("no such meter")
    app.settle(app.settle(app.pay()))
    app.bv.cancel(app.pay().transaction_id)
    doubtful = app.payment_in_review()
    app.bv.resolve(doubtful.transaction_id, operator="ngozi", reason="by phone", token=TOKEN)
    app.provider.requery_answer = Delivered(OTHER_TOKEN)
    app.bv.refresh(doubtful.transaction_id)
    while app.bv.deliver_notifications():
        pass
    expected = ["payment.reversed", "payment.reversed", "payment.completed"]
    assert sorted(mail.kinds) == sorted(expected)  # several are sent at once
    assert sorted(webhook.kinds) == sorted([*expected, "payment.in_review", "payment.incident"])


def test_workers_get_hints_only_for_notifications(app: AppHarness) -> None:
    def count_hints(action: Callable[[], object]) -> int:
        before = queue.hints[QueueName.NOTIFICATIONS]
        app.clock.sleep(1)
        action()
        return queue.hints[QueueName.NOTIFICATIONS] - before

    queue = UnreadQueue()
    app.bv = Billvend(replace(app.deps, queue=queue))
    assert count_hints(lambda: app.bv.fund("ada", 100)) == 1
    assert count_hints(app.pay) == 0, "that it was accepted is no news"
    assert count_hints(lambda: complete_payment(app)) == 1
    assert count_hints(app.payment_in_doubt) == 0
    cancelled = app.pay()
    assert count_hints(lambda: app.bv.cancel(cancelled.transaction_id)) == 1


def test_hint_wakes_the_notification_worker(app: AppHarness, webhook: FakeChannel) -> None:
    stop, came = threading.Event(), threading.Event()
    webhook.during_delivery = came.set
    worker = threading.Thread(target=lambda: app.bv.run_worker(threads=1, stop=stop))
    worker.start()
    try:
        for _ in range(100):  # a memory queue accepts hints as soon as a consumer runs
            app.bv.fund("ada", 100)
            if came.wait(0.1):
                break
    finally:
        stop.set()
        worker.join()
    assert set(webhook.kinds) == {"wallet.funded"}


def test_no_channels_means_no_notifications() -> None:
    app, queue = AppHarness(), UnreadQueue()
    app.bv = Billvend(replace(app.deps, queue=queue))
    app.bv.fund("ada", 100)
    assert queue.hints[QueueName.NOTIFICATIONS] == 0
    assert app.bv.deliver_notifications() == 0
    assert app.bv.notification_history(channel=None) == []
    app.close()


# --- retries ----------------------------------------------------------------------------------------------------------


def test_failing_delivery_is_given_up_after_ten_tries(app: AppHarness, webhook: FakeChannel) -> None:
    webhook.answer = FAILED
    complete_payment(app)
    app.bv.deliver_notifications()
    for gap in GAPS_SECONDS:
        assert latest_webhook(app)[1] is None
        app.clock.sleep(gap - 0.5)
        assert app.bv.deliver_notifications() == 0, "not before its time"
        app.clock.sleep(0.5 + gap * JITTER)
        assert app.bv.deliver_notifications() == 1
    assert latest_webhook(app) == ("payment.completed", FinalStatus.GAVE_UP, 10)
    app.clock.sleep(10**7)
    assert app.bv.deliver_notifications() == 0
    assert len({(message.message_id, message.data, message.at) for message in webhook.messages}) == 1
    (entry,) = app.bv.notification_history(failed=True)
    assert [one.number for one in entry.attempts] == list(range(1, 11))


def test_retry_after_of_endpoint_is_respected(app: AppHarness, webhook: FakeChannel) -> None:
    webhook.answer = DeliveryResult(
        DeliveryOutcome.FAILED, "https://shop.example", "HTTP 503", 503, retry_after_seconds=900.0
    )
    complete_payment(app)
    app.bv.deliver_notifications()
    app.clock.sleep(899)
    assert app.bv.deliver_notifications() == 0
    app.clock.sleep(1)
    assert app.bv.deliver_notifications() == 1


@pytest.mark.parametrize(
    ("outcome", "end"),
    [(DeliveryOutcome.REJECTED, FinalStatus.GAVE_UP), (DeliveryOutcome.NO_RECIPIENT, FinalStatus.SKIPPED)],
    ids=["rejected", "no recipient"],
)
def test_rejected_or_addressless_delivery_ends_at_once(
    app: AppHarness, mail: FakeChannel, outcome: DeliveryOutcome, end: FinalStatus
) -> None:
    mail.answer = DeliveryResult(outcome, "", "why")
    complete_payment(app)
    app.bv.deliver_notifications()
    (entry, *_) = app.bv.notification_history(channel="mail")
    assert (entry.final_status, [one.detail for one in entry.attempts]) == (end, ["why"])


def test_failing_channel_is_retried_and_does_not_block_others(
    app: AppHarness, webhook: FakeChannel, mail: FakeChannel, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> None:
        raise KeyError(TOKEN)

    webhook.during_delivery = breaks
    complete_payment(app)
    assert app.bv.deliver_notifications() == 2
    assert mail.kinds == ["payment.completed"]
    assert latest_webhook(app) == ("payment.completed", None, 1)
    assert app.bv.notification_history()[0].attempts[0].detail == "the delivery attempt failed: KeyError"
    assert TOKEN not in caplog.text


# --- workers ----------------------------------------------------------------------------------------------------------


def test_message_of_dead_worker_is_sent_by_the_next(
    app: AppHarness, webhook: FakeChannel, mail: FakeChannel
) -> None:
    """At least once: the first attempt may have arrived."""

    def dies() -> None:
        raise SystemExit

    complete_payment(app)
    webhook.during_delivery = dies
    with pytest.raises(SystemExit):
        app.bv.deliver_notifications()
    webhook.during_delivery = lambda: None
    assert app.bv.deliver_notifications() == 0, "it is taken"
    app.clock.sleep(DELIVERY_LEASE_SECONDS)
    assert app.bv.deliver_notifications() == 1
    first, second = webhook.messages
    assert (first.message_id, first.data) == (second.message_id, second.data)
    assert latest_webhook(app) == ("payment.completed", FinalStatus.DELIVERED, 1)
    assert len(mail.messages) == 1


def test_leased_message_is_not_sent_twice(app: AppHarness, webhook: FakeChannel) -> None:
    others: list[int] = []
    webhook.during_delivery = lambda: others.append(app.bv.deliver_notifications())
    complete_payment(app)
    app.bv.deliver_notifications()
    assert others == [0]
    assert len(webhook.messages) == 1


def test_pass_sends_a_batch_per_channel_in_parallel(
    app: AppHarness, webhook: FakeChannel, mail: FakeChannel
) -> None:
    """Many messages on one channel delay no other channel; and messages to a slow endpoint do not wait for each other."""
    together = threading.Barrier(MAX_MESSAGES_PER_CHANNEL)
    webhook.during_delivery = lambda: together.wait(30)
    for _ in range(2 * MAX_MESSAGES_PER_CHANNEL):
        complete_payment(app)
    for _ in range(2):
        assert app.bv.deliver_notifications() == 2 * MAX_MESSAGES_PER_CHANNEL
    assert len(webhook.messages) == len(mail.messages) == 2 * MAX_MESSAGES_PER_CHANNEL
    assert app.bv.deliver_notifications() == 0


def test_unrecorded_delivery_is_repeated_after_database_recovers(
    app: AppHarness, webhook: FakeChannel
) -> None:
    def endpoint_is_down() -> None:
        app.sql("ALTER TABLE delivery_attempts RENAME TO elsewhere")

    webhook.during_delivery = endpoint_is_down
    app.notifiers = {Channel.WEBHOOK: webhook}
    app.restart(app.provider)
    app.bv.fund("ada", 100)
    with pytest.raises(Unavailable):
        app.bv.deliver_notifications()
    app.sql("ALTER TABLE elsewhere RENAME TO delivery_attempts")
    webhook.during_delivery = lambda: None
    app.clock.sleep(DELIVERY_LEASE_SECONDS)
    assert app.bv.deliver_notifications() == 1
    assert len(webhook.messages) == 2


# --- endpoints that answer 410 Gone -----------------------------------------------------------------------------------


def test_gone_endpoint_is_disabled_until_enabled(
    app: AppHarness, webhook: FakeChannel, mail: FakeChannel
) -> None:
    webhook.answer = GONE
    complete_payment(app)
    app.bv.deliver_notifications()
    (disabled,) = app.bv.disabled_endpoints()
    assert (disabled.endpoint, disabled.reason) == ("one", "HTTP 410")
    complete_payment(app)
    app.clock.sleep(10**6)
    assert app.bv.deliver_notifications() == 1, "the mail"
    assert (len(webhook.messages), len(mail.messages)) == (1, 2)
    webhook.answer = DELIVERED
    assert app.bv.enable_webhooks() == 1
    assert app.bv.deliver_notifications() == 2, "nothing was lost"
    assert len({message.message_id for message in webhook.messages}) == 2
    assert (app.bv.enable_webhooks(), app.bv.disabled_endpoints()) == (0, [])


def test_new_endpoint_gets_pending_messages(app: AppHarness, webhook: FakeChannel) -> None:
    webhook.answer = GONE
    complete_payment(app)
    app.bv.deliver_notifications()
    new = FakeChannel(endpoint="two")
    app.notifiers = {Channel.WEBHOOK: new}
    app.restart(app.provider)
    assert app.bv.deliver_notifications() == 1
    assert new.kinds == ["payment.completed"]


# --- replays ----------------------------------------------------------------------------------------------------------


def test_delivered_message_can_be_replayed(app: AppHarness, webhook: FakeChannel, mail: FakeChannel) -> None:
    complete_payment(app)
    app.bv.deliver_notifications()
    app.clock.sleep(10**7)
    again = app.bv.replay_notification(app.bv.notification_history()[0].message_id)
    assert again.final_status is FinalStatus.DELIVERED
    assert [one.number for one in again.attempts] == [1, 2]
    assert len({(message.message_id, message.data) for message in webhook.messages}) == 1
    assert len(mail.messages) == 1


def test_failed_replay_is_retried_from_the_start(app: AppHarness, webhook: FakeChannel) -> None:
    complete_payment(app)
    app.bv.deliver_notifications()
    webhook.answer = FAILED
    again = app.bv.replay_notification(app.bv.notification_history()[0].message_id)
    assert (again.final_status, again.attempt_count) == (None, 1)
    app.clock.sleep(6)
    assert app.bv.deliver_notifications() == 1


def test_replay_without_configured_channel_waits(app: AppHarness, webhook: FakeChannel) -> None:
    complete_payment(app)
    app.bv.deliver_notifications()
    name = app.bv.notification_history()[0].message_id
    app.notifiers, configured = {}, app.notifiers
    app.restart(app.provider)
    assert app.bv.replay_notification(name).final_status is None
    assert app.bv.deliver_notifications() == 0
    app.notifiers = configured
    app.restart(app.provider)
    assert app.bv.deliver_notifications() == 1


def test_replay_to_disabled_endpoint_waits(app: AppHarness, webhook: FakeChannel) -> None:
    webhook.answer = GONE
    complete_payment(app)
    app.bv.deliver_notifications()
    assert app.bv.replay_notification(app.bv.notification_history()[0].message_id).final_status is None
    assert len(webhook.messages) == 1


def test_unknown_message_or_channel_is_rejected(app: AppHarness) -> None:
    with pytest.raises(ResourceNotFound):
        app.bv.replay_notification("msg_none")
    with pytest.raises(ValidationFailed):
        app.bv.notification_history(channel="pigeon")
    assert app.bv.notification_history(message_id="msg_none") == []
