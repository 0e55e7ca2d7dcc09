"""What the outside is told, from end to end: settings, a sale, a worker, an endpoint; and what an operator sees of it."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from billvend import open_billvend
from billvend.testing.fault_server import Connection, FaultServer, http_response
from tests.cli.console import PATIENCE_SECONDS, PROGRAM, Console, environment
from tests.notify.mailbox import mailbox

SECRET = "whsec_c29tZSBzZWNyZXQgdGhhdCBpcyBvbGQgbm93"
METER = "12345678901"


class Endpoint(FaultServer):
    """A shop's own server."""

    def __init__(self) -> None:
        self.status = "200 OK"
        super().__init__(lambda talk: self.answer(talk))

    def answer(self, talk: Connection) -> None:
        talk.send(http_response(b"", status=self.status))

    def got(self) -> list[Any]:
        """What came in, verified."""
        found = []
        for request in self.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            found.append(Webhook(SECRET).verify(body, headers))
        return found


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def shop(funded: Console, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Console:
    """It sends webhooks, and nothing else."""
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


def told() -> int:
    """Tell what is due, as a worker does."""
    with open_billvend() as bv:
        return bv.deliver_notifications()


def test_nothing_was_told(shop: Console) -> None:
    assert shop.json("webhooks", "list") == {"items": [], "disabledEndpoints": []}
    assert shop("webhooks", "list").out == "Nothing was told yet.\n"
    assert shop("webhooks", "list", "--failed").out == "Nothing failed.\n"


def test_a_sale_arrives_and_is_listed(shop: Console, endpoint: Endpoint) -> None:
    paid = shop.paid(METER)
    assert told() == 1
    (got,) = endpoint.got()
    assert got["type"] == "payment.completed"
    shared = {
        "transactionId",
        "userId",
        "amount",
        "currency",
        "meterNumber",
        "provider",
        "vendType",
        "status",
    }
    shared |= {"token", "units", "receipt", "type"}
    assert {name: got["data"][name] for name in shared} == {name: paid[name] for name in shared}
    (item,) = shop.json("webhooks", "list")["items"]
    (delivery,) = item["deliveries"]
    assert (item["status"], item["type"], item["channel"]) == ("delivered", "payment.completed", "webhook")
    assert (item["transactionId"], item["nextTryAt"]) == (paid["transactionId"], None)
    assert (delivery["httpStatus"], delivery["target"], delivery["number"]) == (200, endpoint.url, 1)
    assert f"webhook-id: {item['messageId']}".encode() in endpoint.requests[0]
    shown = shop("webhooks", "list").out
    assert item["messageId"] in shown
    assert shop("audit").status == 0
    for secret in (paid["token"], "s3cret", SECRET):
        assert secret not in shown + json.dumps(item)


def test_what_failed_is_found_and_sent_again(shop: Console, endpoint: Endpoint) -> None:
    endpoint.status = "500 Oh"
    shop.paid(METER)
    told()
    (item,) = shop.json("webhooks", "list", "--failed")["items"]
    assert (item["status"], item["deliveries"][0]["httpStatus"]) == ("waiting", 500)
    assert item["nextTryAt"] is not None
    in_vain = shop("webhooks", "replay", item["messageId"])
    assert (in_vain.status, in_vain.out[:24]) == (0, "Not delivered: HTTP 500,")
    endpoint.status = "200 OK"
    again = shop.json("webhooks", "replay", item["messageId"])
    assert (again["status"], [one["httpStatus"] for one in again["deliveries"]]) == (
        "delivered",
        [500, 500, 200],
    )
    assert shop.json("webhooks", "list", "--failed")["items"] == []
    assert "Delivered to" in shop("webhooks", "replay", item["messageId"]).out
    first, *others = endpoint.got()
    assert others == [first] * 3


def test_an_endpoint_that_is_gone(shop: Console, endpoint: Endpoint) -> None:
    endpoint.status = "410 Gone"
    shop.paid(METER)
    told()
    shop.paid(METER, "--again")
    assert told() == 0
    listed = shop.json("webhooks", "list")
    assert [item["status"] for item in listed["items"]] == ["waiting", "waiting"]
    (disabled,) = listed["disabledEndpoints"]
    assert (disabled["target"], disabled["reason"][:8]) == (endpoint.url, "HTTP 410")
    assert "billvend webhooks enable" in shop("webhooks", "list").out
    assert shop.json("webhooks", "enable") == {"enabled": 1}
    assert shop("webhooks", "enable").out == "No endpoint was disabled.\n"
    endpoint.status = "200 OK"
    assert told() == 2
    assert shop.json("webhooks", "list", "--failed")["items"] == []


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("replay", "msg_none"), 3, "not_found"),
        (("list", "--channel", "pigeon"), 2, "validation_failed"),
        (("list", "--limit", "0"), 2, "validation_failed"),
    ],
)
def test_what_is_refused(shop: Console, arguments: tuple[str, ...], status: int, code: str) -> None:
    assert shop.json("webhooks", *arguments, status=status)["error"]["code"] == code


