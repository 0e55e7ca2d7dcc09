"""Planned faults, in process and over HTTP: by meter, by reference, by number and by header. Then webhooks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
import pytest

from billvend.adapters.providers.sandbox.faults import (
    BEHAVIOUR_BY_FAULT,
    FaultPlan,
    InvalidFault,
    PlanScope,
    SandboxFault,
    parse_fault,
)
from billvend.adapters.providers.sandbox.over_http.server import RunningSandbox, serve_sandbox
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.domain.enums import VendType
from billvend.domain.errors import ConfigurationError
from billvend.domain.meter_lookup import MeterFault, MeterFound, MeterLookupFailed, MeterRejected
from billvend.domain.money import Money
from billvend.domain.outcome import Declined, Deferred, Delivered, Misconfigured, NotFound, Pending, Unknown
from billvend.testing.fault_server import Connection, FaultServer, http_response
from tests.provider.sandbox_harness import NOW, SandboxHarness, order
from tests.provider.test_sandbox_http import (
    KEYS,
    TLS,
    TODAY,
    buypower_outcome,
    pay_body,
    status_of,
    vend_body,
    vtpass_outcome,
)

pytestmark = pytest.mark.long

# --- in process -------------------------------------------------------------------------------------------------------


def test_meter_plan_is_limited_and_replaced_by_newer(harness: SandboxHarness) -> None:
    harness.store.add_plan(FaultPlan(SandboxFault("pending_for_ever"), PlanScope.METER, "12345678901"))
    harness.store.add_plan(FaultPlan(SandboxFault("declined"), PlanScope.METER, "12345678901", times_left=2))
    answers = [harness.vend(order(reference=f"R{number}")) for number in range(3)]
    assert [type(answer) for answer in answers] == [Declined, Declined, Delivered]
    assert isinstance(harness.vend(order("98765432109", reference="OTHER")), Delivered)
    assert harness.store.list_plans() == []
    assert [entry.fault for entry in harness.store.records()] == ["declined", "declined", "", ""]


def test_most_specific_plan_applies_first(harness: SandboxHarness) -> None:
    harness.store.add_plan(FaultPlan(SandboxFault("declined"), PlanScope.NEXT, times_left=1))
    harness.store.add_plan(FaultPlan(SandboxFault("low_float"), PlanScope.NEXT, times_left=1))
    harness.store.add_plan(FaultPlan(SandboxFault("cut"), PlanScope.METER, "98765432109"))
    harness.store.add_plan(FaultPlan(SandboxFault("drop"), PlanScope.REFERENCE, "C", times_left=1))
    sent = [("A", "12345678901"), ("B", "98765432109"), ("C", "98765432109"), ("D", "12345678901")]
    answers = [type(harness.vend(order(meter, reference=reference))) for reference, meter in sent]
    assert answers == [Declined, Unknown, Unknown, Misconfigured]
    assert [harness.store.sale_count(reference) for reference, _ in sent] == [0, 1, 0, 0]
    assert harness.store.clear_plans() == 1
    assert isinstance(harness.vend(order("98765432109", reference="E")), Delivered)


def test_resend_of_known_reference_consumes_no_plan(harness: SandboxHarness) -> None:
    harness.vend(order())
    harness.store.add_plan(FaultPlan(SandboxFault("declined"), PlanScope.NEXT, times_left=1))
    assert isinstance(harness.vend(order()), Unknown)
    assert isinstance(harness.vend(order(reference="B")), Declined)


def test_started_fault_continues_after_clear_and_restart(harness: SandboxHarness) -> None:
    harness.store.add_plan(FaultPlan(SandboxFault("pending_then_failed", 3), PlanScope.NEXT, times_left=1))
    harness.vend(order())
    harness.store.clear_plans()
    harness.provider.close()
    another = SandboxHarness(harness.path)
    answers = [type(another.requery(order())) for _ in range(4)]
    assert answers == [Pending, Pending, Declined, Declined]
    another.provider.close()


def test_reference_plan_changes_requery_answer(harness: SandboxHarness) -> None:
    harness.vend(order("201000000000"))
    harness.store.add_plan(
        FaultPlan(SandboxFault("pending_then_failed", 1), PlanScope.REFERENCE, order().reference)
    )
    assert isinstance(harness.requery(order()), Declined)


IN_PROCESS = [
    # fault, send, requery 1, requery 2; times sold
    ("html_500_unsold", [Unknown, NotFound, NotFound], 0),
    ("pending_for_ever", [Unknown, Pending, Pending], 0),
    ("no_token_until:1", [Delivered, Delivered, Delivered], 1),
    ("lands_late:2", [Unknown, NotFound, Delivered], 1),
    ("duplicate_reference", [Unknown, Delivered, Delivered], 1),
    ("likely_duplicate", [Deferred, NotFound, NotFound], 0),
    ("bad_credentials", [Misconfigured, NotFound, NotFound], 0),
    ("maintenance", [Declined, Declined, Declined], 0),
    ("system_error", [Unknown, Delivered, Delivered], 1),
    ("unlisted_code", [Unknown, Delivered, Delivered], 1),
    ("requery_cut", [Unknown, Unknown, Delivered], 1),
    ("requery_too_early", [Unknown, Pending, Delivered], 1),
    ("please_retry", [Unknown, Pending, Delivered], 1),
    ("cannot_vend", [Declined, Declined, Declined], 0),
    ("none", [Delivered, Delivered, Delivered], 1),
]


@pytest.mark.parametrize(("fault", "expected", "sold"), IN_PROCESS)
def test_fault_gives_expected_answers_in_process(
    harness: SandboxHarness, fault: str, expected: list[type], sold: int
) -> None:
    harness.store.add_plan(FaultPlan(parse_fault(fault), PlanScope.NEXT, times_left=1))
    assert [type(harness.vend(order())), *(type(harness.requery(order())) for _ in range(2))] == expected
    assert harness.store.sale_count(order().reference) == sold


def test_key_change_adds_two_tokens(harness: SandboxHarness) -> None:
    harness.store.add_plan(FaultPlan(SandboxFault("key_change"), PlanScope.NEXT, times_left=1))
    answer = harness.vend(order())
    assert isinstance(answer, Delivered)
    tokens = {answer.token, answer.receipt["kct1"], answer.receipt["kct2"]}
    assert len(tokens) == 3
    assert all(token and len(token) == 20 and int(token) < 2**66 for token in tokens)


def test_meter_lookup_gives_expected_answers(harness: SandboxHarness) -> None:
    def verify(meter: str, vend_type: VendType = VendType.PREPAID, biller: str = "EKEDC") -> object:
        answer = harness.provider.verify(meter, biller, vend_type)
        return answer.fault if isinstance(answer, MeterRejected) else type(answer)

    assert verify("12345678901") is MeterFound
    assert harness.provider.verify("12345678901", "EKEDC", VendType.PREPAID) == harness.provider.verify(
        "12345678901", "IKEDC", VendType.POSTPAID
    )
    assert verify("600000000001") is MeterFound, "the meter is known, but its purchases are declined"
    for meter in ("000000000000", "1234567890", "123456789012", "x" * 11):
        assert verify(meter) is MeterFault.METER_NOT_FOUND
    assert verify("12345678901", biller="NEPA") is MeterFault.METER_NOT_FOUND
    assert verify("1010101010101") is MeterFault.WRONG_METER_TYPE
    assert verify("1010101010101", VendType.POSTPAID) is MeterFound


def test_meter_lookup_faults_are_applied(harness: SandboxHarness) -> None:
    def verify(meter: str = "12345678901") -> object:
        return harness.provider.verify(meter, "EKEDC", VendType.PREPAID)

    harness.store.add_plan(FaultPlan(SandboxFault("verification_down"), PlanScope.NEXT, times_left=1))
    harness.store.add_plan(
        FaultPlan(SandboxFault("minimum", minimum_minor=1000_00), PlanScope.METER, "12345678901")
    )
    harness.store.add_plan(FaultPlan(SandboxFault("cannot_vend"), PlanScope.METER, "98765432109"))
    assert isinstance(harness.vend(order("11111111111", reference="A")), Delivered), "sends pass it by"
    assert isinstance(verify(), MeterLookupFailed)
    meter = verify()
    assert isinstance(meter, MeterFound)
    assert meter.minimum_minor == 1000_00
    refused = verify("98765432109")
    assert isinstance(refused, MeterRejected)
    assert refused.fault is MeterFault.METER_CANNOT_VEND
    below = harness.vend(order(reference="B", amount_minor=999_99))
    assert below == Declined("the minimum is NGN 1,000.00", "below_minimum")
    assert isinstance(harness.vend(order(reference="B", amount_minor=1000_00)), Delivered)


def test_float_is_unlimited_until_set(harness: SandboxHarness) -> None:
    generous = harness.provider.fetch_float()
    harness.vend(order(reference="A"))
    harness.vend(order("600000000002", reference="B"))
    assert harness.provider.fetch_float() == generous
    assert isinstance(generous, Money)
    assert generous > Money(100_000_000_00, "NGN")
    harness.store.set_float_minor(492_50)
    assert harness.provider.fetch_float() == Money(492_50, "NGN")
    assert isinstance(harness.vend(order(reference="C")), Delivered)
    assert harness.provider.fetch_float() == Money(0, "NGN")
    assert harness.vend(order(reference="D")) == Misconfigured("our float is too small", "low_float")
    harness.store.set_float_minor(None)
    assert isinstance(harness.vend(order(reference="D")), Delivered)


def test_unopenable_store_cannot_verify_meter(tmp_path: Path) -> None:
    harness = SandboxHarness(tmp_path / "no such folder" / "sandbox.db")
    assert isinstance(harness.provider.verify("12345678901", "EKEDC", VendType.PREPAID), MeterLookupFailed)
    assert isinstance(harness.provider.fetch_float(), Unknown)
    assert harness.provider.parse_references(b"{}") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "no fault 'nonsense'"),
        ("", "no fault ''"),
        ("declined:2", "has no parameter requeries"),
        ("lands_late:0", "from 1 to"),
        ("lands_late:-1", "whole number"),
        ("lands_late:", "whole number"),
        ("minimum", "minimum requires an amount"),
    ],
)
def test_invalid_fault_text_is_rejected(text: str, why: str) -> None:
    with pytest.raises(InvalidFault, match=why):
        parse_fault(text)


# --- over HTTP --------------------------------------------------------------------------------------------------------


class WebhookReceiver(FaultServer):
    """Records the webhooks that it gets. Rejects the first `rejections` of them."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.rejections = 0
        self.received: Queue[dict[str, Any]] = Queue()

    def wait_for(self, times: int = 1) -> list[dict[str, Any]]:
        return [self.received.get(timeout=20) for _ in range(times)]

    def _answer(self, connection: Connection) -> None:
        body = b"busy" if self.rejections > 0 else b'{"response": "success"}'
        self.rejections -= 1
        self.received.put(json.loads(connection.request.partition(b"\r\n\r\n")[2]))
        connection.send(http_response(body))


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def sandbox(tmp_path: Path, receiver: WebhookReceiver) -> Iterator[RunningSandbox]:
    with serve_sandbox(
        tmp_path / "sandbox.db",
        max_delay_seconds=0.05,
        webhook_url=f"{receiver.url}/hooks/vtpass",
        webhook_delay_seconds=0.02,
        duplicate_window_seconds=0,
        now=lambda: NOW,
    ) as running:
        yield running
    assert receiver.received.empty(), "every hook was expected"


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    headers = KEYS | {"Authorization": "Bearer k"}
    with httpx.Client(base_url=sandbox.url, headers=headers, trust_env=False, verify=TLS) as client:
        yield client


