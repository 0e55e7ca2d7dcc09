"""A dependency goes down and recovers. Requests meanwhile get clear answers, and nothing is half done."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from billvend import Billvend, open_billvend
from billvend.bootstrap import upgrade_schema
from billvend.config import Settings
from tests.api.client import BILL, Client, application, code_of, data_of
from tests.support import servers


@pytest.fixture
def api_on_postgres(
    own_postgres: servers.PostgresServer, tmp_path: object
) -> Iterator[tuple[Billvend, Client]]:
    settings = Settings(database_url=own_postgres.url, rate_limit="0", sandbox_book=f"{tmp_path}/sandbox.db")
    upgrade_schema(settings)
    with open_billvend(settings) as bv:
        bv.fund("ada", "5000")
        yield bv, Client(application(bv, settings))


def test_database_outage_returns_503_then_recovers(
    api_on_postgres: tuple[Billvend, Client],
    own_postgres: servers.PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bv, client = api_on_postgres
    monkeypatch.setattr("billvend.api.auth.NO_KEYS_CACHE_SECONDS", 3600.0)
    bv.require_test_money()  # then authentication needs no database, and each endpoint meets the outage itself
    assert client.post("/bills/pay", BILL, "order-1").status_code == 202
    own_postgres.kill()
    answers = [
        client.post("/bills/pay", BILL, "order-2"),
        client.post("/wallet/fund", {"userId": "ada", "amount": 5}, "fund-1"),
        client.post("/bills/pay/batch", {"payments": [BILL]}, "batch-1"),
        client.get("/wallet/balance/ada"),
        client.get("/transactions/nothing"),
        client.get("/transactions/user/ada"),
        client.get("/health"),
    ]
    *_, health = answers
    batch = answers[2]
    for answer in answers:
        if answer is batch:  # each entry has its own error
            assert [entry["error"]["code"] for entry in data_of(batch)["results"]] == ["unavailable"]
            continue
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert code_of(answer) == "unavailable"
    assert health.get_json()["data"]["checks"]["database"]["status"] == "down"
    assert client.get("/health/live").status_code == 200
    own_postgres.start()
    assert data_of(client.get("/wallet/balance/ada"))["held"] == "500.00"
    assert client.post("/bills/pay", BILL, "order-2").status_code == 202
    assert client.get("/health").status_code == 200
    assert data_of(client.get("/wallet/balance/ada"))["balance"] == "4000.00"
    assert bv.audit().ok


@pytest.mark.parametrize("has_keys", [False, True])
def test_health_and_metrics_work_without_database(
    api_on_postgres: tuple[Billvend, Client],
    own_postgres: servers.PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    has_keys: bool,
) -> None:
    """Clients with access before the outage still get health and metrics. No other client does, and nothing more."""
    bv, client = api_on_postgres
    monkeypatch.setattr("billvend.api.auth.NO_KEYS_CACHE_SECONDS", 0.0)
    secret = bv.create_api_key("monitor", ["read"]).secret if has_keys else ""
    authorization = {"Authorization": f"Bearer {secret}"} if has_keys else {}
    assert client.get("/health", **authorization).status_code == 200
    own_postgres.kill()
    health = client.get("/health", **authorization)
    assert (health.status_code, code_of(health)) == (503, "unavailable")
    assert {name: check["status"] for name, check in health.get_json()["data"]["checks"].items()} == {
        "database": "down",
        "queue": "up",
        "provider": "configured",
        "backlog": "down",
    }
    metrics = client.get("/metrics", **authorization)
    assert (metrics.status_code, 'billvend_up{part="database"} 0.0' in metrics.text) == (200, True)
    balance = client.get("/wallet/balance/ada", **authorization)
    assert (balance.status_code, balance.get_json()["data"]) == (503, None)
    assert str(own_postgres.port) not in balance.text  # clients must not learn where the database is
    if has_keys:
        stranger = client.get("/health", Authorization=f"Bearer {secret[:-1]}x")
        assert (stranger.status_code, stranger.get_json()["data"]) == (503, None)


def test_revoked_key_is_rejected_during_database_outage(
    api_on_postgres: tuple[Billvend, Client], own_postgres: servers.PostgresServer
) -> None:
    bv, client = api_on_postgres
    authorization = {"Authorization": f"Bearer {bv.create_api_key('monitor', ['read']).secret}"}
    assert client.get("/health", **authorization).status_code == 200
    bv.revoke_api_key("monitor")
    assert client.get("/health", **authorization).status_code == 401
    own_postgres.kill()
    assert client.get("/health", **authorization).get_json()["data"] is None


def test_redis_outage_degrades_health_and_payment_completes(
    settings: Settings, redis_server: servers.RedisProtocolServer
) -> None:
    """`pay` answers as usual, and a sweep finds the payment."""
    with_redis = settings.model_copy(
        update={
            "redis_url": SecretStr(redis_server.url),
            "rate_limit": Settings(rate_limit="600/minute").rate_limit,
        }
    )
    with open_billvend(with_redis) as bv:
        bv.fund("ada", "5000")
        client = Client(application(bv, with_redis))
        assert data_of(client.get("/health"))["checks"]["queue"]["status"] == "up"
        redis_server.kill()
        response = client.post("/bills/pay", BILL, "order-1")
        assert response.status_code == 202
        health = client.get("/health")
        assert (health.status_code, data_of(health)["status"]) == (200, "degraded")
        assert data_of(health)["checks"]["queue"]["status"] == "down"
        payment = bv.wait(data_of(response)["transactionId"], timeout=20)
        assert payment.status == "completed"
