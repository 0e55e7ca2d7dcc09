"""Where tokens are mailed: never to an address from a client whose API key may not read tokens."""

from collections.abc import Iterator
from itertools import count

import pytest
from pydantic import SecretStr

from billvend import Billvend, open_billvend
from billvend.config import Settings
from tests.api.client import BILL, Client, application, data_of
from tests.notify.smtp_server import RecordingSmtpServer, run_smtp_server
from tests.support.paystack import SECRET, FakePaystack, fake_paystack

ADA, EVE, BEN = "ada@example.com", "eve@example.com", "ben@example.com"


class DepositEnv:
    """The API with Paystack and a mail server. The wallet of ada has NGN 5,000.00 and no e-mail address."""

    def __init__(
        self, bv: Billvend, settings: Settings, paystack: FakePaystack, smtp: RecordingSmtpServer
    ) -> None:
        self.bv, self.paystack, self.smtp = bv, paystack, smtp
        self._app = application(bv, settings)
        self._names = count()
        bv.fund("ada", "5000")
        self.sent_emails()

    def client(self, *scopes: str) -> Client:
        """A client whose key has these scopes. Without scopes: a client without a key."""
        if not scopes:
            return Client(self._app)
        secret = self.bv.create_api_key(f"key-{next(self._names)}", scopes).secret
        return Client(self._app, Authorization=f"Bearer {secret}")

    def start_deposit(self, client: Client, email: str) -> str:
        request = {"userId": "ada", "amount": "500", "email": email}
        return str(data_of(client.post("/wallet/fund/intent", request))["reference"])

    def deposit(self, client: Client, email: str) -> None:
        """Create a deposit and have it credited."""
        reference = self.start_deposit(client, email)
        self.paystack.mark_paid(reference)
        assert self.bv.handle_gateway_webhook(*self.paystack.webhook(reference))

    def buy(self) -> str:
        """Buy electricity for ada. Returns the token."""
        payment = self.bv.pay("ada", 500, meter=BILL["meterNumber"], biller="EKEDC", allow_duplicate=True)
        token = self.bv.wait(payment.transaction_id, timeout=20).token
        assert token is not None
        return token

    def sent_emails(self) -> list[tuple[str, str]]:
        """Recipient and text of each email since the last call. The text has no hyphens."""
        while self.bv.deliver_notifications():
            pass
        emails = [
            (to, str(email.get_content()).replace("-", ""))
            for email, (_, (to,)) in zip(self.smtp.emails, self.smtp.envelopes, strict=True)
        ]
        self.smtp.emails.clear()
        self.smtp.envelopes.clear()
        return emails

    def token_recipients(self) -> list[str]:
        """Buy a token. Returns its recipients; no other email is sent meanwhile."""
        self.sent_emails()
        token = self.buy()
        mailed = self.sent_emails()
        assert all(token in text for _, text in mailed)
        return [to for to, _ in mailed]


@pytest.fixture
def env(settings: Settings) -> Iterator[DepositEnv]:
    with fake_paystack() as (paystack, _), run_smtp_server() as smtp:
        configured = settings.model_copy(
            update={
                "paystack_secret_key": SecretStr(SECRET),
                "paystack_api_url": paystack.url,
                "smtp_url": SecretStr(f"smtp://127.0.0.1:{smtp.port}"),
            }
        )
        with open_billvend(configured) as bv:
            yield DepositEnv(bv, configured, paystack, smtp)
            assert bv.audit().ok


def test_email_from_fund_key_gets_receipt_but_no_token(env: DepositEnv) -> None:
    attacker = env.client("fund")
    env.start_deposit(attacker, EVE)
    assert env.token_recipients() == []
    env.deposit(attacker, EVE)
    ((to, receipt),) = env.sent_emails()
    assert to == EVE
    assert "came into your wallet" in receipt
    assert env.token_recipients() == []


@pytest.mark.parametrize(
    "scopes", [("fund",), ("fund", "pay"), ("fund", "operate"), ("fund", "pay", "operate")]
)
def test_email_from_key_without_read_does_not_replace_address(
    env: DepositEnv, scopes: tuple[str, ...]
) -> None:
    env.deposit(env.client("fund", "read"), ADA)
    assert env.sent_emails()
    attacker = env.client(*scopes)
    env.start_deposit(attacker, EVE)
    env.deposit(attacker, EVE)
    assert [to for to, _ in env.sent_emails()] == [ADA]  # the deposit went to ada's wallet
    assert env.token_recipients() == [ADA]


@pytest.mark.parametrize("scopes", [(), ("fund", "read")], ids=["no keys", "key with read"])
def test_email_from_caller_with_read_gets_tokens_after_credit(
    env: DepositEnv, scopes: tuple[str, ...]
) -> None:
    client = env.client(*scopes)
    env.start_deposit(client, ADA)
    assert env.token_recipients() == []
    env.deposit(client, ADA)
    assert env.token_recipients() == [ADA]


def test_first_credited_email_is_used_until_operator_changes_it(env: DepositEnv) -> None:
    client = env.client("fund", "read")
    never_paid = env.start_deposit(client, EVE)
    env.deposit(client, ADA)
    env.deposit(client, BEN)
    assert env.token_recipients() == [ADA]
    env.bv.set_email("ada", BEN)
    assert env.token_recipients() == [BEN]
    env.paystack.mark_paid(never_paid)
    env.bv.check_deposit(never_paid)
    assert env.token_recipients() == [BEN]


def test_email_of_manually_credited_deposit_is_stored_on_webhook(env: DepositEnv) -> None:
    reference = env.start_deposit(env.client(), ADA)
    env.paystack.mark_paid(reference)
    env.bv.fund("ada", 500, key=reference, source="paystack")
    assert env.token_recipients() == []
    assert env.bv.handle_gateway_webhook(*env.paystack.webhook(reference))
    assert env.token_recipients() == [ADA]


def test_email_from_library_caller_gets_tokens_if_allowed(env: DepositEnv) -> None:
    for is_allowed, expected in ((False, []), (True, [ADA])):
        reference = env.bv.create_deposit("ada", 500, email=ADA, email_may_get_tokens=is_allowed).reference
        env.paystack.mark_paid(reference)
        env.bv.check_deposit(reference)
        assert env.token_recipients() == expected
