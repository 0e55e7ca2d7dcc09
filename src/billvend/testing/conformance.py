"""What every provider adapter must do, as tests that its author runs."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterLookupFailed
from billvend.domain.money import Money, decimals
from billvend.domain.outcome import Answer, Delivered, NotFound, NotSent, Unknown, verify_answer
from billvend.domain.policy.accounts import Mode
from billvend.ports.plugin import ProviderSetup
from billvend.ports.provider import Order, Provider
from billvend.testing.fault_server import (
    Connection,
    FaultServer,
    Handler,
    http_response,
    send_and_close,
    send_and_keep_open,
)
from billvend.testing.server_faults import FAULTS, UNEXPECTED_BODIES, Fault, corrupt

NOW: Final = datetime(2026, 6, 15, 12, tzinfo=UTC)
MAX_REFERENCE_CHARACTERS: Final = 100
CONNECT_TIMEOUT_SECONDS: Final = 0.3
"""How long `may_send` of the suite waits for the connection."""
LONG_TIMEOUT_SECONDS: Final = 10.0
"""The deadline of a call that should get its whole answer."""
THREADS: Final = 8
UNUSED_URL: Final = "http://127.0.0.1:9"
"""For tests that open no connection."""
CALL_NAMES: Final = ("vend", "requery", "verify", "fetch_float")
"""The calls that send a request to the provider."""
_ANSWER_WHEN_UNREACHABLE: Final = {
    "vend": NotSent, "requery": NotSent | Unknown, "verify": MeterLookupFailed, "fetch_float": Unknown,
}  # fmt: skip


class _Metafunc(Protocol):
    """The part of pytest's Metafunc that is used here."""

    fixturenames: list[str]

    def parametrize(self, argnames: str, argvalues: Iterable[object], *, ids: Callable[[Any], str]) -> None:
        """Run a test once for each of these values."""


