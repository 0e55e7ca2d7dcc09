"""The tasks: workers, sweepers, callers, customer support, an operator and the fault injector."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from billvend import BillvendError, Payment, Status
from billvend.adapters.providers.sandbox.sale import SaleStatus
from billvend.domain.enums import OperatorDecision
from billvend.domain.errors import (
    AlreadySent,
    DependencyError,
    IdempotencyMismatch,
    InsufficientFunds,
    LikelyDuplicate,
    NotInReview,
    ProviderUnavailable,
)
from billvend.usecases.pay import Bill, PaymentResult
from tests.simulation.process import Crashed, Process
from tests.simulation.simulation import AcceptedPayment, Simulation

WORKERS: Final = 40
SWEEPERS: Final = 2
CALLERS: Final = 20
USERS: Final = 30
SWEEP_SECONDS: Final = 40.0
FUNDED_NAIRA: Final = 50_000
HOUR: Final = 3600.0

Answered = TypeVar("Answered")


def worker(process: Process) -> None:
    """Takes hints, and settles the payments that they name."""
    simulation = process.simulation
    while True:
        hint = simulation.queue.take()
        try:
            process.bv.settle(hint)
        except DependencyError:
            simulation.observed["settles given up, the database down"] += 1
        except BillvendError as error:
            simulation.problems.append(f"settling {hint.transaction_id} failed: {error}")
        except Crashed:
            process.restart()


def sweeper(simulation: Simulation) -> None:
    """Finds what the queue lost. What the queue does not take, it settles itself."""
    process = Process(simulation)
    while True:
        simulation.scheduler.sleep(
            simulation.chance.uniform(0.5, 1.5) * SWEEP_SECONDS
            if simulation.faults_enabled
            else seconds_until_due(simulation)
        )
        try:
            if simulation.chance.random() < 0.3:
                process.bv.refresh_account_status()
            for hint in process.bv.sweep().not_enqueued[:10]:
                process.bv.settle(hint)
        except DependencyError:
            pass
        except Crashed:
            process.restart()


def seconds_until_due(simulation: Simulation) -> float:
    """Seconds until a payment is due. Sweeps that would find nothing are left out once no faults are injected."""
    due = simulation.next_due()
    return HOUR if due is None else max(5 * SWEEP_SECONDS, (due - simulation.true_time).total_seconds())


class Callers:
    """One process of callers. They know their keys, and repeat requests that got no answer."""

    def __init__(self, simulation: Simulation, target_count: int) -> None:
        self.simulation = simulation
        self.chance = simulation.chance
        self.target_count = target_count
        self.process = Process(simulation)

    def run(self) -> None:
        """Pay until all callers together have made enough payments."""
        while len(self.simulation.accepted) < self.target_count:
            self.simulation.scheduler.sleep(self.chance.expovariate(1 / 8.0))
            try:
                self.do_one_action()
            except Crashed:
                self.process.restart()

    def do_one_action(self) -> None:
        """One action of a caller."""
        action = self.chance.random()
        if action < 0.1:
            self.pay_many()
        elif action < 0.16:
            self.click_twice()
        else:
            self.pay_and_follow()

    def pay_and_follow(self) -> None:
        """Pay with a key, then perhaps repeat, query or cancel."""
        bill = self.new_bill()
        paid = self.retry_until_clear(bill.user_id, lambda: self.process.bv.accept(bill))
        if not isinstance(paid, PaymentResult):
            return
        payment = paid.payment
        self.record_accepted(bill, payment)
        after = self.chance.random()
        if after < 0.08:
            self.repeat(bill, payment)
        elif after < 0.15:
            self.cancel(payment)
        elif after < 0.25:
            self.simulation.scheduler.sleep(self.chance.expovariate(1 / 60))
            bv = self.process.bv
            ask = self.chance.choice(
                (lambda: bv.refresh(payment.transaction_id), lambda: bv.request_requery(payment))
            )
            self.ask(ask)
        elif after < 0.26:
            self.ask(lambda: self.process.bv.wait(payment.transaction_id, timeout=20))

    def repeat(self, bill: Bill, payment: Payment) -> None:
        """The same key again: the same payment; for another amount: rejected."""
        self.simulation.scheduler.sleep(self.chance.expovariate(1 / 20))
        again = self.retry_until_clear(bill.user_id, lambda: self.process.bv.accept(bill))
        if isinstance(again, PaymentResult) and again.payment.transaction_id != payment.transaction_id:
            self.simulation.fail(f"the key {bill.key} made a second payment")
        if not isinstance(again, PaymentResult) or not again.replayed:
            self.simulation.fail(f"the key {bill.key}, repeated, was answered by {again}")
        other = Bill(bill.user_id, 999, bill.meter, bill.biller, bill.vend_type, key=bill.key)
        refusal = self.retry_until_clear(bill.user_id, lambda: self.process.bv.accept(other))
        if not isinstance(refusal, IdempotencyMismatch):
            self.simulation.fail(f"the key {bill.key}, used for another amount, was answered by {refusal}")
        self.simulation.observed["keys repeated"] += 1

    def cancel(self, payment: Payment) -> None:
        """Cancel: reversed at once, or too late."""
        self.simulation.scheduler.sleep(self.chance.uniform(0, 2))
        try:
            cancelled = self.process.bv.cancel(payment.transaction_id)
        except AlreadySent:
            self.simulation.observed["cancels that came too late"] += 1
        except DependencyError:
            pass
        else:
            if cancelled.status is not Status.REVERSED:
                self.simulation.fail(f"payment {payment.transaction_id}, cancelled, is {cancelled.status}")
            self.simulation.observed["cancelled"] += 1

    def click_twice(self) -> None:
        """Pay without a key, twice within moments: one payment, unless the first one was reversed in between."""
        bill = self.new_bill(key=False)
        first = self.once(bill)
        self.simulation.scheduler.sleep(self.chance.uniform(0, 5))
        second = self.once(bill)
        if isinstance(first, PaymentResult) and isinstance(second, PaymentResult):
            found = self.simulation.bv.transaction(first.payment.transaction_id)
            if isinstance(found, Payment) and found.status is not Status.REVERSED:
                self.simulation.fail(f"payment {second.payment.transaction_id} is a double click")
        self.simulation.observed["double clicks rejected"] += isinstance(second, LikelyDuplicate)

    def pay_many(self) -> None:
        """A few bills at once."""
        user = self.some_user()
        most = max(2, min(50, self.target_count - len(self.simulation.accepted)))
        bills = [self.new_bill(user=user) for _ in range(self.chance.randint(2, most))]
        results = self.process.bv.pay_many(bills)
        for bill, result in zip(bills, results, strict=True):
            if isinstance(result, DependencyError):
                result = self.retry_until_clear(user, partial(self.process.bv.accept, bill))
            if isinstance(result, PaymentResult):
                self.record_accepted(bill, result.payment)

    # --- requests -----------------------------------------------------------------------------------------------------

    def once(self, bill: Bill) -> PaymentResult | BillvendError:
        """Request once: without a key a caller may not repeat."""
        try:
            paid = self.process.bv.accept(bill)
        except InsufficientFunds as refusal:
            self.fund(bill.user_id)
            return refusal
        except BillvendError as refusal:
            return refusal
        self.record_accepted(bill, paid.payment)
        return paid

    def retry_until_clear(self, user_id: str, ask: Callable[[], Answered]) -> Answered | BillvendError:
        """Repeat until the answer is clear, through outages and crashes; fund the wallet if money is missing."""
        while True:
            try:
                return ask()
            except ProviderUnavailable as refusal:
                self.simulation.observed["rejected, since sales are suspended"] += 1
                return refusal
            except DependencyError:
                self.simulation.scheduler.sleep(self.chance.uniform(0.5, 10))
            except Crashed:
                self.process.restart()
            except InsufficientFunds:
                self.fund(user_id)
            except BillvendError as refusal:
                return refusal

    def ask(self, ask: Callable[[], Any]) -> None:
        """Request, and ignore a missing answer."""
        with suppress(DependencyError):
            ask()

    def fund(self, user_id: str) -> None:
        """Fund the wallet, until it is certain that it is funded."""
        key = self.simulation.clock.new_id()
        funded = self.retry_until_clear(user_id, lambda: self.process.bv.fund(user_id, FUNDED_NAIRA, key=key))
        if isinstance(funded, BillvendError):
            self.simulation.fail(f"a funding was rejected: {funded}")
        self.simulation.funded[user_id] += FUNDED_NAIRA

    # --- what callers request -----------------------------------------------------------------------------------------

    def some_user(self) -> str:
        """One of few users, so that wallets are shared."""
        user_id = f"user-{self.chance.randrange(USERS):02}"
        if user_id not in self.simulation.funded:
            self.fund(user_id)
        return user_id

    def new_bill(self, *, user: str | None = None, key: bool = True) -> Bill:
        """A new bill, different from all before."""
        user_id, serial = user or self.some_user(), next(self.simulation.ids)
        amount = 100 * self.chance.randint(1, 20)
        vend_type = "postpaid" if self.chance.random() < 0.05 else "prepaid"
        bill_key = f"bill-{serial}" if key else None
        return Bill(user_id, amount, f"{70_000_000_000 + serial}", "EKEDC", vend_type, key=bill_key)

    def record_accepted(self, bill: Bill, payment: Payment) -> None:
        """The payment was accepted: from now on it may not be lost."""
        assert isinstance(bill.amount, int)
        self.simulation.accepted[payment.transaction_id] = AcceptedPayment(
            bill.user_id, bill.meter, bill.amount
        )


def webhook_receiver(simulation: Simulation) -> None:
    """Handles the providers' webhooks."""
    process = Process(simulation)
    while True:
        simulation.scheduler.sleep(5 if simulation.faults_enabled else HOUR)
        while simulation.webhooks:
            provider, reference = simulation.webhooks.pop(0)
            try:
                process.bv.handle_provider_webhook(provider, reference.encode())
            except DependencyError:
                simulation.webhooks.append((provider, reference))
                break
            except Crashed:
                process.restart()