HTML_500 = "HTTP 500 text/html; charset=utf-8"
VTPASS, BUYPOWER = "000 delivered", "200/200 in result"
OVER_HTTP = [
    # fault, VTpass: send, requeries 1 and 2; BuyPower: the same; times sold
    ("none", [VTPASS] * 3, ["200/200", BUYPOWER, BUYPOWER], 1),
    ("timeout", [VTPASS] * 3, ["200/200", BUYPOWER, BUYPOWER], 1),
    ("drop", ["cut", "015", "015"], ["cut", "404/20", "404/20"], 0),
    ("cut", ["cut", VTPASS, VTPASS], ["cut", BUYPOWER, BUYPOWER], 1),
    ("html_500", [HTML_500, VTPASS, VTPASS], [HTML_500, BUYPOWER, BUYPOWER], 1),
    ("html_500_unsold", [HTML_500, "015", "015"], [HTML_500, "404/20", "404/20"], 0),
    ("slow", [VTPASS] * 3, ["200/200", BUYPOWER, BUYPOWER], 1),
    ("declined", ["016 failed"] * 3, ["400/202"] * 3, 0),
    ("pending_then_delivered", ["099 pending", "099 pending", VTPASS], ["202/202", "202/202", BUYPOWER], 1),
    ("pending_then_failed:1", ["099 pending", "016 failed", "016 failed"], ["202/202", "400/202", "400/202"], 0),
    ("pending_for_ever", ["099 pending"] * 3, ["202/202"] * 3, 0),
    ("initiated_then_delivered", ["000 initiated", "000 initiated", VTPASS], ["202/202", "202/202", BUYPOWER], 1),
    ("still_processing", ["099 pending", "099 pending", VTPASS], ["202/202", "400/201", BUYPOWER], 1),
    ("please_retry", ["099 pending", "099 pending", VTPASS], ["202/202", "400/202", BUYPOWER], 1),
    ("no_token_until", [f"{VTPASS} no token"] * 2 + [VTPASS], ["200/200 no token", f"{BUYPOWER} no token", BUYPOWER], 1),
    ("lands_late:2", ["cut", "015", VTPASS], ["cut", "404/20", BUYPOWER], 1),
    ("other_meter", [VTPASS] * 3, ["200/200", BUYPOWER, BUYPOWER], 1),
    ("duplicate_reference", ["014", VTPASS, VTPASS], ["409/201", BUYPOWER, BUYPOWER], 1),
    ("likely_duplicate", ["019", "015", "015"], ["429/429", "404/20", "404/20"], 0),
    ("low_float", ["018", "015", "015"], ["422/202", "404/20", "404/20"], 0),
    ("bad_credentials", ["087", "015", "015"], ["401/401", "404/20", "404/20"], 0),
    ("maintenance", ["030", "016 failed", "016 failed"], ["501/501", "400/202", "400/202"], 0),
    ("not_initiated", ["016 failed"] * 3, ["400/202", "400/203", "400/203"], 0),
    ("system_error", ["083", VTPASS, VTPASS], ["500/500", BUYPOWER, BUYPOWER], 1),
    ("bad_gateway", ["083", VTPASS, VTPASS], ["502/502", BUYPOWER, BUYPOWER], 1),
    ("unavailable", ["083", VTPASS, VTPASS], ["502/503", BUYPOWER, BUYPOWER], 1),
    ("unlisted_code", ["777", VTPASS, VTPASS], ["418/777", BUYPOWER, BUYPOWER], 1),
    ("requery_cut", ["cut", "cut", VTPASS], ["cut", "cut", BUYPOWER], 1),
    ("requery_too_early", ["cut", "089", VTPASS], ["cut", "429/429", BUYPOWER], 1),
    ("key_change", [VTPASS] * 3, ["200/200", BUYPOWER, BUYPOWER], 1),
    ("no_such_meter", ["016 failed"] * 3, ["400/202"] * 3, 0),
    ("cannot_vend", ["016 failed"] * 3, ["501/501", "400/202", "400/202"], 0),
    ("verification_down", [VTPASS] * 3, ["200/200", BUYPOWER, BUYPOWER], 1),
]  # fmt: skip
WEBHOOK_FAULTS = {name for name in BEHAVIOUR_BY_FAULT if "hook" in name}


