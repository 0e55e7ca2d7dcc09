"""What the use cases work with: the ports, filled, and the rules that the settings give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billvend.domain.abilities import Mode
from billvend.domain.commands import Command, Done
from billvend.domain.decide import Result
from billvend.domain.errors import BillvendError
from billvend.domain.money import Money, parse_amount
from billvend.domain.reversal import Policy
from billvend.ports.books import Books
from billvend.ports.clock import Clock
from billvend.ports.journal import Journal
from billvend.ports.provider import Provider
from billvend.ports.queue import Queue


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be paid or funded at once, both inclusive, in major units of any currency."""

    smallest_payment: str
    largest: str

    def least(self, currency: str) -> Money:
        """The smallest payment."""
        return parse_amount(self.smallest_payment, currency)

    def most(self, currency: str) -> Money:
        """The largest payment, and the largest funding."""
        return parse_amount(self.largest, currency)


@dataclass(frozen=True, slots=True)
class Parts:
    """One wired billvend. Safe to share between threads."""

    journal: Journal
    books: Books
    queue: Queue
    providers: Mapping[tuple[str, str], Provider]
    """By (provider, account), in order of preference."""
    clock: Clock
    policy: Policy
    limits: Limits
    default_currency: str
    mode: Mode
    sweep_quiet_seconds: float
    """How long a sweep leaves a payment alone that was pointed out before."""


def carry_out(parts: Parts, command: Command) -> Done:
    """Have one command done; raises its refusal."""
    return outcome_of(parts.journal.execute([command]))


def outcome_of(results: Sequence[Result]) -> Done:
    """The one result, raised if it is a refusal."""
    (result,) = results
    if isinstance(result, BillvendError):
        raise result
    return result
