"""What every provider adapter has to hold, as tests that its author runs."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol

from billvend.domain.abilities import Mode
from billvend.domain.money import Money, decimals
from billvend.domain.outcome import Answer, Delivered, NotFound, NotSent, Unknown, checked, sound
from billvend.domain.verification import CannotVerify
from billvend.domain.words import VendType
from billvend.ports.plug_in import ProviderSetup
from billvend.ports.provider import Order, Provider
from billvend.testing.faults import FAULTS, STRANGE_BODIES, Fault, damaged
from billvend.testing.other_side import Behaviour, OtherSide, Talk, answers, http_answer, says

NOW: Final = datetime(2026, 6, 15, 12, tzinfo=UTC)
LONGEST_REFERENCE: Final = 100
"""Characters."""
CONNECTING_SECONDS: Final = 0.3
"""How long the suite waits for a connection when it is asked whether the request may be sent."""
AMPLE_SECONDS: Final = 10.0
"""The deadline of a call that is to come to its end."""
THREADS: Final = 8
NOWHERE: Final = "http://127.0.0.1:9"
"""For what opens no connection."""
CALLS: Final = ("vend", "requery", "verify", "ask_float")
"""The calls that go to the other side."""
_WHERE_NOBODY_LISTENS: Final = {
    "vend": NotSent, "requery": NotSent | Unknown, "verify": CannotVerify, "ask_float": Unknown,
}  # fmt: skip


class _Metafunc(Protocol):
    """What pytest hands to `pytest_generate_tests`, as far as it is used here."""

    fixturenames: list[str]

    def parametrize(self, argnames: str, argvalues: Iterable[object], *, ids: Callable[[Any], str]) -> None:
        """Run a test once for each of these values."""


class ProviderConformance:
    """The suite. Subclass it in a module that pytest collects, as a class whose name begins with `Test`, and say how
    your adapter is opened and what your provider answers when it has sold.

    Each test opens the adapter anew, in front of a server on loopback whose URL is in the setup. A test that does not
    suit a provider may be overridden, with the reason.
    """

    name: str = "conformance"
    """The name of the entry point."""
    timeout_seconds: float = 0.4
    """The total deadline of a call, where the other side lets it pass."""
    slack_seconds: float = 2.0
    """How much later than its deadline a call may come back: the machine may be busy."""

    # --- what the author says ---

    def open_provider(self, setup: ProviderSetup) -> Provider:
        """The entry point."""
        raise NotImplementedError("say how the adapter is opened")

    def delivery(self, order: Order, token: str) -> bytes:
        """The body of the HTTP 200 with which the provider states that it sold this order, in full, with this token
        (20 digits) if the order is for a prepaid meter."""
        raise NotImplementedError("say what the provider answers when it has sold")

    def found(self, order: Order, token: str) -> bytes:
        """The same on a requery, where that has another shape."""
        return self.delivery(order, token)

    def setup(self, url: str) -> ProviderSetup:
        """The settings that the adapter is opened with. Override it where keys must have a form."""
        return ProviderSetup(
            name=self.name,
            api_url=url,
            api_key="conformance-api-key",
            public_key="conformance-public-key",
            secret_key="conformance-secret-key",  # noqa: S106  no secret but a word to look for
            timeout_seconds=self.timeout_seconds,
            verify_timeout_seconds=self.timeout_seconds,
            phone="08000000000",
            max_processing_seconds=600,
            currency="NGN",
            now=lambda: NOW,
            pause=lambda seconds: None,
        )

    def order(self, provider: Provider, number: int = 1) -> Order:
        """An order that the provider can sell; another number is another sale in everything."""
        abilities = provider.abilities
        sells = [(biller.code, kind) for biller in abilities.billers for kind in biller.vend_types]
        biller, vend_type = next((sale for sale in sells if sale[1] is VendType.PREPAID), sells[0])
        reference = abilities.make_reference(f"payment-{number}", 1, abilities.day(NOW))
        amount = Money((1000 + number) * 10 ** decimals(abilities.currency), abilities.currency)
        return Order(reference, f"{10_000_000_000 + number}", biller, vend_type, amount, "08000000000")

    # --- abilities ---

    def test_what_it_declares_is_sane(self) -> None:
        """Its abilities: complete, the same at every look, and no shorter processing time than configured."""
        patient = replace(self.setup(NOWHERE), max_processing_seconds=7777)
        with self._opened(patient) as provider:
            abilities = provider.abilities
            again = provider.abilities
            codes = [biller.code for biller in abilities.billers]
            _expect(
                abilities.provider == self.name, f"it is called {abilities.provider!r}, not {self.name!r}"
            )
            _expect(abilities.mode in Mode, f"its mode is {abilities.mode!r}")
            _expect(bool(codes), "it sells for no electricity company")
            _expect(len(codes) == len(set(codes)), f"an electricity company is there twice: {codes}")
            _expect(
                all(biller.code and biller.name and biller.vend_types for biller in abilities.billers),
                "an electricity company has no code, no name or nothing to sell",
            )
            decimals(abilities.currency)
            _expect(abs(abilities.utc_offset) <= timedelta(hours=14), "no clock is so far from UTC")
            _expect(
                abilities.max_processing_seconds >= 7777,
                "a setting can lengthen max_processing_seconds, and an adapter can't shorten it",
            )
            _expect(
                (abilities.account, abilities.billers) == (again.account, again.billers),
                "it declares something else at every look",
            )

    def test_the_account_tells_accounts_apart_and_gives_no_key_away(self) -> None:
        """A fingerprint of host and key id: the same for the same, another for another, and never a key itself."""
        here = self.setup(NOWHERE)
        other_keys = replace(
            here,
            api_key=f"another-{here.api_key}",
            public_key=here.public_key and f"another-{here.public_key}",
            secret_key=here.secret_key and f"another-{here.secret_key}",
        )
        with (
            self._opened(here) as one,
            self._opened(here) as same,
            self._opened(replace(here, api_url="http://localhost:9")) as elsewhere,
            self._opened(other_keys) as another,
        ):
            account = one.abilities.account
            _expect(bool(account) and account.isprintable(), f"the account is {account!r}")
            _expect(account == same.abilities.account, "the same account has two names")
            _expect(account != elsewhere.abilities.account, "accounts on two hosts have one name")
            _expect(account != another.abilities.account, "accounts with two keys have one name")
            self._expect_no_secret(one.abilities, "the abilities")

    def test_references_are_pure_short_and_never_shared(self) -> None:
        """The reference: a pure function of payment, attempt and day."""
        with self._opened(self.setup(NOWHERE)) as provider:
            abilities = provider.abilities
            day = date(2026, 6, 15)
            payments = (
                "0190a5d0-7c1e-7f3a-9b55-1f2e3d4c5b6a",
                "0190a5d0-7c1e-7f3a-9b55-1f2e3d4c5b6b",
                "p",
                "p1",
            )
            asked = [(payment, attempt, day) for payment in payments for attempt in (1, 2, 11)]
            made = [abilities.make_reference(*which) for which in asked]
            with self._opened(self.setup(NOWHERE)) as other:
                again = [other.abilities.make_reference(*which) for which in asked]
            _expect(made == again, "restored books would derive another reference, and buy twice")
            _expect(len(set(made)) == len(made), "two attempts share a reference")
            for reference in made:
                _expect(
                    0 < len(reference) <= LONGEST_REFERENCE
                    and reference.isascii()
                    and reference.isprintable()
                    and " " not in reference,
                    f"a reference is up to {LONGEST_REFERENCE} printable ASCII characters: {reference!r}",
                )
            if abilities.reference_lasts_a_day:
                tomorrow = abilities.make_reference(payments[0], 1, day + timedelta(days=1))
                _expect(tomorrow != made[0], "a reference that lasts a day is the same on the next one")

    # --- leave to send ---

    def test_it_asks_for_leave_immediately_before_the_first_byte(self) -> None:
        """`may_send` is asked when the connection stands, and before anything went over it."""
        asked: list[tuple[bool, int]] = []

        def may_send() -> bool:
            asked.append((other_side.has_connection(CONNECTING_SECONDS), len(other_side.received)))
            return True

        with self._facing(Talk.hang_up) as (provider, other_side):
            _ask(provider, "vend", self.order(provider), may_send)
            _expect(bool(asked), "it never asked whether it may send")
            _expect(all(received == 0 for _, received in asked), "it asked after it had begun to send")
            _expect(
                asked[-1][0], "it asked before it connected: connecting may take longer than the leave lasts"
            )

    def test_without_leave_it_sends_nothing(self) -> None:
        """The leave was never there: no byte is sent, and it says so."""
        with self._facing(Talk.hang_up) as (provider, other_side):
            answer = _ask(provider, "vend", self.order(provider), lambda: False)
            _expect(not other_side.received, "without leave, it sent all the same")
            _expect(isinstance(answer, NotSent), f"without leave, it answered {answer!r} and not NotSent")

    def test_when_the_leave_runs_out_it_sends_nothing(self) -> None:
        """The leave ran out while it connected."""
        with self._facing(Talk.hang_up) as (provider, other_side):
            order = self.order(provider)
            answer = _ask(provider, "vend", order, lambda: not other_side.has_connection(CONNECTING_SECONDS))
            _expect(
                not other_side.received, "the leave had run out while it connected, and it sent all the same"
            )
            _expect(
                isinstance(answer, NotSent), f"the leave had run out, and it answered {answer!r}, not NotSent"
            )

    def test_where_nobody_listens_nothing_is_sent(self) -> None:
        """A refused connection is NotSent: the one failure after which sending again is safe."""
        with OtherSide(Talk.hang_up) as gone:
            url = gone.url
        with self._opened(self.setup(url)) as provider:
            for call, proven in _WHERE_NOBODY_LISTENS.items():
                answer = self._timely(provider, call, self.order(provider))
                _expect(isinstance(answer, proven), f"the port was closed, and {call} answered {answer!r}")

    # --- what is understood ---

    def test_a_delivery_is_told(self) -> None:
        """What `delivery` and `found` say is understood, or the rest of this suite would prove little."""
        token = f"{1:020d}"
        for call, order, body in self._sales(token):
            with self._facing(answers(http_answer(body))) as (provider, other_side):
                answer = _ask(provider, call, order)
                _expect(isinstance(_judged(answer, order), Delivered), f"{call}: a delivery is {answer!r}")
                if order.vend_type is VendType.PREPAID:
                    _expect(getattr(answer, "token", None) == token, f"{call}: the token is lost: {answer!r}")
                _expect(len(other_side.requests) == 1, f"{call} took {len(other_side.requests)} requests")

    def test_another_s_delivery_is_not_ours(self) -> None:
        """An answer that names another sale is told as such, or comes with the names by which the core sees it."""
        for call, other, body in self._sales(f"{2:020d}", number=2):
            with self._facing(answers(http_answer(body))) as (provider, _):
                ours = self.order(provider)
                answer = _judged(_ask(provider, call, ours), ours)
                what = f"{call} for {ours.reference}, answered with the delivery of {other.reference}"
                _expect(isinstance(answer, Unknown), f"{what}, is {answer!r}")

    # --- what is not understood ---

    def test_vend_never_guesses(self, fault: Fault) -> None:
        """After the first byte, without a clear answer: Unknown, in time, with one request."""
        with self._facing(fault.behave, fault.lasts) as (provider, other_side):
            answer = self._timely(provider, "vend", self.order(provider))
            self._expect_doubt(answer, f"{fault}: vend")
            _expect(len(other_side.requests) == 1, f"{fault}: vend took {len(other_side.requests)} requests")

    def test_asking_never_guesses(self, fault: Fault) -> None:
        """The same for a requery, a verification and our balance."""
        with self._facing(fault.behave, fault.lasts) as (provider, other_side):
            for call, doubt in {"requery": Unknown, "verify": CannotVerify, "ask_float": Unknown}.items():
                before = len(other_side.requests)
                answer = self._timely(provider, call, self.order(provider))
                _expect(isinstance(answer, doubt), f"{fault}: {call} answered {answer!r}")
                took = len(other_side.requests) - before
                _expect(
                    took == 1 or (took == 0 and call != "requery"), f"{fault}: {call} took {took} requests"
                )

    def test_strange_bodies_prove_nothing(self) -> None:
        """An answer 200 with a body that says nothing is Unknown, whatever shape that body has."""
        with self._answering() as (provider, next_body):
            order = self.order(provider)
            for body in STRANGE_BODIES:
                for call in ("vend", "requery"):
                    next_body[0] = body
                    self._expect_doubt(_ask(provider, call, order), f"{call}, answered with {body[:40]!r},")

    def test_a_damaged_delivery_never_raises_and_never_says_that_nothing_was_sent(self) -> None:
        """Each value of a delivery in turn is something else: whatever that is taken for, it was sent and found."""
        for call, order, sold in self._sales(f"{1:020d}"):
            with self._answering() as (provider, next_body):
                for body in damaged(sold):
                    next_body[0] = body
                    answer = _ask(provider, call, order)
                    _expect(
                        isinstance(answer, Answer) and not isinstance(answer, (NotSent, NotFound)),
                        f"{call}, answered with {body[:300]!r}, says {answer!r}",
                    )

    def test_half_a_delivery_is_none(self) -> None:
        """Cut off on the way, cut off at the source, or followed by more."""
        for call, order, sold in self._sales(f"{1:020d}"):
            half = sold[: len(sold) // 2]
            for what, data in (
                ("cut off on the way", http_answer(sold)[: -len(half)]),
                ("cut off at the source", http_answer(half)),
                ("followed by more", http_answer(sold + sold)),
            ):
                with self._facing(says(data)) as (provider, _):
                    self._expect_doubt(_ask(provider, call, order), f"{call}, with a delivery {what},")

    def test_redirects_are_not_followed(self) -> None:
        """A redirect would carry our keys and a second sale to wherever it points."""
        with OtherSide(Talk.hang_up) as elsewhere:
            for status in ("301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"):
                away = http_answer(b"", status=status, headers=(f"Location: {elsewhere.url}/pay",))
                with self._facing(answers(away)) as (provider, other_side):
                    for call in CALLS:
                        answer = _ask(provider, call, self.order(provider))
                        _expect(elsewhere.connections == 0, f"{call} followed a {status}")
                        _expect(
                            isinstance(answer, (Unknown, CannotVerify)),
                            f"{call}, a {status}, answered {answer!r}",
                        )
                    _expect(len(other_side.requests) <= len(CALLS), f"after a {status} came another request")

    def test_no_secret_is_repeated(self) -> None:
        """The other side throws our own request back at us; reasons are logged and shown, so no key may be in one."""

        def in_json(talk: Talk) -> None:
            said = talk.request.decode("latin-1")
            names = ("message", "error", "response_description", "responseMessage", "code", "status")
            talk.say(http_answer(json.dumps(dict.fromkeys(names, said)).encode(), status="400 Bad Request"))

        def raw(talk: Talk) -> None:
            talk.say(b" ".join(talk.request.split(b"\r\n")[1:]) + b"\r\n\r\n")
            talk.hang_up()

        for echo in (in_json, raw):
            with self._facing(echo) as (provider, _):
                for call in CALLS:
                    self._expect_no_secret(_ask(provider, call, self.order(provider)), call)

    # --- connections, threads, the end ---

    def test_a_connection_that_was_closed_meanwhile_sells_nothing_twice(self) -> None:
        """The server closed its end between two calls: the second works on a new connection, or is in doubt."""
        with self._facing(says(http_answer(b"{}"))) as (provider, other_side):
            for number in (1, 2):
                _ask(provider, "vend", self.order(provider, number))
                other_side.is_left_alone(self.slack_seconds)
                _expect(
                    len(other_side.requests) <= number,
                    f"{number} calls took {len(other_side.requests)} requests",
                )

    def test_threads_do_not_disturb_each_other(self) -> None:
        """Several threads sell at once, and each gets its own answer."""
        told: dict[int, object] = {}

        def sell(talk: Talk) -> None:
            other_side.has_requests(THREADS, CONNECTING_SECONDS)  # so that they are at it at the same time
            for number, order in orders.items():
                if order.reference.encode() in talk.request:
                    talk.say(http_answer(self.delivery(order, f"{number:020d}")))

        def buy(number: int) -> None:
            start.wait()
            told[number] = _ask(provider, "vend", orders[number])

        with self._facing(sell) as (provider, other_side):
            orders = {number: self.order(provider, number) for number in range(1, THREADS + 1)}
            start = threading.Barrier(THREADS)
            threads = [threading.Thread(target=buy, args=(number,)) for number in orders]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for number, order in orders.items():
                answer = told.get(number)
                token = f"{number:020d}" if order.vend_type is VendType.PREPAID else None
                _expect(
                    isinstance(answer, Delivered) and answer.token == token,
                    f"thread {number} of {THREADS} got {answer!r}, not what was sold to it",
                )
            _expect(len(other_side.requests) == THREADS, f"it took {len(other_side.requests)} requests")

    def test_it_closes_twice_and_gives_its_connections_back(self) -> None:
        """`close` may come again, and leaves no connection open."""
        with self._facing(answers(http_answer(b"{}"))) as (provider, other_side):
            _ask(provider, "requery", self.order(provider))
            for _ in range(2):
                with _raising_nothing("close"):
                    provider.close()
            _expect(other_side.is_left_alone(self.slack_seconds), "a connection is open after close")

    def test_hooks_of_nobody_are_about_nothing(self) -> None:
        """Anybody may post anything where hooks come in: it never raises, and finds references in its own hooks only."""
        with self._opened(self.setup(NOWHERE)) as provider:
            sold = self.delivery(self.order(provider), f"{1:020d}")
            for hook in (*STRANGE_BODIES, *damaged(sold)):
                with _raising_nothing(f"references_in({hook[:300]!r})"):
                    found: object = provider.references_in(hook)
                _expect(
                    isinstance(found, tuple) and all(isinstance(reference, str) for reference in found),
                    f"references_in({hook[:300]!r}) gave {found!r}",
                )
                _expect(not found or hook not in STRANGE_BODIES, f"it found {found!r} in {hook[:300]!r}")

    # --- how it is done ---

    def pytest_generate_tests(self, metafunc: _Metafunc) -> None:
        """Each test that takes a `fault` is run with all of them. Called by pytest."""
        if "fault" in metafunc.fixturenames:
            metafunc.parametrize("fault", FAULTS, ids=str)

    @contextmanager
    def _opened(self, setup: ProviderSetup) -> Iterator[Provider]:
        provider = self.open_provider(setup)
        try:
            yield provider
        finally:
            with _raising_nothing("close"):
                provider.close()

    @contextmanager
    def _facing(self, behave: Behaviour, lasts: bool = False) -> Iterator[tuple[Provider, OtherSide]]:
        """The adapter in front of a server; its deadline is short only where the other side lets it pass."""
        with OtherSide(behave) as other_side:
            setup = self.setup(other_side.url)
            if not lasts:
                setup = replace(setup, timeout_seconds=AMPLE_SECONDS, verify_timeout_seconds=AMPLE_SECONDS)
            with self._opened(setup) as provider:
                yield provider, other_side

    @contextmanager
    def _answering(self) -> Iterator[tuple[Provider, list[bytes]]]:
        """The adapter, and the body that the server will answer with next."""
        next_body = [b""]
        with self._facing(lambda talk: talk.say(http_answer(next_body[0]))) as (
            provider,
            _,
        ):
            yield provider, next_body

    def _sales(self, token: str, number: int = 1) -> tuple[tuple[str, Order, bytes], ...]:
        """A call, an order, and what says that it was sold."""
        with self._opened(self.setup(NOWHERE)) as provider:
            order = self.order(provider, number)
        return (("vend", order, self.delivery(order, token)), ("requery", order, self.found(order, token)))

    def _timely(self, provider: Provider, call: str, order: Order) -> object:
        began = time.monotonic()
        answer = _ask(provider, call, order)
        took_seconds = time.monotonic() - began
        _expect(
            took_seconds <= self.timeout_seconds + self.slack_seconds,
            f"{call} took {took_seconds:.1f} s, and its deadline is {self.timeout_seconds} s in all",
        )
        return answer

    def _expect_doubt(self, answer: object, what: str) -> None:
        _expect(isinstance(answer, Unknown), f"{what} answered {answer!r}: nothing but Unknown is proven")

    def _expect_no_secret(self, said: object, what: str) -> None:
        setup = self.setup(NOWHERE)
        keys = {"API key": setup.api_key, "secret key": setup.secret_key}
        told = [name for name, key in keys.items() if key and key in repr(said)]
        _expect(not told, f"{what} repeats the {' and the '.join(told)}")


def _expect(holds: bool, message: str) -> None:
    """An assertion that says what is wrong by itself: pytest rewrites no `assert` in an installed package."""
    if not holds:
        raise AssertionError(message)


@contextmanager
def _raising_nothing(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__}: an adapter answers, whatever comes"
        ) from error


def _ask(provider: Provider, call: str, order: Order, may_send: Callable[[], bool] = lambda: True) -> object:
    with _raising_nothing(call):
        match call:
            case "vend":
                return provider.vend(order, may_send)
            case "requery":
                return provider.requery(order)
            case "verify":
                return provider.verify(order.meter, order.biller, order.vend_type)
            case _:
                return provider.ask_float()


def _judged(answer: object, order: Order) -> Answer:
    """The answer as the core takes it."""
    return checked(
        sound(answer),
        reference=order.reference,
        meter=order.meter,
        amount_minor=order.amount.amount_minor,
        token_needed=order.vend_type is VendType.PREPAID,
    )