def test_every_fault_is_covered_over_http() -> None:
    assert {row[0].partition(":")[0] for row in OVER_HTTP} | WEBHOOK_FAULTS | {
        "minimum"
    } == BEHAVIOUR_BY_FAULT.keys()


@pytest.mark.parametrize(
    ("fault", "vtpass", "buypower", "sold"), OVER_HTTP, ids=[row[0] for row in OVER_HTTP]
)
def test_header_fault_gives_expected_answers_in_both_dialects(
    sandbox: RunningSandbox,
    client: httpx.Client,
    fault: str,
    vtpass: list[str],
    buypower: list[str],
    sold: int,
) -> None:
    strike = {"X-Sandbox-Fault": fault}
    request = {"request_id": TODAY + "A"}
    outcomes = [vtpass_outcome(client, "/vtpass/api/pay", pay_body(), **strike)]
    outcomes += [vtpass_outcome(client, "/vtpass/api/requery", request) for _ in range(2)]
    assert outcomes == vtpass
    outcomes = [buypower_outcome(client, "/buypower/v2/vend", vend_body(), **strike)]
    outcomes += [buypower_outcome(client, "/buypower/v2/transaction/BV1") for _ in range(2)]
    assert outcomes == buypower
    assert [sandbox.store.sale_count(reference) for reference in (TODAY + "A", "BV1")] == [sold, sold]


