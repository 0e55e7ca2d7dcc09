"""Authentication and rate limits. Without keys only this machine is allowed, for test money; else keys with scopes."""

import logging
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import SecretStr

from billvend import Billvend, open_billvend
from billvend.config import Settings
from billvend.domain.api_keys import Scope
from billvend.domain.policy.accounts import Mode
from tests.api.client import BILL, Client, application, code_of, data_of

PROTECTED_ENDPOINTS = [
    ("POST", "/wallet/fund", Scope.FUND),
    ("POST", "/wallet/fund/intent", Scope.FUND),
    ("GET", "/wallet/balance/ada", Scope.READ),
    ("POST", "/bills/pay", Scope.PAY),
    ("POST", "/bills/pay/batch", Scope.PAY),
    ("POST", "/bills/verify", Scope.PAY),
    ("GET", "/billers", Scope.READ),
    ("GET", "/transactions/nothing", Scope.READ),
    ("GET", "/transactions/user/ada", Scope.READ),
    ("GET", "/health", Scope.READ),
    ("GET", "/metrics", Scope.READ),
]
PUBLIC_ENDPOINTS = [
    ("GET", "/health/live"),
    ("POST", "/hooks/vtpass"),
    ("GET", "/api"),
    ("GET", "/api/openapi.json"),
]


def limited(settings: Settings, rate: str, **more: object) -> Settings:
    """The settings with a rate limit."""
    return settings.model_copy(update={"rate_limit": Settings(rate_limit=rate).rate_limit, **more})


def request_status(client: Client, method: str, path: str, **headers: str) -> int:
    return (client.get(path, **headers) if method == "GET" else client.post(path, {}, **headers)).status_code


def test_every_endpoint_is_listed_here(bv: Billvend, settings: Settings) -> None:
    rules = application(bv, settings).url_map.iter_rules()
    paths = {rule.rule for rule in rules if rule.endpoint.startswith("billvend.")}
    assert len(paths) == len(PROTECTED_ENDPOINTS) + 3  # /health/live and the two webhooks


@pytest.mark.parametrize(("method", "path", "scope"), PROTECTED_ENDPOINTS)
def test_endpoint_requires_exactly_its_scope(
    bv: Billvend, settings: Settings, method: str, path: str, scope: Scope
) -> None:
    client = Client(application(bv, settings))
    secrets = {each: bv.create_api_key(each, [each]).secret for each in Scope}
    assert request_status(client, method, path) == 401
    assert request_status(client, method, path, Authorization="Bearer bv_nothing") == 401
    assert request_status(client, method, path, Authorization=f"Basic {secrets[scope]}") == 401
    statuses = {
        each: request_status(client, method, path, Authorization=f"Bearer {secret}")
        for each, secret in secrets.items()
    }
    assert {each for each, status in statuses.items() if status == 403} == set(Scope) - {scope}
    assert statuses[scope] in (200, 404, 422)


@pytest.mark.parametrize(("method", "path"), PUBLIC_ENDPOINTS)
def test_public_endpoints_need_no_key(bv: Billvend, settings: Settings, method: str, path: str) -> None:
    bv.create_api_key("till-7", [Scope.PAY])
    assert request_status(Client(application(bv, settings)), method, path) == 200


def test_revoked_key_is_rejected_immediately(bv: Billvend, settings: Settings) -> None:
    client = Client(application(bv, settings))
    created = bv.create_api_key("till-7", [Scope.READ])
    headers = {"Authorization": f"Bearer {created.secret}"}
    assert client.get("/billers", **headers).status_code == 200
    bv.revoke_api_key("till-7")
    refused = client.get("/billers", **headers)
    assert (refused.status_code, code_of(refused)) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


