"""Any history: users, payments and workers in any order, true and false answers, clocks that jump.

The machine keeps its own record of the calls that workers were allowed to make, and of their answers. It checks the
core against that record, never against the core's own state. `ModelLedger` adds what must be true of any ledger.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    Executed,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    RequestRequery,
)
from billvend.domain.enums import Proof, Status, VendType
from billvend.domain.errors import AlreadySent, InsufficientFunds, LikelyDuplicate, WalletNotFound
from billvend.domain.journal.events import StreamKey
from billvend.domain.money import Money
from billvend.domain.outcome import (
    Answer,
    Declined,
    Deferred,
    Delivered,
    Misconfigured,
    NotFound,
    NotSent,
    Pending,
    Unknown,
)
from billvend.domain.payment.state import Payment
from billvend.domain.policy.accounts import ProviderAccount
from billvend.domain.policy.evidence import evidence_of
from billvend.domain.policy.policy import Policy
from tests.domain.model_ledger import NOON, ModelLedger, provider, seconds, verified

pytestmark = pytest.mark.long

Item = TypeVar("Item")
Produced: TypeAlias = Item | MultipleResults[Item]
"""What a rule adds to a bundle: one value, or as many as it made, which may be none."""

USERS = ("ada", "bob")
METER = "12345678901"
DAY = 86400
PROCESSING, SPACING = 60, 30


Meaning = Enum(
    "Meaning", "DELIVERED FAILED TAKEN_BACK DECLINED NOT_SENT DEFERRED MISCONFIGURED NOT_FOUND KNOWN UNKNOWN"
)
"""What an answer means, as the machine understands it."""

ANSWERS: Sequence[tuple[Answer, Meaning]] = (
    (Delivered("1111"), Meaning.DELIVERED),
    (Delivered("1111", cost_minor=990), Meaning.DELIVERED),
    (Delivered("2222", cost_minor=1010, meter=METER), Meaning.DELIVERED),
    (Declined("failed", about_transaction=True), Meaning.FAILED),
    (Declined("reversed", about_transaction=True, provider_reversed=True), Meaning.TAKEN_BACK),
    (Declined("refused"), Meaning.DECLINED),
    (NotSent("refused connection"), Meaning.NOT_SENT),
    (Deferred("again"), Meaning.DEFERRED),
    (Deferred("again", 45), Meaning.DEFERRED),
    (Misconfigured("float"), Meaning.MISCONFIGURED),
    (NotFound("no such reference"), Meaning.NOT_FOUND),
    (Pending("at work"), Meaning.KNOWN),
    (Pending("at work", 120), Meaning.KNOWN),
    (Unknown("exists", known_to_provider=True), Meaning.KNOWN),
    (Delivered("1111", meter="99999999999"), Meaning.KNOWN),
    (Delivered("1111", amount_minor=1), Meaning.KNOWN),
    (Delivered(None), Meaning.KNOWN),
    (Delivered("1111", reference="another"), Meaning.UNKNOWN),
    (Unknown("no answer"), Meaning.UNKNOWN),
)
ACCOUNTS = {
    (name, account): provider(
        name, account=account, reference_lasts_a_day=name == "backup", max_processing_seconds=PROCESSING
    )
    for name in ("acme", "backup")
    for account in ("key-1", "key-2")
}
NOT_EXECUTED_MEANINGS = {Meaning.NOT_SENT, Meaning.DEFERRED, Meaning.MISCONFIGURED}
REJECTED_MEANINGS = NOT_EXECUTED_MEANINGS | {Meaning.DECLINED, Meaning.FAILED}
REJECTED_ANSWERS = [(answer, meaning) for answer, meaning in ANSWERS if meaning in REJECTED_MEANINGS]

PROVEN_EVIDENCE = {"PROVIDER_REVERSED", "DECLINED", "NOT_SENT", "NOT_EXECUTED"}
POSSIBLE_EVIDENCE = {
    Status.PENDING: {"NONE"},
    Status.PROCESSING: {"CALL_IN_FLIGHT", "DECLINED", "NOT_SENT", "NOT_EXECUTED"},
    Status.IN_DOUBT: {"CALL_IN_FLIGHT", "UNKNOWN", "NOT_SENT", "NOT_EXECUTED", "DECLINED"},
    Status.IN_REVIEW: {"CALL_IN_FLIGHT", "UNKNOWN", "NOT_SENT", "NOT_EXECUTED", "DECLINED"},
    Status.REVERSING: {"NONE", "CALL_IN_FLIGHT", "UNKNOWN", *PROVEN_EVIDENCE},
    Status.COMPLETED: {"CALL_IN_FLIGHT", "UNKNOWN", "DELIVERED", *PROVEN_EVIDENCE},
    Status.REVERSED: {"NONE", "CALL_IN_FLIGHT", "UNKNOWN", "DELIVERED", *PROVEN_EVIDENCE},
}
"""The possible evidence of the latest attempt in each status. What the policy's table calls impossible must never occur."""