def test_key_changes_in_both_dialects(sandbox: RunningSandbox, client: httpx.Client) -> None:
    client.headers["X-Sandbox-Fault"] = "key_change"
    ikeja = client.post("/vtpass/api/pay", json=pay_body()).json()
    eko = client.post("/vtpass/api/pay", json=pay_body(suffix="B", serviceID="eko-electric")).json()
    parcels = client.post("/buypower/v2/vend", json=vend_body()).json()["data"]["parcels"]
    assert ikeja["kct1"] != ikeja["kct2"]
    assert len(eko["KCT1"]) == len(eko["KCT2"]) == len(ikeja["kct1"]) == 20
    assert [parcel["type"] for parcel in parcels] == ["KCT1", "KCT2", "TOKEN"]


def test_meter_lookup_faults_in_both_dialects(sandbox: RunningSandbox, client: httpx.Client) -> None:
    def vtpass() -> dict[str, Any]:
        request = {"billersCode": "12345678901", "serviceID": "ikeja-electric", "type": "prepaid"}
        return dict(client.post("/vtpass/api/merchant-verify", json=request).json())

    def buypower() -> httpx.Response:
        request = {"meter": "12345678901", "disco": "IKEJA", "vendType": "PREPAID"}
        return client.get("/buypower/v2/check/meter", params=request)

    def plan(fault: str, **more: object) -> None:
        client.post("/_sandbox/faults", json={"fault": fault} | more).raise_for_status()

    plan("verification_down", next=2)
    assert vtpass()["code"] == "030"
    assert buypower().status_code == 503
    plan("minimum", meter="12345678901", naira="2000.50")
    assert vtpass()["content"]["Min_Purchase_Amount"] == "2000.5"
    assert buypower().json()["minVendAmount"] == 2000.5
    assert client.post("/vtpass/api/pay", json=pay_body()).json()["code"] == "013"
    assert client.post("/buypower/v2/vend", json=vend_body()).status_code == 400
    plan("cannot_vend", meter="12345678901")
    assert vtpass()["content"]["Can_Vend"] == "no"
    assert buypower().status_code == 501


