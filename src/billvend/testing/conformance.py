"""What every provider adapter must do, as tests that its author runs."""

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterLookupFailed
from billvend.domain.outcome import Answer, Delivered, NotFound, NotSent, Unknown
from billvend.testing.account_conformance import AccountConformance
from billvend.testing.fault_server import (
    Connection,
    FaultServer,
    http_response,
    send_and_close,
    send_and_keep_open,
)
from billvend.testing.harness import (
    ask,
    expect,
    expect_answer,
    expect_doubt,
    verified,
)
from billvend.testing.server_faults import FAULTS, UNEXPECTED_BODIES, Fault, corrupt

CONNECT_TIMEOUT_SECONDS: Final = 0.3
"""How long `may_send` of the suite waits for the connection."""
THREADS: Final = 8
ANSWER_WHEN_UNREACHABLE: Final = {
    "vend": NotSent, "requery": NotSent | Unknown, "verify": MeterLookupFailed, "fetch_float": Unknown,
}  # fmt: skip
"""By the calls that send a request to the provider."""


class _Metafunc(Protocol):
    """The part of pytest's Metafunc that is used here."""

    fixturenames: list[str]

    def parametrize(self, argnames: str, argvalues: Iterable[object], *, ids: Callable[[Any], str]) -> None:
        """Run a test once for each of these values."""