def test_first_api_key_ends_access_without_key(
    client: Client, bv: Billvend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billvend.api.auth.NO_KEYS_CACHE_SECONDS", 0.0)
    assert client.get("/billers").status_code == 200
    bv.create_api_key("till-7", [Scope.READ])
    assert client.get("/billers").status_code == 401


@pytest.fixture(params=["provider", "ledger", "both"])
def live_client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """A client on this machine. A provider of real money is configured, the ledger is marked as live, or both."""
    account = {f"bill_provider_{part}": "key" for part in ("api_key", "public_key", "secret_key")}
    provider = {"bill_provider": "vtpass", "bill_provider_api_url": "https://vtpass.invalid/api", **account}
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'live.db'}",
        rate_limit="0",
        **{} if request.param == "ledger" else provider,
    )
    with open_billvend(settings) as bv:
        bv.fund("ada", "5000")
    if request.param != "provider":
        with closing(sqlite3.connect(tmp_path / "live.db")) as database, database:
            database.execute("INSERT OR REPLACE INTO environment (id, mode) VALUES (1, 'live')")
    with open_billvend(settings) as bv:
        yield Client(application(bv, settings))
        assert str(bv.balance("ada").available) == "5000.00"


def test_live_money_requires_key_on_loopback(live_client: Client) -> None:
    assert {
        (method, path): request_status(live_client, method, path) for method, path, _ in PROTECTED_ENDPOINTS
    } == {(method, path): 401 for method, path, _ in PROTECTED_ENDPOINTS}
    refused = live_client.post("/wallet/fund", {"userId": "ada", "amount": 1_000_000}, Host="127.0.0.1:3000")
    assert (refused.status_code, code_of(refused)) == (401, "unauthenticated")


def test_public_endpoints_need_no_key_with_live_money(live_client: Client) -> None:
    assert [request_status(live_client, method, path) for method, path in PUBLIC_ENDPOINTS] == [200] * len(
        PUBLIC_ENDPOINTS
    )


def test_ledger_marked_as_test_needs_no_key_on_loopback(client: Client, bv: Billvend) -> None:
    bv.require_test_money()
    assert client.get("/billers").status_code == 200


@pytest.mark.parametrize("has_key", [False, True])
def test_funding_marks_ledger_as_test(bv: Billvend, settings: Settings, has_key: bool) -> None:
    headers = {}
    if has_key:
        headers = {"Authorization": f"Bearer {bv.create_api_key('till-7', list(Scope)).secret}"}
    client = Client(application(bv, settings), **headers)
    assert client.get("/billers").status_code == 200
    assert bv._deps.journal.mode() is None
    assert client.post("/wallet/fund", {"userId": "ada", "amount": 5}).status_code == 201
    assert bv._deps.journal.mode() is Mode.TEST


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200), ({"Host": "127.0.0.1:3000"}, 200), ({"Host": "[::1]:3000"}, 200),
        ({"Host": "127.9.9.9"}, 200), ({"Host": "LOCALHOST:3000"}, 200), ({"Host": "shop.example"}, 403),
        ({"Host": "192.168.0.7:3000"}, 403), ({"Host": "localhost.example"}, 403), ({"Host": "127.0.0.1.example"}, 403),
        ({"Host": "0.0.0.0"}, 403), ({"X_Forwarded_For": "127.0.0.1"}, 403), ({"Forwarded": "for=127.0.0.1"}, 403),  # noqa: S104  a header, no server binds to it
        ({"X_Real_Ip": "127.0.0.1"}, 403), ({"X_Forwarded_Proto": "https"}, 403),
    ],
)  # fmt: skip
def test_without_api_keys_only_loopback_host_is_allowed(
    client: Client, headers: dict[str, str], status: int
) -> None:
    assert client.get("/billers", **headers).status_code == status
    assert client.post("/wallet/fund", {"userId": "ada", "amount": 5}, **headers).status_code == (
        201 if status == 200 else 403
    )


@pytest.mark.parametrize("address", ["192.168.0.7", "10.0.0.1", "2001:db8::1", ""])
def test_without_api_keys_remote_address_is_forbidden(bv: Billvend, settings: Settings, address: str) -> None:
    app = application(bv, settings)
    response = app.test_client().get("/billers", environ_overrides={"REMOTE_ADDR": address})
    assert (response.status_code, code_of(response)) == (403, "forbidden")


