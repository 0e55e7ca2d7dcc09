"""Where tokens are mailed: never to an address that came with a key which may not read them."""

from collections.abc import Iterator
from itertools import count

import pytest
from pydantic import SecretStr

from billvend import Billvend, open_billvend
from billvend.config import Settings
from tests.api.client import BILL, Client, application, data_of
from tests.notify.mailbox import Mailbox, mailbox
from tests.support.paystack import SECRET, Paystack, standing_in

ADA, EVE, BEN = "ada@example.com", "eve@example.com", "ben@example.com"


class Shop:
    """The API with Paystack, a mail server, and NGN 5,000.00 in the wallet of ada, who has no e-mail address."""

    def __init__(self, bv: Billvend, settings: Settings, paystack: Paystack, box: Mailbox) -> None:
        self.bv, self.paystack, self.box = bv, paystack, box
        self._app = application(bv, settings)
        self._names = count()
        bv.fund("ada", "5000")
        self.mailed()

    def client(self, *scopes: str) -> Client:
        """Without scopes, one without a key."""
        if not scopes:
            return Client(self._app)
        secret = self.bv.create_api_key(f"key-{next(self._names)}", scopes).secret
        return Client(self._app, Authorization=f"Bearer {secret}")

    def starts_deposit(self, client: Client, email: str) -> str:
        wanted = {"userId": "ada", "amount": "500", "email": email}
        return str(data_of(client.post("/wallet/fund/intent", wanted))["reference"])

    def deposits(self, client: Client, email: str) -> None:
        """Until it is credited."""
        reference = self.starts_deposit(client, email)
        self.paystack.pays(reference)
        assert self.bv.handle_gateway_webhook(*self.paystack.hook(reference))

    def buys(self) -> str:
        """A token for ada."""
        payment = self.bv.pay("ada", 500, meter=BILL["meterNumber"], biller="EKEDC", allow_duplicate=True)
        token = self.bv.wait(payment.transaction_id, timeout=20).token
        assert token is not None
        return token

    def mailed(self) -> list[tuple[str, str]]:
        """Recipient and text of each mail since the last look, without hyphens."""
        while self.bv.deliver_notifications():
            pass
        found = [
            (to, str(letter.get_content()).replace("-", ""))
            for letter, (_, (to,)) in zip(self.box.letters, self.box.envelopes, strict=True)
        ]
        self.box.letters.clear()
        self.box.envelopes.clear()
        return found

    def token_goes_to(self) -> list[str]:
        """The recipients of the next token; nothing else is mailed meanwhile."""
        self.mailed()
        token = self.buys()
        mailed = self.mailed()
        assert all(token in text for _, text in mailed)
        return [to for to, _ in mailed]


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    with standing_in() as (paystack, _), mailbox() as box:
        known = settings.model_copy(
            update={
                "paystack_secret_key": SecretStr(SECRET),
                "paystack_api_url": paystack.url,
                "smtp_url": SecretStr(f"smtp://127.0.0.1:{box.port}"),
            }
        )
        with open_billvend(known) as bv:
            yield Shop(bv, known, paystack, box)
            assert bv.audit().ok


def test_email_of_a_fund_key_gets_its_receipt_and_no_token(shop: Shop) -> None:
    attacker = shop.client("fund")
    shop.starts_deposit(attacker, EVE)
    assert shop.token_goes_to() == []
    shop.deposits(attacker, EVE)
    ((to, receipt),) = shop.mailed()
    assert to == EVE
    assert "came into your wallet" in receipt
    assert shop.token_goes_to() == []


@pytest.mark.parametrize(
    "scopes", [("fund",), ("fund", "pay"), ("fund", "operate"), ("fund", "pay", "operate")]
)
def test_email_of_a_key_without_read_does_not_replace_the_address(
    shop: Shop, scopes: tuple[str, ...]
) -> None:
    shop.deposits(shop.client("fund", "read"), ADA)
    assert shop.mailed()
    attacker = shop.client(*scopes)
    shop.starts_deposit(attacker, EVE)
    shop.deposits(attacker, EVE)
    assert [to for to, _ in shop.mailed()] == [ADA]  # it is ada's wallet that was funded
    assert shop.token_goes_to() == [ADA]


@pytest.mark.parametrize("scopes", [(), ("fund", "read")], ids=["without keys", "a key that may read"])
def test_email_of_a_caller_who_may_read_gets_tokens_once_credited(
    shop: Shop, scopes: tuple[str, ...]
) -> None:
    client = shop.client(*scopes)
    shop.starts_deposit(client, ADA)
    assert shop.token_goes_to() == []
    shop.deposits(client, ADA)
    assert shop.token_goes_to() == [ADA]


def test_first_credited_email_stays_until_an_operator_sets_another(shop: Shop) -> None:
    client = shop.client("fund", "read")
    never_paid = shop.starts_deposit(client, EVE)
    shop.deposits(client, ADA)
    shop.deposits(client, BEN)
    assert shop.token_goes_to() == [ADA]
    shop.bv.set_email("ada", BEN)
    assert shop.token_goes_to() == [BEN]
    shop.paystack.pays(never_paid)
    shop.bv.check_deposit(never_paid)
    assert shop.token_goes_to() == [BEN]


def test_email_of_a_deposit_credited_by_hand_is_kept_when_the_hook_comes(shop: Shop) -> None:
    reference = shop.starts_deposit(shop.client(), ADA)
    shop.paystack.pays(reference)
    shop.bv.fund("ada", 500, key=reference, source="paystack")
    assert shop.token_goes_to() == []
    assert shop.bv.handle_gateway_webhook(*shop.paystack.hook(reference))
    assert shop.token_goes_to() == [ADA]


def test_email_of_a_library_caller_gets_tokens_unless_it_says_no(shop: Shop) -> None:
    for may, expected in ((False, []), (True, [ADA])):
        reference = shop.bv.create_deposit("ada", 500, email=ADA, email_may_get_tokens=may).reference
        shop.paystack.pays(reference)
        shop.bv.check_deposit(reference)
        assert shop.token_goes_to() == expected