class ProviderConformance(AccountConformance):
    """The suite. Subclass it in a module that pytest collects, as a class whose name begins with `Test`. Define how to
    open your adapter and how your provider answers a sale.

    Each test opens a new adapter against a server on loopback, whose URL is in the setup. If a test does not fit your
    provider, override it and give the reason.
    """

    def pytest_generate_tests(self, metafunc: _Metafunc) -> None:
        """Run each test that takes a `fault` with every fault. Pytest calls this."""
        if "fault" in metafunc.fixturenames:
            metafunc.parametrize("fault", FAULTS, ids=str)

    # --- may_send ---

    def test_vend_calls_may_send_after_connect_before_first_byte(self) -> None:
        """`may_send` is called when the connection is open, and before any byte is sent."""
        calls: list[tuple[bool, int]] = []

        def may_send() -> bool:
            calls.append((server.has_connection(CONNECT_TIMEOUT_SECONDS), len(server.received_bytes)))
            return True

        with self._provider_against(Connection.close) as (provider, server):
            ask(provider, "vend", self.order(provider), may_send)
            expect(bool(calls), "it never called may_send")
            expect(all(received == 0 for _, received in calls), "it called may_send after the first byte")
            expect(
                calls[-1][0],
                "it called may_send before it connected, but connecting may take longer than the permission lasts",
            )

    def test_vend_sends_nothing_when_may_send_is_false(self) -> None:
        """Without permission it sends no byte and returns `NotSent`."""
        with self._provider_against(Connection.close) as (provider, server):
            answer = ask(provider, "vend", self.order(provider), lambda: False)
            expect(not server.received_bytes, "may_send returned False, but it sent")
            expect_answer(answer, NotSent, "may_send returned False, and it")

    def test_vend_sends_nothing_when_may_send_expires_during_connect(self) -> None:
        """The permission expires while it connects."""
        with self._provider_against(Connection.close) as (provider, server):
            order = self.order(provider)
            answer = ask(provider, "vend", order, lambda: not server.has_connection(CONNECT_TIMEOUT_SECONDS))
            expect(not server.received_bytes, "the permission expired while it connected, but it sent")
            expect_answer(answer, NotSent, "the permission expired, and it")

    def test_refused_connection_returns_not_sent(self) -> None:
        """A refused connection is `NotSent`. Only then is it safe to send again."""
        with FaultServer(Connection.close) as gone:
            url = gone.url
        with self._provider(self.setup(url)) as provider:
            for call, proven in ANSWER_WHEN_UNREACHABLE.items():
                answer = self._call_in_time(provider, call, self.order(provider))
                expect_answer(answer, proven, f"the port was closed, and {call}")

    # --- clear answers ---

    def test_delivery_is_recognised(self) -> None:
        """The adapter recognises a delivery. Without this the rest of the suite would prove little."""
        token = f"{1:020d}"
        for call, order, body in self._sales(token):
            with self._provider_against(send_and_keep_open(http_response(body))) as (provider, server):
                answer = ask(provider, call, order)
                expect(isinstance(verified(answer, order), Delivered), f"{call}: a delivery is {answer!r}")
                if order.vend_type is VendType.PREPAID:
                    expect(getattr(answer, "token", None) == token, f"{call}: the token is lost: {answer!r}")
                expect(len(server.requests) == 1, f"{call} took {len(server.requests)} requests")

    def test_foreign_reference_is_rejected(self) -> None:
        """An answer about another sale is `Unknown`, or has the fields by which the core detects it."""
        for call, other, body in self._sales(f"{2:020d}", number=2):
            with self._provider_against(send_and_keep_open(http_response(body))) as (provider, _):
                ours = self.order(provider)
                answer = verified(ask(provider, call, ours), ours)
                what = f"{call} for {ours.reference}, answered with the delivery of {other.reference}"
                expect(isinstance(answer, Unknown), f"{what}, is {answer!r}")

    # --- unclear answers ---

    def test_vend_returns_unknown_after_fault(self, fault: Fault) -> None:
        """Without a clear answer after the first byte, a vend returns `Unknown`, in time, after one request."""
        with self._provider_against(fault.handler, fault.lasts_until_deadline) as (provider, server):
            answer = self._call_in_time(provider, "vend", self.order(provider))
            expect_doubt(answer, f"{fault}: vend")
            expect(len(server.requests) == 1, f"{fault}: vend took {len(server.requests)} requests")

    def test_requery_verify_and_float_return_unknown_after_fault(self, fault: Fault) -> None:
        """The same for a requery, a verification and the balance."""
        with self._provider_against(fault.handler, fault.lasts_until_deadline) as (provider, server):
            for call in ("requery", "verify", "fetch_float"):
                before = len(server.requests)
                answer = self._call_in_time(provider, call, self.order(provider))
                expect_answer(answer, MeterLookupFailed if call == "verify" else Unknown, f"{fault}: {call}")
                took = len(server.requests) - before
                is_right = took == 1 or (took == 0 and call != "requery")
                expect(is_right, f"{fault}: {call} took {took} requests")

    def test_unexpected_body_returns_unknown(self) -> None:
        """An answer 200 with a body that means nothing is `Unknown`, for every form of body."""
        with self._provider_answered_with() as (provider, next_body):
            order = self.order(provider)
            for body in UNEXPECTED_BODIES:
                for call in ("vend", "requery"):
                    next_body[0] = body
                    expect_doubt(ask(provider, call, order), f"{call}, answered with {body[:40]!r},")

    def test_corrupt_delivery_is_never_not_sent_or_not_found(self) -> None:
        """Replace each value of a delivery in turn. Any answer but `NotSent` and `NotFound` is allowed."""
        for call, order, delivery in self._sales(f"{1:020d}"):
            with self._provider_answered_with() as (provider, next_body):
                for body in corrupt(delivery):
                    next_body[0] = body
                    answer = ask(provider, call, order)
                    expect(
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
                    expect_doubt(ask(provider, call, order), f"{call}, with a delivery {what},")

    def test_redirects_are_not_followed(self) -> None:
        """A redirect would send our keys and a second order to another host."""
        with FaultServer(Connection.close) as elsewhere:
            for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
                redirect = http_response(b"", status=status, headers=(f"Location: {elsewhere.url}/pay",))
                with self._provider_against(send_and_keep_open(redirect)) as (provider, server):
                    for call in ANSWER_WHEN_UNREACHABLE:
                        answer = ask(provider, call, self.order(provider))
                        expect(elsewhere.connections == 0, f"{call} followed a {status}")
                        expect_answer(answer, (Unknown, MeterLookupFailed), f"{call}, after a {status},")
                    is_right = len(server.requests) <= len(ANSWER_WHEN_UNREACHABLE)
                    expect(is_right, f"after a {status} came another request")

    def test_answers_contain_no_secret(self) -> None:
        """The server echoes our request. Reasons are logged and shown, so they must contain no key."""

        def in_json(connection: Connection) -> None:
            request_text = connection.request.decode("latin-1")
            names = ("message", "error", "response_description", "responseMessage", "code", "status")
            body = json.dumps(dict.fromkeys(names, request_text)).encode()
            connection.send(http_response(body, status="400 Bad Request"))

        def raw(connection: Connection) -> None:
            connection.send(b" ".join(connection.request.split(b"\r\n")[1:]) + b"\r\n\r\n")
            connection.close()

        for echo in (in_json, raw):
            with self._provider_against(echo) as (provider, _):
                for call in ANSWER_WHEN_UNREACHABLE:
                    self._expect_no_secret(ask(provider, call, self.order(provider)), call)

    # --- connections, threads ---

    def test_closed_idle_connection_does_not_repeat_vend(self) -> None:
        """The server closes its end between two calls. The second uses a new connection, or is in doubt."""
        with self._provider_against(send_and_close(http_response(b"{}"))) as (provider, server):
            for number in (1, 2):
                ask(provider, "vend", self.order(provider, number))
                server.has_no_connections(self.slack_seconds)
                taken = len(server.requests)
                expect(taken <= number, f"{number} calls took {taken} requests")

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
            answers[number] = ask(provider, "vend", orders[number])

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
                expect(
                    isinstance(answer, Delivered) and answer.token == token,
                    f"thread {number} of {THREADS} got {answer!r}, not what was sold to it",
                )
            expect(len(server.requests) == THREADS, f"it took {len(server.requests)} requests")
