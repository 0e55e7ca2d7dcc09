"""Secrets do not leak. A server has one of each kind, and every dependency is down or rejects its calls."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from billvend import Billvend, open_billvend
from billvend.api.listening_port import find_free_port
from billvend.bootstrap import upgrade_schema
from billvend.config import Settings
from billvend.domain.api_keys import Scope
from tests.api.client import BILL
from tests.api.server import ServerProcess, run_server
from tests.support import servers
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

SECRETS = {
    "BILL_PROVIDER_API_KEY": "secret-of-vtpass-api",
    "BILL_PROVIDER_PUBLIC_KEY": "secret-of-vtpass-public",
    "BILL_PROVIDER_SECRET_KEY": "secret-of-vtpass-secret",
    "PAYSTACK_SECRET_KEY": "sk_test_secret-of-paystack",
    "WEBHOOK_SECRET": "whsec_c2VjcmV0LW9mLXdlYmhvb2tzLXRoYXQtaXMtbG9uZw==",
}
ALL_SECRETS = [
    *SECRETS.values(),
    "c2VjcmV0LW9mLXdlYmhvb2tz",
    "secret-of-postgres",
    "secret-of-redis",
    "secret-of-smtp",
]


@pytest.mark.parametrize("has_redis", [False, True])
def test_no_secret_in_log_or_response_during_outages(
    tmp_path: Path, own_postgres: servers.PostgresServer, has_redis: bool
) -> None:
    """At LOG_LEVEL=debug, with rejections and outages of every dependency, the database too."""
    unused_port = find_free_port("127.0.0.1", 0)
    parts = urlsplit(own_postgres.url)
    named = f"{parts.username}:secret-of-postgres@{parts.hostname}:{parts.port}"
    settings = Settings(database_url=parts._replace(netloc=named).geturl())
    upgrade_schema(settings)
    configured = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "BILL_PROVIDER": "vtpass",
        "BILL_PROVIDER_API_URL": f"http://127.0.0.1:{unused_port}",
        "PAYSTACK_API_URL": f"http://127.0.0.1:{unused_port}",
        "WEBHOOK_URL": f"http://127.0.0.1:{unused_port}/hook",
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "ENABLE_WEBHOOKS": "true",
        "SMTP_URL": f"smtp://shop:secret-of-smtp@127.0.0.1:{unused_port}",
        "VERIFY_UNREACHABLE": "allow",
        "BILL_PROVIDER_PHONE": "08030000000",
        "RATE_LIMIT": "1000/minute",
        "SWEEP_INTERVAL": "1",
        "LOG_LEVEL": "debug",
        **({"REDIS_URL": f"redis://:secret-of-redis@127.0.0.1:{unused_port}/0"} if has_redis else {}),
    }
    with open_billvend(settings) as bv:
        bv.fund("ada", "5000")
        key = bv.create_api_key("all", list(Scope)).secret
        with run_server(tmp_path, "--worker", **SECRETS, **configured) as server:
            answers = _send_requests(server, key)
            if not has_redis:  # the worker waits for Redis while it is down
                eventually(lambda: _has_attempts(bv))
            own_postgres.kill()
            answers += _send_requests(server, key)
            server.stop()
    log_text = (tmp_path / "log").read_text()
    assert log_text.count('"Request"') >= len(answers)
    for secret in (*ALL_SECRETS, key, key.split("_", 2)[2]):
        assert secret not in log_text, secret
        assert not any(secret in answer for answer in answers), secret


def _has_attempts(bv: Billvend) -> bool:
    """Whether calls to the provider and deliveries of notifications failed at least once."""
    payment = bv.payments()[0]
    return bool(payment.attempts) and any(
        notification.attempts for notification in bv.notification_history(channel=None)
    )


def _send_requests(server: ServerProcess, key: str) -> list[str]:
    allowed, forged = f"Bearer {key}", f"Bearer {key[:-1]}x"
    funding = {"userId": "ada", "amount": "5"}
    meter = {"meterNumber": "12345678901", "provider": "EKEDC"}
    responses = [
        server.request("POST", "/bills/pay", BILL, Authorization=allowed, Idempotency_Key="order-1"),
        server.request("POST", "/bills/verify", meter, Authorization=allowed),
        server.request(
            "POST", "/wallet/fund/intent", {**funding, "email": "ada@example.com"}, Authorization=allowed
        ),
        server.request("POST", "/hooks/paystack", funding, X_Paystack_Signature="0" * 128),
        server.request("POST", "/wallet/fund", funding, Authorization=allowed),
        server.request("POST", "/wallet/fund", funding, Authorization=forged),
        server.request("GET", f"/transactions/{key}", Authorization=allowed),
        server.request("GET", "/health", Authorization=allowed),
    ]
    return [json.dumps(answer) for answer in responses]
