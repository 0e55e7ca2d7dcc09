"""Who plays: workers, sweepers, callers, the support desk, an operator, and the weather."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from billvend import BillvendError, Payment, Status
from billvend.adapters.providers.sandbox.sale_record import SaleStatus
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
from tests.simulation.process import Died, Process
from tests.simulation.world import Told, World

WORKERS: Final = 40
SWEEPERS: Final = 2
CALLERS: Final = 20
USERS: Final = 30
SWEEP_SECONDS: Final = 40.0
FUNDED_NAIRA: Final = 50_000
HOUR: Final = 3600.0

Said = TypeVar("Said")


def worker(process: Process) -> None:
    """Takes hints, and settles what they point at."""
    world = process.world
    while True:
        hint = world.queue.take()
        try:
            process.bv.settle(hint)
        except DependencyError:
            world.seen["settles given up, the database away"] += 1
        except BillvendError as error:
            world.wrong.append(f"settling {hint.transaction_id} failed: {error}")
        except Died:
            process.restart()


def sweeper(world: World) -> None:
    """Finds what the queue lost; what the queue does not take, it does itself."""
    process = Process(world)
    while True:
        world.stage.pause(world.chance.uniform(0.5, 1.5) * SWEEP_SECONDS if world.is_rough else quiet(world))
        try:
            if world.chance.random() < 0.3:
                process.bv.refresh_account_status()
            for hint in process.bv.sweep().not_enqueued[:10]:
                process.bv.settle(hint)
        except DependencyError:
            pass
        except Died:
            process.restart()


def quiet(world: World) -> float:
    """Seconds until something is due: sweeps that would find nothing are left out once the weather is fine."""
    due = world.next_due()
    return HOUR if due is None else max(5 * SWEEP_SECONDS, (due - world.moment).total_seconds())


class Callers:
    """One process of callers. They know their keys, and repeat what they got no answer to."""

    def __init__(self, world: World, wanted: int) -> None:
        self.world = world
        self.chance = world.chance
        self.wanted = wanted
        self.process = Process(world)

    def play(self) -> None:
        """Pay until enough was paid, by all of them together."""
        while len(self.world.told) < self.wanted:
            self.world.stage.pause(self.chance.expovariate(1 / 8.0))
            try:
                self.act()
            except Died:
                self.process.restart()

    def act(self) -> None:
        """One thing that a caller does."""
        action = self.chance.random()
        if action < 0.1:
            self.pay_many()
        elif action < 0.16:
            self.click_twice()
        else:
            self.pay_and_follow()

    def pay_and_follow(self) -> None:
        """Pay with a key, then perhaps do what people do."""
        bill = self.new_bill()
        paid = self.insist(bill.user_id, lambda: self.process.bv.accept(bill))
        if not isinstance(paid, PaymentResult):
            return
        payment = paid.payment
        self.hear(bill, payment)
        after = self.chance.random()
        if after < 0.08:
            self.repeat(bill, payment)
        elif after < 0.15:
            self.cancel(payment)
        elif after < 0.25:
            self.world.stage.pause(self.chance.expovariate(1 / 60))
            ask = self.chance.choice((self.process.bv.refresh, self.process.bv.request_requery))
            self.ask(lambda: ask(payment.transaction_id))
        elif after < 0.26:
            self.ask(lambda: self.process.bv.wait(payment.transaction_id, timeout=20))

    def repeat(self, bill: Bill, payment: Payment) -> None:
        """The same key again: the same payment; for another amount: refused."""
        self.world.stage.pause(self.chance.expovariate(1 / 20))
        again = self.insist(bill.user_id, lambda: self.process.bv.accept(bill))
        if isinstance(again, PaymentResult) and again.payment.transaction_id != payment.transaction_id:
            self.world.violate(f"the key {bill.key} made a second payment")
        if not isinstance(again, PaymentResult) or not again.replayed:
            self.world.violate(f"the key {bill.key}, repeated, was answered by {again}")
        other = Bill(bill.user_id, 999, bill.meter, bill.biller, bill.vend_type, key=bill.key)
        refusal = self.insist(bill.user_id, lambda: self.process.bv.accept(other))
        if not isinstance(refusal, IdempotencyMismatch):
            self.world.violate(f"the key {bill.key}, used for another amount, was answered by {refusal}")
        self.world.seen["keys repeated"] += 1

    def cancel(self, payment: Payment) -> None:
        """Think better of it: reversed at once, or too late."""
        self.world.stage.pause(self.chance.uniform(0, 2))
        try:
            cancelled = self.process.bv.cancel(payment.transaction_id)
        except AlreadySent:
            self.world.seen["cancels that came too late"] += 1
        except DependencyError:
            pass
        else:
            if cancelled.status is not Status.REVERSED:
                self.world.violate(f"payment {payment.transaction_id}, cancelled, is {cancelled.status}")
            self.world.seen["cancelled"] += 1

    def click_twice(self) -> None:
        """Pay without a key, twice within moments: one payment, unless the first one came back in between."""
        bill = self.new_bill(key=False)
        first = self.once(bill)
        self.world.stage.pause(self.chance.uniform(0, 5))
        second = self.once(bill)
        if isinstance(first, PaymentResult) and isinstance(second, PaymentResult):
            found = self.world.bv.transaction(first.payment.transaction_id)
            if isinstance(found, Payment) and found.status is not Status.REVERSED:
                self.world.violate(f"payment {second.payment.transaction_id} is a double click")
        self.world.seen["double clicks refused"] += isinstance(second, LikelyDuplicate)

    def pay_many(self) -> None:
        """A few bills at once."""
        user = self.some_user()
        most = max(2, min(50, self.wanted - len(self.world.told)))
        bills = [self.new_bill(user=user) for _ in range(self.chance.randint(2, most))]
        results = self.process.bv.pay_many(bills)
        for bill, result in zip(bills, results, strict=True):
            if isinstance(result, DependencyError):
                result = self.insist(user, partial(self.process.bv.accept, bill))
            if isinstance(result, PaymentResult):
                self.hear(bill, result.payment)

    # --- how they ask -------------------------------------------------------------------------------------------------

    def once(self, bill: Bill) -> PaymentResult | BillvendError:
        """Ask once: without a key nobody may repeat."""
        try:
            paid = self.process.bv.accept(bill)
        except InsufficientFunds as refusal:
            self.fund(bill.user_id)
            return refusal
        except BillvendError as refusal:
            return refusal
        self.hear(bill, paid.payment)
        return paid

    def insist(self, user_id: str, ask: Callable[[], Said]) -> Said | BillvendError:
        """Ask until the answer is clear, over outages and deaths; fund the wallet where that is what is missing."""
        while True:
            try:
                return ask()
            except ProviderUnavailable as refusal:
                self.world.seen["refused, since nobody sells"] += 1
                return refusal
            except DependencyError:
                self.world.stage.pause(self.chance.uniform(0.5, 10))
            except Died:
                self.process.restart()
            except InsufficientFunds:
                self.fund(user_id)
            except BillvendError as refusal:
                return refusal

    def ask(self, ask: Callable[[], Any]) -> None:
        """Ask, and don't mind if nobody answers."""
        with suppress(DependencyError):
            ask()

    def fund(self, user_id: str) -> None:
        """Bring money, until it is surely there."""
        key = self.world.clock.new_id()
        funded = self.insist(user_id, lambda: self.process.bv.fund(user_id, FUNDED_NAIRA, key=key))
        if isinstance(funded, BillvendError):
            self.world.violate(f"a funding was refused: {funded}")
        self.world.funded[user_id] += FUNDED_NAIRA

    # --- what they ask for --------------------------------------------------------------------------------------------

    def some_user(self) -> str:
        """One of few, so that wallets are shared."""
        user_id = f"user-{self.chance.randrange(USERS):02}"
        if user_id not in self.world.funded:
            self.fund(user_id)
        return user_id

    def new_bill(self, *, user: str | None = None, key: bool = True) -> Bill:
        """A bill that nobody had before."""
        user_id, serial = user or self.some_user(), next(self.world.ids)
        amount = 100 * self.chance.randint(1, 20)
        vend_type = "postpaid" if self.chance.random() < 0.05 else "prepaid"
        bill_key = f"bill-{serial}" if key else None
        return Bill(user_id, amount, f"{70_000_000_000 + serial}", "EKEDC", vend_type, key=bill_key)

    def hear(self, bill: Bill, payment: Payment) -> None:
        """It was accepted: from now on it may not be lost."""
        assert isinstance(bill.amount, int)
        self.world.told[payment.transaction_id] = Told(bill.user_id, bill.meter, bill.amount)