@dataclass
class Call:
    """A call that a worker was allowed to make, and its answers, in the order of the reports."""

    key: StreamKey
    work: ProviderCall
    started_at: datetime
    answers: list[tuple[datetime, Meaning]] = field(default_factory=list)

    def __repr__(self) -> str:
        kind = "requery" if self.work.is_requery else "send"
        return f"<{kind} {self.work.attempt}.{self.work.call_number} of {self.key.stream}>"

    @property
    def meaning(self) -> Meaning | None:
        """The meaning of the answers: that of the first report, unless a later one brings a delivery."""
        meanings = [meaning for _, meaning in self.answers]
        return Meaning.DELIVERED if Meaning.DELIVERED in meanings else next(iter(meanings), None)


class Histories(RuleBasedStateMachine):
    """All commands that the core accepts, in any order."""

    payments: Bundle[StreamKey] = Bundle("payments")
    calls: Bundle[Call] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ModelLedger()
        self.now = NOON
        self.configured = [ACCOUNTS["acme", "key-1"], ACCOUNTS["backup", "key-1"]]
        self.funded: Counter[str] = Counter()
        self.calls_made: list[Call] = []
        self.ended: dict[StreamKey, Status] = {}
        self.count = 0

    # --- commands of people -------------------------------------------------------------------------------------------

    @initialize(target=payments)
    def begin(self) -> MultipleResults[StreamKey]:
        self.fund("ada", 5000)
        self.fund("bob", 1000)
        first, second = self.pay("ada", 500, keyed=True), self.pay("bob", 1000, keyed=False)
        assert isinstance(first, StreamKey)
        assert isinstance(second, StreamKey)
        return multiple(first, second)

    @rule(user=st.sampled_from(USERS), amount=st.sampled_from([1, 1000, 2500]))
    def fund(self, user: str, amount: int) -> None:
        self.execute(self._fund(user, amount))
        self.funded[user] += amount

    @precondition(lambda self: len(self.ledger.payments) < 4)
    @rule(
        target=payments, user=st.sampled_from(USERS), amount=st.sampled_from([500, 1000]), keyed=st.booleans()
    )
    def pay(self, user: str, amount: int, keyed: bool) -> Produced[StreamKey]:
        command = self._pay(user, amount, keyed=keyed)
        balance = self.ledger.balance(user)
        [result] = self.ledger.execute(command)
        if isinstance(result, InsufficientFunds):
            assert balance < amount
            return multiple()
        if isinstance(result, LikelyDuplicate):
            assert not keyed
            return multiple()
        assert isinstance(result, Executed)
        assert self.ledger.balance(user) == balance - amount
        return StreamKey(user, command.transaction_id)

    @rule(key=payments)
    def cancel(self, key: StreamKey) -> None:
        before = self.payment(key)
        result = self.ledger.execute(Cancel(*self._header(key)))[0]
        assert isinstance(result, AlreadySent if before.status is not Status.PENDING else Executed)
        if before.status is Status.PENDING:
            self.check_due_times_and_terminal_statuses()
            assert not self.calls_of(key)
            assert self.payment(key).status is Status.REVERSED

    # --- commands of workers ------------------------------------------------------------------------------------------

    @rule(target=calls, key=payments, early=st.booleans())
    def claim(self, key: StreamKey, early: bool) -> Produced[Call]:
        if early:
            self.execute(self._request_requery(key, "operator"))
        work = self.execute(self._claim(key)).result.provider_call
        return self.record_call(key, work)

    @rule(key=payments)
    def webhook(self, key: StreamKey) -> None:
        self.execute(self._request_requery(key, "webhook"))

    @rule(target=calls, key=payments)
    def claim_when_due(self, key: StreamKey) -> Produced[Call]:
        due = self.ledger.next_at[key]
        self.now = max(self.now, due) if due else self.now
        return self.claim(key, early=False)

    @rule(call=calls, answer=st.sampled_from(ANSWERS))
    def report(self, call: Call, answer: tuple[Answer, Meaning]) -> None:
        before = self.payment(call.key)
        self.execute(self._report(call, answer[0]))
        self.record_answer(call, answer[1], before)

    @rule(target=calls, key=payments, answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4))
    def work_until_answered(
        self, key: StreamKey, answers: Sequence[tuple[Answer, Meaning]]
    ) -> Produced[Call]:
        """One worker does its work at once, and so does the next one."""
        made: list[Call] = []
        for answer in answers:
            if isinstance(call := self.claim_when_due(key), Call):
                self.report(call, answer)
                made.append(call)
        return multiple(*made)

    @rule(
        target=calls,
        key=payments,
        answers=st.lists(st.sampled_from(REJECTED_ANSWERS), min_size=2, max_size=6),
    )
    def every_send_is_rejected(
        self, key: StreamKey, answers: Sequence[tuple[Answer, Meaning]]
    ) -> Produced[Call]:
        """Several times, at this provider and at others."""
        return self.work_until_answered(key, answers)

    @rule(target=calls, key=payments, times=st.integers(3, 6))
    def every_requery_finds_nothing(self, key: StreamKey, times: int) -> Produced[Call]:
        """For long enough that the answer counts as proof."""
        return self.work_until_answered(key, [(NotFound("no such reference"), Meaning.NOT_FOUND)] * times)

    # --- environment --------------------------------------------------------------------------------------------------

    @rule(span=st.sampled_from([1, 5, 20, 60, 61, 600, 3600, 7200, DAY, -1, -60, -3600]))
    def time_passes_or_the_clock_jumps(self, span: int) -> None:
        self.now += seconds(span)

    @rule(name=st.sampled_from(["acme", "backup"]), account=st.sampled_from([None, "key-1", "key-2"]))
    def reconfigure(self, name: str, account: str | None) -> None:
        self.configured = [known for known in self.configured if known.provider != name]
        if account:
            self.configured.append(ACCOUNTS[name, account])

    @rule(data=st.data())
    def batch_equals_commands_one_by_one(self, data: st.DataObject) -> None:
        """On two copies of the ledger, discarded afterwards: neither the money nor the record changes."""
        keys = sorted(self.ledger.payments, key=str)
        makers: list[Callable[[], Command]] = [
            lambda: self._fund("ada", 700),
            lambda: self._pay(data.draw(st.sampled_from(USERS)), 900, keyed=True),
        ]
        if keys:
            chosen = st.sampled_from(keys)
            makers += [
                lambda: self._claim(data.draw(chosen)),
                lambda: self._request_requery(data.draw(chosen), "operator"),
                lambda: Cancel(*self._header(data.draw(chosen))),
            ]
        if self.calls_made:
            calls, answers = st.sampled_from(self.calls_made), st.sampled_from(ANSWERS)
            makers.append(lambda: self._report(data.draw(calls), data.draw(answers)[0]))
        commands = [make() for make in data.draw(st.lists(st.sampled_from(makers), min_size=2, max_size=5))]
        together, alone, journal = (self.ledger.copy() for _ in range(3))
        found = together.execute(*commands, lock_all_wallets=True)
        one_by_one = [alone.execute(command, lock_all_wallets=True)[0] for command in commands]
        assert list(map(repr, found)) == list(map(repr, one_by_one))
        assert vars(together) == vars(alone)
        assert not any(isinstance(result, WalletNotFound) for result in journal.execute(*commands))

    # --- invariants ---------------------------------------------------------------------------------------------------

    @invariant()
    def funded_equals_balance_held_and_spent(self) -> None:
        for user, funded in self.funded.items():
            held = spent = 0
            for payment, _ in self.ledger.payments.values():
                if payment.user_id == user and payment.status is Status.COMPLETED:
                    spent += payment.amount.amount_minor
                elif payment.user_id == user and payment.status is not Status.REVERSED:
                    held += payment.amount.amount_minor
            assert funded == self.ledger.balance(user) + held + spent

    def check_due_times_and_terminal_statuses(self) -> None:
        """Checked after every command, before any other check."""
        for key, (payment, _) in self.ledger.payments.items():
            if not payment.has_ended:
                assert self.ledger.next_at[key] is not None
            if payment.status is Status.COMPLETED and payment.requery_request is None:
                assert self.ledger.next_at[key] is None
            if key in self.ended:
                assert payment.status is self.ended[key]
            elif payment.has_ended:
                self.ended[key] = payment.status
                self.check_end(payment)
            losses = Counter((i.kind, i.attempt) for i in payment.incidents if i.amount_minor)
            assert not losses or max(losses.values()) == 1

    @invariant()
    def evidence_is_possible_in_its_status(self) -> None:
        for payment, _ in self.ledger.payments.values():
            evidence = evidence_of(payment.attempts[-1], self.now).name if payment.attempts else "NONE"
            assert evidence in POSSIBLE_EVIDENCE[payment.status], (payment.status, evidence)

    # --- the record ---------------------------------------------------------------------------------------------------

    def record_call(self, key: StreamKey, work: ProviderCall | None) -> Produced[Call]:
        """A worker was allowed to make a call, or not."""
        if work is None:
            return multiple()
        payment, before = self.payment(key), self.calls_of(key)
        account = ACCOUNTS[work.provider, work.account_id]
        assert account in self.configured
        ours = [call.work for call in before if call.work.attempt == work.attempt]
        if not payment.attempt(work.attempt).sends:
            self.check_prior_reference_requery(payment, work, account)
        elif work.is_requery:
            assert {(w.reference, w.provider, w.account_id) for w in ours} == {
                (work.reference, work.provider, work.account_id)
            }
            assert work.call_number == 1 + sum(w.is_requery for w in ours)
        else:
            self.check_send(payment, work, before, account)
        call = Call(key, work, self.now)
        self.calls_made.append(call)
        return call

    def check_prior_reference_requery(
        self, payment: Payment, work: ProviderCall, account: ProviderAccount
    ) -> None:
        """A requery before anything is sent: of the reference that a lost journal would have sent on an earlier day."""
        assert work.is_requery
        assert account.reference_lasts_a_day
        attempt = payment.attempt(work.attempt)
        number = 1 + self.references_used_before(payment, work.attempt)
        days = [account.day(attempt.started_at - seconds(DAY * back)) for back in range(1, 40)]
        assert work.reference in {account.make_reference(payment.reference_seed, number, day) for day in days}
        assert work.call_number == len(attempt.requeries)

    def references_used_before(self, payment: Payment, attempt: int) -> int:
        """How many earlier attempts used a reference: they sent it, or the provider knew it when it was asked first."""
        shown = {
            call.work.attempt
            for call in self.calls_of(payment.stream_key)
            if call.meaning in {Meaning.KNOWN, Meaning.DELIVERED, Meaning.FAILED, Meaning.TAKEN_BACK}
        }
        return sum(1 for known in payment.attempts[: attempt - 1] if known.sends or known.number in shown)

    def is_prior_reference_requery(self, call: Call) -> bool:
        return not self.payment(call.key).attempt(call.work.attempt).sends

    def check_send(
        self, payment: Payment, work: ProviderCall, before: Sequence[Call], account: ProviderAccount
    ) -> None:
        """Nothing is sent unless no earlier send can have been carried out."""
        assert payment.status is Status.PROCESSING
        for attempt in payment.attempts:
            if not attempt.sends:
                answered = [call for call in before if call.work.attempt == attempt.number and call.answers]
                not_sold = {Meaning.NOT_FOUND, Meaning.FAILED}
                assert max(answered, key=lambda call: call.answers[0][0]).meaning in not_sold, (
                    "it may have been sold"
                )
        before = [call for call in before if not self.is_prior_reference_requery(call)]
        assert not any(call.work.is_requery for call in before), "it was in doubt once"
        for call in before:
            assert call.meaning in REJECTED_MEANINGS, f"{call} may have been carried out"
        earlier = [call for call in before if call.work.attempt == work.attempt]
        assert work.call_number == 1 + len(earlier) <= 4
        attempt = payment.attempts[-1]
        assert attempt.number == work.attempt
        number = 1 + self.references_used_before(payment, attempt.number)
        expected = account.make_reference(payment.reference_seed, number, account.day(attempt.started_at))
        assert work.reference == expected
        if earlier:
            assert {call.work.reference for call in earlier} == {work.reference}
            assert earlier[-1].meaning in {Meaning.NOT_SENT, Meaning.DEFERRED}
        else:
            assert work.reference not in {call.work.reference for call in self.calls_made}
            assert work.provider not in {call.work.provider for call in before}
        if attempt.valid_until is not None:
            assert self.now < attempt.valid_until
            assert work.send_before is not None
            assert work.send_before <= attempt.valid_until

    def record_answer(self, call: Call, meaning: Meaning, before: Payment) -> None:
        """A worker reported."""
        if not call.answers or meaning is Meaning.DELIVERED:
            call.answers.append((self.now, meaning))
        self.check_due_times_and_terminal_statuses()
        after = self.payment(call.key)
        if meaning is Meaning.DELIVERED:
            reversed_before = before.status is Status.REVERSED
            assert after.status is (Status.REVERSED if reversed_before else Status.COMPLETED)
            assert after.incidents if reversed_before else after.token

    def check_end(self, payment: Payment) -> None:
        """The money was spent because of a delivery, or released because of a proof that there was none."""
        calls = self.calls_of(payment.stream_key)
        meanings = {call.meaning for call in calls}
        if payment.status is Status.COMPLETED:
            assert Meaning.DELIVERED in meanings
            return
        assert Meaning.DELIVERED not in meanings
        last = [call for call in calls if call.work.attempt == len(payment.attempts)]
        sent = [call.meaning for call in last if not call.work.is_requery]
        earlier = [
            call.meaning
            for call in calls
            if call.work.attempt < len(payment.attempts)
            and not self.is_prior_reference_requery(call)
            # A webhook may cause another requery of a declined attempt. That it is not found then is no new fact.
            and not (call.work.is_requery and call.meaning is Meaning.NOT_FOUND)
        ]
        assert set(earlier) <= REJECTED_MEANINGS
        known = Meaning.KNOWN in {call.meaning for call in last}
        about = {call.meaning for call in last} & {Meaning.FAILED, Meaning.TAKEN_BACK}
        match payment.proof:
            case Proof.NOT_SENT:
                assert not known
                assert set(sent) <= {Meaning.NOT_SENT}
            case Proof.NOT_EXECUTED:
                assert not known
                assert set(sent) <= NOT_EXECUTED_MEANINGS
            case Proof.DECLINED:
                assert about or (not known and set(sent) <= REJECTED_MEANINGS and Meaning.DECLINED in sent)
            case Proof.PROVIDER_REVERSED:
                assert Meaning.TAKEN_BACK in about
            case Proof.NOT_FOUND:
                assert not known
                self.check_not_found_answers(payment, last)
            case _:
                pytest.fail(f"reversed on {payment.proof}")

    def check_not_found_answers(self, payment: Payment, calls: Sequence[Call]) -> None:
        answers = sorted(
            (call.answers[0] for call in calls if call.work.is_requery and call.answers), key=lambda s: s[0]
        )
        run: list[datetime] = []
        for at, meaning in reversed(answers):
            if meaning is Meaning.DEFERRED:  # the provider did not look
                continue
            if meaning is not Meaning.NOT_FOUND:
                break
            run.append(at)
        gone = payment.attempts[-1].sends[-1].answer_by
        late = [at for at in run if at >= gone + seconds(PROCESSING)]
        assert late, "no requery was late enough"
        assert max(late) - min(late) >= seconds(SPACING)

    def calls_of(self, key: StreamKey) -> list[Call]:
        return [call for call in self.calls_made if call.key == key]

    # --- helpers ------------------------------------------------------------------------------------------------------

    def payment(self, key: StreamKey) -> Payment:
        return self.ledger.payment(key.user_id, key.stream)

    def execute(self, command: Command) -> Executed:
        [result] = self.ledger.execute(command)
        assert isinstance(result, Executed), repr(result)
        if not isinstance(command, RecordAnswer):
            self.check_due_times_and_terminal_statuses()
        return result

    def new_id(self, what: str) -> str:
        self.count += 1
        return f"{what}-{self.count}"

    @property
    def policy(self) -> Policy:
        return Policy(tuple(self.configured), not_found_spacing_seconds=SPACING)

    def _header(self, key: StreamKey) -> tuple[str, str, str, datetime]:
        return key.user_id, self.new_id("command"), key.stream, self.now

    def _fund(self, user: str, amount: int) -> Fund:
        key = self.new_id("funding")
        return Fund(user, key, key, self.now, Money(amount, "NGN"), "manual", key)

    def _pay(self, user: str, amount: int, *, keyed: bool) -> Pay:
        name, money = self.new_id("payment"), Money(amount, "NGN")
        return Pay(user, name, name, self.now, keyed, money, METER, "EKEDC", VendType.PREPAID)

    def _claim(self, key: StreamKey) -> Claim:
        return Claim(*self._header(key), self.policy)

    def _request_requery(self, key: StreamKey, source: str) -> RequestRequery:
        return RequestRequery(*self._header(key), self.policy, source)

    def _report(self, call: Call, answer: Answer) -> RecordAnswer:
        work, answer = call.work, verified(answer, self.payment(call.key), call.work.reference)
        header = self._header(call.key)
        return RecordAnswer(*header, self.policy, work.attempt, work.call_number, work.is_requery, answer)

    # --- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Every payment ends once the providers are configured and answer clearly."""
        self.configured = list(ACCOUNTS.values())
        for number, key in enumerate(self.ledger.payments):
            clear = ANSWERS[0] if number % 2 else ANSWERS[3]
            for _ in range(10):
                if self.payment(key).has_ended:
                    break
                reply = self.execute(self._claim(key)).result
                call = self.record_call(key, reply.provider_call)
                if isinstance(call, Call):
                    self.report(call, clear)
                elif reply.next_at is not None:
                    self.now = max(self.now, reply.next_at)
            assert self.payment(key).has_ended, self.payment(key)
        self.funded_equals_balance_held_and_spent()


@pytest.mark.timeout(3_600)  # nightly; and a busy machine is no reason to fail
def test_random_histories_keep_all_invariants() -> None:
    of_profile = settings.default
    assert of_profile is not None
    limits = settings(
        of_profile,
        max_examples=of_profile.max_examples,
        stateful_step_count=50,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Histories, settings=limits)
