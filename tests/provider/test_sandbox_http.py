"""The sandbox over HTTP: each call of both dialects, with a plain client and the providers' documented requests."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha512
from pathlib import Path
from typing import Any

import httpx
import pytest

from billvend.adapters.providers.sandbox.faults import METERS
from billvend.adapters.providers.sandbox.over_http.server import RunningSandbox, serve_sandbox
from billvend.adapters.providers.sandbox.sale import token_of
from billvend.domain.money import Money
from tests.harness import FakeClock
from tests.provider.sandbox_harness import NOW

pytestmark = pytest.mark.long

TODAY = "202611221300"  # in Lagos, an hour ahead of NOW
TLS = httpx.create_ssl_context()
"""Created once: creating it takes longer than a whole test."""
KEYS = {"api-key": "k", "public-key": "PK_k", "secret-key": "SK_k"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def sandbox(tmp_path: Path, clock: FakeClock) -> Iterator[RunningSandbox]:
    with serve_sandbox(tmp_path / "sandbox.db", max_delay_seconds=0.05, now=clock.now) as running:
        yield running


@pytest.fixture
def vtpass(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.vtpass_url, headers=KEYS, trust_env=False, verify=TLS) as client:
        yield client


@pytest.fixture
def buypower(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer k"}
    with httpx.Client(base_url=sandbox.buypower_url, headers=headers, trust_env=False, verify=TLS) as client:
        yield client


def pay_body(meter: str = "12345678901", suffix: str = "A", **changed: Any) -> dict[str, Any]:
    return {
        "request_id": TODAY + suffix,
        "serviceID": "ikeja-electric",
        "billersCode": meter,
        "variation_code": "prepaid",
        "amount": 2000,
        "phone": "08000000000",
    } | changed


def vend_body(meter: str = "12345678901", order_id: str = "BV1", **changed: Any) -> dict[str, Any]:
    return {
        "orderId": order_id,
        "meter": meter,
        "disco": "IKEJA",
        "phone": "08000000000",
        "paymentType": "B2B",
        "vendType": "PREPAID",
        "vertical": "ELECTRICITY",
        "amount": "2000",
    } | changed


def status_of(answer: dict[str, Any]) -> str:
    return str(answer["content"]["transactions"]["status"])


# --- VTpass -----------------------------------------------------------------------------------------------------------


def test_vtpass_sells_once_and_requery_repeats_the_sale(
    sandbox: RunningSandbox, vtpass: httpx.Client
) -> None:
    sale = vtpass.post("/pay", json=pay_body()).json()
    reference = TODAY + "A"
    assert (sale["code"], sale["requestId"], status_of(sale)) == ("000", reference, "delivered")
    assert sale["purchased_code"] == sale["token"] == f"Token : {token_of(reference)}"
    assert (sale["amount"], sale["tokenAmount"], sale["taxAmount"]) == (2000, "1860.47", "139.53")
    assert sale["content"]["transactions"]["total_amount"] == 1970
    assert sale["content"]["transactions"]["unique_element"] == "12345678901"
    requery = vtpass.post("/requery", json={"request_id": reference}).json()
    assert requery["content"]["transactions"]["extras"] == f"Token : {token_of(reference)}"
    assert requery["token"] == sale["token"]
    again = vtpass.post("/pay", json=pay_body()).json()
    assert again["code"] == "014"
    (entry,) = sandbox.store.records()
    assert (entry.biller, entry.vends, entry.sends, entry.requeries) == ("IKEDC", 1, 2, 1)


def test_vtpass_accepts_forms_and_basic_auth(sandbox: RunningSandbox) -> None:
    sale = httpx.post(sandbox.vtpass_url + "/pay", data=pay_body(amount="500.50"), auth=("a@b.test", "pw"))
    assert sale.json()["code"] == "000"
    assert [str(entry.amount) for entry in sandbox.store.records()] == ["500.50"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"api-key": "k"},
        {"api-key": "k", "public-key": "PK"},
        {"api-key": "", "secret-key": "SK"},
        {"api-key": "bad", "secret-key": "SK"},
        {"api-key": "k", "secret-key": "bad"},
        {"Authorization": "Basic YmFkOng="},
        {"Authorization": "Basic eDo="},
        {"Authorization": "Bearer k"},
    ],
)
def test_vtpass_post_without_secret_key_is_rejected(sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    assert httpx.post(sandbox.vtpass_url + "/pay", json=pay_body(), headers=headers).json()["code"] == "087"
    assert sandbox.store.records() == []


def test_vtpass_get_requires_public_key(sandbox: RunningSandbox) -> None:
    for keys, is_in in (({"public-key": "PK"}, True), ({"secret-key": "SK"}, False)):
        answer = httpx.get(sandbox.vtpass_url + "/balance", headers={"api-key": "k"} | keys).json()
        assert answer.get("code") == (1 if is_in else "087")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"request_id": "A" * 20}, "085"),
        ({"request_id": "20261122130"}, "085"),
        ({"request_id": "202611211300A"}, "085"),  # yesterday
        ({"request_id": "202611231300A"}, "085"),  # tomorrow
        ({"request_id": "202611222560A"}, "085"),
        ({"request_id": TODAY + "-A"}, "085"),
        ({"request_id": None}, "085"),
        ({"request_id": ["x"]}, "085"),
        ({"billersCode": "½"}, "011"),
        ({"serviceID": None}, "011"),
        ({"billersCode": ""}, "011"),
        ({"phone": ""}, "011"),
        ({"amount": "lots"}, "011"),
        ({"amount": -5}, "011"),
        ({"serviceID": "nepa"}, "012"),
        ({"variation_code": "sometimes"}, "010"),
        ({"amount": "99.99"}, "013"),
        ({"amount": 10_000_001}, "017"),
    ],
)
def test_vtpass_invalid_order_is_rejected_and_not_stored(
    sandbox: RunningSandbox, vtpass: httpx.Client, changed: dict[str, Any], code: str
) -> None:
    assert vtpass.post("/pay", json=pay_body(**changed)).json()["code"] == code
    assert sandbox.store.records() == []


@pytest.mark.parametrize(
    "body", [b"", b"{", rb'{"request_id": "202611221300\ud800"}', b"[]", b'"x"', b"[" * 100_000, b"\xff\xfe"]
)
def test_vtpass_malformed_body_is_treated_as_empty(vtpass: httpx.Client, body: bytes) -> None:
    assert vtpass.post("/pay", content=body).json()["code"] == "085"


def test_vtpass_request_id_day_is_in_lagos_time(vtpass: httpx.Client, clock: FakeClock) -> None:
    clock.at = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # half past midnight in Lagos
    assert vtpass.post("/pay", json=pay_body()).json()["code"] == "085"
    assert vtpass.post("/pay", json=pay_body(request_id="202611230030A")).json()["code"] == "000"


def vtpass_outcome(client: httpx.Client, call: str, body: dict[str, Any], **headers: str) -> str:
    try:
        answer = client.post(call, json=body, headers=headers)
    except httpx.RemoteProtocolError:
        return "cut"
    if answer.headers["content-type"] != "application/json":
        return f"HTTP {answer.status_code} {answer.headers['content-type']}"
    body = answer.json()
    if "content" not in body:
        return str(body["code"])
    token = "" if body["purchased_code"] or status_of(body) != "delivered" else " no token"
    return f"{body['code']} {status_of(body)}{token}"


def test_vtpass_wrong_meter_is_echoed_once(vtpass: httpx.Client) -> None:
    sale = vtpass.post("/pay", json=pay_body("600000000009")).json()
    requery = vtpass.post("/requery", json={"request_id": TODAY + "A"}).json()
    assert sale["content"]["transactions"]["unique_element"] == "62000000009"
    assert requery["content"]["transactions"]["unique_element"] == "600000000009"


def test_vtpass_eko_uses_its_own_fields(vtpass: httpx.Client) -> None:
    sale = vtpass.post("/pay", json=pay_body(serviceID="eko-electric")).json()
    assert "token" not in sale
    assert sale["mainToken"] == token_of(TODAY + "A")
    assert sale["purchased_code"] == f"Token : {sale['mainToken']} Bonus Token : {sale['bonusToken']}"
    assert sale["bonusToken"] != sale["mainToken"]
    assert (sale["mainsTokenAmount"], sale["mainTokenTax"]) == (1860.47, 139.53)


def test_vtpass_postpaid_has_no_token(vtpass: httpx.Client) -> None:
    sale = vtpass.post("/pay", json=pay_body("1010101010101", variation_code="postpaid")).json()
    assert (sale["code"], status_of(sale), sale["purchased_code"]) == ("000", "delivered", "")
    assert sale["utilityName"] == "ikeja-electric"
    assert not {"token", "mainToken"} & sale.keys()


def test_vtpass_dates_have_two_formats(vtpass: httpx.Client) -> None:
    new = vtpass.post("/pay", json=pay_body()).json()["transaction_date"]
    old = vtpass.post("/pay", json=pay_body(suffix="B", serviceID="jos-electric")).json()["transaction_date"]
    assert new == "2026-11-22T12:00:00.000000Z"
    assert old == {"date": "2026-11-22 13:00:00.000000", "timezone_type": 3, "timezone": "Africa/Lagos"}


def test_vtpass_second_order_within_30_seconds_is_likely_duplicate(
    sandbox: RunningSandbox, vtpass: httpx.Client, clock: FakeClock
) -> None:
    assert vtpass.post("/pay", json=pay_body(suffix="A")).json()["code"] == "000"
    clock.at += timedelta(seconds=29)
    assert vtpass.post("/pay", json=pay_body(suffix="B")).json()["code"] == "019"
    assert vtpass.post("/requery", json={"request_id": TODAY + "B"}).json()["code"] == "015"
    assert vtpass.post("/pay", json=pay_body(suffix="C", serviceID="eko-electric")).json()["code"] == "000"
    assert vtpass.post("/pay", json=pay_body("98765432109", suffix="D")).json()["code"] == "000"
    clock.at += timedelta(seconds=1)
    assert vtpass.post("/pay", json=pay_body(suffix="B")).json()["code"] == "000", "the same reference again"
    assert len(sandbox.store.sales()) == 4


@pytest.mark.parametrize(
    ("meter", "kind", "expected"),
    [
        ("12345678901", "prepaid", "found"),
        ("1010101010101", "postpaid", "found"),
        ("1010101010101", "prepaid", "the meter is not prepaid"),
        ("000000000000", "prepaid", METERS["000000000000"].description),
        ("123", "prepaid", "a meter number has 11 or 13 digits"),
    ],
)
def test_vtpass_verify_gives_expected_answers(
    vtpass: httpx.Client, meter: str, kind: str, expected: str
) -> None:
    request = {"billersCode": meter, "serviceID": "ikeja-electric", "type": kind}
    answer = vtpass.post("/merchant-verify", json=request).json()
    assert answer["code"] == "000", "failures come with it as well"
    content = answer["content"]
    if expected == "found":
        assert content["Customer_Name"]
        assert (content["Can_Vend"], content["WrongBillersCode"], content["Min_Purchase_Amount"]) == (
            "yes",
            False,
            "",
        )
        assert content == vtpass.post("/merchant-verify", json=request).json()["content"]
    else:
        assert content == {"error": f"Not verified: {expected}.", "WrongBillersCode": True}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"billersCode": None}, "011"),
        ({"type": ""}, "011"),
        ({"serviceID": "nepa"}, "012"),
        ({"type": "x"}, "010"),
    ],
)
def test_vtpass_invalid_verify_request_is_rejected(
    vtpass: httpx.Client, changed: dict[str, Any], code: str
) -> None:
    request = {"billersCode": "12345678901", "serviceID": "ikeja-electric", "type": "prepaid"} | changed
    assert vtpass.post("/merchant-verify", json=request).json()["code"] == code


def test_vtpass_lists_services_and_variations(vtpass: httpx.Client) -> None:
    assert vtpass.get("/service-categories").json()["content"][0]["identifier"] == "electricity-bill"
    services = vtpass.get("/services", params={"identifier": "electricity-bill"}).json()["content"]
    assert len(services) == 12
    assert {"serviceID", "minimium_amount", "maximum_amount", "convinience_fee"} <= services[0].keys()
    for service in services:
        listed = vtpass.get("/service-variations", params={"serviceID": service["serviceID"]}).json()[
            "content"
        ]
        assert [kind["variation_code"] for kind in listed["variations"]] == ["prepaid", "postpaid"]
        assert listed["varations"] == listed["variations"]
    assert vtpass.get("/services", params={"identifier": "airtime"}).json()["code"] == "011"
    assert vtpass.get("/service-variations").json()["code"] == "012"


# --- BuyPower ---------------------------------------------------------------------------------------------------------


def buypower_outcome(
    client: httpx.Client, call: str, body: dict[str, Any] | None = None, **headers: str
) -> str:
    try:
        answer = client.request("POST" if body else "GET", call, json=body, headers=headers)
    except httpx.RemoteProtocolError:
        return "cut"
    if answer.headers["content-type"] != "application/json":
        return f"HTTP {answer.status_code} {answer.headers['content-type']}"
    document = answer.json()
    inner = document.get("result", document)
    words = f"{answer.status_code}/{inner['responseCode']}{' in result' if 'result' in document else ''}"
    return words + (" no token" if inner["status"] and not inner["data"]["token"] else "")


def test_buypower_sells_once_and_requery_repeats_the_sale(
    sandbox: RunningSandbox, buypower: httpx.Client
) -> None:
    sale = buypower.post("/vend", json=vend_body()).json()
    token = token_of("BV1")
    hyphenated = "-".join(token[at : at + 4] for at in range(0, 20, 4))
    data = sale["data"]
    assert (sale["status"], sale["responseCode"], data["responseCode"]) == (True, 200, 100)
    assert (data["orderId"], data["token"]) == ("BV1", hyphenated)
    assert data["parcels"] == [{"type": "TOKEN", "content": hyphenated}]
    assert (data["amountGenerated"], data["tax"], data["totalAmountPaid"]) == ("1860.47", "139.53", 2000)
    requery = buypower.get("/transaction/BV1").json()["result"]["data"]
    assert (requery["token"], requery["units"]) == (hyphenated, float(data["units"])), (
        "numbers here, text there"
    )
    again = buypower.post("/vend", json=vend_body())
    assert (again.status_code, again.json()["responseCode"]) == (409, 201)
    assert [(entry.vends, entry.sends) for entry in sandbox.store.records()] == [(1, 2)]


def test_buypower_pending_answer_gives_delay(buypower: httpx.Client) -> None:
    first = buypower.post("/vend", json=vend_body("201000000000")).json()
    assert first["delay"] == [2, 2, 2]
    assert "in 2 seconds" in first["message"]
    assert buypower.get("/transaction/BV1").json()["data"] == {"delay": [2] * 6}


def test_buypower_signs_every_answer(buypower: httpx.Client) -> None:
    for answer in (buypower.post("/vend", json=vend_body()), buypower.get("/transaction/nothing")):
        assert answer.headers["x-buypower-signature"] == sha512(answer.content + b"k").hexdigest()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer bad", "Basic azo="])
def test_buypower_without_api_key_is_rejected(sandbox: RunningSandbox, header: str) -> None:
    answer = httpx.post(sandbox.buypower_url + "/vend", json=vend_body(), headers={"Authorization": header})
    assert answer.status_code == 401
    assert sandbox.store.records() == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"orderId": None}, "orderId is required"),
        ({"meter": ""}, "meter is required"),
        ({"paymentType": ""}, "paymentType is required"),
        ({"disco": "NEPA"}, "disco is not supported"),
        ({"vendType": "prepaid"}, "vendType must be PREPAID or POSTPAID"),
        ({"amount": "x"}, "amount is not valid"),
        ({"amount": 0}, "amount is not valid"),
    ],
)
def test_buypower_invalid_order_is_rejected_and_not_stored(
    sandbox: RunningSandbox, buypower: httpx.Client, changed: dict[str, Any], message: str
) -> None:
    answer = buypower.post("/vend", json=vend_body(**changed))
    assert (answer.status_code, answer.json()["responseCode"], answer.json()["message"]) == (
        400,
        201,
        message,
    )
    assert sandbox.store.records() == []


def test_buypower_check_meter_gives_expected_answers(buypower: httpx.Client) -> None:
    request = {
        "meter": "12345678901",
        "disco": "EKO",
        "vendType": "PREPAID",
        "vertical": "ELECTRICITY",
        "orderId": "false",
    }
    listed = buypower.get("/check/meter", params=request).json()
    assert (listed["error"], listed["responseCode"], listed["discoCode"], listed["minVendAmount"]) == (
        False,
        100,
        "EKO",
        0,
    )
    assert listed["name"]
    assert listed["address"]
    for changed in ({"meter": "000000000000"}, {"disco": "NEPA"}, {"vendType": "x"}, {"meter": ""}):
        answer = buypower.get("/check/meter", params=request | changed)
        assert (answer.status_code, answer.json()["error"]) == (400, True)


def test_buypower_returns_disco_status_and_balance(sandbox: RunningSandbox, buypower: httpx.Client) -> None:
    assert buypower.get("/discos/status").json()["EKO"] is True
    sandbox.store.set_float_minor(12345_67)
    assert buypower.get("/wallet/balance").json() == {"balance": 12345.67}


def test_buypower_early_requery_is_rejected(tmp_path: Path, clock: FakeClock) -> None:
    key = {"Authorization": "Bearer k"}
    with serve_sandbox(tmp_path / "strict.db", min_requery_age_seconds=120, now=clock.now) as strict:
        httpx.post(strict.buypower_url + "/vend", json=vend_body(), headers=key)
        clock.at += timedelta(seconds=100, milliseconds=1)
        early = httpx.get(strict.buypower_url + "/transaction/BV1", headers=key)
        assert (early.status_code, early.headers["retry-after"]) == (429, "20")
        clock.at += timedelta(seconds=20)
        assert httpx.get(strict.buypower_url + "/transaction/BV1", headers=key).status_code == 200


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "there", "not_there"),
    [("vtpass", "/api/pay", "/v2/vend"), ("buypower", "/v2/vend", "/api/pay")],
)
def test_dialect_can_be_served_at_root(tmp_path: Path, dialect: str, there: str, not_there: str) -> None:
    with serve_sandbox(tmp_path / "sandbox.db", dialect=dialect) as running:
        assert httpx.post(running.url + there).status_code in (200, 401)
        assert httpx.post(running.url + not_there).status_code == 404
        assert httpx.post(running.url + "/vtpass" + "/api/pay").json()["code"] == "087"
        assert httpx.post(running.url + "/buypower" + "/v2/vend").status_code == 401


def test_sales_and_plans_survive_restart(tmp_path: Path, clock: FakeClock) -> None:
    store_path = tmp_path / "sandbox.db"
    with serve_sandbox(store_path, now=clock.now) as before:
        httpx.post(before.vtpass_url + "/pay", json=pay_body("201000000000"), headers=KEYS)
        httpx.post(before.control_url + "/faults", json={"fault": "declined", "next": 2}).raise_for_status()
        httpx.post(before.control_url + "/float", json={"naira": "100000"}).raise_for_status()
        requery = {"request_id": TODAY + "A"}
        assert httpx.post(before.vtpass_url + "/requery", json=requery, headers=KEYS).json()["code"] == "099"
    with pytest.raises(httpx.ConnectError):
        httpx.get(before.url)
    with serve_sandbox(store_path, now=clock.now) as after:
        assert after.url != before.url or after.store is not before.store
        assert httpx.post(after.vtpass_url + "/requery", json=requery, headers=KEYS).json()["code"] == "000"
        declined = httpx.post(after.vtpass_url + "/pay", json=pay_body(suffix="B"), headers=KEYS)
        assert declined.json()["code"] == "016"
        (plan,) = httpx.get(after.control_url + "/faults").json()["plans"]
        assert (plan["fault"], plan["timesLeft"]) == ("declined", 1)
        assert httpx.get(after.vtpass_url + "/balance", headers=KEYS).json()["contents"]["balance"] == 100030


def test_stopping_server_drops_delayed_answers(tmp_path: Path, clock: FakeClock) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    with ThreadPoolExecutor(1) as pool, serve_sandbox(tmp_path / "sandbox.db", now=clock.now) as running:
        poll = Event()
        running.store.set_float_minor(None)
        late = pool.submit(
            httpx.post, running.vtpass_url + "/pay", json=pay_body("300000000000"), headers=KEYS, timeout=60
        )
        while not running.store.sales():  # the sale comes before the wait
            poll.wait(0.01)
        running.stop()
        with pytest.raises(httpx.TransportError):
            late.result(10)
        running.stop()


def test_dropped_connection_logs_nothing(
    vtpass: httpx.Client, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert vtpass_outcome(vtpass, "/pay", pay_body("400000000000")) == "cut"
    assert vtpass.get("/balance").status_code == 200
    assert capfd.readouterr() == ("", "")
    assert [
        record for record in caplog.records if record.levelname != "DEBUG" and record.name != "httpx"
    ] == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/vtpass/api/pay"), ("POST", "/_sandbox/nothing")]
)
def test_unknown_path_gets_json_error(sandbox: RunningSandbox, method: str, path: str) -> None:
    answer = httpx.request(method, sandbox.url + path)
    assert answer.status_code in (404, 405)
    assert answer.json()["error"]


def test_float_decreases_and_is_restored_by_take_back(sandbox: RunningSandbox, vtpass: httpx.Client) -> None:
    def balance() -> float:
        return float(vtpass.get("/balance").json()["contents"]["balance"])

    sandbox.store.set_float_minor(Money(2000_00, "NGN").amount_minor)
    assert vtpass.post("/pay", json=pay_body(suffix="A")).json()["code"] == "000"
    assert balance() == 30
    assert vtpass.post("/pay", json=pay_body("98765432109", suffix="B")).json()["code"] == "018"
    httpx.post(sandbox.control_url + "/take-back", json={"reference": TODAY + "A"}).raise_for_status()
    assert balance() == 2000
    assert vtpass.post("/requery", json={"request_id": TODAY + "A"}).json()["code"] == "040"
    assert vtpass.post("/pay", json=pay_body("201000000000", suffix="B")).json()["code"] == "099"
    assert balance() == 0, "what is pending is charged at its face"
