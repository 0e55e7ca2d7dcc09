"""The providers: two that really sell (the sandbox's own simulator and store), and the connections to them.

What a provider does with a request, and what happens to the answer, is drawn when the request is sent. The store
records what was really sold. The invariant checks read it, and billvend never sees it.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from billvend.adapters.providers.billers import BILLERS
from billvend.adapters.providers.sandbox.faults import DeliveryFault, SandboxFault
from billvend.adapters.providers.sandbox.sale import SaleStatus
from billvend.adapters.providers.sandbox.sales_store import SalesStore
from billvend.adapters.providers.sandbox.simulator import SimulatedReply, Simulator
from billvend.domain.enums import VendType
from billvend.domain.meter_lookup import MeterFound, MeterLookupResult
from billvend.domain.money import Money
from billvend.domain.outcome import Answer, Misconfigured, NotSent, Unknown
from billvend.domain.policy.accounts import Mode, ProviderAccount
from billvend.ports.provider import Order

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.simulation import Simulation

TIMEOUT_SECONDS: Final = 10.0
MAX_PROCESSING_SECONDS: Final = 300
UTC_OFFSET: Final = timedelta(hours=1)

REFUSED: Final = "connection refused"
LATE: Final = "lands late"
TOO_LATE: Final = "lands later than declared"
FORGOTTEN: Final = "taken note of, then forgotten"

OUTCOMES: Final[tuple[tuple[int, str, int], ...]] = (
    # weight, what happens, and the highest number of requeries that it lasts
    (746, "none", 0),
    (10, REFUSED, 0),
    (20, LATE, 0),
    (5, TOO_LATE, 0),
    (5, FORGOTTEN, 0),
    (20, "declined", 0),
    (5, "maintenance", 0),
    (5, "not_initiated", 0),
    (2, "low_float", 0),
    (2, "bad_credentials", 0),
    (15, "likely_duplicate", 0),
    (15, "timeout", 0),
    (10, "drop", 0),
    (15, "cut", 0),
    (10, "html_500", 0),
    (5, "html_500_unsold", 0),
    (5, "slow", 0),
    (10, "pending_then_delivered", 6),
    (10, "pending_then_failed", 6),
    (5, "pending_for_ever", 20),
    (5, "initiated_then_delivered", 4),
    (10, "no_token_until", 4),
    (10, "other_meter", 0),
    (5, "duplicate_reference", 0),
    (5, "system_error", 0),
    (5, "unlisted_code", 0),
    (10, "requery_cut", 10),
    (5, "requery_too_early", 4),
    (5, "key_change", 0),
    (20, "taken_back_with_hook", 0),
)
_WEIGHTS: Final = tuple(weight for weight, _, _ in OUTCOMES)


class SimulatedProvider:
    """One provider account, which counts as up unless the fault injector took it down."""

    def __init__(self, simulation: "Simulation", name: str, *, reference_lasts_a_day: bool) -> None:
        self.simulation = simulation
        self.sales = SalesStore(":memory:")
        self.simulator = Simulator(self.sales, currency="NGN", now=lambda: simulation.true_time)
        self.down_until = 0.0
        self.in_transit: set[str] = set()
        """References that were sent and have not arrived yet."""
        self.landed_late: set[str] = set()
        """References that arrived later than this provider declares to be possible."""
        self.account = ProviderAccount(
            provider=name,
            account_id=f"{name}-1",
            mode=Mode.TEST,
            billers=BILLERS,
            currency="NGN",
            make_reference=_reference_maker(name, reference_lasts_a_day),
            utc_offset=UTC_OFFSET,
            reference_lasts_a_day=reference_lasts_a_day,
            max_processing_seconds=MAX_PROCESSING_SECONDS,
        )

    @property
    def is_down(self) -> bool:
        """Whether no process can reach it."""
        return self.simulation.scheduler.seconds < self.down_until

    def may_still_sell(self, reference: str) -> bool:
        """Whether something was sold under a reference, or may yet be."""
        entry = self.sales.find(reference)
        open_ = (SaleStatus.RECEIVED, SaleStatus.PENDING, SaleStatus.VENDED)
        return reference in self.in_transit or (entry is not None and entry.status in open_)

    def land_later(self, order: Order, after_seconds: float) -> None:
        """A request that takes so long to arrive."""

        def land() -> None:
            self.in_transit.discard(order.reference)
            self.simulator.send(order)

        self.in_transit.add(order.reference)
        self.simulation.scheduler.at(after_seconds, land)

    def take_back_later(self, reference: str) -> None:
        """Reverse the sale, and send a webhook about it."""

        def take_back() -> None:
            self.sales.reverse_sale(reference)
            self.simulation.webhooks.append((self.account.provider, reference))

        self.simulation.scheduler.at(self.simulation.chance.uniform(1, 900), take_back)


class ProviderConnection:
    """The provider as one process sees it: `billvend.ports.provider.Provider`."""

    def __init__(self, provider: SimulatedProvider, process: "Process") -> None:
        self._provider = provider
        self._process = process
        self._simulation = provider.simulation

    @property
    def account(self) -> ProviderAccount:
        """What the account declares about itself."""
        return self._provider.account

    def vend(self, order: Order, may_send: Callable[[], bool]) -> Answer:
        """A send, with a random fault."""
        provider, chance = self._provider, self._simulation.chance
        self._process.crash_point("before a call", may_stall=True)
        if provider.is_down:
            return NotSent(REFUSED)
        _, outcome, most_requeries = self._simulation.draw_outcome(OUTCOMES, _WEIGHTS)
        if outcome == REFUSED:
            return NotSent(REFUSED)
        if not may_send():
            self._simulation.observed["too late to send"] += 1
            return NotSent("too late to send")
        self._check(order)
        self._simulation.check_send(order.reference)
        if outcome in (LATE, TOO_LATE):
            return self._delayed_request(order, too_late=outcome == TOO_LATE)
        if outcome == FORGOTTEN:
            self._process.crash_point("after a call", may_stall=True)
            return Unknown("accepted", known_to_provider=True)
        lasting = chance.randint(1, most_requeries) if most_requeries else None
        reply = provider.simulator.send(
            order, fault=None if outcome == "none" else SandboxFault(outcome, lasting)
        )
        if outcome == "taken_back_with_hook" and provider.sales.sale_count(order.reference):
            provider.take_back_later(order.reference)
        return self._receive(reply)

    def requery(self, order: Order) -> Answer:
        """A requery, which may get no answer."""
        self._process.crash_point("before a call", may_stall=True)
        if self._provider.is_down:
            return Unknown(REFUSED)
        reply = self._provider.simulator.requery(order.reference)
        if self._simulation.fault_occurs(0.02, "a requery's answer lost"):
            self._simulation.scheduler.sleep(TIMEOUT_SECONDS)
            return Unknown("no answer")
        return self._receive(reply)

    def verify(self, meter: str, biller: str, vend_type: VendType) -> MeterLookupResult:
        """Every meter is valid."""
        return MeterFound("ADA EXAMPLE")

    def fetch_float(self) -> Money | Misconfigured | Unknown:
        """Enough for all sales, while the provider is up."""
        return Unknown(REFUSED) if self._provider.is_down else self._provider.simulator.fetch_float()

    def parse_references(self, body: bytes) -> tuple[str, ...]:
        """A simulated webhook contains the reference alone."""
        return (body.decode(),)

    def close(self) -> None:
        """There is nothing to close."""

    def _delayed_request(self, order: Order, *, too_late: bool) -> Answer:
        """No answer comes, and the request arrives later. The delay may use the whole of the declared time."""
        provider, chance = self._provider, self._simulation.chance
        most = TIMEOUT_SECONDS + MAX_PROCESSING_SECONDS
        after_seconds = chance.choice((chance.uniform(0, most), most - chance.uniform(0, 1)))
        if too_late:
            after_seconds = most + chance.uniform(1, 4 * 3600)
            provider.landed_late.add(order.reference)
        provider.land_later(order, after_seconds)
        self._simulation.scheduler.sleep(TIMEOUT_SECONDS)
        self._process.crash_point("after a call", may_stall=True)
        return Unknown("no answer")

    def _receive(self, reply: SimulatedReply) -> Answer:
        """The answer as it arrives after the faults of the network."""
        self._simulation.scheduler.sleep(min(reply.delay_seconds, TIMEOUT_SECONDS))
        self._process.crash_point("after a call", may_stall=True)
        if reply.delay_seconds >= TIMEOUT_SECONDS:
            return Unknown("no answer")
        match reply.delivery_fault, reply.answer:
            case DeliveryFault.CONNECTION_CLOSED, _:
                return Unknown("the connection was closed before an answer")
            case DeliveryFault.HTML_ERROR, _:
                return Unknown("HTTP 500 with HTML")
            case _, answer:
                return answer

    def _check(self, order: Order) -> None:
        """Checks what no store shows afterwards: whether this very send was allowed."""
        account = self.account
        if account.reference_lasts_a_day:
            day = datetime.strptime(order.reference[:8], "%Y%m%d").replace(tzinfo=UTC).date()
            valid_until = account.valid_until(day)
            if valid_until is not None and self._simulation.true_time >= valid_until:
                self._simulation.fail(f"{order.reference} was sent after its own day")


def _reference_maker(name: str, lasts_a_day: bool) -> Callable[[str, int, date], str]:
    def make(seed: str, attempt: int, day: date) -> str:
        digest = sha256(f"{name}|{seed}|{attempt}".encode()).hexdigest()[:20]
        return f"{day:%Y%m%d}{digest}" if lasts_a_day else digest

    return make
