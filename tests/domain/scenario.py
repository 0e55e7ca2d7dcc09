"""Scenarios that read like a bank statement, run against the pure core.

A line names an action and, after an arrow, its whole result:

    fund ada 1000                           a user, and naira
    pay ada 300 [as bill] [key K] [again] [meter M] [postpaid] [in USD]
    claim [bill] [early]                    a worker asks for what is due; early: after an operator asked for it
    webhook [bill]                          an unverified webhook requests a requery
    resolve delivered 1234, resolve reversed, resolve acknowledged    a person decides
    owner 1234                              from now on the token 1234 belongs to a payment of another user
    send 1 says delivered 1234 cost 290     a worker reports; also `requery 2 says`, `attempt 2 send 1 says`
    next 5 requeries say not found          repeated: wait until due, claim, report
    tick 20s, until due, time 22:59:50      the clock; one that jumps looks the same from here
    provider acme [with ...], forget acme   the configured providers
    balance ada 700, accounts loss -300     balances; `accounts` names every account of ours that is not zero

An answer is: delivered (TOKEN or without a token) [cost N] [meter M] [amount N] [reference R] | declined (this request)
| failed (the transaction) | taken back | not sent | deferred [30s] | misconfigured | unknown | duplicate (unknown, and
it knows our reference) | pending [120s] | not found.

What a line does not name must not happen. A status that is not named has not changed, a call that is not named was
not allowed, and an incident that is not named was not raised.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from billvend.domain.decisions.commands import (
    Cancel,
    Claim,
    Command,
    CommandResult,
    Executed,
    Fund,
    Pay,
    ProviderCall,
    RecordAnswer,
    RequestRequery,
    Resolve,
)
from billvend.domain.decisions.decider import CommandOutcome
from billvend.domain.enums import OperatorDecision, Status, VendType
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
from billvend.domain.policy.policy import Policy
from billvend.domain.policy.timing import JITTER
from tests.domain.model_ledger import NOON, ModelLedger, provider, seconds, verified

UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
METER = "12345678901"
STATUSES = frozenset(Status)


@dataclass(frozen=True)
class Scenario:
    """A scenario with its name, and where to find it."""

    name: str
    file_name: str
    lines: Sequence[tuple[int, str]]


def scenarios(folder: Path) -> Iterator[Scenario]:
    """All scenarios in the files of a folder: `== its name`, then its lines; `#` begins a remark."""
    for path in sorted(folder.glob("*.txt")):
        name, lines = "", list[tuple[int, str]]()
        for number, text in enumerate([*path.read_text().splitlines(), "=="], 1):
            if text.startswith("=="):
                if name:
                    yield Scenario(name, path.name, lines)
                name, lines = text.strip("= "), []
            elif line := text.partition("#")[0].strip():
                lines.append((number, line))


def run_scenario(scenario: Scenario) -> ModelLedger:
    """Run a scenario; raises AssertionError with the line whose result differs."""
    runner = ScenarioRunner()
    for number, line in scenario.lines:
        try:
            runner.run_line(line)
        except AssertionError as error:
            raise AssertionError(f"{scenario.file_name}:{number}: {line}\n{error}") from error
    return runner.ledger


class ScenarioRunner:
    """The ledger, the clock and the providers of one scenario."""

    def __init__(self) -> None:
        self.ledger = ModelLedger()
        self.now = NOON
        self.accounts: dict[str, ProviderAccount] = {"acme": provider("acme")}
        self.user_of: dict[str, str] = {}
        self.payment_id = ""
        """The payment that the lines are about."""
        self.command_count = 0
        self._lines: Mapping[str, Callable[..., StepResult | None]] = {
            r"fund (\w+) (\S+)(?: key (\S+))?(?: in (\w+))?": self._fund,
            r"pay (\w+) (\S+)(?: as (\w+))?(?: key (\S+))?( again)?(?: meter (\d+))?(?: at (\w+))?( postpaid)?"
            r"(?: in (\w+))?": self._pay,
            r"cancel ?(.*)": lambda name: self._do(Cancel(*self._header(name))),
            r"claim ?(.*?) ?(early)?": self._claim,
            r"webhook ?(.*)": self._request_requery,
            r"resolve (\S+) ?(\S*)": self._resolve,
            r"owner (\S+)": self._owner,
            r"(?:attempt (\d+) )?(send|requery) (\d+) says (.+)": self._record_answer,
            r"next (\d+) requer(?:y|ies) says? (.+)": self._next,
            r"tick (\S+)": self._tick,
            r"until due": self._until_due,
            r"time (\d+):(\d+):(\d+)": self._time,
            r"provider (\S+)(?: with (.+))?": self._provider,
            r"forget (\S+)": self._remove_provider,
            r"balance (\S+) (\S+) ?(\S*)": self._balance,
            r"accounts (.+)": self._accounts,
        }

    def run_line(self, line: str) -> None:
        """Run one line."""
        action, _, expected = (part.strip() for part in line.partition("->"))
        before = self.payment
        for pattern, act in self._lines.items():
            if match := re.fullmatch(pattern, action):
                step = act(*match.groups())
                break
        else:
            raise ValueError(f"unknown action: {action}")
        phrases = [phrase.strip() for phrase in expected.split(",") if phrase.strip()]
        if step is None:
            assert not phrases, "nothing can be expected of this line"
            return
        step.before = before if before and before.transaction_id == self.payment_id else None
        step.check(phrases)

    @property
    def payment(self) -> Payment | None:
        """The payment that the lines are about, as it is now."""
        return (
            self.ledger.payment(self.user_of[self.payment_id], self.payment_id) if self.payment_id else None
        )

    @property
    def policy(self) -> Policy:
        return Policy(tuple(self.accounts.values()))

    # --- actions ------------------------------------------------------------------------------------------------------

    def _header(self, name: str = "") -> tuple[str, str, str, datetime]:
        """What every command about a payment begins with. With a name, the following lines are about that payment."""
        self.payment_id = name or self.payment_id
        return self.user_of[self.payment_id], self._new_key(), self.payment_id, self.now

    def _fund(self, user: str, amount: str, key: str | None, currency: str | None) -> "StepResult":
        key = key or self._new_key()
        money = _money(amount, currency or "NGN")
        return self._do(Fund(user, key, f"funding-{key}", self.now, money, "manual", key))

    def _pay(
        self, user: str, amount: str, name: str | None, key: str | None, again: str | None,
        meter: str | None, biller: str | None, postpaid: str | None, currency: str | None,
    ) -> "StepResult":  # fmt: skip
        command = Pay(
            user, key or self._new_key(), name or "bill", self.now, key is not None,
            _money(amount, currency or "NGN"), meter or METER, biller or "EKEDC",
            VendType.POSTPAID if postpaid else VendType.PREPAID, allow_duplicate=bool(again),
        )  # fmt: skip
        step = self._do(command)
        if isinstance(step.result, Executed):
            self.payment_id = step.result.result.transaction_id
            self.user_of[self.payment_id] = user
        return self._with_state(step)

    def _claim(self, name: str = "", early: str | None = None) -> "StepResult":
        if early:
            self._request_requery(name, "operator")
        return self._do(Claim(*self._header(name), self.policy))

    def _request_requery(self, name: str, source: str = "webhook") -> "StepResult":
        return self._do(RequestRequery(*self._header(name), self.policy, source))

    def _resolve(self, decision: str, token: str) -> "StepResult":
        decided = OperatorDecision("reverse" if decision == "reversed" else decision)
        reason = "the company was called"
        return self._do(Resolve(*self._header(), self.policy, "ngozi", decided, reason, token or None))

    def _owner(self, token: str) -> None:
        self.ledger.token_owners[token] = StreamKey("zed", "another")

    def _record_answer(self, attempt: str | None, kind: str, number: str, words: str) -> "StepResult":
        payment = self.payment
        assert payment is not None
        called = payment.attempt(int(attempt or len(payment.attempts)))
        answer = _answer(words.replace(f"/{self.payment_id}/", f"/{payment.reference_seed}/"))
        call = (called.number, int(number), kind == "requery", verified(answer, payment, called.reference))
        return self._do(RecordAnswer(*self._header(), self.policy, *call))

    def _next(self, count: str, words: str) -> "StepResult":
        step = StepResult(None)
        for left in reversed(range(int(count))):
            self._until_due()
            claimed = self._claim()
            assert claimed.work is not None, f"nothing was due: {claimed}"
            assert claimed.work.is_requery, f"not a requery: {claimed}"
            step = self._record_answer(None, "requery", str(claimed.work.call_number), words)
            assert not left or not step.incidents, f"an incident came early: {step}"
        return step

    def _tick(self, words: str) -> None:
        self.now += _span(words)

    def _until_due(self) -> "StepResult":
        due = self._due()
        assert due is not None, "it is never due"
        step = self._with_state(StepResult(None, after=due - self.now))
        self.now = max(self.now, due)
        return step

    def _time(self, hours: str, minutes: str, seconds_: str) -> None:
        self.now = self.now.replace(hour=int(hours), minute=int(minutes), second=int(seconds_))

    def _provider(self, name: str, traits: str | None) -> None:
        made = provider(name)
        for trait in traits.split(" and ") if traits else ():
            for pattern, changes in TRAITS.items():
                if match := re.fullmatch(pattern, trait):
                    made = replace(made, **changes(*match.groups()))
                    break
            else:
                raise ValueError(f"no provider is like that: {trait}")
        self.accounts[name] = made

    def _remove_provider(self, name: str) -> None:
        del self.accounts[name]

    def _balance(self, user: str, amount: str, currency: str) -> None:
        expected = _money(amount, currency or "NGN")
        assert Money(self.ledger.balance(user, expected.currency), expected.currency) == expected

    def _accounts(self, words: str) -> None:
        found = {
            name: _naira(amount)
            for name in {name for _, name, _ in self.ledger.accounts}
            if not name.startswith(("funding:", "wallet")) and (amount := self.ledger.total(name))
        }
        expected = {}
        if words != "nothing":
            expected = {
                name.strip(): str(Decimal(amount))
                for name, _, amount in (entry.strip().rpartition(" ") for entry in words.split(","))
            }
        assert found == expected

    # --- results ------------------------------------------------------------------------------------------------------

    def _do(self, command: Command) -> "StepResult":
        [result] = self.ledger.execute(command)
        return self._with_state(StepResult(result))

    def _with_state(self, step: "StepResult") -> "StepResult":
        return replace(step, payment=self.payment, now=self.now, due=self._due())

    def _due(self) -> datetime | None:
        """When the payment is due, as the last reply or the ledger says."""
        return self.ledger.next_at[self.payment.stream_key] if self.payment else None

    def _new_key(self) -> str:
        self.command_count += 1
        return f"command-{self.command_count}"


@dataclass
class StepResult:
    """The result of a line, to be compared with what the scenario expects."""

    result: CommandOutcome | None
    payment: Payment | None = None
    before: Payment | None = None
    now: datetime = NOON
    due: datetime | None = None
    after: timedelta | None = None

    @property
    def reply(self) -> CommandResult | None:
        return self.result.result if isinstance(self.result, Executed) else None

    @property
    def work(self) -> ProviderCall | None:
        return self.reply.provider_call if self.reply else None

    @property
    def call(self) -> ProviderCall:
        assert self.work is not None, "no call was allowed"
        return self.work

    @property
    def paid(self) -> Payment:
        assert self.payment is not None, "there is no payment"
        return self.payment

    @property
    def incidents(self) -> list[str]:
        """The incidents that this line raised."""
        known = len(self.before.incidents) if self.before else 0
        raised = self.payment.incidents[known:] if self.payment else ()
        return [f"{incident.kind} {_naira(incident.amount_minor)}" for incident in raised]

    def __str__(self) -> str:
        """A short form, for the message of a scenario that fails."""
        status = self.payment.status if self.payment else "no payment"
        return f"{status}, {self.work or 'no work'}, due {self.due}"

    def check(self, phrases: Sequence[str]) -> None:
        """Compare the result with what the scenario says, and with what it does not say."""
        statuses = [Status(phrase) for phrase in phrases if phrase in STATUSES]
        status = self.payment.status if self.payment else None
        before = self.before.status if self.before else None
        rejected = isinstance(self.result, Exception)
        assert rejected == any(phrase.startswith("refused") for phrase in phrases), repr(self.result)
        replayed = isinstance(self.result, Executed) and self.result.replayed
        assert replayed == ("replayed" in phrases), "replayed" if replayed else "executed"
        if self.payment:
            expected = statuses[0] if statuses else before
            assert status == expected, f"it is {status}, and was {before}"
        incidents = [phrase.removeprefix("incident ") for phrase in phrases if phrase.startswith("incident ")]
        assert self.incidents == incidents
        works = [phrase for phrase in phrases if re.match(r"(attempt \d+ )?(send|requery) \d+", phrase)]
        assert bool(works) == bool(self.work), f"the worker got {self.work}"
        for phrase in phrases:
            self._check(phrase)

    def _check(self, phrase: str) -> None:
        match phrase.split():
            case ["refused", name]:
                assert type(self.result).__name__ == name, repr(self.result)
            case ["attempt", number, *rest]:
                assert self.call.attempt == int(number), str(self.call)
                self._check(" ".join(rest))
            case ["send" | "requery" as kind, number, *rest]:
                call = self.call
                found = ("requery" if call.is_requery else "send", call.call_number)
                assert found == (kind, int(number)), str(call)
                assert [call.provider] == (rest[1:] or [call.provider]), str(call)
            case ["within", span]:
                assert self.call.send_before == self.now + _span(span), str(self.call)
            case ["reference", reference]:
                ours = self.paid
                readable = self.call.reference.replace(ours.reference_seed, ours.transaction_id)
                assert readable == reference, str(self.call)
            case ["due", "now"]:
                assert self.due is not None
                assert self.due <= self.now, f"due {self.due}"
            case ["due", "in", span]:
                assert self.due is not None
                _check_span(self.due - self.now, span)
            case ["never", "due"]:
                assert self.due is None, f"due {self.due}"
            case ["after", span]:
                assert self.after is not None
                _check_span(self.after, span)
            case ["proof", proof]:
                assert self.paid.proof == proof, f"the proof is {self.paid.proof}"
            case ["token", token]:
                assert self.paid.token == (None if token == "none" else token), f"it is {self.paid.token}"
            case ["because", *words]:
                reversal = self.paid.reversal
                reasons = (self.paid.review_reason, reversal.reason if reversal else None)
                assert any(reason and " ".join(words) in reason for reason in reasons), str(reasons)
            case ["incident", *_] | ["replayed"]:
                pass  # checked above
            case _:
                assert phrase in STATUSES, f"unknown result: {phrase}"


def _check_span(span: timedelta, expected: str) -> None:
    """The duration named, or at most a tenth more."""
    assert _span(expected) <= span <= _span(expected) * (1 + JITTER), f"{span.total_seconds()} s"


ANSWERS: Mapping[str, Callable[[str], Answer]] = {
    r"delivered without a token(.*)": lambda rest: _delivered(None, rest.split()),
    r"delivered (.+)": lambda rest: _delivered(rest.split()[0], rest.split()[1:]),
    r"declined()": lambda _: Declined("this request is refused"),
    r"failed()": lambda _: Declined("the transaction failed", about_transaction=True),
    r"taken back()": lambda _: Declined(
        "reversed to the wallet", about_transaction=True, provider_reversed=True
    ),
    r"not sent()": lambda _: NotSent("connection refused"),
    r"deferred ?(.*)": lambda span: Deferred("likely duplicate, ask again", _whole_seconds(span)),
    r"misconfigured()": lambda _: Misconfigured("the float is empty"),
    r"unknown()": lambda _: Unknown("no answer"),
    r"duplicate()": lambda _: Unknown("the reference exists", known_to_provider=True),
    r"pending ?(.*)": lambda span: Pending("at work", _whole_seconds(span)),
    r"not found()": lambda _: NotFound("no such reference"),
}
"""What a provider says, and the answer that it makes."""
TRAITS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    r"references that last a day": lambda: {"reference_lasts_a_day": True},
    r"no word for not found": lambda: {"reports_not_found": False},
    r"account (\S+)": lambda account: {"account_id": account},
    r"its clock (\S+) ahead": lambda ahead: {"utc_offset": _span(ahead)},
    r"processing (\S+)": lambda longest: {"max_processing_seconds": int(_span(longest).total_seconds())},
    r"whole (\S+)": lambda currency: {"whole_units_only": True, "currency": currency},
    r"currency (\S+)": lambda currency: {"currency": currency},
    r"biller (\S+)": lambda code: {"billers": provider(billers=[code]).billers},
}
"""What a provider is like."""


def _answer(words: str) -> Answer:
    for pattern, answer in ANSWERS.items():
        if match := re.fullmatch(pattern, words):
            return answer(match[1])
    raise ValueError(f"no provider says: {words}")


def _delivered(token: str | None, rest: Sequence[str]) -> Delivered:
    fields = dict(zip(rest[::2], rest[1::2], strict=True))
    cost, amount = fields.pop("cost", None), fields.pop("amount", None)
    delivered = Delivered(
        token,
        cost_minor=_money(cost).amount_minor if cost else None,
        amount_minor=_money(amount).amount_minor if amount else None,
        meter=fields.pop("meter", None),
        reference=fields.pop("reference", None),
    )
    assert not fields, f"no provider says {fields}"
    return delivered


def _money(amount: str, currency: str = "NGN") -> Money:
    return Money(int(Decimal(amount) * 100), currency)


def _naira(amount_minor: int) -> str:
    return f"{(Decimal(amount_minor) / 100).normalize():f}"


def _span(words: str) -> timedelta:
    found = re.fullmatch(r"(-?\d+)(s|min|h|d)", words)
    assert found, f"no time: {words}"
    return seconds(int(found[1]) * UNITS[found[2]])


def _whole_seconds(words: str) -> int | None:
    return int(_span(words).total_seconds()) if words else None