def operator(simulation: Simulation) -> None:
    """Decides payments in review after a call to the provider; now and then without a call."""
    process = Process(simulation)
    while True:
        simulation.scheduler.sleep(6 * HOUR)
        try:
            for payment in process.bv.payments(Status.IN_REVIEW, limit=1000):
                decide(simulation, process, payment)
        except DependencyError:
            pass
        except Crashed:
            process.restart()


def decide(simulation: Simulation, process: Process, payment: Payment) -> None:
    """One decision: as the provider's store shows, or sometimes by mistake."""
    references = [attempt.reference for attempt in payment.attempts]
    known = [
        entry for provider in simulation.providers for r in references if (entry := provider.sales.find(r))
    ]
    sold = [entry for entry in known if entry.status is SaleStatus.VENDED]
    is_open = any(provider.may_still_sell(r) for provider in simulation.providers for r in references)
    in_a_hurry = is_open and simulation.fault_occurs(0.1, "an operator in a hurry")
    if is_open and not sold and not in_a_hurry:
        return
    decision = OperatorDecision.DELIVERED if sold and not in_a_hurry else OperatorDecision.REVERSE
    token = sold[0].token if decision is OperatorDecision.DELIVERED else None
    try:
        process.bv.resolve(
            payment.transaction_id,
            operator="ben",
            reason="asked the provider",
            token=token,
            decision=decision,
        )
        simulation.observed[f"decided by an operator: {decision}"] += 1
    except NotInReview:
        simulation.observed["an operator came too late"] += 1