def support_desk(world: World) -> None:
    """Takes the providers' hooks in."""
    process = Process(world)
    while True:
        world.stage.pause(5 if world.is_rough else HOUR)
        while world.hooks:
            provider, reference = world.hooks.pop(0)
            try:
                process.bv.handle_provider_webhook(provider, reference.encode())
            except DependencyError:
                world.hooks.append((provider, reference))
                break
            except Died:
                process.restart()


def operator(world: World) -> None:
    """Decides what waits for a person, having called the provider; now and then without having called."""
    process = Process(world)
    while True:
        world.stage.pause(6 * HOUR)
        try:
            for payment in process.bv.payments(Status.IN_REVIEW, limit=1000):
                decide(world, process, payment)
        except DependencyError:
            pass
        except Died:
            process.restart()


def decide(world: World, process: Process, payment: Payment) -> None:
    """One decision: as the provider's book has it, or, by mistake, in a hurry."""
    references = [attempt.reference for attempt in payment.attempts]
    known = [entry for company in world.companies for r in references if (entry := company.book.find(r))]
    sold = [entry for entry in known if entry.status is SaleStatus.VENDED]
    is_open = any(company.may_still_sell(r) for company in world.companies for r in references)
    in_a_hurry = is_open and world.strikes(0.1, "an operator in a hurry")
    if is_open and not sold and not in_a_hurry:
        return
    verdict = OperatorDecision.DELIVERED if sold and not in_a_hurry else OperatorDecision.REVERSE
    token = sold[0].token if verdict is OperatorDecision.DELIVERED else None
    try:
        process.bv.resolve(
            payment.transaction_id, operator="ben", reason="asked the provider", token=token, decision=verdict
        )
        world.seen[f"decided by an operator: {verdict}"] += 1
    except NotInReview:
        world.seen["an operator came too late"] += 1