def test_control_api_adds_lists_and_clears_plans(client: httpx.Client) -> None:
    planned = client.post(
        "/_sandbox/faults", json={"fault": "lands_late", "meter": "12345678901", "requeries": 4}
    )
    assert planned.status_code == 201
    client.post(
        "/_sandbox/faults", json={"fault": "declined", "reference": "R", "times": 2}
    ).raise_for_status()
    client.post("/_sandbox/faults", json={"fault": "minimum", "next": 3, "naira": 1000}).raise_for_status()
    listing = client.get("/_sandbox/faults").json()
    assert listing["plans"][0] == planned.json() == {
        "fault": "lands_late", "scope": "meter", "target": "12345678901", "requeries": 4, "naira": None,
        "timesLeft": None,
    }  # fmt: skip
    assert [(plan["target"], plan["timesLeft"], plan["naira"]) for plan in listing["plans"][1:]] == [
        ("R", 2, None),
        ("", 3, "1000.00"),
    ]
    assert listing["faults"].keys() == BEHAVIOUR_BY_FAULT.keys()
    assert client.delete("/_sandbox/faults").json() == {"cleared": 3}
    assert client.get("/_sandbox/faults").json()["plans"] == []


@pytest.mark.parametrize(
    ("call", "body", "why"),
    [
        ("faults", {}, "exactly one of meter, reference and next is required"),
        ("faults", [], "exactly one of"),
        ("faults", {"fault": "declined"}, "exactly one of"),
        ("faults", {"fault": "declined", "meter": "1", "next": 1}, "exactly one of"),
        ("faults", {"fault": "nonsense", "next": 1}, "there is no fault 'nonsense'"),
        ("faults", {"next": 1}, "there is no fault ''"),
        ("faults", {"fault": ["x"], "next": 1}, "there is no fault"),
        ("faults", {"fault": "declined", "next": 0}, "next must be a whole number"),
        ("faults", {"fault": "declined", "next": 1.5}, "next must be a whole number"),
        ("faults", {"fault": "declined", "next": 1, "times": 2}, "leave times out"),
        ("faults", {"fault": "declined", "meter": "1", "times": "x"}, "times must be"),
        ("faults", {"fault": "declined", "meter": ""}, "meter must be 1 to 100 printable ASCII characters"),
        ("faults", {"fault": "declined", "meter": "1", "requeries": 2}, "has no parameter requeries"),
        ("faults", {"fault": "minimum", "meter": "1"}, "minimum requires an amount"),
        ("faults", {"fault": "minimum", "meter": "1", "naira": "x"}, "naira must be an amount"),
        ("faults", {"fault": "declined", "next": 1, "sudo": 1}, "'sudo' is not a field"),
        ("float", {}, "naira is required"),
        ("float", {"naira": -1}, "naira must be an amount"),
        ("take-back", {}, "reference is required"),
    ],
)
def test_invalid_control_request_is_rejected(client: httpx.Client, call: str, body: object, why: str) -> None:
    answer = client.post(f"/_sandbox/{call}", json=body)
    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert client.get("/_sandbox/faults").json()["plans"] == []


