"""Notifications from end to end: settings, a sale, a worker, an endpoint, and the screens of an operator."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from billvend import open_billvend
from billvend.testing.fault_server import Connection, FaultServer, http_response
from tests.cli.console import METER, PATIENCE_SECONDS, Console, process
from tests.notify.smtp_server import run_smtp_server

pytestmark = pytest.mark.long

SECRET = "whsec_c29tZSBzZWNyZXQgdGhhdCBpcyBvbGQgbm93"


class Endpoint(FaultServer):
    """The server of a shop that receives webhooks."""

    def __init__(self) -> None:
        self.status = "200 OK"
        super().__init__(lambda talk: self.answer(talk))

    def answer(self, talk: Connection) -> None:
        talk.send(http_response(b"", status=self.status))

    def verified_events(self) -> list[Any]:
        """The events that came in. Verifies their signatures."""
        events = []
        for request in self.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            events.append(Webhook(SECRET).verify(body, headers))
        return events


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def webhook_cli(funded: Console, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A command line that sends webhooks and no other notifications."""
    for name, value in settings(endpoint).items():
        monkeypatch.setenv(name, value)
    return funded


def settings(endpoint: Endpoint) -> dict[str, str]:
    return {
        "ENABLE_NOTIFICATIONS": "false",
        "ENABLE_WEBHOOKS": "true",
        "WEBHOOK_URL": f"{endpoint.url}/s3cret",
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }


def deliver_due() -> int:
    """Deliver the notifications that are due, as a worker does. Returns how many were delivered."""
    with open_billvend() as bv:
        return bv.deliver_notifications()


@pytest.mark.parametrize(
    ("user", "address", "words"),
    [
        ("ada", "ada", "e-mail address is not accepted"),
        ("", "ada@example.com", "user id is not accepted"),
        (
            "ada@example.com",
            "ben@example.com",
            "is an e-mail address, and mail goes there. Nothing was done.",
        ),
    ],
)
def test_invalid_wallet_email_is_rejected(billvend: Console, user: str, address: str, words: str) -> None:
    assert words in billvend.error(2, "validation_failed", "wallet", "email", user, address)


def test_wallet_email_is_set_and_replaced(billvend: Console) -> None:
    for address in ("ada@example.com", "ben@example.com"):
        assert billvend.json("wallet", "email", "ada", address) == {"userId": "ada", "email": address}
    assert billvend.json("audit")["ok"] is True


def test_completed_payment_is_delivered_and_listed(webhook_cli: Console, endpoint: Endpoint) -> None:
    paid = webhook_cli.pay_json(METER)
    assert deliver_due() == 1
    (event,) = endpoint.verified_events()
    assert event["type"] == "payment.completed"
    shared = {
        "transactionId",
        "userId",
        "amount",
        "currency",
        "meterNumber",
        "provider",
        "biller",
        "vendType",
    }
    shared |= {"status", "token", "units", "receipt", "type"}
    assert {name: event["data"][name] for name in shared} == {name: paid[name] for name in shared}
    (item,) = webhook_cli.json("webhooks", "list")["items"]
    (delivery,) = item["deliveries"]
    assert (item["status"], item["type"], item["channel"]) == ("delivered", "payment.completed", "webhook")
    assert (item["transactionId"], item["nextTryAt"]) == (paid["transactionId"], None)
    assert (delivery["httpStatus"], delivery["target"], delivery["number"]) == (200, endpoint.url, 1)
    assert f"webhook-id: {item['messageId']}".encode() in endpoint.requests[0]
    shown = webhook_cli("webhooks", "list").out
    assert item["messageId"] in shown
    assert webhook_cli("audit").status == 0
    for secret in (paid["token"], "s3cret", SECRET):
        assert secret not in shown + json.dumps(item)


def test_failed_webhook_is_listed_and_replayed(webhook_cli: Console, endpoint: Endpoint) -> None:
    endpoint.status = "500 Oh"
    webhook_cli.pay_json(METER)
    deliver_due()
    (item,) = webhook_cli.json("webhooks", "list", "--failed")["items"]
    assert (item["status"], item["deliveries"][0]["httpStatus"]) == ("waiting", 500)
    assert item["nextTryAt"] is not None
    failed = webhook_cli("webhooks", "replay", item["messageId"])
    assert (failed.status, failed.out[:24]) == (0, "Not delivered: HTTP 500,")
    endpoint.status = "200 OK"
    again = webhook_cli.json("webhooks", "replay", item["messageId"])
    assert (again["status"], [one["httpStatus"] for one in again["deliveries"]]) == (
        "delivered",
        [500, 500, 200],
    )
    assert webhook_cli.json("webhooks", "list", "--failed")["items"] == []
    assert "Delivered to" in webhook_cli("webhooks", "replay", item["messageId"]).out
    first, *replays = endpoint.verified_events()
    assert replays == [first] * 3