class ProviderConformance:
    """The suite. Subclass it in a module that pytest collects, as a class whose name begins with `Test`. Define how to
    open your adapter and how your provider answers a sale.

    Each test opens a new adapter against a server on loopback, whose URL is in the setup. If a test does not fit your
    provider, override it and give the reason.
    """

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

    # --- account ---

    def test_provider_account_is_complete_and_stable(self) -> None:
        """The account is complete and always the same. Its processing time is not shorter than configured."""
        patient = replace(self.setup(UNUSED_URL), max_processing_seconds=7777)
        with self._provider(patient) as provider:
            account = provider.account
            again = provider.account
            codes = [biller.code for biller in account.billers]
            _expect(account.provider == self.name, f"its name is {account.provider!r}, not {self.name!r}")
            _expect(account.mode in Mode, f"its mode is {account.mode!r}")
            _expect(bool(codes), "it sells for no electricity company")
            _expect(len(codes) == len(set(codes)), f"it lists an electricity company twice: {codes}")
            _expect(
                all(biller.code and biller.name and biller.vend_types for biller in account.billers),
                "an electricity company has no code, no name or nothing to sell",
            )
            decimals(account.currency)
            _expect(
                abs(account.utc_offset) <= timedelta(hours=14), "its offset from UTC is more than 14 hours"
            )
            _expect(
                account.max_processing_seconds >= 7777,
                "max_processing_seconds is shorter than the setting",
            )
            _expect(
                (account.account_id, account.billers) == (again.account_id, again.billers),
                "its account changes between two reads",
            )

    def test_account_fingerprint_is_unique_and_hides_keys(self) -> None:
        """The fingerprint is unique for host and key, stable, and contains no key."""
        setup = self.setup(UNUSED_URL)
        other_keys = replace(
            setup,
            api_key=f"another-{setup.api_key}",
            public_key=setup.public_key and f"another-{setup.public_key}",
            secret_key=setup.secret_key and f"another-{setup.secret_key}",
        )
        with (
            self._provider(setup) as one,
            self._provider(setup) as same,
            self._provider(replace(setup, api_url="http://localhost:9")) as elsewhere,
            self._provider(other_keys) as another,
        ):
            account = one.account.account_id
            _expect(bool(account) and account.isprintable(), f"the account is {account!r}")
            _expect(account == same.account.account_id, "the same account has two fingerprints")
            _expect(account != elsewhere.account.account_id, "accounts on two hosts have one fingerprint")
            _expect(account != another.account.account_id, "accounts with two keys have one fingerprint")
            self._expect_no_secret(one.account, "the account")

    def test_references_are_deterministic_short_and_unique(self) -> None:
        """The reference is a pure function of payment, attempt and day."""
        with self._provider(self.setup(UNUSED_URL)) as provider:
            account = provider.account
            day = date(2026, 6, 15)
            payments = (
                "0190a5d0-7c1e-7f3a-9b55-1f2e3d4c5b6a",
                "0190a5d0-7c1e-7f3a-9b55-1f2e3d4c5b6b",
                "p",
                "p1",
            )
            arguments = [(payment, attempt, day) for payment in payments for attempt in (1, 2, 11)]
            made = [account.make_reference(*which) for which in arguments]
            with self._provider(self.setup(UNUSED_URL)) as other:
                again = [other.account.make_reference(*which) for which in arguments]
            _expect(
                made == again,
                "it is not deterministic: a restored ledger would derive another reference and buy twice",
            )
            _expect(len(set(made)) == len(made), "two attempts share a reference")
            for reference in made:
                _expect(
                    0 < len(reference) <= MAX_REFERENCE_CHARACTERS
                    and reference.isascii()
                    and reference.isprintable()
                    and " " not in reference,
                    f"a reference is up to {MAX_REFERENCE_CHARACTERS} printable ASCII characters: {reference!r}",
                )
            if account.reference_lasts_a_day:
                tomorrow = account.make_reference(payments[0], 1, day + timedelta(days=1))
                _expect(tomorrow != made[0], "a reference that lasts a day is the same on the next day")

    # --- may_send ---

    def test_vend_calls_may_send_after_connect_before_first_byte(self) -> None:
        """`may_send` is called when the connection is open, and before any byte is sent."""
        calls: list[tuple[bool, int]] = []

        def may_send() -> bool:
            calls.append((server.has_connection(CONNECT_TIMEOUT_SECONDS), len(server.received_bytes)))
            return True

        with self._provider_against(Connection.close) as (provider, server):
            _call(provider, "vend", self.order(provider), may_send)
            _expect(bool(calls), "it never called may_send")
            _expect(all(received == 0 for _, received in calls), "it called may_send after the first byte")
            _expect(
                calls[-1][0],
                "it called may_send before it connected, but connecting may take longer than the permission lasts",
            )

    def test_vend_sends_nothing_when_may_send_is_false(self) -> None:
        """Without permission it sends no byte and returns `NotSent`."""
        with self._provider_against(Connection.close) as (provider, server):
            answer = _call(provider, "vend", self.order(provider), lambda: False)
            _expect(not server.received_bytes, "may_send returned False, but it sent")
            _expect(
                isinstance(answer, NotSent),
                f"may_send returned False, and it answered {answer!r}, not NotSent",
            )

    def test_vend_sends_nothing_when_may_send_expires_during_connect(self) -> None:
        """The permission expires while it connects."""
        with self._provider_against(Connection.close) as (provider, server):
            order = self.order(provider)
            answer = _call(
                provider, "vend", order, lambda: not server.has_connection(CONNECT_TIMEOUT_SECONDS)
            )
            _expect(
                not server.received_bytes,
                "the permission expired while it connected, but it sent",
            )
            _expect(
                isinstance(answer, NotSent),
                f"the permission expired, and it answered {answer!r}, not NotSent",
            )

    def test_refused_connection_returns_not_sent(self) -> None:
        """A refused connection is `NotSent`. Only then is it safe to send again."""
        with FaultServer(Connection.close) as gone:
            url = gone.url
        with self._provider(self.setup(url)) as provider:
            for call, proven in _ANSWER_WHEN_UNREACHABLE.items():
                answer = self._call_in_time(provider, call, self.order(provider))
                _expect(isinstance(answer, proven), f"the port was closed, and {call} answered {answer!r}")

    # --- clear answers ---

    def test_delivery_is_recognised(self) -> None:
        """The adapter recognises a delivery. Without this the rest of the suite would prove little."""
        token = f"{1:020d}"
        for call, order, body in self._sales(token):
            with self._provider_against(send_and_keep_open(http_response(body))) as (provider, server):
                answer = _call(provider, call, order)
                _expect(isinstance(_verified(answer, order), Delivered), f"{call}: a delivery is {answer!r}")
                if order.vend_type is VendType.PREPAID:
                    _expect(getattr(answer, "token", None) == token, f"{call}: the token is lost: {answer!r}")
                _expect(len(server.requests) == 1, f"{call} took {len(server.requests)} requests")

    def test_foreign_reference_is_rejected(self) -> None:
        """An answer about another sale is `Unknown`, or has the fields by which the core detects it."""
        for call, other, body in self._sales(f"{2:020d}", number=2):
            with self._provider_against(send_and_keep_open(http_response(body))) as (provider, _):
                ours = self.order(provider)
                answer = _verified(_call(provider, call, ours), ours)
                what = f"{call} for {ours.reference}, answered with the delivery of {other.reference}"
                _expect(isinstance(answer, Unknown), f"{what}, is {answer!r}")

    # --- unclear answers ---

    def test_vend_returns_unknown_after_fault(self, fault: Fault) -> None:
        """Without a clear answer after the first byte, a vend returns `Unknown`, in time, after one request."""
        with self._provider_against(fault.handler, fault.lasts_until_deadline) as (provider, server):
            answer = self._call_in_time(provider, "vend", self.order(provider))
            self._expect_doubt(answer, f"{fault}: vend")
            _expect(len(server.requests) == 1, f"{fault}: vend took {len(server.requests)} requests")

    def test_requery_verify_and_float_return_unknown_after_fault(self, fault: Fault) -> None:
        """The same for a requery, a verification and the balance."""
        with self._provider_against(fault.handler, fault.lasts_until_deadline) as (provider, server):
            for call, doubt in {
                "requery": Unknown,
                "verify": MeterLookupFailed,
                "fetch_float": Unknown,
            }.items():
                before = len(server.requests)
                answer = self._call_in_time(provider, call, self.order(provider))
                _expect(isinstance(answer, doubt), f"{fault}: {call} answered {answer!r}")
                took = len(server.requests) - before
                _expect(
                    took == 1 or (took == 0 and call != "requery"), f"{fault}: {call} took {took} requests"
                )

    def test_unexpected_body_returns_unknown(self) -> None:
        """An answer 200 with a body that means nothing is `Unknown`, for every form of body."""
        with self._provider_answered_with() as (provider, next_body):
            order = self.order(provider)
            for body in UNEXPECTED_BODIES:
                for call in ("vend", "requery"):
                    next_body[0] = body
                    self._expect_doubt(_call(provider, call, order), f"{call}, answered with {body[:40]!r},")

    def test_corrupt_delivery_is_never_not_sent_or_not_found(self) -> None:
        """Replace each value of a delivery in turn. Any answer but `NotSent` and `NotFound` is allowed."""
        for call, order, delivery in self._sales(f"{1:020d}"):
            with self._provider_answered_with() as (provider, next_body):
                for body in corrupt(delivery):
                    next_body[0] = body
                    answer = _call(provider, call, order)
                    _expect(
                        isinstance(answer, Answer) and not isinstance(answer, (NotSent, NotFound)),
                        f"{call}, answered with {body[:300]!r}, says {answer!r}",
                    )

    def test_truncated_delivery_returns_unknown(self) -> None:
        """A delivery that is cut off, too short, or followed by more."""
        for call, order, delivery in self._sales(f"{1:020d}"):
            half = delivery[: len(delivery) // 2]
            for what, data in (
                ("cut off on the way", http_response(delivery)[: -len(half)]),
                ("cut off at the source", http_response(half)),
                ("followed by more", http_response(delivery + delivery)),
            ):
                with self._provider_against(send_and_close(data)) as (provider, _):
                    self._expect_doubt(_call(provider, call, order), f"{call}, with a delivery {what},")

    def test_redirects_are_not_followed(self) -> None:
        """A redirect would send our keys and a second order to another host."""
        with FaultServer(Connection.close) as elsewhere:
            for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
                redirect = http_response(b"", status=status, headers=(f"Location: {elsewhere.url}/pay",))
                with self._provider_against(send_and_keep_open(redirect)) as (provider, server):
                    for call in CALL_NAMES:
                        answer = _call(provider, call, self.order(provider))
                        _expect(elsewhere.connections == 0, f"{call} followed a {status}")
                        _expect(
                            isinstance(answer, (Unknown, MeterLookupFailed)),
                            f"{call}, a {status}, answered {answer!r}",
                        )
                    _expect(len(server.requests) <= len(CALL_NAMES), f"after a {status} came another request")

    def test_answers_contain_no_secret(self) -> None:
        """The server echoes our request. Reasons are logged and shown, so they must contain no key."""

        def in_json(connection: Connection) -> None:
            request_text = connection.request.decode("latin-1")
            names = ("message", "error", "response_description", "responseMessage", "code", "status")
            connection.send(
                http_response(
                    json.dumps(dict.fromkeys(names, request_text)).encode(), status="400 Bad Request"
                )
            )

        def raw(connection: Connection) -> None:
            connection.send(b" ".join(connection.request.split(b"\r\n")[1:]) + b"\r\n\r\n")
            connection.close()

        for echo in (in_json, raw):
            with self._provider_against(echo) as (provider, _):
                for call in CALL_NAMES:
                    self._expect_no_secret(_call(provider, call, self.order(provider)), call)

    # --- connections, threads, close, webhooks ---

    def test_closed_idle_connection_does_not_repeat_vend(self) -> None:
        """The server closes its end between two calls. The second uses a new connection, or is in doubt."""
        with self._provider_against(send_and_close(http_response(b"{}"))) as (provider, server):
            for number in (1, 2):
                _call(provider, "vend", self.order(provider, number))
                server.has_no_connections(self.slack_seconds)
                _expect(
                    len(server.requests) <= number,
                    f"{number} calls took {len(server.requests)} requests",
                )

    def test_concurrent_vends_get_their_own_answers(self) -> None:
        """Several threads vend at once, and each gets its own answer."""
        answers: dict[int, object] = {}

        def sell(connection: Connection) -> None:
            server.has_requests(THREADS, CONNECT_TIMEOUT_SECONDS)  # so that all of them run at the same time
            for number, order in orders.items():
                if order.reference.encode() in connection.request:
                    connection.send(http_response(self.delivery_body(order, f"{number:020d}")))

        def buy(number: int) -> None:
            start.wait()
            answers[number] = _call(provider, "vend", orders[number])

        with self._provider_against(sell) as (provider, server):
            orders = {number: self.order(provider, number) for number in range(1, THREADS + 1)}
            start = threading.Barrier(THREADS)
            threads = [threading.Thread(target=buy, args=(number,)) for number in orders]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for number, order in orders.items():
                answer = answers.get(number)
                token = f"{number:020d}" if order.vend_type is VendType.PREPAID else None
                _expect(
                    isinstance(answer, Delivered) and answer.token == token,
                    f"thread {number} of {THREADS} got {answer!r}, not what was sold to it",
                )
            _expect(len(server.requests) == THREADS, f"it took {len(server.requests)} requests")

    def test_close_is_idempotent_and_frees_connections(self) -> None:
        """`close` may be called twice. It leaves no connection open."""
        with self._provider_against(send_and_keep_open(http_response(b"{}"))) as (provider, server):
            _call(provider, "requery", self.order(provider))
            for _ in range(2):
                with _expect_no_exception("close"):
                    provider.close()
            _expect(server.has_no_connections(self.slack_seconds), "a connection is open after close")

    def test_unknown_webhook_yields_no_references(self) -> None:
        """Anyone may post any body as a webhook. `parse_references` never raises, and finds none in a foreign body."""
        with self._provider(self.setup(UNUSED_URL)) as provider:
            delivery = self.delivery_body(self.order(provider), f"{1:020d}")
            for body in (*UNEXPECTED_BODIES, *corrupt(delivery)):
                with _expect_no_exception(f"parse_references({body[:300]!r})"):
                    references: object = provider.parse_references(body)
                _expect(
                    isinstance(references, tuple)
                    and all(isinstance(reference, str) for reference in references),
                    f"parse_references({body[:300]!r}) gave {references!r}",
                )
                _expect(
                    not references or body not in UNEXPECTED_BODIES,
                    f"it found {references!r} in {body[:300]!r}",
                )

    # --- helpers ---

    def pytest_generate_tests(self, metafunc: _Metafunc) -> None:
        """Run each test that takes a `fault` with every fault. Pytest calls this."""
        if "fault" in metafunc.fixturenames:
            metafunc.parametrize("fault", FAULTS, ids=str)

    @contextmanager
    def _provider(self, setup: ProviderSetup) -> Iterator[Provider]:
        provider = self.open_provider(setup)
        try:
            yield provider
        finally:
            with _expect_no_exception("close"):
                provider.close()

    @contextmanager
    def _provider_against(
        self, handler: Handler, lasts_until_deadline: bool = False
    ) -> Iterator[tuple[Provider, FaultServer]]:
        """The adapter against a server. Its deadline is short only if the server lets it pass."""
        with FaultServer(handler) as server:
            setup = self.setup(server.url)
            if not lasts_until_deadline:
                setup = replace(
                    setup, timeout_seconds=LONG_TIMEOUT_SECONDS, verify_timeout_seconds=LONG_TIMEOUT_SECONDS
                )
            with self._provider(setup) as provider:
                yield provider, server

    @contextmanager
    def _provider_answered_with(self) -> Iterator[tuple[Provider, list[bytes]]]:
        """The adapter, and the body of the next answer."""
        next_body = [b""]
        with self._provider_against(lambda connection: connection.send(http_response(next_body[0]))) as (
            provider,
            _,
        ):
            yield provider, next_body

    def _sales(self, token: str, number: int = 1) -> tuple[tuple[str, Order, bytes], ...]:
        """For vend and requery: the call, an order, and the body that says that it was sold."""
        with self._provider(self.setup(UNUSED_URL)) as provider:
            order = self.order(provider, number)
        return (
            ("vend", order, self.delivery_body(order, token)),
            ("requery", order, self.requery_delivery_body(order, token)),
        )

    def _call_in_time(self, provider: Provider, call: str, order: Order) -> object:
        began = time.monotonic()
        answer = _call(provider, call, order)
        took_seconds = time.monotonic() - began
        _expect(
            took_seconds <= self.timeout_seconds + self.slack_seconds,
            f"{call} took {took_seconds:.1f} s, and its deadline is {self.timeout_seconds} s in all",
        )
        return answer

    def _expect_doubt(self, answer: object, what: str) -> None:
        _expect(isinstance(answer, Unknown), f"{what} answered {answer!r}: nothing but Unknown is proven")

    def _expect_no_secret(self, value: object, what: str) -> None:
        setup = self.setup(UNUSED_URL)
        keys = {"API key": setup.api_key, "secret key": setup.secret_key}
        leaked = [name for name, key in keys.items() if key and key in repr(value)]
        _expect(not leaked, f"{what} repeats the {' and the '.join(leaked)}")


def _expect(holds: bool, message: str) -> None:
    """Assert with a message. Pytest does not rewrite `assert` in an installed package."""
    if not holds:
        raise AssertionError(message)


@contextmanager
def _expect_no_exception(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: an adapter must never raise") from error


def _call(provider: Provider, call: str, order: Order, may_send: Callable[[], bool] = lambda: True) -> object:
    with _expect_no_exception(call):
        match call:
            case "vend":
                return provider.vend(order, may_send)
            case "requery":
                return provider.requery(order)
            case "verify":
                return provider.verify(order.meter, order.biller, order.vend_type)
            case _:
                return provider.fetch_float()


def _verified(answer: object, order: Order) -> Answer:
    """The answer as the core records it."""
    return verify_answer(
        answer,
        reference=order.reference,
        meter=order.meter,
        biller=order.biller,
        amount_minor=order.amount.amount_minor,
        needs_token=order.vend_type is VendType.PREPAID,
    )