def test_invalid_fault_header_sells_nothing(sandbox: RunningSandbox, client: httpx.Client) -> None:
    for call, body in (("/vtpass/api/pay", pay_body()), ("/buypower/v2/vend", vend_body())):
        answer = client.post(call, json=body, headers={"X-Sandbox-Fault": "nonsense"})
        assert answer.status_code == 400
        assert "nonsense" in answer.json()["error"]
    assert sandbox.store.records() == []


def test_control_api_lists_actual_sales(client: httpx.Client) -> None:
    sold = client.post("/vtpass/api/pay", json=pay_body(), headers={"X-Sandbox-Fault": "none"}).json()
    client.post("/buypower/v2/vend", json=vend_body("600000000002"))
    first, second = client.get("/_sandbox/book").json()
    assert (first["reference"], first["status"], first["timesVended"]) == (TODAY + "A", "vended", 1)
    assert (first["meter"], first["biller"], first["amount"], first["cost"]) == (
        "12345678901",
        "IKEDC",
        "2000.00",
        "1970.00",
    )
    assert sold["token"] == f"Token : {first['token']}"
    assert (second["status"], second["timesVended"], second["sends"], second["code"]) == (
        "refused",
        0,
        1,
        "low_float",
    )
    assert client.get("/_sandbox/book", params={"meter": "600000000002"}).json() == [second]
    assert client.get("/_sandbox/book", params={"reference": TODAY + "A"}).json() == [first]


# --- webhooks ---------------------------------------------------------------------------------------------------------


def test_take_back_sends_webhook_with_net_amount(client: httpx.Client, receiver: WebhookReceiver) -> None:
    client.post("/vtpass/api/pay", json=pay_body(amount=500))
    reference = TODAY + "A"
    reversal = client.post("/_sandbox/take-back", json={"reference": reference}).json()
    assert (reversal["status"], reversal["timesVended"]) == ("taken_back", 1)
    (hook,) = receiver.wait_for()
    data = hook["data"]
    assert hook["type"] == "transaction-update"
    assert (data["code"], data["requestId"], status_of(data)) == ("040", reference, "reversed")
    assert data["amount"] == 492.5, "the net sum that our float got back, not what the customer paid"
    assert data["wallet_credit_id"]
    requery = client.post("/vtpass/api/requery", json={"request_id": reference}).json()
    assert (requery["code"], status_of(requery)) == ("040", "reversed")
    assert buypower_outcome(client, f"/buypower/v2/transaction/{reference}") == "400/202"
    assert client.post("/_sandbox/take-back", json={"reference": "nothing"}).status_code == 404


def test_take_back_meter_sends_webhook_after_answer(
    sandbox: RunningSandbox, client: httpx.Client, receiver: WebhookReceiver
) -> None:
    assert client.post("/vtpass/api/pay", json=pay_body("600000000008")).json()["code"] == "000"
    (hook,) = receiver.wait_for()
    assert hook["data"]["code"] == "040"
    assert [entry.status for entry in sandbox.store.records()] == ["taken_back"]


