"""The invariant checks: compare billvend's ledger, and the answers to callers, with what the providers really sold."""

from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa

from billvend import Payment, Status
from billvend.adapters.providers.sandbox.sale import SaleRecord, SaleStatus
from billvend.adapters.storage.tables import events
from billvend.domain.enums import IncidentKind, Proof
from billvend.ports.queries import Search
from tests.simulation.simulation import AcceptedPayment, Simulation

PAGE = 1000


def check(simulation: Simulation, payments: list[Payment]) -> list[str]:
    """Every violated invariant, as text; nothing if billvend kept its promises."""
    wrong = [*simulation.problems, *_check_accepted(simulation, payments)]
    for payment in payments:
        wrong += [f"{payment.transaction_id}: {what}" for what in _check_payment(simulation, payment)]
    wrong += _check_money(simulation, payments)
    audit = simulation.bv.audit()
    return wrong + audit.differences


def all_payments(simulation: Simulation) -> list[Payment]:
    """Every payment in the ledger."""
    found: list[Payment] = []
    before = None
    while True:
        page = simulation.bv.search(Search(kind="payment", limit=PAGE, before=before))
        found += [each.transaction for each in page if isinstance(each.transaction, Payment)]
        if len(page) < PAGE:
            return found
        before = page[-1].transaction.transaction_id


def count_events(simulation: Simulation) -> Counter[str]:
    """The number of stored events of each kind."""
    with simulation.database.read_transaction() as connection:
        rows = connection.execute(sa.select(events.c.type, sa.func.count()).group_by(events.c.type)).all()
    return Counter({row[0]: row[1] for row in rows})


def last_hashes(simulation: Simulation) -> list[str]:
    """The last hash of every chain of events, which a replay must reach."""
    with simulation.database.read_transaction() as connection:
        return list(connection.scalars(sa.select(events.c.hash).order_by(events.c.hash)))


def entries_of(simulation: Simulation, payment: Payment) -> list[SaleRecord]:
    """What the providers' stores show of a payment."""
    references = [attempt.reference for attempt in payment.attempts]
    found = (provider.sales.find(reference) for provider in simulation.providers for reference in references)
    return [entry for entry in found if entry is not None]


def _check_accepted(simulation: Simulation, payments: list[Payment]) -> Iterator[str]:
    known = {payment.transaction_id: payment for payment in payments}
    for transaction_id, expected in simulation.accepted.items():
        payment = known.get(transaction_id)
        if payment is None:
            yield f"{transaction_id}: accepted, and lost"
        elif AcceptedPayment(payment.user_id, payment.meter, int(payment.amount.major)) != expected:
            yield f"{transaction_id}: accepted as {expected}, booked as {payment}"
    keys = Counter((payment.user_id, payment.key) for payment in payments if payment.key)
    yield from (f"{number} payments for the key {key}" for key, number in keys.items() if number > 1)
    known_references = {attempt.reference for payment in payments for attempt in payment.attempts}
    for provider in simulation.providers:
        for entry in provider.sales.records():
            if entry.reference not in known_references:
                yield f"{entry.reference} is known to the provider, and to no payment"


def _check_payment(simulation: Simulation, payment: Payment) -> Iterator[str]:
    entries = entries_of(simulation, payment)
    vends = sum(entry.vends for entry in entries)
    sold = [entry for entry in entries if entry.status is SaleStatus.VENDED]
    incidents = Counter(incident.kind for incident in payment.incidents)
    # Money may only be lost where the provider answered falsely, or where a person decided.
    late = any(
        attempt.reference in provider.landed_late
        for provider in simulation.providers
        for attempt in payment.attempts
    )
    excused = late or payment.proof is Proof.OPERATOR
    match payment.status:
        case Status.COMPLETED:
            if vends != 1:
                yield f"completed, and sold {vends} times"
            elif payment.token not in {entry.token for entry in entries if entry.vends}:
                yield f"completed with the token {payment.token}, sold with {[e.token for e in entries]}"
        case Status.REVERSED:
            if sold and not incidents[IncidentKind.DELIVERED_AFTER_REVERSAL]:
                yield f"reversed on {payment.proof}, and sold without an incident"
            if sold and not excused:
                yield f"reversed on {payment.proof}, and sold"
        case _:
            yield f"never ended: {payment.status}"
    for kind, number in incidents.items():
        taken_back = any(entry.status is SaleStatus.TAKEN_BACK for entry in entries)
        allowed = taken_back if kind is IncidentKind.TAKEN_BACK else excused
        if (
            kind is IncidentKind.DELIVERED_AFTER_REVERSAL and taken_back
        ):  # a late answer: shown, and nothing is booked
            allowed = excused or not any(each.amount_minor for each in payment.incidents if each.kind is kind)
        if kind is not IncidentKind.TAKEN_BACK and kind is not IncidentKind.DELIVERED_AFTER_REVERSAL:
            allowed = False
        if not allowed:
            yield f"{number} incidents of the kind {kind}, for no reason"


def _check_money(simulation: Simulation, payments: list[Payment]) -> Iterator[str]:
    spent: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for payment in payments:
        if payment.status is Status.COMPLETED:
            spent[payment.user_id] += payment.amount.amount_minor
        elif payment.status is not Status.REVERSED:
            held[payment.user_id] += payment.amount.amount_minor
    for user_id, funded in simulation.funded.items():
        balance = simulation.bv.balance(user_id)
        left = balance.available.amount_minor + spent[user_id] + held[user_id]
        if left != funded * 100:
            yield f"{user_id}: funded {funded * 100}, accounted for {left}"
        if balance.held.amount_minor != held[user_id]:
            yield f"{user_id}: {balance.held} in flight, for payments of {held[user_id]}"