def weather(world: World, workers: list[Process]) -> None:
    """Outages, wipes and wrong clocks, one after the other."""
    chance, stage = world.chance, world.stage
    while world.is_rough:
        stage.pause(chance.expovariate(1 / 80))
        if world.is_rough:
            chance.choice((_database, _queue, _wipe, _provider, _clock))(world, workers)


def _database(world: World, workers: list[Process]) -> None:
    world.faults["the database away"] += 1
    world.books_away_until = world.stage.seconds + 300 ** world.chance.random()


def _queue(world: World, workers: list[Process]) -> None:
    world.faults["the queue away"] += 1
    world.queue_away_until = world.stage.seconds + 300 ** world.chance.random()


def _wipe(world: World, workers: list[Process]) -> None:
    world.faults["the queue wiped"] += 1
    world.queue.wipe()


def _provider(world: World, workers: list[Process]) -> None:
    world.faults["a provider away"] += 1
    company = world.chance.choice(world.companies)
    company.away_until = world.stage.seconds + 400 ** world.chance.random()


def _clock(world: World, workers: list[Process]) -> None:
    if any(process.clock.ahead_seconds for process in workers):
        return
    world.faults["a clock an hour ahead"] += 1
    process = world.chance.choice(workers)
    process.clock.ahead_seconds = HOUR

    def right() -> None:
        process.clock.ahead_seconds = 0.0

    world.stage.at(world.chance.uniform(30, 600), right)