def test_pending_sale_is_settled_by_webhook(
    sandbox: RunningSandbox, client: httpx.Client, receiver: WebhookReceiver
) -> None:
    client.headers["X-Sandbox-Fault"] = "settled_with_hook"
    assert client.post("/vtpass/api/pay", json=pay_body()).json()["code"] == "099"
    (hook,) = receiver.wait_for()
    assert (hook["data"]["code"], hook["data"]["amount"]) == ("000", 2000)
    assert [(entry.status, entry.requeries) for entry in sandbox.store.records()] == [("vended", 0)]


def test_webhook_can_arrive_before_answer(client: httpx.Client, receiver: WebhookReceiver) -> None:
    client.headers["X-Sandbox-Fault"] = "hook_before_answer"
    assert client.post("/vtpass/api/pay", json=pay_body()).json()["code"] == "000"
    hook = receiver.received.get_nowait()
    assert (hook["data"]["code"], hook["data"]["amount"]) == ("000", 2000)
    assert hook["data"]["purchased_code"].startswith("Token : ")


def test_webhook_can_arrive_five_times(client: httpx.Client, receiver: WebhookReceiver) -> None:
    client.post("/vtpass/api/pay", json=pay_body(), headers={"X-Sandbox-Fault": "hook_five_times"})
    hooks = receiver.wait_for(5)
    assert hooks == [hooks[0]] * 5


def test_forged_webhook_contradicts_requery(
    sandbox: RunningSandbox, client: httpx.Client, receiver: WebhookReceiver
) -> None:
    client.post("/vtpass/api/pay", json=pay_body(), headers={"X-Sandbox-Fault": "hook_forged"})
    (hook,) = receiver.wait_for()
    assert (hook["data"]["code"], hook["data"]["amount"]) == ("040", 1970)
    assert client.post("/vtpass/api/requery", json={"request_id": TODAY + "A"}).json()["code"] == "000"
    assert [entry.status for entry in sandbox.store.records()] == ["vended"]


def test_rejected_webhook_is_retried_up_to_five_times(
    client: httpx.Client, receiver: WebhookReceiver
) -> None:
    for rejections, attempts in ((2, 3), (99, 5)):
        receiver.rejections = rejections
        reference = f"{TODAY}R{rejections}"
        client.post("/vtpass/api/pay", json=pay_body(suffix=f"R{rejections}"))
        client.post("/_sandbox/take-back", json={"reference": reference})
        assert {hook["data"]["requestId"] for hook in receiver.wait_for(attempts)} == {reference}
    receiver.rejections = 0


# --- the sandbox as a command -----------------------------------------------------------------------------------------

PROGRAM = """
import sys
from typer.main import get_command
from billvend.cli.sandbox import commands
sys.exit(get_command(commands)(sys.argv[1:], standalone_mode=False))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_sandbox_command_serves_and_stops_on_signal(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--dialect", "buypower", "--book", "b.db"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("Sandbox ready: VTpass at http://127.0.0.1:")
            root = ready.split(" at ")[1].partition("/vtpass")[0]
            sold = httpx.post(f"{root}/v2/vend", json=vend_body(), headers={"Authorization": "Bearer k"})
            assert sold.json()["responseCode"] == 200
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.post(
                    f"{root}/v2/vend",
                    json=vend_body("600000000003", "BV2"),
                    headers={"Authorization": "Bearer k"},
                )
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "", "")
    store = SalesStore(tmp_path / "b.db")
    assert [(entry.reference, entry.vends) for entry in store.records()] == [("BV1", 1), ("BV2", 1)]
    store.close()


@pytest.mark.parametrize("url", ["", "ftp://host", "localhost:80/hook", "http://"])
def test_invalid_webhook_url_prevents_start(tmp_path: Path, url: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="--hook-url"),
        serve_sandbox(tmp_path / "b.db", webhook_url=url),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_port_in_use_is_a_configuration_error(sandbox: RunningSandbox, tmp_path: Path) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with (
        pytest.raises(ConfigurationError, match=f"port {port}.*Nothing was started"),
        serve_sandbox(tmp_path / "b.db", port=port),
    ):
        pass