@pytest.mark.parametrize(
    ("without", "named"),
    [
        ({"WEBHOOK_URL": ""}, "WEBHOOK_URL"),
        ({"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET"),
        *(
            ({"WEBHOOK_SECRET": secret}, "WEBHOOK_SECRET")
            for secret in ("whsec_", "s3cret!", "whsec_c2hvcnQ=")
        ),
        ({"WEBHOOK_SECRET": f"{SECRET} whsec_"}, "WEBHOOK_SECRET"),
        *(
            ({"WEBHOOK_URL": url}, "WEBHOOK_URL")
            for url in ("https:///path", "https://a b/", "https://a:99999/")
        ),
    ],
)
def test_settings_that_do_not_fit(
    shop: Console, monkeypatch: pytest.MonkeyPatch, without: dict[str, str], named: str
) -> None:
    for name, value in without.items():
        monkeypatch.setenv(name, value)
    error = shop.json("webhooks", "list", status=2)["error"]
    assert list(error["fields"]) == [named]
    assert "s3cret" not in error["message"]


def test_private_addresses_are_refused_unless_that_is_set(
    shop: Console, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_ALLOW_PRIVATE")
    shop.paid(METER)
    assert told() == 1
    assert endpoint.connections == 0
    (item,) = shop.json("webhooks", "list", "--failed")["items"]
    assert "may be connected to" in item["deliveries"][0]["detail"]


def test_without_mail_a_line_in_the_log_stands_for_it(funded: Console) -> None:
    paid = funded.paid(METER)
    logged = worked(funded, lambda: not due(funded, "console"))
    (line,) = [line for line in logged if line["message"].startswith("Notification: Your electricity")]
    assert line["context"]["transactionId"] == paid["transactionId"]
    assert line["context"]["token"] == "***"
    assert paid["token"] not in json.dumps(logged)


def test_a_worker_tells_everybody(funded: Console, endpoint: Endpoint) -> None:
    """What the queue lost too: nobody hints here."""
    with mailbox() as box:
        told_to = settings(endpoint) | {
            "ENABLE_NOTIFICATIONS": "1",
            "SMTP_URL": f"smtp://127.0.0.1:{box.port}",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in told_to.items():
                patch.setenv(name, value)
            funded.json("fund", "ben@example.com", "1000")
            paid = funded.json("pay", "ben@example.com", "500", "--meter", METER, "--biller", "EKEDC")
        (funded.folder / "billvend.queue.db").unlink()
        worked(funded, lambda: len(endpoint.requests) == 2 and len(box.letters) == 2, **told_to)
        assert sorted(got["type"] for got in endpoint.got()) == ["payment.completed", "wallet.funded"]
        (letter,) = [one for one in box.letters if "electricity" in one["Subject"]]
        assert letter["To"] == "ben@example.com"
        grouped = "-".join(paid["token"][start : start + 4] for start in range(0, 20, 4))
        assert grouped in str(letter.get_content())


def due(console: Console, channel: str) -> bool:
    found = console.json("webhooks", "list", "--channel", channel)["items"]
    return not found or any(item["status"] != "delivered" for item in found)


def worked(console: Console, is_done: Any, **more: str) -> list[Any]:
    """What a worker logs that runs until something is done."""
    how = environment(LOG_FORMAT="json", SWEEP_INTERVAL="0.2", **more)
    with subprocess.Popen(
        [*PROGRAM, "worker"], cwd=console.folder, env=how, stderr=subprocess.PIPE, text=True
    ) as worker:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_done() and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.terminate()
        _, said = worker.communicate(timeout=PATIENCE_SECONDS)
    assert is_done(), said
    assert worker.returncode == 0, said
    return [json.loads(line) for line in said.splitlines()]