def inject_faults(simulation: Simulation, workers: list[Process]) -> None:
    """Outages, wipes and wrong clocks, one after the other."""
    chance, scheduler = simulation.chance, simulation.scheduler
    while simulation.faults_enabled:
        scheduler.sleep(chance.expovariate(1 / 80))
        if simulation.faults_enabled:
            chance.choice((_database, _queue, _wipe, _provider, _clock))(simulation, workers)


def _database(simulation: Simulation, workers: list[Process]) -> None:
    simulation.faults["the database down"] += 1
    simulation.database_down_until = simulation.scheduler.seconds + 300 ** simulation.chance.random()


def _queue(simulation: Simulation, workers: list[Process]) -> None:
    simulation.faults["the queue down"] += 1
    simulation.queue_down_until = simulation.scheduler.seconds + 300 ** simulation.chance.random()


def _wipe(simulation: Simulation, workers: list[Process]) -> None:
    simulation.faults["the queue wiped"] += 1
    simulation.queue.wipe()


def _provider(simulation: Simulation, workers: list[Process]) -> None:
    simulation.faults["a provider down"] += 1
    provider = simulation.chance.choice(simulation.providers)
    provider.down_until = simulation.scheduler.seconds + 400 ** simulation.chance.random()


def _clock(simulation: Simulation, workers: list[Process]) -> None:
    if any(process.clock.ahead_seconds for process in workers):
        return
    simulation.faults["a clock an hour ahead"] += 1
    process = simulation.chance.choice(workers)
    process.clock.ahead_seconds = HOUR

    def right() -> None:
        process.clock.ahead_seconds = 0.0

    simulation.scheduler.at(simulation.chance.uniform(30, 600), right)
