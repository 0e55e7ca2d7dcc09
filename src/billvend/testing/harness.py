"""What the conformance suite runs on: adapters against fault servers, orders for them, and checks with a message."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from billvend.domain.enums import VendType
from billvend.domain.money import Money, decimals
from billvend.domain.outcome import Answer, Unknown, verify_answer
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order, Provider
from billvend.testing.fault_server import FaultServer, Handler, http_response

NOW: Final = datetime(2026, 6, 15, 12, tzinfo=UTC)
LONG_TIMEOUT_SECONDS: Final = 10.0
"""The deadline of a call that should get its whole answer."""
UNUSED_URL: Final = "http://127.0.0.1:9"
"""For tests that open no connection."""


class ConformanceHarness:
    """What the author of an adapter defines, and the helpers of the suite."""

    name: str = "conformance"
    """The name of the entry point."""
    timeout_seconds: float = 0.4
    """The total deadline of a call in tests where the server lets it pass."""
    slack_seconds: float = 2.0
    """How much later than its deadline a call may return, because the machine may be busy."""

    # --- what the author defines ---

    def open_provider(self, setup: ProviderSetup) -> Provider:
        """Open the adapter, as the entry point does."""
        raise NotImplementedError("define how to open the adapter")

    def delivery_body(self, order: Order, token: str) -> bytes:
        """The body of the HTTP 200 with which the provider answers that it sold this whole order. `token` has 20 digits
        and belongs in the body if the meter is prepaid."""
        raise NotImplementedError("define how the provider answers a sale")

    def requery_delivery_body(self, order: Order, token: str) -> bytes:
        """The same for a requery. Override it if that has another form."""
        return self.delivery_body(order, token)

    def setup(self, url: str) -> ProviderSetup:
        """The settings of the adapter. Override it if your keys need a special form."""
        return ProviderSetup(
            name=self.name,
            api_url=url,
            api_key="conformance-api-key",
            public_key="conformance-public-key",
            secret_key="conformance-secret-key",  # noqa: S106  not a secret: the tests search for it
            timeout_seconds=self.timeout_seconds,
            verify_timeout_seconds=self.timeout_seconds,
            phone="08000000000",
            max_processing_seconds=600,
            currency="NGN",
            now=lambda: NOW,
            sleep=lambda seconds: None,
        )

    def order(self, provider: Provider, number: int = 1) -> Order:
        """An order that the provider can sell. With another number, every field is different."""
        account = provider.account
        sells = [(biller.code, kind) for biller in account.billers for kind in biller.vend_types]
        biller, vend_type = next((sale for sale in sells if sale[1] is VendType.PREPAID), sells[0])
        reference = account.make_reference(f"payment-{number}", 1, account.day(NOW))
        amount = Money((1000 + number) * 10 ** decimals(account.currency), account.currency)
        return Order(reference, f"{10_000_000_000 + number}", biller, vend_type, amount, "08000000000")

    # --- helpers of the tests, with names that no author needs ---

    @contextmanager
    def _provider(self, setup: ProviderSetup) -> Iterator[Provider]:
        provider = self.open_provider(setup)
        try:
            yield provider
        finally:
            with expect_no_exception("close"):
                provider.close()

    @contextmanager
    def _provider_against(
        self, handler: Handler, lasts_until_deadline: bool = False
    ) -> Iterator[tuple[Provider, FaultServer]]:
        """The adapter against a server. Its deadline is short only if the server lets it pass."""
        with FaultServer(handler) as server:
            setup, seconds = self.setup(server.url), LONG_TIMEOUT_SECONDS
            if not lasts_until_deadline:
                setup = replace(setup, timeout_seconds=seconds, verify_timeout_seconds=seconds)
            with self._provider(setup) as provider:
                yield provider, server

    @contextmanager
    def _provider_answered_with(self) -> Iterator[tuple[Provider, list[bytes]]]:
        """The adapter, and the body of the next answer."""
        next_body = [b""]
        with self._provider_against(
            lambda connection: connection.send(http_response(next_body[0]))
        ) as facing:
            yield facing[0], next_body

    def _sales(self, token: str, number: int = 1) -> tuple[tuple[str, Order, bytes], ...]:
        """For vend and requery: the call, an order, and the body that says that it was sold."""
        with self._provider(self.setup(UNUSED_URL)) as provider:
            order = self.order(provider, number)
        return (
            ("vend", order, self.delivery_body(order, token)),
            ("requery", order, self.requery_delivery_body(order, token)),
        )

    def _call_in_time(self, provider: Provider, name: str, order: Order) -> object:
        began = time.monotonic()
        answer = ask(provider, name, order)
        took_seconds = time.monotonic() - began
        expect(
            took_seconds <= self.timeout_seconds + self.slack_seconds,
            f"{name} took {took_seconds:.1f} s, and its deadline is {self.timeout_seconds} s in all",
        )
        return answer

    def _expect_no_secret(self, value: object, what: str) -> None:
        setup = self.setup(UNUSED_URL)
        keys = {"API key": setup.api_key, "secret key": setup.secret_key}
        leaked = [name for name, key in keys.items() if key and key in repr(value)]
        expect(not leaked, f"{what} repeats the {' and the '.join(leaked)}")


def expect(holds: bool, message: str) -> None:
    """Assert with a message. Pytest does not rewrite `assert` in an installed package."""
    if not holds:
        raise AssertionError(message)


def expect_answer(answer: object, kinds: Any, what: str) -> None:
    """The answer is of one of these types."""
    expect(isinstance(answer, kinds), f"{what} answered {answer!r}")


def expect_doubt(answer: object, what: str) -> None:
    """The answer leaves the sale in doubt."""
    expect(isinstance(answer, Unknown), f"{what} answered {answer!r}: nothing but Unknown is proven")


@contextmanager
def expect_no_exception(what: str) -> Iterator[None]:
    """The block raises nothing."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: an adapter must never raise") from error


def ask(provider: Provider, name: str, order: Order, may_send: Callable[[], bool] = lambda: True) -> object:
    """The answer to a call, by the name of its method."""
    with expect_no_exception(name):
        match name:
            case "vend":
                return provider.vend(order, may_send)
            case "requery":
                return provider.requery(order)
            case "verify":
                return provider.verify(order.meter, order.biller, order.vend_type)
            case _:
                return provider.fetch_float()


def verified(answer: object, order: Order) -> Answer:
    """The answer as the core records it."""
    return verify_answer(
        answer,
        reference=order.reference,
        meter=order.meter,
        biller=order.biller,
        amount_minor=order.amount.amount_minor,
        needs_token=order.vend_type is VendType.PREPAID,
    )