def test_gone_endpoint_is_disabled_until_enabled(webhook_cli: Console, endpoint: Endpoint) -> None:
    endpoint.status = "410 Gone"
    webhook_cli.pay_json(METER)
    deliver_due()
    webhook_cli.pay_json(METER, "--allow-duplicate")
    assert deliver_due() == 0
    listed = webhook_cli.json("webhooks", "list")
    assert [item["status"] for item in listed["items"]] == ["waiting", "waiting"]
    (disabled,) = listed["disabledEndpoints"]
    assert (disabled["target"], disabled["reason"][:8]) == (endpoint.url, "HTTP 410")
    assert "billvend webhooks enable" in webhook_cli("webhooks", "list").out
    assert webhook_cli.json("webhooks", "enable") == {"enabled": 1}
    assert webhook_cli("webhooks", "enable").out == "No endpoint was disabled.\n"
    endpoint.status = "200 OK"
    assert deliver_due() == 2
    assert webhook_cli.json("webhooks", "list", "--failed")["items"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("replay", "msg_none"), 3, "not_found"),
        (("list", "--channel", "pigeon"), 2, "validation_failed"),
        (("list", "--limit", "0"), 2, "validation_failed"),
    ],
)
def test_invalid_webhooks_command_is_rejected(
    webhook_cli: Console, arguments: tuple[str, ...], status: int, code: str
) -> None:
    webhook_cli.error(status, code, "webhooks", *arguments)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("WEBHOOK_SECRET", secret) for secret in ("", "whsec_", "s3cret!", "whsec_c2hvcnQ=", f"{SECRET} whsec_")),
        *(("WEBHOOK_URL", url) for url in ("", "https:///path", "https://a b/", "https://a:99999/")),
    ],
)  # fmt: skip
def test_invalid_webhook_setting_is_named(
    webhook_cli: Console, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)
    error = webhook_cli.json("webhooks", "list", status=2)["error"]
    assert list(error["fields"]) == [setting]
    assert "s3cret" not in error["message"]


def test_private_address_is_rejected_by_default(
    webhook_cli: Console, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_ALLOW_PRIVATE")
    webhook_cli.pay_json(METER)
    assert deliver_due() == 1
    assert endpoint.connections == 0
    (item,) = webhook_cli.json("webhooks", "list", "--failed")["items"]
    assert "may be connected to" in item["deliveries"][0]["detail"]


def test_notification_is_logged_without_smtp(funded: Console) -> None:
    paid = funded.pay_json(METER)
    logged = run_worker_until(funded, lambda: not has_undelivered(funded, "console"))
    (line,) = [line for line in logged if line["message"].startswith("Notification: Your electricity")]
    assert line["context"]["transactionId"] == paid["transactionId"]
    assert line["context"]["token"] == "***"
    assert paid["token"] not in json.dumps(logged)


def test_worker_delivers_webhooks_and_emails(funded: Console, endpoint: Endpoint) -> None:
    """The queue lost its hints, so the sweeps must find the notifications."""
    with run_smtp_server() as smtp:
        delivery_settings = settings(endpoint) | {
            "ENABLE_NOTIFICATIONS": "1",
            "SMTP_URL": f"smtp://127.0.0.1:{smtp.port}",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in delivery_settings.items():
                patch.setenv(name, value)
            funded.json("fund", "ben@example.com", "1000")
            paid = funded.json("pay", "ben@example.com", "500", "--meter", METER, "--biller", "EKEDC")
        (funded.folder / "billvend.queue.db").unlink()
        run_worker_until(
            funded, lambda: len(endpoint.requests) == 2 and len(smtp.emails) == 2, **delivery_settings
        )
        assert sorted(event["type"] for event in endpoint.verified_events()) == [
            "payment.completed",
            "wallet.funded",
        ]
        (email,) = [one for one in smtp.emails if "electricity" in one["Subject"]]
        assert email["To"] == "ben@example.com"
        grouped = "-".join(paid["token"][start : start + 4] for start in range(0, 20, 4))
        assert grouped in str(email.get_content())


def has_undelivered(console: Console, channel: str) -> bool:
    events = console.json("webhooks", "list", "--channel", channel)["items"]
    return not events or any(item["status"] != "delivered" for item in events)


def run_worker_until(console: Console, is_done: Any, **more: str) -> list[Any]:
    """Run a worker until a condition holds. Returns its log lines."""
    with process(console.folder, "worker", LOG_FORMAT="json", SWEEP_INTERVAL="0.2", **more) as worker:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_done() and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.terminate()
        _, log_text = worker.communicate(timeout=PATIENCE_SECONDS)
    assert is_done(), log_text
    assert worker.returncode == 0, log_text
    return [json.loads(line) for line in log_text.splitlines()]