def test_rate_limit_exceeded_returns_429(bv: Billvend, settings: Settings) -> None:
    a, b = (bv.create_api_key(name, [Scope.READ]).secret for name in "ab")
    client = Client(application(bv, limited(settings, "3/hour")))
    answers = [client.get("/billers", Authorization=f"Bearer {a}") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert code_of(answers[-1]) == "rate_limited"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3601
    assert client.get("/billers", Authorization=f"Bearer {b}").status_code == 200
    guesses = [client.get("/billers", Authorization=f"Bearer bv_{n}").status_code for n in range(4)]
    assert guesses == [401, 401, 401, 429]  # counted by address, so that keys cannot be guessed


def test_rate_limit_in_redis_is_shared_by_processes(bv: Billvend, settings: Settings, redis_url: str) -> None:
    shared = limited(settings, "3/hour", redis_url=SecretStr(redis_url))
    clients = [Client(application(bv, shared)) for _ in range(2)]
    statuses = [clients[n % 2].get("/billers").status_code for n in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_rate_limit_works_without_redis(
    bv: Billvend, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused_port:
        unused_port.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{unused_port.getsockname()[1]}"
        bv.fund("ada", "5000")
        client = Client(application(bv, limited(settings, "3/hour", redis_url=SecretStr(url))))
        statuses = [client.post("/bills/pay", BILL, f"order-{n}").status_code for n in range(4)]
    assert statuses == [202, 202, 202, 429]
    assert sum("Redis is unavailable" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    ("hops", "forwarded", "counted"),
    [(0, "9.9.9.9", "7.7.7.7"), (1, "9.9.9.9", "9.9.9.9"), (1, "6.6.6.6, 9.9.9.9", "9.9.9.9")],
)
def test_forwarded_address_is_trusted_up_to_configured_proxies(
    bv: Billvend, settings: Settings, hops: int, forwarded: str, counted: str
) -> None:
    """The limit is one request an hour, so the second request of the counted address gets a 429."""
    client = application(bv, limited(settings, "1/hour", trusted_proxies=hops)).test_client()
    bv.create_api_key("till-7", [Scope.READ])

    def status(address: str, **headers: str) -> int:
        environ = {"REMOTE_ADDR": address}
        return client.get("/health/live", headers=headers, environ_overrides=environ).status_code

    assert status("7.7.7.7", **{"X-Forwarded-For": forwarded}) == 200
    assert (status("7.7.7.7", **{"X-Forwarded-For": counted}) if hops else status(counted)) == 429
    assert status("5.5.5.5", **{"X-Forwarded-For": "5.5.5.5"}) == 200


def test_no_secret_in_logs_or_responses(
    bv: Billvend,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Logs of a payment and of rejected requests contain no token, key or secret. Nor do responses to the wrong key."""
    from billvend.logs import log_to_stderr

    caplog.set_level(logging.DEBUG)
    with log_to_stderr("debug", "json"):
        app = application(bv, settings)
        keys = {scope: bv.create_api_key(scope, [scope]).secret for scope in Scope}
        clients = {scope: Client(app, Authorization=f"Bearer {secret}") for scope, secret in keys.items()}
        clients[Scope.FUND].post("/wallet/fund", {"userId": "ada", "amount": 5000})
        transaction_id = data_of(clients[Scope.PAY].post("/bills/pay", BILL))["transactionId"]
        bv.wait(transaction_id, timeout=20)
        token = data_of(clients[Scope.READ].get(f"/transactions/{transaction_id}"))["token"]
        refused = clients[Scope.PAY].get(f"/transactions/{transaction_id}")
        wrong = Client(app, Authorization=f"Bearer {keys[Scope.READ]}x").get(
            f"/transactions/{transaction_id}?key={token}"
        )
    log = capsys.readouterr().err
    assert "Bill payment completed" in log
    assert '"Request"' in log
    for secret in (
        token,
        f"{token[:4]}-{token[4:8]}",
        *keys.values(),
        *(key.split("_", 2)[2] for key in keys.values()),
    ):
        assert secret not in log
        assert secret not in refused.get_data(as_text=True)
        assert secret not in wrong.get_data(as_text=True)
